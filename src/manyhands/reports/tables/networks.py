"""The tables of a study of networks: one for each axis, or one of all if they are crossed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from manyhands.core.words import count
from manyhands.reports import networks, queries
from manyhands.reports.format import decimal, first_capital, seconds
from manyhands.reports.schema import Record
from manyhands.reports.tables.table import (
    PAIRED,
    Column,
    Table,
    crowd_note,
    difference_cell,
    paired_mark,
    percent_cell,
    table_of,
    verdict_cell,
    with_interval,
)


def network_tables(study: Record) -> list[Table]:
    """Return all tables of a completed study of networks."""
    found = [
        _table(study, first_capital(networks.title(axis)), members) for axis, members in networks.groups(study).items()
    ]
    return found + ([_diverged(study)] if study["diverged"] else [])


def _diverged(study: Record) -> Table:
    """Return the table of the runs that diverged, with the seeds of each network and trainer."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for each in study["diverged"]:
        name, rate = str(study["networks"][each["network"]]["name"]), each["learning_rate"]
        key = name, _trainer({**each, "oversubscribed": False}), "" if rate is None else f"{rate:g}"
        groups.setdefault(key, []).append(str(each.get("seed", "")))
    rows = [[*key, ", ".join(seeds)] for key, seeds in groups.items()]
    note = "Diverged runs, and runs paired with them, are excluded from the means."
    return Table("Runs that diverged", ["network", "trained by", "rate", "seeds"], rows, note)


def _table(study: Record, title: str, members: Sequence[int]) -> Table:
    """Return the networks of a group, each with one worker and with several."""
    rows = [row for network in members for row in networks.rows_of(study, network)]
    chosen = frozenset(
        place
        for place, row in enumerate(rows)
        if row["network"] == study["best"] and row["strategy"] == queries.SEQUENTIAL
    )
    notes = ["Means, of times medians; below them the 95 % intervals."]
    if any(row["oversubscribed"] for row in rows):
        notes.append(crowd_note(study))
    if any(_mark(study, row) for row in rows):
        notes.append(PAIRED)
    if chosen:
        notes.append("Bold: the best of all on the validation rows.")
    return table_of(title, _columns(study), rows, " ".join(notes), chosen)


def _speedup(study: Record, row: Record) -> str:
    """Return the speedup of several workers."""
    if _is_alone(row):
        return ""
    return with_interval(decimal(row["speedup"]) + _mark(study, row), row["speedup_ci95"])


def _mark(study: Record, row: Record) -> str:
    return paired_mark(row, networks.alone(study).get(row["network"]))


def _columns(study: Record) -> list[Column]:
    columns: list[Column] = [
        ("network", lambda row: str(study["networks"][row["network"]]["name"])),
        ("trained by", _trainer),
        ("rate", lambda row: "" if row["learning_rate"] is None else f"{row['learning_rate']:g}"),
        ("train, s", lambda row: seconds(row["train_s"])),
        ("speedup", lambda row: _speedup(study, row)),
        ("accuracy, %", lambda row: percent_cell(row, "accuracy")),
        ("vs one worker, points", difference_cell),
        ("verdict", lambda row: "" if _is_alone(row) else verdict_cell(row)),
        ("confidence, %", lambda row: percent_cell(row, "confidence")),
        ("calibration error, %", lambda row: percent_cell(row, "calibration_error")),
    ]
    for target in study["settings"]["targets"]:
        columns.append((f"epochs to {100 * target:g} %", _reached(target, study["settings"].get("seeds"))))
    return [*columns, ("neurons that differ", _distinct(study))]


def _is_alone(row: Record) -> bool:
    return bool(row["strategy"] == queries.SEQUENTIAL)


def _trainer(row: Record) -> str:
    star = "*" if row["oversubscribed"] else ""
    return "one worker" if _is_alone(row) else f"{row['strategy']}, {count(row['workers'], 'worker')}{star}"


def _reached(target: float, seeds: int | None) -> Callable[[Record], str]:
    """Return a function that shows when a row reached a target, and how many runs did if not all."""

    def show(row: Record) -> str:
        for each in row["reached"]:
            if each["target"] == target and each["runs"] and each["epochs"] is not None:
                some = f", {each['runs']} of {seeds}" if seeds and each["runs"] < seeds else ""
                return f"{each['epochs']:.3g}{some}\n{seconds(each['seconds'])} s"
        return "never" if row["reached"] else ""

    return show


def _distinct(study: Record) -> Callable[[Record], str]:
    """Return a function that shows how many neurons of a row's network differ, if not all do."""

    def show(row: Record) -> str:
        hidden = study["networks"][row["network"]]["hidden"]
        if len(hidden) != len(row["distinct_neurons"]) or hidden == row["distinct_neurons"]:
            return ""
        return ", ".join(f"{found} of {width}" for found, width in zip(row["distinct_neurons"], hidden, strict=True))

    return show
