"""A table of a report, as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from manyhands.reports.format import span
from manyhands.reports.schema import Record

Column = tuple[str, Callable[[Record], str]]
"""A heading, and what stands below it for a row of the record."""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    title, note
        Above and below it.
    columns
        One heading each.
    rows
        The first cell of each names it; a second line in a cell is its interval.
    groups
        Headings over several columns: text and number of columns; none if empty.
    marked
        Positions of rows that stand out.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    groups: Sequence[tuple[str, int]] = ()
    marked: frozenset[int] = field(default_factory=frozenset)


def shown(columns: Sequence[Column], rows: Sequence[Record]) -> list[list[str]]:
    """Return the cells of all rows."""
    return [[show(row) for _, show in columns] for row in rows]


def with_interval(value: str, interval: Sequence[float] | None, *, sign: bool = False) -> str:
    """Return a cell of a value, and its interval below it."""
    return f"{value}\n{span(interval, sign=sign)}" if interval else value
