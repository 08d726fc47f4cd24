"""The table of a sweep as terminal text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from manyhands.core.parameters import parameter
from manyhands.records.todorov2021 import published_sweep
from manyhands.studies.compare.text import seconds_text
from manyhands.studies.sweep.results import Sweep, SweepRow, impact_text


def sweep_text(sweep: Sweep) -> str:
    """Return Table I, ours beside the published one, as text of at most 100 columns."""
    rows, best = sweep.table, sweep.best
    if not rows:
        return "No session was finished."
    theirs: dict[tuple[tuple[int, ...], int], dict[str, Any]]
    theirs = {((row["hidden"],), row["epochs"]): row for row in published_sweep()}
    beside = any((row.hidden, row.epochs) in theirs for row in rows)
    on_test = sweep.settings["chosen_on"] == "test"
    header = ("hidden", "epochs", "time s", "test %" if on_test else "validation %", *(() if on_test else ("test %",)))
    header += ("impact", *(("time s", "accuracy %", "impact") if beside else ()))
    lines = [header]
    for row in rows:
        other = theirs.get((row.hidden, row.epochs))
        published = ("", "", "")
        if other is not None:
            published = f"{other['time_s']:.2f}", f"{other['accuracy_pct']:.2f}", f"{other['impact']:.2f}"
        lines.append((*_cells(row, on_test), *(published if beside else ())))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    ours = 5 if on_test else 6
    text = [_line(line, widths, ours) for line in lines]
    if beside:
        left, right = sum(widths[:ours]) + 2 * (ours - 1), sum(widths[ours:]) + 4
        text.insert(0, f"{'here':>{left}}    {'published (MIPRO 2021)':>{right}}".rstrip())
    text.insert(1 + beside, "-" * max(map(len, text)))
    text[2 + beside :] = [
        f"{line}{' <-' if row is best or row == best else ''}"
        for line, row in zip(text[2 + beside :], rows, strict=True)
    ]
    return "\n".join(
        [
            *text,
            "",
            textwrap.fill(f"best: {sweep.reason}", 100, break_on_hyphens=False),
            "",
            *_notes(sweep, rows, beside=beside),
        ]
    )


def _cells(row: SweepRow, on_test: bool) -> tuple[str, ...]:
    half = row.accuracy_pct.half_width
    percent = f"{row.accuracy_pct.mean:.2f}" + ("" if half is None else f" ±{half:.2f}")
    time_s = f"{seconds_text(row.time_s)}{'~' if row.time_falsified else ''}"
    test = () if on_test else (f"{row.test_pct:.2f}",)
    return row.name, str(row.epochs), time_s, percent, *test, impact_text(row.impact)


def _line(cells: Sequence[str], widths: Sequence[int], ours: int) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return ("  ".join(padded[:ours]) + ("    " + "  ".join(padded[ours:]) if padded[ours:] else "")).rstrip()


def _notes(sweep: Sweep, rows: Sequence[SweepRow], *, beside: bool) -> list[str]:
    """Explain the table, and what must not be read into it."""
    settings = sweep.settings
    runs = settings["runs"]
    what = "random splits" if settings["splits"] is not None else "runs"
    notes = [
        f"Medians of training times and means of accuracies over {runs} {what if runs > 1 else what[:-1]}, ± the 95 % "
        "interval. impact: accuracy in percent * s1 / (time * s2), "
        f"s1 = {settings['s1']:g}, s2 = {settings['s2']:g}: they rescale it and never change the order."
    ]
    if settings["target"] is None:
        notes[0] += f" A trade-off that does: {parameter('target')}, the fastest with at least that accuracy."
    if settings["chosen_on"] == "test":
        notes.append(
            "As published, the best is chosen on the test rows, so its accuracy there is a little too good to be true."
        )
    else:
        drawn = ", drawn anew from both for each split" if settings["splits"] is not None else ""
        notes.append(
            f"The best is chosen on validation rows, training rows that are not trained on{drawn}; test rows choose "
            "nothing."
        )
    if any(row.time_falsified for row in rows):
        side = max(record["side_by_side"] for record in sweep.runs)
        notes.append(
            f"~ measured while up to {side} sessions ran side by side, which falsifies times, impact and what is "
            f"chosen by them. {parameter('retime')} measures again, one alone at a time."
        )
    if beside:
        notes.append("Published times: a six-core Intel i7-9750H, raw pixels, accuracy on the test rows.")
    if sweep.interrupted:
        notes.append("Interrupted: only finished sessions are counted.")
    return [textwrap.fill(note, 100, break_on_hyphens=False) for note in notes]
