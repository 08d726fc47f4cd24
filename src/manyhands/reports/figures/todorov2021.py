"""The experiment of Todorov et al. 2021 repeated: figures 5 to 8, each beside the published numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from manyhands.core.words import count
from manyhands.reports import queries
from manyhands.reports.figures.style import (
    INK,
    Draft,
    Look,
    Mark,
    Picture,
    draw_series,
    dress,
    from_zero,
    legend_above,
    new_figure,
    within_percent,
    worker_axis,
)
from manyhands.reports.format import decimal, impact
from manyhands.reports.schema import Record

_HERE, _THERE = Look("#0072B2", "o", "-"), Look(INK, "s", (0, (4, 2)))
_TITLES = {"table2": "without communication", "table3": "with communication"}


@dataclass(frozen=True)
class _Measure:
    """One quantity of the tables in which it differs: a function of a row and the row of one process, and its text."""

    name: str
    title: str
    axis: str
    value: Callable[[Record, Record | None], float | None]
    show: Callable[[float], str]
    tables: tuple[str, ...] = ("table2", "table3")


def _speedup(row: Record, one: Record | None) -> float | None:
    return None if one is None or not row["time_s"] else one["time_s"] / row["time_s"]


_MEASURES = (
    _Measure("published_time", "Training time", "time, s", lambda row, _: row["time_s"], lambda x: f"{x:.2f} s"),
    _Measure("published_speedup", "Speedup over one process", "speedup", _speedup, decimal),
    _Measure(
        "published_accuracy",
        "Accuracy",
        "accuracy on the test rows, %",
        lambda row, _: row["accuracy_pct"],
        lambda x: f"{x:.2f} %",
        ("table2",),
    ),
    _Measure("published_impact", "Impact factor", "impact factor, % / s", lambda row, _: row["impact"], impact),
)


def published_figures(published: Record) -> list[Draft]:
    """Return figures of time, speedup, accuracy and impact factor by number of processes, here and as published."""
    return [Draft(measure.name, partial(_picture, published, measure)) for measure in _MEASURES]


def _picture(published: Record, measure: _Measure) -> Picture | None:
    tables = published["tables"]
    if not any(_values(tables[name]["here"], measure) for name in measure.tables):
        return None
    several = len(measure.tables) > 1
    figure, panels = new_figure(1, len(measure.tables), width=9.0 if several else 6.6, sharey=several)
    numbers = sorted({row["processes"] for name in measure.tables for side in tables[name].values() for row in side})
    cores = published["environment"]["cores"] or max(numbers)
    crowded = {number for number in numbers if number > cores}
    for panel, name in zip(panels, measure.tables, strict=True):
        for side, look, text in (("here", _HERE, "here"), ("published", _THERE, "published (MIPRO 2021)")):
            values = _values(tables[name][side], measure)
            marks = [Mark(numbers.index(n), y, None, side == "here" and n in crowded) for n, y in values.items()]
            draw_series(panel, marks, look, text)
        worker_axis(panel, numbers, crowded)
        dress(panel, "processes", measure.axis if panel is panels[0] else "", _TITLES[name] if several else "")
    if measure.name == "published_accuracy":
        within_percent(panels[0].yaxis)
    else:
        from_zero(panels)
    legend_above(figure, panels)
    finding = _finding(published, measure)
    crowd = (
        f" Hollow points and numbers with * have more processes than the {queries.cores(published)} here."
        if crowded
        else ""
    )
    caption = f"{measure.title} of the published experiment, repeated here and as published: {finding}.{crowd}"
    return Picture(measure.name, caption, f"{measure.title} by number of processes: {finding}.", figure)


def _values(rows: Sequence[Record], measure: _Measure) -> dict[int, float]:
    """Return the measure of every number of processes that has one."""
    one = next((row for row in rows if row["processes"] == 1), None)
    found = {row["processes"]: measure.value(row, one) for row in sorted(rows, key=lambda row: row["processes"])}
    return {number: value for number, value in found.items() if value is not None}


def _finding(published: Record, measure: _Measure) -> str:
    """Return the value at the largest number of processes, here and as published, in each table."""
    facts = []
    for name in measure.tables:
        here = _values(published["tables"][name]["here"], measure)
        there = _values(published["tables"][name]["published"], measure)
        if not here:
            continue
        number = max(set(here) & set(there), default=max(here))
        text = f"{measure.show(here[number])} with {count(number, 'process')}"
        text += f" (published: {measure.show(there[number])})" if number in there else ""
        facts.append(f"{_TITLES[name]} {text}" if len(measure.tables) > 1 else text)
    return ", ".join(facts)
