"""The tables of a study of speculative back-propagation: its cases, and what diverged."""

from __future__ import annotations

from manyhands.reports import queries, speculative
from manyhands.reports.format import decimal, seconds
from manyhands.reports.schema import Record
from manyhands.reports.tables.table import (
    PAIRED,
    Column,
    Table,
    difference_cell,
    paired_mark,
    percent_cell,
    table_of,
    verdict_cell,
    with_interval,
)


def speculative_tables(study: Record) -> list[Table]:
    """Return all tables of a completed study of speculation."""
    found = [_table(study)] if study["summary"] else []
    return found + ([_diverged(study)] if study["diverged"] else [])


def _table(study: Record) -> Table:
    often = speculative.repetitions(study)
    notes = [f"Medians of times and means of accuracies over {often}; below them the 95 % intervals."]
    if any(row["oversubscribed"] for row in study["summary"]):
        cores = queries.cores(study)
        notes.append(f"* More lanes or workers than the {cores}: timings are not meaningful for more cores.")
    lanes = speculative.lane_rows(study)
    chosen = frozenset(
        place
        for place, row in enumerate(study["summary"])
        if row in lanes and speculative.gains(row) and not row["oversubscribed"]
    )
    if any(_mark(study, row) for row in study["summary"]):
        notes.append(PAIRED)
    if chosen:
        notes.append("Bold: lanes that are faster, and no less accurate.")
    return table_of("Cases", _columns(study), study["summary"], " ".join(notes), chosen)


def _columns(study: Record) -> list[Column]:
    cases = {case["name"]: case for case in study["cases"]}

    def lanes(name: str) -> Column:
        """Return a column of something that only several lanes can save."""
        head = {"saved": "saved, %", "ceiling": "at most, %", "ideal": "ideal, %"}[name]
        return head, lambda row: _percent(row[name] if cases[row["case"]]["lanes"] > 1 else None)

    return [
        ("case", lambda row: f"{row['case']}{'*' if row['oversubscribed'] else ''}"),
        ("train, s", lambda row: seconds(row["train_s"])),
        ("less time, %", lambda row: _reduction(study, row)),
        ("hits, %", lambda row: _percent(row["hit_rate"] if cases[row["case"]]["threshold"] else None)),
        lanes("saved"),
        lanes("ceiling"),
        lanes("ideal"),
        ("accuracy, %", lambda row: percent_cell(row, "accuracy")),
        ("vs sequential, points", difference_cell),
        ("verdict", verdict_cell),
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else decimal(100 * share, 1)


def _reduction(study: Record, row: Record) -> str:
    """Return by how much less time training took; the reference would be compared with itself."""
    if row["verdict"] is None:
        return ""
    return with_interval(decimal(row["reduction_pct"], 1) + _mark(study, row), row["reduction_ci95"])


def _mark(study: Record, row: Record) -> str:
    reference = next((each for each in study["summary"] if each["verdict"] is None), None)
    return paired_mark(row, reference)


def _diverged(study: Record) -> Table:
    """Return the table of the runs that diverged."""
    columns: list[Column] = [
        ("case", lambda run: run["case"]),
        ("seed", lambda run: "" if run["seed"] is None else str(run["seed"])),
        ("step", lambda run: "" if run["step"] is None else str(run["step"])),
    ]
    note = "Diverged runs, and runs paired with them, are excluded from the means."
    return table_of("Runs that diverged", columns, study["diverged"], note)
