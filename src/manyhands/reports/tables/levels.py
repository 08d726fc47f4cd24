"""The tables of a study of the levels of parallelism: one for each network, and one of the widths."""

from __future__ import annotations

from manyhands.core.words import count
from manyhands.reports import levels
from manyhands.reports.format import decimal, span
from manyhands.reports.levels import EXEMPLAR, ONE, megabytes, milliseconds
from manyhands.reports.schema import Record
from manyhands.reports.tables.table import Column, Table, crowd_note, table_of, with_interval


def level_tables(study: Record) -> list[Table]:
    """Return all tables of a completed study of the levels."""
    tables = [_of_network(study, hidden) for hidden in levels.network_names(study)]
    return tables + ([_of_widths(study)] if levels.points(study, EXEMPLAR) else [])


def _of_network(study: Record, hidden: tuple[int, ...]) -> Table:
    """Return the table of a network; the fastest level of each number of workers stands out."""
    rows = levels.rows_of(study, hidden)
    numbers = {row["workers"] for row in rows}
    best = [levels.fastest(levels.rows_of(study, hidden, number)) for number in numbers]
    marked = frozenset(place for place, row in enumerate(rows) if any(row is each for each in best))
    return table_of(f"Levels: {levels.title(study, hidden)}", _columns(study, hidden), rows, _note(study, rows), marked)


def _note(study: Record, rows: list[Record]) -> str:
    repeats = max((row["repeats"] or 0 for row in rows), default=0)
    notes = [
        f"Medians over {count(repeats, 'repeat')}; below them the 95 % intervals. session: n trainings side by side, "
        "their time over n. Bold: the shortest step of one training. auto: what it would choose; + within 10 % of the "
        "fastest, - not. memory: a worker's arrays, as computed from their sizes; peak: of its process, as measured."
    ]
    if any(row["oversubscribed"] for row in rows):
        notes.append(crowd_note(study))
    return " ".join(notes)


def _columns(study: Record, hidden: tuple[int, ...]) -> list[Column]:
    return [
        ("level", lambda row: "one worker" if row["level"] == ONE else row["level"]),
        ("n", lambda row: f"{row['workers']}{'*' if row['oversubscribed'] else ''}"),
        ("step, ms", lambda row: _step(row)),
        ("model, ms", lambda row: milliseconds(row["predicted_ms"])),
        ("speedup", lambda row: with_interval(decimal(row["speedup"]), row["speedup_ci95"])),
        ("efficiency", lambda row: decimal(row["efficiency"])),
        ("communicate, ms", lambda row: milliseconds(row["communicate_ms"])),
        ("sent, MB", lambda row: megabytes(row["sent_bytes"])),
        ("exchanges", lambda row: str(row["exchanges"])),
        ("memory, MB", lambda row: megabytes(row["array_bytes"])),
        ("peak, MB", lambda row: megabytes(row["peak_bytes"])),
        ("auto", lambda row: auto_mark(study, row)),
    ]


def _step(row: Record) -> str:
    interval = row["step_ms_ci95"]
    return milliseconds(row["step_ms"]) + (f"\n{span(interval, 2)}" if interval else "")


def auto_mark(study: Record, row: Record) -> str:
    """Return + at the level that `auto` would choose if it is as good as the fastest, - if not; else nothing."""
    level, well = (find(study, row["hidden"], row["workers"]) for find in (levels.chosen_level, levels.chosen_well))
    if row["level"] != level or well is None:
        return ""
    return "+" if well else "-"


def _of_widths(study: Record) -> Table:
    """Return the milliseconds of a step over the width of two hidden layers."""
    found: dict[int, Record] = {}
    for level in (ONE, EXEMPLAR, "node", "pairs"):
        for width, row in levels.points(study, level):
            found.setdefault(width, {"width": width})[level] = row

    def cell(level: str, field: str) -> Column:
        kind = "ms" if field == "step_ms" else "model, ms"
        name = "one worker" if level == ONE else level
        return f"{name}, {kind}", lambda row: milliseconds(row[level][field]) if level in row else ""

    names = (ONE, EXEMPLAR, "node", "pairs")
    columns: list[Column] = [("width", lambda row: str(row["width"]))]
    columns += [cell(level, field) for field in ("step_ms", "predicted_ms") for level in names]
    rows = [found[width] for width in sorted(found)]
    workers = study["settings"]["crossing_workers"]
    return table_of("Two hidden layers of equal width", columns, rows, f"A step with {count(workers, 'worker')}.")
