"""The grammar that strategies, schedules and stopping rules share: ``name:value,key=value``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from manyhands.core.errors import SettingsError
from manyhands.core.suggestions import did_you_mean

Made = TypeVar("Made")


def split(
    text: str, kind: str, table: Mapping[str, Any], examples: str, *, also: Sequence[str] = ()
) -> tuple[str, list[str], dict[str, str]]:
    """Split ``name:value,key=value`` into its name, values by position (one at most) and by key.

    The keys of ``table`` are the possible names. For messages, ``kind`` says what the text names, e.g. ``"strategy"``,
    and ``examples`` are valid texts; a user may have meant one of ``also``, which is read elsewhere. A SettingsError
    says what is wrong.
    """
    name, colon, rest = text.strip().partition(":")
    if name not in table:
        hint = did_you_mean(name.partition("=")[0], [*table, *also]) or f"; examples: {examples}"
        raise SettingsError(f"unknown {kind} {name!r}{hint}")
    own = examples_of(name, examples)
    if colon and not rest.strip():
        raise SettingsError(f"{kind} {text!r}: nothing follows the colon; examples: {own}")
    values: list[str] = []
    keys: dict[str, str] = {}
    for piece in rest.split(",") if rest else []:
        key, equals, value = (part.strip() for part in piece.partition("="))
        if not key or (equals and not value):
            raise SettingsError(f"{kind} {text!r}: an argument is empty; examples: {own}")
        if equals and key in keys:
            raise SettingsError(f"{kind} {text!r}: {key!r} is given twice")
        if equals:
            keys[key] = value
        elif values or keys:
            raise SettingsError(
                f"{kind} {text!r}: {key!r} needs a name, as in key={key}; only the first value may have none; "
                f"examples: {own}"
            )
        else:
            values.append(key)
    return name, values, keys


def make(
    maker: Callable[..., Made],
    values: Sequence[str],
    keys: Mapping[str, Any],
    where: str,
    examples: str,
    others: Sequence[str] = (),
) -> Made:
    """Call ``maker``, whose parameters' names are the grammar's keys, with the arguments.

    A SettingsError, which begins with ``where`` and ends with ``examples``, says what it takes if the arguments do not
    fit: its own parameters and ``others``.
    """
    signature = inspect.signature(maker)
    try:
        signature.bind(*values, **keys)
    except TypeError as error:
        takes = [*(name for name in signature.parameters if name != "options"), *others]
        unknown = next((key for key in keys if key not in (*takes, "options")), None)
        what = f"its arguments are {', '.join(takes)}" if takes else "it takes none"
        problem = f"these arguments do not fit ({what})"
        if unknown is not None and takes:
            problem = f"there is no argument {unknown!r}{did_you_mean(unknown, takes)} ({what})"
        elif not values and not keys.keys() - {"options"}:
            problem = f"a value is missing ({what})"
        raise SettingsError(f"{where}: {problem}; examples: {examples}") from error
    return maker(*values, **keys)


def examples_of(name: str, examples: str) -> str:
    """Return those examples that are about a name; if there are none, all.

    Examples
    --------
    >>> examples_of("loss", "loss, loss:0.0001,patience=10, unchanged")
    'loss, loss:0.0001,patience=10'
    """
    own = [each for each in examples.split(", ") if re.match(rf"{re.escape(name)}(?![\w-])", each)]
    return ", ".join(own) or examples


def number(value: float) -> str:
    """Return the shortest text, without an exponent, that is read as the same number."""
    return str(np.format_float_positional(value, trim="-"))


def not_negative(text: str, where: str, limit: str, *, fits: Callable[[float], bool]) -> float:
    """Return the number from 0 on in ``text``; a SettingsError begins with ``where`` and ends with the upper limit."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (value >= 0 and fits(value)):
        raise SettingsError(f"{where}{text}: it must be a number from 0 {limit}")
    return value


def fraction(text: str, name: str, strategy: str, *, below: float) -> float:
    """Return the number in ``text``, which must be at least 0 and less than ``below``."""
    return not_negative(text, f"{strategy}:{name}=", f"to below {below:g}", fits=lambda value: value < below)
