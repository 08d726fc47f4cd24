"""The tables of a comparison: its rows, and how it scales."""

from __future__ import annotations

from manyhands.reports import queries
from manyhands.reports.format import decimal, impact, seconds
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


def comparison_tables(compare: Record) -> list[Table]:
    """Return the table of a comparison's rows, and that of the laws if any law was fitted."""
    laws = _laws(compare)
    return [_comparison(compare), *([laws] if len(laws.columns) > 1 else [])]


def _comparison_columns(compare: Record) -> list[Column]:
    columns: list[Column] = [
        ("strategy", lambda row: row["strategy"]),
        ("workers", lambda row: f"{row['workers']}{'*' if row['oversubscribed'] else ''}"),
        ("train, s", lambda row: seconds(row["train_s"])),
        ("speedup", lambda row: _speedup(compare, row)),
        ("scaled speedup", lambda row: decimal(row["scaled_speedup"])),
        ("vs sequential, points", difference_cell),
        ("verdict", verdict_cell),
        ("accuracy, %", lambda row: percent_cell(row, "accuracy")),
        ("efficiency", lambda row: decimal(row["efficiency"])),
        ("impact", lambda row: impact(row["impact"])),
        ("total, s", lambda row: seconds(row["total_s"])),
        ("impact with comm.", lambda row: impact(row["impact_with_communication"])),
        ("to target, s", lambda row: seconds(row["target_s"])),
        ("target reached", lambda row: "" if row["target_reached"] is None else f"{row['target_reached']} runs"),
    ]
    if compare["settings"]["target"] is None:
        return [column for column in columns if "target" not in column[0]]
    return columns


def _comparison(compare: Record) -> Table:
    often = queries.repetitions(compare)
    notes = [f"Medians of times and means of accuracies over {often}; below them the 95 % intervals."]
    if queries.crowded(compare):
        notes.append(crowd_note(compare))
    if any(paired_mark(row, queries.reference(compare)) for row in compare["summary"]):
        notes.append(PAIRED)
    chosen = frozenset(
        place
        for place, row in enumerate(compare["summary"])
        if row in queries.parallel_rows(compare)
        and row["verdict"] in ("same", "higher")
        and queries.surely_faster(row)
        and not row["oversubscribed"]
    )
    if chosen:
        notes.append("Bold: faster, and no less accurate.")
    return table_of("Comparison", _comparison_columns(compare), compare["summary"], " ".join(notes), chosen)


def _speedup(compare: Record, row: Record) -> str:
    """Return the speedup; the reference has no interval, it would be compared with itself."""
    interval = None if row["strategy"] == queries.SEQUENTIAL else row["speedup_ci95"]
    return with_interval(decimal(row["speedup"]) + paired_mark(row, queries.reference(compare)), interval)


def _laws(compare: Record) -> Table:
    """Return the table of the fitted laws; it has no second column if no law was fitted."""
    columns: list[Column] = [
        ("strategy", lambda law: law["strategy"]),
        ("serial part (Amdahl), %", lambda law: _percent(law, "amdahl")),
        ("contention (USL)", lambda law: _coefficient(law, "contention")),
        ("coherency (USL)", lambda law: _coefficient(law, "coherency")),
        ("best n (USL)", _best_workers),
        ("largest speedup (USL)", lambda law: "" if law["usl"] is None else decimal(law["usl"]["peak_speedup"])),
        ("serial part (Gustafson), %", lambda law: _percent(law, "gustafson")),
    ]
    crowd = f"* Fitted to points with more workers than the {queries.cores(compare)}, for lack of others."
    return table_of("How it scales", columns, compare["laws"], crowd if queries.fitted_crowded(compare) else "")


def _percent(law: Record, kind: str) -> str:
    return "" if law[kind] is None else f"{100 * law[kind]['serial_fraction']:.1f}{queries.starred(law, kind)}"


def _coefficient(law: Record, name: str) -> str:
    return "" if law["usl"] is None else f"{law['usl'][name]:.4f}{queries.starred(law, 'usl')}"


def _best_workers(law: Record) -> str:
    usl = law["usl"]
    if usl is None:
        return ""
    return "none: more is better" if usl["best_workers"] is None else f"{usl['best_workers']:.3g}"
