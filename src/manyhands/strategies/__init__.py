"""Floor 2: when the workers talk and what they do then. One file per strategy, one table, one grammar.

The grammar is ``name``, ``name:value`` or ``name:key=value,key=value``, e.g. ``periodic:1epoch``.
"""

from __future__ import annotations

from collections.abc import Callable

from manyhands.errors import SettingsError
from manyhands.protocols import Strategy
from manyhands.strategies.gradient import Gradient
from manyhands.strategies.minibatch import Minibatch
from manyhands.strategies.one_shot import OneShot
from manyhands.strategies.periodic import Periodic
from manyhands.strategies.sequential import Sequential

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "sequential": Sequential,
    "one-shot": OneShot,
    "periodic": Periodic.parse,
    "gradient": Gradient,
    "minibatch": Minibatch.parse,
}
"""Every strategy by name. Its maker takes the text after the colon: one value by position, or keys by name."""

EXAMPLES = "sequential, one-shot, periodic:1epoch, periodic:50, gradient, minibatch:5epochs"


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
    name, colon, rest = text.strip().partition(":")
    if name not in STRATEGIES:
        raise SettingsError(f"unknown strategy {name!r}; examples: {EXAMPLES}")
    if colon and not rest.strip():
        raise SettingsError(f"strategy {text!r}: nothing follows the colon; examples: {EXAMPLES}")
    values, keys = _arguments(text, rest)
    try:
        return STRATEGIES[name](*values, **keys)
    except TypeError as error:
        raise SettingsError(f"strategy {text!r}: {name!r} takes no such arguments; examples: {EXAMPLES}") from error


def _arguments(text: str, rest: str) -> tuple[list[str], dict[str, str]]:
    """Split what follows the colon into values by position and by key."""
    values: list[str] = []
    keys: dict[str, str] = {}
    for piece in rest.split(",") if rest else []:
        key, equals, value = (part.strip() for part in piece.partition("="))
        if not key or (equals and not value):
            raise SettingsError(f"strategy {text!r}: an argument is empty; examples: {EXAMPLES}")
        if not equals:
            values.append(key)
        elif key in keys:
            raise SettingsError(f"strategy {text!r}: {key!r} is given twice")
        else:
            keys[key] = value
    if len(values) > 1 or (values and keys):
        raise SettingsError(f"strategy {text!r}: give one value, or key=value pairs; examples: {EXAMPLES}")
    return values, keys
