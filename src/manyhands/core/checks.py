"""Checks of numbers and truth values that users pass."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from manyhands.core.errors import SettingsError

LARGEST = 2**63 - 1
"""The largest number that compiled code can count to."""


def whole(name: str, value: Any, *, least: int | None = None, most: int | None = LARGEST) -> int:
    """Return a whole number as an int; True, False, 10.0 and "10" are refused.

    ``name`` is the subject of the message, ``least`` and ``most`` are limits (None: no limit). Anything else than a
    whole number within them is a SettingsError.
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
    """Return a number as a float, which may be infinite or NaN; anything else is a SettingsError."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise SettingsError(f"{name} must be a number, not {shortened(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if bool(value > 0) else -math.inf  # type: ignore[operator]


def positive_real(name: str, value: Any) -> float:
    """Return a finite number above 0 as Python's float; anything else is a SettingsError."""
    if not 0 < real(name, value) < math.inf:
        raise SettingsError(f"{name} must be a number above 0, not {shortened(value)}")
    return float(value)


def share_or_count(name: str, value: Any) -> float | int:
    """Return a share between 0 and 1 as a float, or a whole number from 1 on; anything else is a SettingsError."""
    if isinstance(value, Real) and not isinstance(value, Integral) and 0 < float(value) < 1:
        return float(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return whole(name, value, least=1)
    raise SettingsError(
        f"{name} must be a share between 0 and 1, or a whole number of rows from 1 on, not {shortened(value)}"
    )


def truth(name: str, value: Any) -> bool:
    """Return True or False; 1 and 0 are accepted, too, and anything else is a SettingsError."""
    try:
        found = value in (0, 1)
    except (TypeError, ValueError):  # an array
        found = False
    if not found:
        raise SettingsError(f"{name} must be True or False, not {shortened(value)}")
    return bool(value)


def shortened(value: Any) -> str:
    """Return a value as it is typed, for a message; the middle of a long one is left out."""
    text = f"{value:.3e}" if isinstance(value, int) and 10**18 < abs(value) < 10**300 else _typed(value)
    return text if len(text) <= 80 else f"{text[:50]}...{text[-20:]}"


def _typed(value: Any) -> str:
    try:
        return " ".join(repr(value).split())
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
