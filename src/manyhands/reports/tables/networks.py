"""The tables of a study of networks: one for each axis, or one of all if they are crossed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from manyhands.reports import networks, queries
from manyhands.reports.format import count, decimal, first_capital, seconds, signed
from manyhands.reports.schema import Record
from manyhands.reports.tables.table import Column, Table, shown, with_interval


def network_tables(study: Record) -> list[Table]:
    """Return all tables of a completed study of networks."""
    found = [
        _table(study, first_capital(networks.title(axis)), members) for axis, members in networks.groups(study).items()
    ]
    return found + ([_diverged(study)] if study["diverged"] else [])


def _diverged(study: Record) -> Table:
    """Return the runs whose training diverged, by who trained what."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for each in study["diverged"]:
        name, rate = str(study["networks"][each["network"]]["name"]), each["learning_rate"]
        key = name, _trainer({**each, "oversubscribed": False}), "" if rate is None else f"{rate:g}"
        groups.setdefault(key, []).append(str(each.get("seed", "")))
    rows = [[*key, ", ".join(seeds)] for key, seeds in groups.items()]
    note = "In no mean, nor is what was paired with them."
    return Table("Runs that diverged", ["network", "trained by", "rate", "seeds"], rows, note)


def _table(study: Record, title: str, members: Sequence[int]) -> Table:
    """Return the networks of a group, each with one worker and with several."""
    rows = [row for network in members for row in networks.rows_of(study, network)]
    columns = _columns(study)
    cells = shown(columns, rows)
    kept = [place for place in range(len(columns)) if any(row[place] for row in cells)]
    chosen = frozenset(
        place
        for place, row in enumerate(rows)
        if row["network"] == study["best"] and row["strategy"] == queries.SEQUENTIAL
    )
    notes = ["Means, of times medians; below them the 95 % intervals."]
    if any(row["oversubscribed"] for row in rows):
        notes.append(f"* More workers than the {queries.cores(study)}: timings are not meaningful for more cores.")
    if chosen:
        notes.append("Bold: the best of all on the validation rows.")
    return Table(
        title,
        [columns[place][0] for place in kept],
        [[row[place] for place in kept] for row in cells],
        " ".join(notes),
        marked=chosen,
    )


def _columns(study: Record) -> list[Column]:
    """Return the headings, and what stands below them."""
    columns: list[Column] = [
        ("network", lambda row: str(study["networks"][row["network"]]["name"])),
        ("trained by", _trainer),
        ("rate", lambda row: "" if row["learning_rate"] is None else f"{row['learning_rate']:g}"),
        ("train, s", lambda row: seconds(row["train_s"])),
        ("speedup", lambda row: "" if _is_alone(row) else with_interval(decimal(row["speedup"]), row["speedup_ci95"])),
        ("accuracy, %", lambda row: _percent(row, "accuracy")),
        ("vs one worker, points", lambda row: with_interval(signed(row["delta_pp"]), row["delta_ci95"], sign=True)),
        ("verdict", _verdict),
        ("confidence, %", lambda row: _percent(row, "confidence")),
        ("calibration error, %", lambda row: _percent(row, "calibration_error")),
    ]
    for target in study["settings"]["targets"]:
        columns.append((f"to {100 * target:g} %", _reached(target, study["settings"].get("seeds"))))
    return [*columns, ("neurons that differ", _distinct(study))]


def _is_alone(row: Record) -> bool:
    return bool(row["strategy"] == queries.SEQUENTIAL)


def _trainer(row: Record) -> str:
    star = "*" if row["oversubscribed"] else ""
    return "one worker" if _is_alone(row) else f"{row['strategy']}, {count(row['workers'], 'worker')}{star}"


def _percent(row: Record, name: str) -> str:
    interval = row[f"{name}_ci95"]
    return with_interval(
        decimal(100 * row[f"{name}_mean"]), None if interval is None else [100 * end for end in interval]
    )


def _verdict(row: Record) -> str:
    if _is_alone(row) or row["verdict"] is None:
        return ""
    more = row["more_seeds"]
    return f"{row['verdict']}\n{count(more, 'more seed')}" if row["verdict"] == "undecided" and more else row["verdict"]


def _reached(target: float, seeds: int | None) -> Callable[[Record], str]:
    """Return what shows how soon a target was reached, and by how many runs if not by all."""

    def show(row: Record) -> str:
        for each in row["reached"]:
            if each["target"] == target and each["runs"] and each["epochs"] is not None:
                some = f", {each['runs']} of {seeds}" if seeds and each["runs"] < seeds else ""
                return f"{each['epochs']:.3g} epochs{some}\n{seconds(each['seconds'])} s"
        return "never" if row["reached"] else ""

    return show


def _distinct(study: Record) -> Callable[[Record], str]:
    """Return what shows how many neurons differ, where not all do."""

    def show(row: Record) -> str:
        hidden = study["networks"][row["network"]]["hidden"]
        if len(hidden) != len(row["distinct_neurons"]) or hidden == row["distinct_neurons"]:
            return ""
        return ", ".join(f"{found} of {width}" for found, width in zip(row["distinct_neurons"], hidden, strict=True))

    return show
