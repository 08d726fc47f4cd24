"""A table of a report, as text, and the cells that several tables have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from manyhands.core.words import count
from manyhands.reports import queries
from manyhands.reports.format import decimal, signed, span
from manyhands.reports.schema import Record

PUBLISHED = "published (MIPRO 2021)"
_SEEN = 0.01  # a difference of two speedups that is seen in the table

Column = tuple[str, Callable[[Record], str]]
"""A heading, and the function that makes the cell below it for a row of the record."""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    title, note
        The texts above and below the table.
    columns
        The headings.
    rows
        The cells of every row. The first cell names the row; a second line in a cell is an interval.
    groups
        Headings over several columns: text and number of columns.
    marked
        Positions of the rows that stand out.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    groups: Sequence[tuple[str, int]] = ()
    marked: frozenset[int] = field(default_factory=frozenset)


def table_of(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Record],
    note: str = "",
    marked: frozenset[int] = frozenset(),
) -> Table:
    """Return a table of records without the columns that no record fills."""
    filled = [(head, cells) for head, show in columns if any(cells := [show(row) for row in rows])]
    shown = list(zip(*(cells for _, cells in filled), strict=True))
    return Table(title, [head for head, _ in filled], shown, note, marked=marked)


def with_interval(value: str, interval: Sequence[float] | None, *, sign: bool = False) -> str:
    """Return a cell with a value, and its interval below it."""
    return f"{value}\n{span(interval, sign=sign)}" if interval else value


def percent_cell(row: Record, name: str) -> str:
    """Return the mean of a share in percent, and its interval below it."""
    interval = row[f"{name}_ci95"]
    mean = decimal(100 * row[f"{name}_mean"])
    ends = None if interval is None else [min(max(100 * end, 0.0), 100.0) for end in interval]
    return with_interval(mean, ends)


def difference_cell(row: Record) -> str:
    """Return the difference to the reference in percentage points, and its interval below it."""
    return with_interval(signed(row["delta_pp"]), row["delta_ci95"], sign=True)


def verdict_cell(row: Record) -> str:
    """Return the verdict, and below it how many more seeds would settle an open question."""
    word, more = row["verdict"] or "", row["more_seeds"]
    return f"{word}\n{count(more, 'more seed')}" if word == "undecided" and more else word


PAIRED = (
    "† This is the median over the pairs of runs with the same seed; dividing the times in this table gives another "
    "number."
)
"""The note about values that `paired_mark` marks."""


def paired_mark(row: Record, reference: Record | None) -> str:
    """Return † if a row's speedup is another number than the reference's time divided by the row's."""
    if reference is None or not (row["train_s"] and reference["train_s"] and row["speedup"]):
        return ""
    return "†" if abs(reference["train_s"] / row["train_s"] - row["speedup"]) >= _SEEN else ""


def crowd_note(record: Record) -> str:
    """Return the note about rows with more workers than cores."""
    return f"* More workers than the {queries.cores(record)}: timings are not meaningful for more cores."
