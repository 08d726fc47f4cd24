"""One measure of a comparison by number of workers: a line for each strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from manyhands.reports import queries
from manyhands.reports.figures.style import REFERENCE, Mark, dodged, draw_series, in_percent, looks, worker_axis
from manyhands.reports.schema import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Value = tuple[float | None, Sequence[float] | None]
"""A value and its interval; None where a row has none."""


def accuracy_value(row: Record) -> tuple[float, list[float] | None]:
    """Return the mean accuracy of a row in percent, with its interval."""
    interval = row["accuracy_ci95"]
    return 100 * row["accuracy_mean"], in_percent(None if interval is None else [100 * end for end in interval])


def draw_by_workers(
    axes: Axes,
    compare: Record,
    measure: Callable[[Record], Value],
    rows: Sequence[Record] | None = None,
    by: str = "strategy",
    reference: str = queries.SEQUENTIAL,
) -> None:
    """Draw a measure of some rows, or of all, by workers; the sequential run's is a level across the panel.

    There is a line for each value of the field ``by``; that of the ``reference`` has a look of its own.
    """
    chosen = compare["summary"] if rows is None else rows
    workers = sorted({row["workers"] for row in chosen})
    styles = looks(dict.fromkeys(row[by] for row in compare["summary"]), reference)
    names = [name for name in styles if any(row[by] == name for row in chosen)]
    for series, name in enumerate(names):
        marks = [
            Mark(dodged(workers.index(row["workers"]), series, len(names)), value, interval, row["oversubscribed"])
            for row in sorted(compare["summary"], key=lambda row: int(row["workers"]))
            for value, interval in [measure(row)]
            if row[by] == name and row in chosen and value is not None
        ]
        if name == queries.SEQUENTIAL:
            for mark in marks:
                axes.axhline(mark.y, color=REFERENCE.colour, linestyle=REFERENCE.dashes, linewidth=1)
        draw_series(axes, marks, styles[name], name)
    worker_axis(axes, workers, queries.crowded(compare))
