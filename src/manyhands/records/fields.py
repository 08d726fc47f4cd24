"""Checks of plain data from files: functions that return a value, or raise FormatError with its place."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manyhands.core.errors import FormatError

Check = Callable[[Any, str], Any]

LARGEST = 1e18  # no count or measurement is larger; what is larger cannot be drawn
ADVICE = "the file is damaged, or no record of this program; write it again"


def kind_of(value: Any) -> str:
    """Return the kind of a JSON value in words."""
    if value is None:
        return "null"
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), f"{value!r:.40}")


def number_within(low: float = -LARGEST, high: float = LARGEST) -> Check:
    """Return a check of a finite number in a range, its ends included."""

    def check(value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FormatError(f"{where} must be a number, not {kind_of(value)}; {ADVICE}")
        if not low <= value <= high:
            raise FormatError(f"{where} must be a number from {low:g} to {high:g}; {ADVICE}")
        return value

    return check


def whole_number(low: int = 0) -> Check:
    """Return a check of a whole number from ``low`` on."""
    number = number_within(low)

    def check(value: Any, where: str) -> int:
        found = number(value, where)
        if found != int(found):
            raise FormatError(f"{where} must be a whole number, not {found}; {ADVICE}")
        return int(found)

    return check


def typed(kind: type, name: str) -> Check:
    """Return a check of a type, which messages call by a name."""

    def check(value: Any, where: str) -> Any:
        if not isinstance(value, kind):
            raise FormatError(f"{where} must be {name}, not {kind_of(value)}; {ADVICE}")
        return value

    return check


def list_of(each: Check, length: int | None = None) -> Check:
    """Return a check of a list, of a length if one is given."""

    def check(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            raise FormatError(f"{where} must be a list{f' of {length}' if length else ''}; {ADVICE}")
        return [each(item, f"{where}[{position}]") for position, item in enumerate(value)]

    return check


def object_of(
    required: Mapping[str, Check], optional: Mapping[str, Check], defaults: Mapping[str, Any] | None = None
) -> Check:
    """Return a check of an object, which keeps the fields that it does not know.

    Optional fields that are missing, null or not finite become None, or have these defaults, which are checked, too:
    ``{}`` stands for an object in which every field has its own default.
    """
    substitutes = defaults or {}

    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise FormatError(f"{where or 'the record'} must be an object, not {kind_of(value)}; {ADVICE}")
        found = dict(value)
        for name, each in {**required, **optional}.items():
            place, given = f"{where}.{name}".lstrip("."), value.get(name)
            if given is None or (isinstance(given, float) and not math.isfinite(given)):
                given = copy.copy(substitutes.get(name))
            if given is None and name in required:
                raise FormatError(f"{place} is missing; {ADVICE}")
            found[name] = None if given is None else each(given, place)
        return found

    return check


def one_of(words: Sequence[str]) -> Check:
    """Return a check of a text that must be one of some words."""

    def check(value: Any, where: str) -> str:
        if TEXT(value, where) not in words:
            raise FormatError(f"{where} must be one of {', '.join(words)}, not {value[:40]!r}; {ADVICE}")
        return str(value)

    return check


def interval_within(low: float, high: float) -> Check:
    """Return a check of two numbers in a range, the smaller first."""
    ends = list_of(number_within(low, high), 2)

    def check(value: Any, where: str) -> list[float]:
        found: list[float] = ends(value, where)
        if found[0] > found[1]:
            raise FormatError(f"{where} must be an interval, the smaller end first, not {found}; {ADVICE}")
        return found

    return check


TEXT, FLAG, ANY_OBJECT = typed(str, "a text"), typed(bool, "true or false"), typed(dict, "an object")
AMOUNT = number_within(0)
SHARE, PERCENT = number_within(0, 1), number_within(0, 100 + 1e-9)
"""Checks of accuracies; percent allows for the rounding of 100 times a share."""
PROBABILITY = number_within(0, 1 + 1e-5)
"""The check of a mean of probabilities, which need not add up to 1 to the last bit."""
