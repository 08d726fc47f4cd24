"""How messages name a parameter: ``train_size=5`` for Python; the command line sets its own way, ``--train-size 5``."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

Naming = Callable[..., str]


def _in_python(name: str, *value: Any) -> str:
    return f"{name}={value[0]!r}" if value else name


_naming: Naming = _in_python


def parameter(name: str, *value: Any) -> str:
    """Return what a message calls a parameter of `manyhands.train` and the like, with a value if one is given."""
    return _naming(name, *value)


def as_mark(name: str, *value: Any) -> str:
    """Name a parameter for another process, whose `rendered` names it in its own way."""
    return f"\x1e{json.dumps([name, *value])}\x1f"


def rendered(text: str) -> str:
    """Return a text of a process that names parameters by `as_mark` with their names here."""
    return re.sub("\x1e(.*?)\x1f", lambda found: parameter(*json.loads(found[1])), text)


@contextlib.contextmanager
def parameters_named(naming: Naming) -> Iterator[None]:
    """Let messages name parameters in another way for the length of a block, in all threads."""
    global _naming
    before, _naming = _naming, naming
    try:
        yield
    finally:
        _naming = before
