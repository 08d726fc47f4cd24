"""CSV files as samples: two, for training and testing, or one for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from manyhands.core.errors import shown
from manyhands.data.columns import counting_columns, notice
from manyhands.data.csv.delimiters import delimiter_words
from manyhands.data.csv.header import Layout, find_layout
from manyhands.data.csv.reader import read_csv
from manyhands.data.dataset import Examples
from manyhands.data.found import Found, read_timed
from manyhands.data.likely_labels import column_text

_MOST_COUNTING = 3


class Joiner(Protocol):
    """One of several processes that each read a piece of every CSV file.

    Attributes
    ----------
    part, parts : int
        Which piece is this process's, and of how many.
    seconds : float
        Time spent on exchanging the pieces so far.
    """

    part: int
    parts: int
    seconds: float

    def __call__(self, features: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the whole table, given this process's piece of it."""
        ...


class CSVFormat(NamedTuple):
    """What the user says about CSV files: the label's column and the delimiter; None for what they look like."""

    label_column: str | int | None = None
    delimiter: str | None = None


AS_FOUND = CSVFormat()


def read_tables(
    train: str | Path, test: str | Path | None, form: CSVFormat = AS_FOUND, joiner: Joiner | None = None
) -> Found:
    """Return the samples of two CSV files, or of one; errors as `manyhands.data.csv.reader.read_csv`."""
    layout = find_layout(train, *form)
    files = shown(train) if test is None else f"{shown(train)} and {shown(test)}"
    divided_by = "" if layout.delimiter == "," else f", divided by {delimiter_words(layout.delimiter)}"
    found = read_timed(
        shown(Path(train).name),
        f"CSV from {files}{divided_by}",
        lambda: (read_table(train, form, joiner), None if test is None else read_table(test, form, joiner)),
    )
    if _speaks(joiner):
        _say_counting(found.train)
    return found


def read_table(path: str | Path, form: CSVFormat = AS_FOUND, joiner: Joiner | None = None) -> Examples:
    """Return the samples of a CSV file; errors as `manyhands.data.csv.reader.read_csv`."""
    label_column, delimiter = form
    if joiner is None:
        features, labels = read_csv(path, label_column, delimiter=delimiter)
    else:
        features, labels = joiner(*read_csv(path, label_column, joiner.part, joiner.parts, delimiter))
    layout = find_layout(path, label_column, delimiter)
    if layout.left_out and _speaks(joiner):
        notice(f"{path}: {_left_out(layout)} only names the rows (pandas writes its index so): it is left out")
    return Examples(
        *(features, labels, Path(path), layout.features, layout.label),
        columns=layout.feature_columns,
        label_asked=layout.label_asked,
    )


def _speaks(joiner: Joiner | None) -> bool:
    """Return whether this process prints what all of several processes find."""
    return joiner is None or joiner.part == 0


def _left_out(layout: Layout) -> str:
    """Return the columns that are left out, in words."""
    names = enumerate(layout.names[: layout.left_out])
    return " and ".join(f"column {place} ({name or 'without a name'})" for place, name in names)


def _say_counting(train: Examples) -> None:
    """Warn of features that count the rows."""
    assert train.columns is not None
    names = train.feature_names
    for place in counting_columns(train.features, named=names is not None)[:_MOST_COUNTING]:
        column = column_text(train.columns[place], None if names is None else names[place])
        notice(
            f"{train.source}: {column} counts the rows and is trained on like any other; if it is only their number, "
            "take it out of all files"
        )
