"""Table I of Todorov et al. 2021: a sweep over networks and epochs, beside the published numbers where they fit."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.reports.figures.sweep import comparable, published_rows
from manyhands.reports.format import decimal, impact, network_name, seconds
from manyhands.reports.schema import Record
from manyhands.reports.tables.table import PUBLISHED, Table


def sweep_table(sweep: Record) -> Table:
    """Return Table I, ours and, where it may be compared, the published one."""
    theirs = {(row["hidden"][0], row["epochs"]): row for row in published_rows()} if comparable(sweep) else {}
    if not any((row["hidden"][0], row["epochs"]) in theirs for row in sweep["table"] if theirs):
        theirs = {}
    tested = any(row["test_pct"] is not None for row in sweep["table"])
    chosen_on = sweep["settings"]["chosen_on"] or "test"
    rows, architecture = [], sweep["settings"]["architecture"]
    with_epochs = any(row["epochs"] for row in sweep["table"])
    for row in sweep["table"]:
        cells = [network_name(row["hidden"], architecture), *([str(row["epochs"])] if with_epochs else [])]
        cells.append(f"{seconds(row['time_s'])}{'†' if row['time_falsified'] else ''}")
        cells.append(decimal(row["accuracy_pct"]) + _half(row["accuracy_ci95"]))
        cells += [decimal(row["test_pct"])] if tested else []
        cells.append(impact(row["impact"]))
        if theirs:
            other = theirs.get((row["hidden"][0], row["epochs"]))
            cells += ["" if other is None else decimal(other[name]) for name in ("time_s", "accuracy_pct", "impact")]
        rows.append(cells)
    here = ["time, s", f"accuracy ({chosen_on}), %", *(["accuracy (test), %"] if tested else []), "impact"]
    best = sweep["best"]
    marked = frozenset(
        place
        for place, row in enumerate(sweep["table"])
        if best is not None and (row["hidden"], row["epochs"]) == (best["hidden"], best["epochs"])
    )
    return Table(
        f"Table I: training time, accuracy and impact factor{' by network and epochs' if with_epochs else ''}",
        [
            *(["network" if architecture else "hidden", "epochs"] if with_epochs else ["classifier"]),
            *here,
            *(["time, s", "accuracy, %", "impact"] if theirs else []),
        ],
        rows,
        _note(sweep, bool(theirs), bool(marked)),
        [("", 2), ("here", len(here)), (PUBLISHED, 3)] if theirs else [],
        marked,
    )


def _half(interval: Sequence[float] | None) -> str:
    """Return an interval as what is added and taken away, for tables with many rows."""
    return "" if interval is None else f" ±{decimal((interval[1] - interval[0]) / 2)}"


def _note(sweep: Record, beside: bool, marked: bool) -> str:
    notes = ["Bold: the chosen classifier."] if marked else []
    if beside:
        notes.append("Published: pixels not scaled, another machine, scikit-learn's MLPClassifier; theirs is 75, 75.")
    if any(row["accuracy_ci95"] for row in sweep["table"]):
        notes.append("±: 95 % interval.")
    if any(row["time_falsified"] for row in sweep["table"]):
        notes.append("† Measured while other sessions ran, and so too long.")
    return " ".join(notes)
