"""The table of a sweep as terminal text."""

from __future__ import annotations

from typing import Any

from manyhands.core.parameters import parameter
from manyhands.records.todorov2021 import published_sweep
from manyhands.reports.format import seconds
from manyhands.runtime.terminal import BOLD, BRIEF, Detail, Group, legend, paragraph, styled, text_table
from manyhands.studies.compare.text import warnings_text, with_interval
from manyhands.studies.sweep.results import Sweep, SweepRow, impact_text


def sweep_text(sweep: Sweep, detail: Detail = BRIEF) -> str:
    """Return Table I, ours beside the published one, as text that fits the terminal."""
    rows, best = sweep.table, sweep.best
    if not rows:
        return "No session was finished."
    published: dict[tuple[tuple[int, ...], int], tuple[str, ...]]
    published = {((row["hidden"],), row["epochs"]): _published_cells(row) for row in published_sweep()}
    beside = any((row.hidden, row.epochs) in published for row in rows)
    on_test = sweep.settings["chosen_on"] == "test"
    groups = [Group(("time s", *(("test %",) if on_test else ("validation %", "test %")), "impact"), "here" * beside)]
    if beside:
        groups.append(Group(("time s", "test %", "impact"), "published (MIPRO 2021)", rank=1))
    lines = []
    for row in rows:
        theirs = published.get((row.hidden, row.epochs), ("", "", "")) if beside else ()
        lines.append((*_cells(row, on_test), *theirs, "<" if row == best else ""))
    keys = ["network" if sweep.settings.get("architecture") else "hidden", "epochs"]
    if not any(row.epochs for row in rows):
        keys, lines = ["classifier"], [(name, *others) for name, _, *others in lines]
    table = text_table(keys, [*groups, Group([""])], lines, detail)
    best_text = styled(paragraph(f"best: {sweep.reason}"), BOLD, detail)
    blocks = [table, best_text, legend(_notes(sweep, beside=beside), detail), warnings_text(_warnings(sweep), detail)]
    return "\n\n".join(filter(None, blocks))


def _published_cells(row: dict[str, Any]) -> tuple[str, str, str]:
    return f"{row['time_s']:.2f}", f"{row['accuracy_pct']:.2f}", f"{row['impact']:.2f}"


def _cells(row: SweepRow, on_test: bool) -> tuple[str, ...]:
    time_s = f"{seconds(row.time_s)}{'~' if row.time_falsified else ''}"
    test = () if on_test else (f"{row.test_pct:.2f}",)
    return row.name, str(row.epochs), time_s, with_interval(row.accuracy_pct, "{:.2f}"), *test, impact_text(row.impact)


def _notes(sweep: Sweep, *, beside: bool) -> list[str]:
    """Return the legend, the most important notes first."""
    settings = sweep.settings
    runs = settings["runs"]
    what = "random splits" if settings["splits"] is not None else "runs"
    notes = [
        f"Medians of training times and means of accuracies over {runs} {what if runs > 1 else what[:-1]}, ± the 95 % "
        f"interval over the {what}.",
    ]
    impact = (
        f"impact: accuracy in percent * s1 / (time * s2), s1 = {settings['s1']:g}, s2 = {settings['s2']:g}: they "
        "rescale it and never change the order."
    )
    if settings["target"] is None:
        impact += f" {parameter('min_accuracy')} chooses the fastest with at least that accuracy instead."
    if settings["chosen_on"] != "test":
        drawn = ", drawn anew from both for each split" if settings["splits"] is not None else ""
        notes.append(
            f"The best is chosen on validation samples, which are training samples held out{drawn}; nothing is chosen "
            "on test samples."
        )
    notes.append(impact)
    if beside:
        notes.append("Published times: a six-core Intel i7-9750H, raw pixels, accuracy on the test samples.")
    return notes


def _warnings(sweep: Sweep) -> list[str]:
    """Return the limits of what the table shows."""
    notes = [f"Warning: {text}" for text in sweep.problems()]
    if sweep.settings["chosen_on"] == "test":
        notes.append(
            "As published, the best is chosen on the test samples, so its accuracy on them is slightly optimistic."
        )
    if any(row.time_falsified for row in sweep.table):
        side = max(record["side_by_side"] for record in sweep.runs)
        notes.append(
            f"~ measured while up to {side} sessions ran side by side, which distorts times, impact and the choice. "
            f"{parameter('retime')} repeats these sessions one at a time."
        )
    if sweep.interrupted:
        notes.append("Interrupted: only finished sessions are counted.")
    return notes
