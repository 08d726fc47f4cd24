"""What users give as numbers: whole ones where these are meant, and real ones that a computer can hold."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from manyhands.core.errors import SettingsError

LARGEST = 2**63 - 1
"""What compiled code counts up to."""


def whole(name: str, value: Any, *, least: int | None = None, most: int | None = LARGEST) -> int:
    """Return a whole number as Python's own kind; True and False, 10.0 and "10" are none.

    Parameters
    ----------
    name
        What it is, as the subject of the message.
    value
        As the user gave it.
    least, most
        Its limits, if it has any.

    Raises
    ------
    SettingsError
        If it is no whole number, or out of range.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise SettingsError(f"{name} must be a whole number, not {shortened(value)}")
    number = int(value)
    if least is not None and number < least:
        raise SettingsError(f"{name} must be at least {least}, not {shortened(number)}")
    if most is not None and number > most:
        raise SettingsError(f"{name} must be at most {most}, not {shortened(number)}")
    return number


def real(name: str, value: Any) -> float:
    """Return a number as Python's float; it may be infinite, or none (NaN).

    Parameters
    ----------
    name, value
        See `whole`.

    Raises
    ------
    SettingsError
        If it is no number, or one that no float can hold.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise SettingsError(f"{name} must be a number, not {shortened(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if bool(value > 0) else -math.inf  # type: ignore[operator]


def truth(name: str, value: Any) -> bool:
    """Return True or False; words and other numbers than 0 and 1 are neither.

    Raises
    ------
    SettingsError
        If it is neither.
    """
    try:
        found = value in (0, 1)
    except (TypeError, ValueError):  # an array
        found = False
    if not found:
        raise SettingsError(f"{name} must be True or False, not {shortened(value)}")
    return bool(value)


def shortened(value: Any) -> str:
    """Return a value as it is typed, without the middle if it is long."""
    text = f"{value:.3e}" if isinstance(value, int) and 10**18 < abs(value) < 10**300 else _typed(value)
    return text if len(text) <= 80 else f"{text[:50]}...{text[-20:]}"


def _typed(value: Any) -> str:
    try:
        return " ".join(repr(value).split())
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
