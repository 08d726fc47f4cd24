"""Tables II and III of Todorov et al. 2021: time, accuracy and impact factor, beside the published numbers."""

from __future__ import annotations

from dataclasses import replace

from manyhands.records.todorov2021 import WHAT_DIFFERS, processes_table, published_table
from manyhands.reports import queries
from manyhands.reports.format import decimal
from manyhands.reports.schema import Record
from manyhands.reports.tables.table import PUBLISHED, Table

_TITLES = {2: "Table II: without communication", 3: "Table III: with communication"}
_THEIRS = (
    "The published numbers are for MNIST's first 6,000 images, 784-75-10, at most 75 epochs, on a six-core processor."
)
_IN_THEIR_FORM = ("one-shot", "periodic:1epoch")


def published_tables(published: Record) -> list[Table]:
    """Return the tables of the repeated experiment; the last one says what differs from our own training."""
    second, third = (
        _beside(published, published["tables"][f"table{number}"], title, "processes")
        for number, title in _TITLES.items()
    )
    return [second, replace(third, note=f"{third.note} {_THEIRS} {WHAT_DIFFERS}".strip())]


def tables_of_comparison(compare: Record) -> list[Table]:
    """Return the comparison as Tables II and III: the published strategy, and the one that keeps the accuracy."""
    found = []
    for strategy in _IN_THEIR_FORM:
        runs = [run for run in compare["runs"] if run["strategy"] == strategy and _is_timed(run)]
        for number, title in _TITLES.items() if runs else ():
            here = [vars(row) for row in processes_table(runs, number)]
            sides = {"here": here, "published": [vars(row) for row in published_table(number)]}
            found.append(_beside(compare, sides, f"{title}, {strategy}", "workers"))
    return found


def _is_timed(run: Record) -> bool:
    """Return whether a run has what Tables II and III are made of."""
    seconds, measured = run["seconds"], run["accuracy"] is not None
    return measured and bool(seconds["compute"] and seconds["train"]) and seconds["distribute"] is not None


def _beside(part: Record, sides: Record, title: str, name: str) -> Table:
    """Return Table II or III, ours beside the published one."""
    theirs = {row["processes"]: row for row in sides["published"]}
    cores = part["environment"]["cores"]
    rows, crowded = [], False
    for row in sides["here"]:
        star = cores is not None and row["processes"] > cores
        crowded = crowded or star
        other = theirs.get(row["processes"])
        beside = ("", "", "") if other is None else _line(other, 2)
        rows.append([f"{row['processes']}{'*' if star else ''}", *_line(row, 3), *beside])
    three = ["time, s", "accuracy, %", "impact"]
    note = f"* More {name} than the {queries.cores(part)} here." if crowded else ""
    groups = [("", 1), ("here", 3), (PUBLISHED, 3)]
    return Table(title, [name, *three, *three], rows, note, groups)


def _line(row: Record, places: int) -> tuple[str, str, str]:
    return decimal(row["time_s"], places), decimal(row["accuracy_pct"]), decimal(row["impact"])
