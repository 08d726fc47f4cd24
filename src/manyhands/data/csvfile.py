"""Tables as CSV: one row per example, one column with its label, the others numeric.

NumPy's compiled reader does the work. Only when it refuses a file is the file read again, slowly, to say where.
A file can be read in parts, each by another process.
"""

from __future__ import annotations

import contextlib
import csv
import io
import warnings
import zlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.data.csvpiece import ENCODING, Piece, cut_piece, lines_before, numpy_source, open_piece
from manyhands.errors import FormatError, SettingsError
from manyhands.files import atomic_writer, readable

_DELIMITERS = ",;\t"
_LONGEST_LABEL = 200
_LARGEST = float(np.finfo(np.float32).max)


def read_csv(path: str | Path, label_column: str | int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return features and labels of a CSV file (plain or .gz; comma, semicolon or tab; header line optional).

    Parameters
    ----------
    path
        The file.
    label_column
        Number of the label's column (0 is the first, -1 the last) or, with a header line, its name.

    Returns
    -------
    features : ndarray of shape (rows, columns - 1), uint8 or float32
        Bytes if all values are whole numbers from 0 to 255.
    labels : ndarray of shape (rows,), int64 or str

    Raises
    ------
    MissingDataError
        If there is no such file.
    FormatError
        If the file is empty, a row has another number of cells than the first, or a feature is missing, not a number
        or not finite; names the line.
    SettingsError
        If there is no such label column.
    """
    return read_csv_part(path, label_column)


def read_csv_part(
    path: str | Path, label_column: str | int = 0, part: int = 0, parts: int = 1
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return features and labels of one of several nearly equal, consecutive pieces of a CSV file.

    Each piece is parsed by itself, so that n processes take little more than an n-th of the time if rows are long
    (more than an n-th with ten columns or fewer, as labels cost more here). Two kinds of file must be parsed whole for
    every part: compressed ones, and those with a quotation mark below the header, as a quoted cell may contain a line
    end.

    Parameters
    ----------
    path, label_column
        As for :func:`read_csv`.
    part, parts
        Which piece, from 0, and of how many. Every row is in exactly one, in the order of the file; a piece may be
        empty.

    Returns
    -------
    features : ndarray of shape (rows, columns - 1), uint8 or float32
        Bytes if all values that were parsed are whole numbers from 0 to 255, so that pieces may differ in dtype.
    labels : ndarray of shape (rows,), int64 or str
        Of several parts, int64 only where nothing is lost by it: the words as in the file if one of them is ``007``
        or ``+7``, because another piece may have a label that is no number. :func:`join_parts` and
        :func:`join_labels` decide for the whole file.

    Raises
    ------
    MissingDataError, FormatError, SettingsError
        As :func:`read_csv`, for errors in this piece; also if there is no such part. Lines are numbered as in the
        whole file.
    """
    if not 0 <= part < parts:
        raise SettingsError(f"there is no part {part} of {parts}; parts are numbered from 0")
    layout = _find_layout(readable(path), label_column)
    piece = cut_piece(Piece(layout.path, skip=int(layout.header)), part, parts)
    features, labels = _read(layout, piece, alone=parts == 1)
    if parts > 1 and piece.is_whole:
        rows = slice(part * len(labels) // parts, (part + 1) * len(labels) // parts)
        features, labels = features[rows].copy(), labels[rows].copy()  # do not keep the rest alive
    return features, labels


def join_parts(features: Sequence[NDArray[Any]], labels: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Join what :func:`read_csv_part` returned for all parts of a file, to the bits that :func:`read_csv` returns.

    Parameters
    ----------
    features, labels
        One array per part, in their order.

    Returns
    -------
    features : ndarray of shape (rows, columns - 1), uint8 or float32
    labels : ndarray of shape (rows,), int64 or str
    """
    return np.concatenate(features), join_labels(labels)


def join_labels(labels: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Join the labels of all parts of a file: int64 if all are whole numbers, else str.

    The dtype is the same for the distinct labels of each part, so that processes can agree on it cheaply.

    Parameters
    ----------
    labels
        One array per part, as :func:`read_csv_part` returned it, in their order.

    Returns
    -------
    ndarray of shape (rows,), int64 or str
    """
    if all(some.dtype == np.int64 for some in labels):
        return np.concatenate(labels)
    return _compact([str(label) for some in labels for label in some.tolist()])


@dataclass(frozen=True)
class _Layout:
    """What the first lines say about a file."""

    path: Path
    delimiter: str
    label_at: int
    columns: int
    header: bool


def _read(layout: _Layout, piece: Piece, alone: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read a piece, ``alone`` or as one of several; say what is wrong with it if it cannot be read."""
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
        raise _diagnose(layout, piece)
    return features, labels


class _Reader:
    """The fast path: from the most compact type of a table to the most general."""

    def __init__(self, layout: _Layout, piece: Piece) -> None:
        self.layout, self.piece = layout, piece

    def read(self, alone: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        """Try bytes for everything, if no other piece can make the labels words; else keep the labels as words."""
        if alone:
            with contextlib.suppress(ValueError, OverflowError):
                table = self._load(np.uint8)
                return self._without_label(table), table[:, self.layout.label_at].astype(np.int64)
        try:
            return self._with_words(np.uint8, alone)
        except (ValueError, OverflowError):
            return self._with_words(np.float32, alone)

    def _with_words(self, dtype: Any, alone: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        numbers: dict[str, int] = {}  # labels are few and rows many: look at each different word once
        rows = array("q")

        def number(word: str) -> int:
            rows.append(numbers.setdefault(word, len(numbers)))
            return 0  # not the number, for which a byte may be too small

        features = self._without_label(self._load(dtype, number))
        return features, _compact(_clean(list(numbers)), lossless=not alone)[np.asarray(rows)]

    def _without_label(self, table: NDArray[Any]) -> NDArray[Any]:
        if self.layout.label_at == 0:
            return np.ascontiguousarray(table[:, 1:])
        return np.delete(table, self.layout.label_at, axis=1)

    def _load(self, dtype: Any, from_label: Callable[[str], int] | None = None) -> NDArray[Any]:
        """Return all columns; ``from_label`` makes a label's word a number."""
        with numpy_source(self.piece) as source, warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # NumPy < 2.3: a float taken for an integer
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data": said better by the caller
            table = np.loadtxt(
                source,
                dtype=dtype,
                encoding=ENCODING,
                delimiter=self.layout.delimiter,
                comments=None,
                quotechar='"',
                skiprows=self.piece.skip,
                converters=None if from_label is None else {self.layout.label_at: from_label},
                ndmin=2,
            )
        if not len(table):
            return np.empty((0, self.layout.columns), dtype)
        if table.shape[1] != self.layout.columns:
            raise ValueError("another number of cells than the first line")
        return table


def _clean(words: list[str]) -> list[str]:
    """Return labels without space around them, and without a NUL at the end, which NumPy drops."""
    words = [word.strip().rstrip("\0") for word in words]
    if not all(words):
        raise ValueError("a label is missing")
    if any(len(word) > _LONGEST_LABEL for word in words):  # an array has the longest label's room in every row
        raise ValueError("a label is too long")
    return words


def _compact(words: list[str], lossless: bool = False) -> NDArray[Any]:
    """Return labels as int64 if all are whole numbers (``lossless``: and written plainly), else as they are."""
    labels = np.array(words, np.str_)
    try:
        numbers = labels.astype(np.int64)
    except (ValueError, OverflowError):
        return labels
    return labels if lossless and (numbers.astype(np.str_) != labels).any() else numbers


def _find_layout(path: Path, label_column: str | int) -> _Layout:
    first, second = _first_rows(path)
    delimiter = _delimiter_of(first)
    try:
        cells, below = (next(csv.reader([line], delimiter=delimiter), []) for line in (first, second))
    except csv.Error as error:
        raise FormatError(f"not a CSV row ({error})", path=path, line=1) from error
    header = _is_header(cells, below, label_column)
    label_at = _label_position(cells, label_column, header, path)
    if len(cells) < 2:
        raise FormatError("a row needs a label and at least one feature", path=path, line=1)
    return _Layout(path, delimiter, label_at, len(cells), header)


def _first_rows(path: Path) -> tuple[str, str]:
    """Return the first line, which must not be blank, and the second."""
    with open_piece(Piece(path)) as file:
        first, second = file.readline(), file.readline()
    if not first:
        raise FormatError("the file is empty", path=path, line=1)
    if not first.strip():
        raise FormatError("the first line is blank", path=path, line=1)
    return first.rstrip("\r\n"), second.rstrip("\r\n")


def _delimiter_of(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _number(cell: str) -> float | None:
    """Return a cell's number, or None; like NumPy, with any white space around it, which `float` does not allow."""
    cell = cell.strip()
    try:
        return float(cell) if "_" not in cell and cell.isascii() else None
    except ValueError:
        return None


def _is_header(cells: list[str], below: list[str], label_column: str | int) -> bool:
    """Tell a header line by one of three signs.

    It has the label column's name; or no cell is a number; or the label is a word there and a number in the next line
    (``label,0,1,2``, as pandas writes numbered columns).
    """
    names = [cell.strip() for cell in cells]
    if isinstance(label_column, str) and label_column in names and not _is_position(label_column):
        return True
    if len(cells) > 1 and all(names) and not any(_number(name) is not None for name in names):
        return True
    if not _is_position(label_column) or not -len(cells) <= int(label_column) < len(cells):
        return False
    label = names.pop(int(label_column))
    numbered = names in ([str(i + start) for i in range(len(names))] for start in (0, 1))
    if len(names) == 1:  # one feature called 0 or 1: a value as well as a name
        numbered = numbered and len(below) == 2 and _number(below[int(label_column)]) is not None
    return bool(label) and _number(label) is None and numbered


def _is_position(label_column: str | int) -> bool:
    return isinstance(label_column, int) or (len(label_column) < 9 and label_column.removeprefix("-").isdecimal())


def _label_position(cells: list[str], label_column: str | int, header: bool, path: Path) -> int:
    names = [cell.strip() for cell in cells]
    if isinstance(label_column, str) and header and label_column in names:
        return names.index(label_column)
    try:
        position = int(label_column)
    except ValueError:
        known = f"the columns are {', '.join(names[:8])}..." if header else "the file has no header line"
        raise SettingsError(f"{path}: there is no column {label_column!r}; {known}") from None
    if not -len(cells) <= position < len(cells):
        raise SettingsError(f"{path}: there is no column {position}; a row has {len(cells)} cells")
    return position % len(cells)


def _diagnose(layout: _Layout, piece: Piece) -> FormatError:
    """Find the first cell or row of a piece that is wrong."""
    path, before = piece.path, lines_before(piece) + piece.skip
    with open_piece(piece) as file:
        for _ in range(piece.skip):  # by lines, as NumPy does, even if a quoted name goes on in the next
            file.readline()
        reader = csv.reader(file, delimiter=layout.delimiter)
        try:
            for cells in reader:
                if problem := _problem(cells, layout.label_at, layout.columns):
                    return FormatError(problem, path=path, line=before + reader.line_num)
        except csv.Error as error:
            return FormatError(f"not a CSV row ({error})", path=path, line=before + reader.line_num)
    return FormatError("the file cannot be read as a table of numbers", path=path)


def _problem(cells: list[str], label_at: int, columns: int) -> str | None:
    """Say what is wrong with a row, if anything is; blank lines are fine."""
    if not cells:
        return None
    if len(cells) != columns:
        return f"the row has {len(cells)} cells, the first has {columns}"
    for column, cell in enumerate(cells):
        if not cell.strip():
            return f"column {column + 1}: the cell is empty"
        if column == label_at and len(cell.strip()) > _LONGEST_LABEL:
            return f"column {column + 1}: a label of {len(cell)} characters; at most {_LONGEST_LABEL} are possible"
        if column != label_at:
            value = _number(cell)
            if value is None:
                return f"column {column + 1}: {cell[:40]!r} is not a number"
            if not abs(value) <= _LARGEST:
                return f"column {column + 1}: {cell[:40]!r} is not a finite number"
    return None


def write_csv(path: Path, features: NDArray[Any], labels: NDArray[Any]) -> None:
    """Write rows ``label, x1, x2, ...`` without a header line.

    Parameters
    ----------
    path
        The file to write.
    features : ndarray of shape (rows, columns), uint8 or floating
    labels : ndarray of shape (rows,)

    Raises
    ------
    OutputError
        If it cannot be written; nothing half-written is left.
    """
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
