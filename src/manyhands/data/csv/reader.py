"""Tables as CSV: one row per sample, one column with its label, the others numeric.

NumPy's compiled reader reads the file. Only a file that it refuses is read again, slowly, to find the line at fault.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import warnings
import zlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import FormatError, SettingsError
from manyhands.data.csv.delimiters import WHITESPACE, rows_of
from manyhands.data.csv.faults import LONGEST_LABEL, find_fault
from manyhands.data.csv.header import Layout, find_layout, number_in
from manyhands.data.csv.pieces import ENCODING, Piece, cut_piece, has_marks, numpy_source, open_piece
from manyhands.data.precision import coarse, narrowed, say_once
from manyhands.runtime.atomic_files import atomic_writer

_LARGEST_WHOLE = 2.0**53  # up to here, a double holds every whole number
_MOST_NAMED = 5


def read_csv(
    path: str | Path,
    label_column: str | int | None = None,
    part: int = 0,
    parts: int = 1,
    delimiter: str | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return features and labels of a CSV file (plain or .gz; header line optional).

    One of several processes can read one of several nearly equal, consecutive pieces; :func:`join_parts` joins them.
    Two kinds of file must be parsed whole for every part: compressed ones, and those with a quotation mark below the
    header, as a quoted cell may contain a line end.

    Parameters
    ----------
    path
        The file.
    label_column
        Number of the label's column (0 is the first, -1 the last) or, with a header line, its name; None: the
        first, and nobody has said so.
    part, parts
        Which piece, from 0, and of how many. Every row is in exactly one, in the order of the file; a piece may be
        empty.
    delimiter
        What is between cells, see `manyhands.data.csv.delimiters.parse_delimiter`; None: found in the first lines.

    Returns
    -------
    features : ndarray of shape (rows, columns - 1), uint8, float32 or float64
        Bytes if all values are whole numbers from 0 to 255; float64 if one of them is rounded in float32. Pieces may
        differ in dtype.
    labels : ndarray of shape (rows,), int64, float64 or str
        Numbers if all are; int64 if these are whole, however they are written (``6``, ``6.0``, ``6e0``). Pieces keep
        words such as ``007``, because another piece may have a label that is no number.

    Raises
    ------
    MissingDataError
        If there is no such file.
    FormatError
        If the file is empty, a row has another number of cells than the first, a feature is missing, not a number or
        not finite, a cell has a control character, or a quotation mark is not closed; names the line.
    SettingsError
        If there is no such label column, or no such part.
    """
    if not 0 <= part < parts:
        raise SettingsError(f"there is no part {part} of {parts}; parts are numbered from 0")
    layout = find_layout(path, label_column, delimiter)
    piece = cut_piece(Piece(layout.path, skip=int(layout.header)), part, parts)
    features, labels = _read(layout, piece, alone=parts == 1)
    if parts > 1 and piece.is_whole:
        rows = slice(part * len(labels) // parts, (part + 1) * len(labels) // parts)
        features, labels = features[rows].copy(), labels[rows].copy()  # do not keep the rest alive
    return features, labels


def read_piece(layout: Layout, piece: Piece) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return features and labels of one of several pieces of a file, as `read_csv` does; `join_labels` joins labels."""
    return _read(layout, piece, alone=False)


def join_parts(features: Sequence[NDArray[Any]], labels: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the features and labels of a whole file, given those of its parts in their order."""
    return np.concatenate(features), join_labels(labels)


def join_labels(labels: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the labels of all parts of a file as one array: numbers if all are, else str."""
    if all(some.dtype == np.int64 for some in labels):
        return np.concatenate(labels)
    return _compact([str(label) for some in labels for label in some.tolist()])


def _read(layout: Layout, piece: Piece, alone: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read a piece, ``alone`` or as one of several; raise its first fault if it has one."""
    try:
        features, labels = _Reader(layout, piece).read(alone)
        if piece.is_whole and not len(features):
            raise FormatError("there is a header line but no row", path=piece.path, line=1)
        sound = features.dtype == np.uint8 or bool(np.isfinite(features).all())
    except FormatError:
        raise
    except (ValueError, OverflowError, EOFError, OSError, zlib.error):
        sound = False
    if not sound:
        raise find_fault(layout, piece) or FormatError("the file cannot be read as a table of numbers", path=piece.path)
    by_words = layout.delimiter == WHITESPACE
    if has_marks(piece, by_words=by_words) and (fault := find_fault(layout, piece, values=False)):
        raise fault
    _say_what_is_lost(layout, piece, features)
    return features, labels


def _say_what_is_lost(layout: Layout, piece: Piece, features: NDArray[Any]) -> None:
    """Warn of columns with whole numbers that doubles cannot distinguish, such as 1700000000000000030."""
    if features.dtype == np.uint8 or not len(features):
        return
    low, high, lost = features.min(axis=0), features.max(axis=0), np.zeros(layout.columns, np.bool_)
    far = np.maximum(high, -low) > 2**53
    for column in np.flatnonzero(far & ((low == high) | coarse(features, np.float64))).tolist():
        at = layout.feature_columns[column]
        lost[at] = len(_distinct(layout, piece, at)) > 2 * len(np.unique(features[:, column]))
    if lost.any():
        say_once(
            f"{piece.path}: double precision cannot tell the numbers in {_columns(layout, lost)} apart; "
            "subtract the smallest one from all of them"
        )


def _columns(layout: Layout, found: NDArray[np.bool_]) -> str:
    """Return the columns that were found, in words."""
    numbers = np.flatnonzero(found).tolist()
    more = f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else ""
    return f"{', '.join(layout.column(each) for each in numbers[:_MOST_NAMED])}{more}"


def _distinct(layout: Layout, piece: Piece, at: int) -> set[str]:
    """Return the different cells of a column."""
    with open_piece(piece) as file:
        for _ in range(piece.skip):
            file.readline()
        return {cells[at].strip() for cells in rows_of(file, layout.delimiter) if cells}


class _Reader:
    """The fast path: from the most compact type of a table to the most general."""

    def __init__(self, layout: Layout, piece: Piece) -> None:
        self.layout, self.piece = layout, piece

    def read(self, alone: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        """Try bytes for everything, if no other piece can make the labels words; else keep the labels as words."""
        if alone and not self.layout.left_out:
            with contextlib.suppress(ValueError, OverflowError):
                table = self._load(np.uint8)
                return self._features(table), table[:, self.layout.label_at].astype(np.int64)
        try:
            return self._with_words(np.uint8, alone)
        except (ValueError, OverflowError):
            features, labels = self._with_words(np.float64, alone)
            return narrowed(features), labels

    def _with_words(self, dtype: Any, alone: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        numbers: dict[str, int] = {}  # labels are few and rows many: look at each different word once
        rows = array("q")

        def number(word: str) -> int:
            rows.append(numbers.setdefault(word, len(numbers)))
            return 0  # not the number, for which a byte may be too small

        features = self._features(self._load(dtype, number))
        return features, _compact(_clean(list(numbers)), lossless=not alone)[np.asarray(rows)]

    def _features(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return the columns that are features: not the label, nor names of rows."""
        if self.layout.label_at == 0:
            return np.ascontiguousarray(table[:, 1:])
        return np.ascontiguousarray(np.delete(table, [*range(self.layout.left_out), self.layout.label_at], axis=1))

    def _converters(self, from_label: Callable[[str], int]) -> dict[int | str, Callable[[str], Any]]:
        """Return what reads the cells of columns that are no features: names of rows may be words, and are not kept."""
        return {**dict.fromkeys(range(self.layout.left_out), lambda _: 0), self.layout.label_at: from_label}

    def _load(self, dtype: Any, from_label: Callable[[str], int] | None = None) -> NDArray[Any]:
        """Return all columns; ``from_label`` makes a label's word a number."""
        with numpy_source(self.piece) as source, warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # NumPy < 2.3: a float taken for an integer
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data": said better by the caller
            table = np.loadtxt(
                source,
                dtype=dtype,
                encoding=ENCODING,
                delimiter=None if self.layout.delimiter == WHITESPACE else self.layout.delimiter,
                comments=None,
                quotechar='"',
                skiprows=self.piece.skip,
                converters=None if from_label is None else self._converters(from_label),
                ndmin=2,
            )
        if not len(table):
            return np.empty((0, self.layout.columns), dtype)
        if table.shape[1] != self.layout.columns:
            raise ValueError("another number of cells than the first line")
        return table


def _clean(words: list[str]) -> list[str]:
    """Return labels without space around them."""
    words = [word.strip() for word in words]
    if not all(words):
        raise ValueError("a label is missing")
    if any(len(word) > LONGEST_LABEL for word in words):  # an array has the longest label's room in every row
        raise ValueError("a label is too long")
    return words


def _compact(words: list[str], lossless: bool = False) -> NDArray[Any]:
    """Return labels as numbers if all are (``lossless``: and whole and written plainly), else as they are."""
    labels = np.array(words, np.str_)
    try:
        numbers = labels.astype(np.int64)
    except (ValueError, OverflowError):
        return labels if lossless else _decimals(labels)
    return labels if lossless and (numbers.astype(np.str_) != labels).any() else numbers


def _decimals(labels: NDArray[Any]) -> NDArray[Any]:
    """Return words like 6.0 and 2.5 as numbers: int64 if all are whole, else float64; else as they are.

    Words stay words, too, if a double could not hold one of them, or 1.1 and 1.10 stand side by side: they are names.
    """
    different = np.unique(labels)
    found = [number_in(word) for word in different.tolist()]
    numbers = np.array([math.nan if value is None else value for value in found])
    if not (np.abs(numbers) < _LARGEST_WHOLE).all():  # NaN is not either
        return labels
    broken = numbers[numbers != np.rint(numbers)]
    if len(np.unique(broken)) < len(broken):
        return labels
    dtype = np.float64 if len(broken) else np.int64
    return numbers.astype(dtype)[np.searchsorted(different, labels)]


def write_csv(path: Path, features: NDArray[Any], labels: NDArray[Any]) -> None:
    """Write rows ``label, x1, x2, ...`` without a header line, whole or not at all (else OutputError)."""
    with atomic_writer(path) as file:
        if features.dtype != np.uint8 or labels.dtype.kind not in "iu":
            text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
            csv.writer(text).writerows(
                [label, *row] for row, label in zip(features.tolist(), labels.tolist(), strict=True)
            )
            text.detach()
            return
        words = [str(value) for value in range(256)]  # looking up is several times faster than formatting
        for row, label in zip(features, labels.tolist(), strict=True):
            file.write(f"{label},{','.join([words[value] for value in row.tolist()])}\n".encode())
