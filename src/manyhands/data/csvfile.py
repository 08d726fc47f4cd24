"""Tables as CSV: one row per example, one column with its label, the others numeric.

NumPy's compiled reader does the work. Only when it refuses a file is the file read again, slowly, to say where.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import DataError, FormatError, MissingDataError, SettingsError

_DELIMITERS = ",;\t"
_LONGEST_LABEL = 200
_LARGEST = float(np.finfo(np.float32).max)
_ENCODING = "utf-8-sig"  # with or without a byte order mark


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
    path = Path(path)
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
    try:
        features, labels = _Reader(path, delimiter, label_at, len(cells), skip=int(header)).read()
        if not len(features):
            raise FormatError("there is a header line but no row", path=path, line=1)
        sound = features.dtype == np.uint8 or bool(np.isfinite(features).all())
    except FormatError:
        raise
    except (ValueError, OverflowError, EOFError, OSError, zlib.error):
        sound = False
    if not sound:
        raise _diagnose(path, delimiter, label_at, header, len(cells))
    return features, labels


class _Reader:
    """The fast path: from the most compact type of a table to the most general."""

    def __init__(self, path: Path, delimiter: str, label_at: int, columns: int, skip: int) -> None:
        self.path, self.delimiter, self.label_at, self.skip = path, delimiter, label_at, skip
        self.features_at = [column for column in range(columns) if column != label_at]

    def read(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Try bytes for everything; else read labels and features apart."""
        try:
            table = self._load(np.uint8, None)
        except (ValueError, OverflowError):
            self._check_columns()
            return self._features(), self._labels()
        if len(table) and table.shape[1] != len(self.features_at) + 1:
            raise ValueError("another number of cells than the header")
        if not len(table):
            return table, table[:, 0]
        return self._without_label(table), table[:, self.label_at].astype(np.int64)

    def _without_label(self, table: NDArray[Any]) -> NDArray[Any]:
        if self.label_at == 0:
            return np.ascontiguousarray(table[:, 1:])
        return np.delete(table, self.label_at, axis=1)

    def _check_columns(self) -> None:
        """Count the cells of every row, which NumPy does not when it reads some columns only."""
        with _open(self.path) as file:
            for cells in csv.reader(file, delimiter=self.delimiter):
                if cells and len(cells) != len(self.features_at) + 1:
                    raise ValueError("ragged")

    def _features(self) -> NDArray[Any]:
        try:
            return self._load(np.uint8, self.features_at)
        except (ValueError, OverflowError):
            return self._load(np.float32, self.features_at)

    def _labels(self) -> NDArray[Any]:
        words = [word.strip() for word in self._load(np.object_, [self.label_at])[:, 0].tolist()]
        if not all(words):
            raise ValueError("a label is missing")
        if max(map(len, words)) > _LONGEST_LABEL:  # a NumPy array has the longest label's room in every row
            raise ValueError("a label is too long")
        labels = np.array(words)
        if (labels == "").any():  # nothing but NUL, which NumPy drops
            raise ValueError("a label is missing")
        try:
            return labels.astype(np.int64)
        except (ValueError, OverflowError):
            return labels

    def _load(self, dtype: Any, columns: list[int] | None) -> NDArray[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # NumPy < 2.3: a float taken for an integer
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data": said better by the caller
            return np.loadtxt(
                str(self.path),  # by name: NumPy reads a file of its own three times as fast as one of ours
                dtype=dtype,
                encoding=_ENCODING,
                delimiter=self.delimiter,
                comments=None,
                quotechar='"',
                skiprows=self.skip,
                usecols=columns,
                ndmin=2,
            )


@contextlib.contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    """Open as text, and turn what can go wrong outside the table into our errors."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding=_ENCODING, newline="") as file:
                yield cast(TextIO, file)
        else:
            with open(path, encoding=_ENCODING, newline="") as file:
                yield file
    except FileNotFoundError as error:
        raise MissingDataError("there is no such file", path=path) from error
    except UnicodeDecodeError as error:
        raise FormatError("not a text file in UTF-8", path=path) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"broken gzip file ({error})", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", path=path) from error


def _first_rows(path: Path) -> tuple[str, str]:
    """Return the first line, which must not be blank, and the second."""
    with _open(path) as file:
        first, second = file.readline(), file.readline()
    if not first:
        raise FormatError("the file is empty", path=path, line=1)
    if not first.strip():
        raise FormatError("the first line is blank", path=path, line=1)
    return first.rstrip("\r\n"), second.rstrip("\r\n")


def _delimiter_of(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _number(cell: str) -> float | None:
    """Return a cell's number, or None."""
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


def _diagnose(path: Path, delimiter: str, label_at: int, header: bool, columns: int) -> FormatError:
    """Find the first cell or row that is wrong."""
    with _open(path) as file:
        reader = csv.reader(file, delimiter=delimiter)
        try:
            for cells in reader:
                if (problem := _problem(cells, label_at, columns)) and not (header and reader.line_num == 1):
                    return FormatError(problem, path=path, line=reader.line_num)
        except csv.Error as error:
            return FormatError(f"not a CSV row ({error})", path=path, line=reader.line_num)
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
