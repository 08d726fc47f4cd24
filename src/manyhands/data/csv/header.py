"""The first lines of a CSV file: its delimiter, whether they are a header, and which column is what."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from manyhands.core.errors import FormatError, SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.suggestions import did_you_mean
from manyhands.data.columns import row_names
from manyhands.data.csv.delimiters import delimiter_words, find_delimiter, parse_delimiter, rows_of
from manyhands.data.csv.pieces import Piece, open_piece
from manyhands.data.likely_labels import column_text
from manyhands.runtime.atomic_files import readable

CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Characters that no cell has, but for tabs and line ends."""
END = "\0the-end-of-the-file\0"
"""A line of ours behind others: a quotation mark that is open there makes it a part of a cell."""
_LOOKED_AT = 10  # lines, for the delimiter


@dataclass(frozen=True)
class Layout:
    """The columns of a CSV file, as its first lines show them.

    Attributes
    ----------
    delimiter
        What is between cells; `manyhands.data.csv.delimiters.WHITESPACE` for any white space.
    label_at
        Position of the label's column.
    columns
        Number of columns.
    header
        Whether the first line is a header.
    names
        The cells of the first line.
    left_out
        Number of columns at the beginning that only name the rows (no name, or pandas' ``Unnamed: 0``).
    label_asked
        Whether somebody said which column the label's is.
    """

    path: Path
    delimiter: str
    label_at: int
    columns: int
    header: bool
    names: tuple[str, ...]
    left_out: int
    label_asked: bool

    def column(self, number: int) -> str:
        """Return what messages call a column."""
        return column_text(number, self.names[number] if self.header and number < len(self.names) else None)

    def option(self, number: int) -> str:
        """Return how to say that a column is the label's."""
        return parameter("label_column", self.names[number] if self.header else number)

    @property
    def feature_columns(self) -> tuple[int, ...]:
        """Numbers of the columns of the features."""
        return tuple(place for place in range(self.left_out, self.columns) if place != self.label_at)

    @property
    def features(self) -> tuple[str, ...] | None:
        """Names of the features; None without a header."""
        return tuple(self.names[place] for place in self.feature_columns) if self.header else None

    @property
    def label(self) -> str | None:
        """Name of the label's column; None without a header."""
        return self.names[self.label_at] if self.header else None


def find_layout(path: str | Path, label_column: str | int | None = None, delimiter: str | None = None) -> Layout:
    """Return the layout of a CSV file; arguments and errors as `manyhands.data.csv.reader.read_csv`."""
    path, asked = readable(path), label_column is not None
    label_column = 0 if label_column is None else label_column
    lines = _first_rows(path)
    delimiter = parse_delimiter(delimiter) or find_delimiter(lines)
    try:
        cells, below = (next(rows_of([line], delimiter), []) for line in (*lines, "")[:2])
        is_open = any(cell.endswith(END) for cell in next(rows_of([lines[0], "\n", END], delimiter)))
    except csv.Error as error:
        raise FormatError(f"not a CSV row ({error})", path=path, line=1) from error
    header = _is_header(cells, below, label_column)
    _check_first(cells, path, is_open=is_open and (header or len(cells) < 2))
    label_at = _label_position(cells, label_column, header, path)
    names = tuple(cell.strip() for cell in cells)
    left_out = row_names(names) if header else 0
    if label_at < left_out:
        left_out = _left_out_beside(names, label_at, label_column, path)
    if len(cells) - left_out < 2:
        cells_of = f"its cells are divided by {delimiter_words(delimiter)} ({parameter('delimiter')})"
        raise FormatError(f"a row needs a label and at least one feature; {cells_of}", path=path, line=1)
    return Layout(path, delimiter, label_at, len(cells), header, names, left_out, asked)


def _check_first(cells: list[str], path: Path, *, is_open: bool) -> None:
    """Check the first line: a header is checked nowhere else."""
    strange = next((cell for cell in cells if CONTROL.search(cell)), None)
    if strange is not None:
        problem = f"{column_text(cells.index(strange), None)}: {strange[:40]!r} has a control character"
        raise FormatError(problem, path=path, line=1)
    if is_open:
        problem = f"{column_text(len(cells) - 1, None)}: a quotation mark is opened here and not closed in this line"
        raise FormatError(problem, path=path, line=1)


def _left_out_beside(names: tuple[str, ...], label_at: int, label_column: str | int, path: Path) -> int:
    """Return how many columns to leave out if the label's would be one of them: fewer, if it was chosen by its name."""
    if not _is_position(label_column):
        return label_at
    others = names[row_names(names) :]
    known = ", ".join(others[:8]) + (", ..." if len(others) > 8 else "")
    raise SettingsError(
        f"{path}: column {label_at} only names the rows (pandas writes its index so) and cannot be the label; say "
        f"which column is, by name or number ({parameter('label_column')}): {known}"
    )


def _first_rows(path: Path) -> list[str]:
    """Return the first lines, of which the first must not be blank."""
    with open_piece(Piece(path)) as file:
        lines = [line for line in (file.readline() for _ in range(_LOOKED_AT)) if line]
    if not lines:
        raise FormatError("the file is empty", path=path, line=1)
    if not lines[0].strip():
        raise FormatError("the first line is blank", path=path, line=1)
    return [line.rstrip("\r\n") for line in lines]


def number_in(cell: str) -> float | None:
    """Return a cell's number, or None; like NumPy, with any white space around it, which `float` does not allow."""
    cell = cell.strip()
    try:
        return float(cell) if "_" not in cell and cell.isascii() else None
    except ValueError:
        return None


def _is_header(cells: list[str], below: list[str], label_column: str | int) -> bool:
    """Return whether the first line is a header.

    It is one if it has the label column's name; or if no cell is a number; or if the label is a word and the others are
    numbered (``label,0,1,2``, as pandas writes them); or if the first cell is empty and another is a word, as above a
    column of row numbers.
    """
    names = [cell.strip() for cell in cells]
    if not names[0] and any(name and number_in(name) is None for name in names):
        return True
    if isinstance(label_column, str) and label_column in names and not _is_position(label_column):
        return True
    if len(cells) > 1 and all(names) and not any(number_in(name) is not None for name in names):
        return True
    if not _is_position(label_column) or not -len(cells) <= int(label_column) < len(cells):
        return False
    label = names.pop(int(label_column))
    numbered = names in ([str(i + start) for i in range(len(names))] for start in (0, 1))
    if len(names) == 1:  # one feature called 0 or 1: a value as well as a name
        numbered = numbered and len(below) == 2 and number_in(below[int(label_column)]) is not None
    return bool(label) and number_in(label) is None and numbered


def _is_position(label_column: str | int) -> bool:
    return isinstance(label_column, int) or (len(label_column) < 9 and label_column.removeprefix("-").isdecimal())


def _label_position(cells: list[str], label_column: str | int, header: bool, path: Path) -> int:
    names = [cell.strip() for cell in cells]
    if isinstance(label_column, str) and header and label_column in names:
        if names.count(label_column) > 1:
            raise SettingsError(f"{path}: several columns are named {label_column!r}; give the label's number")
        return names.index(label_column)
    try:
        position = int(label_column)
    except ValueError:
        near = did_you_mean(str(label_column), names) if header else ""
        columns = f"; the columns are {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        known = f"{near}{columns}" if header else "; the file has no header line"
        raise SettingsError(f"{path}: there is no column {label_column!r}{known}") from None
    if not -len(cells) <= position < len(cells):
        raise SettingsError(
            f"{path}: there is no column {position}; a row has {len(cells)} cells, numbered from 0 to "
            f"{len(cells) - 1}, or from the end by -1 to -{len(cells)}"
        )
    return position % len(cells)
