"""The numbers of workers that a study is asked for: ``all`` is one on each usable core."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from manyhands.core.settings import ALL
from manyhands.runtime.affinity import usable_cores


def number_of_workers(given: Any) -> Any:
    """Return the number of usable cores for ``"all"``, and anything else, which others check, as it is."""
    return usable_cores() if isinstance(given, str) and given == ALL else given


def numbers_of_workers(given: Any) -> tuple[Any, ...]:
    """Return several numbers of workers, or one, in a tuple; see `number_of_workers`."""
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    return tuple(map(number_of_workers, several))
