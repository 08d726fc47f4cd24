"""Labels of classes: their check, their comparison, and their form in a model file.

Training, saving and loading have one check, so that labels come back from a file as they were. They are truth values,
whole numbers of up to 64 bits, finite floats, or words; everything else is refused before training.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError

Label = bool | int | float | str
LONGEST_LABEL = 1000
"""Characters; in an array of words every row takes the longest one's room."""
_KINDS: dict[str, tuple[type, str, tuple[str, ...]]] = {
    "bool": (bool, "bool", ("bool",)),
    "int": (int, "int64", ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")),
    "float": (float, "float64", ("float16", "float32", "float64")),
    "str": (str, "str", ("str",)),
}
"""In a model file: the type of a label there, the array's dtype unless another is named, and those that may be."""
_REFUSED = {
    "S": "bytes; make them words: labels.astype(str), or np.char.decode(labels, encoding) beyond ASCII",
    "M": "dates; make them words: labels.astype(str)",
    "m": "time spans; make them words: labels.astype(str)",
    "c": "complex numbers; a class is a truth value, a number or a word",
    "V": "records of several fields; choose one field",
}
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_DECIMAL = re.compile(r"[+-]?[0-9]*\.?[0-9]*")
_MOST_NAMED = 10


def check_labels(labels: Any, source: Path | None = None) -> NDArray[Any]:
    """Return labels as an array that training, model files and comparisons can work with.

    Parameters
    ----------
    labels : array-like of shape (rows,)
        An array, a list, or a column of a table, such as a pandas Series of any dtype.
    source
        The file they come from, for messages.

    Returns
    -------
    ndarray of shape (rows,)
        Of dtype bool, a whole number's of up to 64 bits, float16, float32, float64 or str. Python's objects become
        bool, int64 (uint64 where one needs it), float64 or str.

    Raises
    ------
    DataError
        If one is missing (None, NaN, masked), longer than 1,000 characters or ends with a NUL, which NumPy drops; if
        they are of different kinds (numbers and words) or of one that no model file can hold; or if they have not one
        dimension. Says what to do.
    """
    array = _array(labels, source)
    if array.ndim != 1:
        raise DataError(_dimensions(array.shape), path=source)
    if array.dtype.kind in "OT":
        array = _from_objects(array.astype(object).tolist(), source)
    if array.dtype.kind in _REFUSED or array.dtype.kind not in "biufU":
        what = _REFUSED.get(array.dtype.kind, f"of the dtype {array.dtype}")
        raise DataError(f"the labels are {what}", path=source)
    if array.dtype.kind == "f":
        return _finite(array, source)
    if array.dtype.kind == "U":
        return _fitting_words(array, source)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _array(labels: Any, source: Path | None) -> NDArray[Any]:
    """Return labels as a plain array; lists as one of objects, so that NumPy does not turn numbers into words."""
    if isinstance(labels, np.ma.MaskedArray):
        if np.ma.is_masked(labels):
            row = int(np.argmax(np.ma.getmaskarray(labels).ravel()))
            raise DataError(f"row {row + 1} has no label (it is masked); remove such rows", path=source)
        return np.asarray(labels.data)
    if hasattr(labels, "__array__"):
        return np.asarray(labels)
    try:
        return np.array(labels, dtype=object)
    except ValueError as error:  # a list of lists of different lengths
        raise DataError("the labels are no list of one label per row", path=source) from error


def _dimensions(shape: tuple[int, ...]) -> str:
    """Return the message about labels that have not one dimension."""
    hint = ""
    if len(shape) == 2:
        hint = "; use labels.ravel()" if shape[1] == 1 else "; of indicators (one-hot), use labels.argmax(axis=1)"
    return f"labels need one dimension, one label per row; these have the shape {shape}{hint}"


def _from_objects(values: list[Any], source: Path | None) -> NDArray[Any]:
    """Return Python objects of one kind as an array."""
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        first.setdefault(_kind(value, row, source), row)
    if set(first) == {"int", "float"} and all(float(value) == value for value in values):
        return np.array(values, np.float64)
    if len(first) > 1:
        (one, here), (other, there) = list(first.items())[:2]
        raise DataError(
            f"the labels are of different kinds: row {here + 1} has {values[here]!r} ({one}), row {there + 1} has "
            f"{values[there]!r} ({other}); make all of them words (str) or all of them numbers",
            path=source,
        )
    kind = next(iter(first), "int")
    if kind == "int":
        return _whole_numbers(values, source)
    if kind == "str":
        _check_words(values, source)
    return np.array(values, {"bool": np.bool_, "float": np.float64, "str": np.str_}[kind])


def _kind(value: Any, row: int, source: Path | None) -> str:
    """Return the kind of label that an object is."""
    for kind, types in (
        ("bool", (bool, np.bool_)),
        ("int", (int, np.integer)),
        ("float", (float, np.floating)),
        ("str", (str,)),
    ):
        if isinstance(value, types):
            if value != value:  # NaN
                break
            return kind
    if value is None or isinstance(value, float | np.floating) or type(value).__name__ in ("NAType", "NaTType"):
        raise DataError(f"row {row + 1} has no label ({value}); remove such rows, or name the class", path=source)
    raise DataError(
        f"row {row + 1} has a label of the type {type(value).__name__}; a class is a truth value, a number or a word "
        "(str): make them words, such as [str(label) for label in labels]",
        path=source,
    )


def _whole_numbers(values: list[Any], source: Path | None) -> NDArray[Any]:
    """Return whole numbers as int64, or uint64 where one needs it."""
    low, high = min(values, default=0), max(values, default=0)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.array(values, dtype)
    row = next(row for row, value in enumerate(values) if value in (low, high) and not -(2**63) <= value < 2**63)
    raise DataError(
        f"row {row + 1} has the label {values[row]}, which 64 bits cannot hold; make the labels words (str)",
        path=source,
    )


def _check_words(values: list[str], source: Path | None) -> None:
    """Refuse words that an array of words would change, or that are too long."""
    for row, value in enumerate(values):
        if value.endswith("\0"):
            raise DataError(
                f"row {row + 1}: the label {value[:40]!r} ends with a NUL, which is lost in an array", path=source
            )
        if len(value) > LONGEST_LABEL:
            raise DataError(_too_long(row, len(value)), path=source)


def _fitting_words(labels: NDArray[Any], source: Path | None) -> NDArray[Any]:
    """Return words in the dtype of the longest, as they come back from a file."""
    lengths = np.strings.str_len(labels)
    longest = int(lengths.max(initial=1))
    if longest > LONGEST_LABEL:
        row = int(np.argmax(lengths > LONGEST_LABEL))
        raise DataError(_too_long(row, lengths[row]), path=source)
    return labels.astype(f"=U{longest}", copy=False)


def _too_long(row: int, length: int) -> str:
    return f"row {row + 1} has a label of {length} characters; at most {LONGEST_LABEL} are possible"


def _finite(labels: NDArray[Any], source: Path | None) -> NDArray[Any]:
    """Return floats that can be classes: finite, and of at most 64 bits."""
    wrong = ~np.isfinite(labels)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"row {row + 1} has no label ({labels[row]}); remove such rows, or name the class", path=source)
    if labels.dtype.itemsize <= 8:
        return labels.astype(labels.dtype.newbyteorder("="), copy=False)
    narrow: NDArray[Any] = labels.astype(np.float64)
    if (narrow != labels).any():
        raise DataError(f"the labels are {labels.dtype}, of which float64 cannot hold all", path=source)
    return narrow


def describe_labels(classes: NDArray[Any]) -> dict[str, Any]:
    """Return the labels of classes as plain data, for JSON; :func:`read_labels` is its inverse.

    Raises
    ------
    DataError
        As :func:`check_labels`.
    """
    classes = check_labels(classes)
    kind = {"b": "bool", "f": "float", "U": "str"}.get(classes.dtype.kind, "int")
    described = {"kind": kind, "labels": classes.tolist()}
    if kind in ("int", "float") and classes.dtype.name != _KINDS[kind][1]:
        described["dtype"] = classes.dtype.name
    return described


def read_labels(described: Any) -> NDArray[Any]:
    """Return the labels of classes from plain data.

    Raises
    ------
    KeyError
        If a part is missing.
    ValueError, TypeError, OverflowError
        If it does not describe different labels; says what is wrong.
    """
    labels, kind = described["labels"], described["kind"]
    if kind not in _KINDS:
        raise ValueError("the classes are of no kind that a label can be")
    wanted, usual, possible = _KINDS[kind]
    if not isinstance(labels, list) or not all(type(label) is wanted for label in labels):
        raise ValueError("the classes are not a list of whole numbers, or of another kind of label")
    dtype = described.get("dtype", usual)
    if dtype not in possible:
        raise ValueError(f"the classes cannot have the dtype {str(dtype)[:40]!r}")
    if wanted is str and max(map(len, labels), default=0) > LONGEST_LABEL:
        raise ValueError(f"a class has a label of more than {LONGEST_LABEL} characters")
    classes = np.array(labels, dtype)
    if classes.tolist() != labels:  # a number that is not one of this dtype; a NUL at the end; NaN
        raise ValueError("a class has a label that its dtype cannot hold")
    if len(np.unique(classes)) != len(labels):
        raise ValueError("two classes have the same label")
    return classes


def encode(
    labels: NDArray[Any], classes: NDArray[Any], source: Path | None = None, hint: str = "", what: str = "test row"
) -> NDArray[np.int32]:
    """Return the class number of each label.

    Numbers are compared as numbers, whatever their dtypes; a number and a word as numbers if the word is one (``6`` is
    ``"6"``, ``"6.0"`` and ``"006"``), else not at all; words as words, and if there is no such class, as numbers.

    Parameters
    ----------
    labels, classes
        Of the rows, and all that there are; see :func:`check_labels`.
    source, hint, what
        For the message: the file of the labels, advice about unknown ones, and the name of a row.

    Raises
    ------
    DataError
        If a label is none of ``classes``; names it, its first row, and classes that there are.
    """
    different, where = np.unique(labels, return_inverse=True)  # labels are few and rows many
    find = _Finder(values_of(classes))
    numbers = np.array([find(value) for value in values_of(different)], np.int32)[where.reshape(-1)]
    strange = numbers < 0
    if strange.any():
        row = int(np.argmax(strange))
        raise DataError(
            f"{what} {row + 1} has the class {str(labels[row])!r}, which no training row has "
            f"({int(strange.sum())} such rows); the classes are {named(classes)}{hint}",
            path=source,
        )
    return numbers


def values_of(labels: NDArray[Any]) -> list[Label]:
    """Return labels as Python objects; short floats as they are printed, so that a float32's 0.1 is 0.1."""
    if labels.dtype.kind == "f" and labels.dtype.itemsize < 8:
        return [float(str(value)) for value in labels]
    values: list[Label] = labels.tolist()
    return values


def named(classes: NDArray[Any]) -> str:
    """Return the first classes for a message."""
    shown = ", ".join(str(label)[:40] for label in classes[:_MOST_NAMED].tolist())
    return shown if len(classes) <= _MOST_NAMED else f"{shown}, ... ({len(classes)} in all)"


class _Finder:
    """Finds the number of the class with a label; -1 if there is none, or two could be meant."""

    def __init__(self, classes: Sequence[Label]) -> None:
        # Numbers are equal, and are found, whatever their types: 6 == 6.0, True == 1.
        self.exact = {label: number for number, label in enumerate(classes)}
        self.truths = {str(label): number for number, label in enumerate(classes) if isinstance(label, bool)}
        self.numbers = _by_number(classes)
        # Of two words, 1e3 is no other spelling of 1000: both may be names.
        self.decimals = _by_number(
            [label if not isinstance(label, str) or _DECIMAL.fullmatch(label) else "" for label in classes]
        )

    def __call__(self, label: Label) -> int:
        found = self.exact.get(label)
        if found is None and isinstance(label, bool):
            found = self.exact.get(str(label))
        if found is None and isinstance(label, str):
            found = self.truths.get(label)
        if found is not None:
            return found
        value = number_of(label)
        known = self.decimals if isinstance(label, str) else self.numbers
        return -1 if value is None else known.get(value, -1)


def _by_number(classes: Sequence[Label]) -> dict[float, int]:
    """Return class numbers by the number that a label is or spells; -1 for several."""
    found: dict[float, int] = {}
    for number, label in enumerate(classes):
        value = number_of(label)
        if value is not None:
            found[value] = -1 if value in found else number
    return found


def number_of(label: Label) -> float | None:
    """Return the number that a label is or spells, exactly; None if it is a word."""
    if not isinstance(label, str):
        return label
    if _WHOLE.fullmatch(label):
        return int(label)
    try:
        value = float(label) if label.isascii() and "_" not in label else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
