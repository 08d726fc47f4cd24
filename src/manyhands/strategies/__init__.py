"""Floor 2: when and how the workers synchronize. One file per strategy, one table, one grammar.

The grammar, the same on the command line and in Python::

    strategy   =  part  |  part@length then ... then part
    part       =  name  |  name:argument,argument,...
    argument   =  value (the first only)  |  key=value
    length     =  20%  |  15epochs

e.g. ``periodic:1epoch``, ``one-shot:merge=fisher`` or ``gradient@20% then periodic:1epoch,send=int8``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from manyhands.core import grammar
from manyhands.core.errors import SettingsError
from manyhands.core.lengths import Length
from manyhands.core.strategy import Rule, Strategy
from manyhands.strategies.base import OPTION_NAMES, RoundOptions
from manyhands.strategies.diloco import DiLoCo
from manyhands.strategies.easgd import EASGD
from manyhands.strategies.gradient import Gradient
from manyhands.strategies.hogwild import Hogwild
from manyhands.strategies.minibatch import Minibatch
from manyhands.strategies.one_shot import OneShot
from manyhands.strategies.periodic import Periodic
from manyhands.strategies.sequential import Sequential
from manyhands.strategies.slowmo import SlowMo
from manyhands.strategies.stages import compose, post_local, swap
from manyhands.strategies.sums import Sums

STRATEGIES: dict[str, Callable[..., Rule[Any] | Strategy]] = {
    "sequential": Sequential.parse,
    "one-shot": OneShot.parse,
    "periodic": Periodic.parse,
    "gradient": Gradient.parse,
    "minibatch": Minibatch.parse,
    "post-local": post_local,
    "slowmo": SlowMo.parse,
    "diloco": DiLoCo.parse,
    "swap": swap,
    "easgd": EASGD.parse,
    "hogwild": Hogwild.parse,
    "sums": Sums.parse,
}
"""The makers of all strategies by name. They take the text after the colon: one value by position, others by name."""

AUTO = "auto"
"""What is given instead of a strategy that is to be chosen; see `manyhands.training.auto`."""
EXAMPLES = (
    "sequential, one-shot, periodic:1epoch, periodic:50,send=int8, gradient, minibatch:5epochs, post-local:16, "
    "slowmo:1epoch, diloco:1epoch, swap:75%, easgd:10, hogwild, sums, gradient@20% then periodic:1epoch"
)
_THEN = re.compile(r"\s+then\s+")


def parse_strategy(text: str) -> Strategy:
    """Return the strategy that ``text`` names.

    Examples
    --------
    >>> parse_strategy("periodic:every=50").name
    'periodic:50'

    Raises
    ------
    SettingsError
        If the name is unknown or the arguments do not fit, saying what would.
    """
    pieces = _THEN.split(text.strip())
    if len(pieces) == 1:
        if "@" in text:
            raise SettingsError(
                f"strategy {text!r}: after @ and a length comes 'then' and what follows, as in gradient@20% then "
                "periodic:1epoch"
            )
        return _part(pieces[0])
    parts, lengths = [], []
    for piece in pieces[:-1]:
        name, at, length = piece.rpartition("@")
        if not at:
            raise SettingsError(f"strategy {text!r}: how long is {piece!r}? Write {piece}@20% then ..., or @15epochs")
        parts.append(_part(name))
        lengths.append(Length.parse(length, f"strategy {text!r}"))
    if "@" in pieces[-1]:
        raise SettingsError(f"strategy {text!r}: the last part lasts to the end, so it has no @ and no length")
    return compose([*parts, _part(pieces[-1])], lengths)


def _part(text: str) -> Strategy:
    """Return a strategy that is not composed."""
    made = _make(text)
    return made if isinstance(made, Strategy) else Strategy(made.name, (made,))


def _make(text: str) -> Rule[Any] | Strategy:
    if text.partition(":")[0].strip() == AUTO:
        raise SettingsError(
            f"strategy {text!r}: auto chooses a whole strategy: it is no part of one, and takes no value"
        )
    name, values, keys = grammar.split(text, "strategy", STRATEGIES, EXAMPLES, also=(AUTO,))
    maker, where, examples = STRATEGIES[name], f"strategy {text!r}", grammar.examples_of(name, EXAMPLES)
    if "options" not in inspect.signature(maker).parameters:
        return grammar.make(maker, values, keys, where, examples)
    options = RoundOptions(**{key: keys.pop(key) for key in OPTION_NAMES if key in keys})
    if "options" in keys:
        raise SettingsError(f"{where}: there is no argument 'options'")
    return grammar.make(maker, values, {**keys, "options": options}, where, examples, OPTION_NAMES)
