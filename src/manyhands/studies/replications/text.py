"""Replications as text for a terminal, our tables beside the published ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from manyhands.records.todorov2021 import WHAT_DIFFERS, PublishedRow, processes_table, published_table
from manyhands.runtime.terminal import BRIEF, Detail, Group, legend, paragraph, text_table
from manyhands.studies.compare.results import Comparison
from manyhands.studies.compare.text import comparison_table, shown_rows, warnings_text
from manyhands.studies.replications.results import Repetition, Replication
from manyhands.studies.sweep.text import sweep_text

_COMMUNICATION = (
    "With communication: distributing, computing, waiting, exchanging and averaging; without: computing alone. Reading "
    "is in neither."
)
_THEIR_ROWS, _THEIR_HIDDEN, _THEIR_EPOCHS = 6000, (75,), 75
_THEIR_STRATEGY, _OUR_STRATEGY = "one-shot", "periodic:1epoch"


def replication_text(found: Replication, detail: Detail = BRIEF) -> str:
    """Return all tables of what is finished."""
    blocks = []
    if found.sweep is not None:
        what = "epochs" if found.sweep.settings.get("architecture") else "hidden sizes and epochs"
        blocks.append(f"Table I: {what}\n{sweep_text(found.sweep, detail)}")
    if found.repetition is not None:
        blocks.append(tables_text(found.repetition, detail))
    elif found.comparison is not None and found.name == "exemplar":
        blocks += _published_tables(found.comparison, detail)
    if found.comparison is not None and found.comparison.runs and found.comparison.settings["splits"] is not None:
        blocks.append(accuracies_text(found.comparison, detail))
    if found.comparison is not None:
        blocks.append(comparison_table(found.comparison, detail))
    return "\n\n".join(blocks) or "No run was finished."


def _published_tables(comparison: Comparison, detail: Detail) -> list[str]:
    """Return Tables II and III of the comparison: their strategy, and the one that keeps the accuracy."""
    tables = []
    for strategy in (_THEIR_STRATEGY, _OUR_STRATEGY):
        runs = [record for record in comparison.runs if record["strategy"] == strategy]
        for number, title in ((2, "Table II: without communication"), (3, "Table III: with communication")):
            if runs:
                here = processes_table(runs, number)
                cores = comparison.environment["cores"]
                tables.append(table_text(f"{title}, {strategy}", here, published_table(number), cores))
    notes = [_COMMUNICATION, "Published: raw pixels, one mean at the end, a six-core Intel i7-9750H."]
    warnings = warnings_text(other_than_published(comparison.settings), detail)
    return [*tables, *filter(None, ["\n".join(map(paragraph, notes)), warnings])] if tables else []


def accuracies_text(comparison: Comparison, detail: Detail = BRIEF) -> str:
    """Return the accuracy on each random split, as the master of Alowaisheq & Dhami reports it."""
    groups: dict[tuple[str, int], list[str]] = {}
    shown = {(row.strategy, row.workers) for row in shown_rows(comparison.summary, detail)}
    for record in comparison.runs:
        if (record["strategy"], record["workers"]) not in shown:
            continue
        groups.setdefault((record["strategy"], record["workers"]), []).append(f"{100 * record['accuracy']:.2f}")
    splits = max(map(len, groups.values()), default=0)
    rows = [
        (strategy, str(workers), *scores, *[""] * (splits - len(scores)))
        for (strategy, workers), scores in groups.items()
    ]
    table = text_table(["strategy", "n"], [Group([str(number + 1)]) for number in range(splits)], rows, detail)
    return f"accuracy on each random split, %\n{table}"


def tables_text(repetition: Repetition, detail: Detail = BRIEF) -> str:
    """Return Tables II and III, ours beside the published ones, and what differs, as text that fits the terminal."""
    if not repetition.runs:
        return "No run was finished."
    cores = repetition.environment["cores"]
    blocks = [
        table_text("Table II: without communication", repetition.table(2), published_table(2), cores),
        table_text("Table III: with communication", repetition.table(3), published_table(3), cores),
    ]
    blocks += [legend([*_notes(repetition), WHAT_DIFFERS], detail), warnings_text(_warnings(repetition), detail)]
    return "\n\n".join(filter(None, blocks))


def _notes(repetition: Repetition) -> list[str]:
    """Return notes on the tables and on the limits of what they show."""
    read = statistics.median(record["seconds"]["read"] for record in repetition.runs)
    seeds = len({record["seed"] for record in repetition.runs})
    notes = [
        f"{_COMMUNICATION} It took {read:.3f} s (rank 0).",
        "Published times: a six-core Intel i7-9750H; scattering took about 11 s there.",
    ]
    if seeds > 1:
        notes.append(f"Medians of times and means of accuracies over {seeds} seeds.")
    return notes


def _warnings(repetition: Repetition) -> list[str]:
    """Return the limits of what the tables show."""
    notes = [f"Warning: {text}" for text in repetition.problems()]
    notes += other_than_published(repetition.settings)
    if any(record["workers"] > repetition.environment["cores"] for record in repetition.runs):
        notes.append(f"* more processes than the {repetition.environment['cores']} usable cores.")
    if repetition.resumed:
        notes.append("Resumed from a checkpoint: times come from more than one session.")
    if repetition.interrupted:
        notes.append("Interrupted: only finished runs are counted.")
    return notes


def other_than_published(settings: dict[str, Any]) -> list[str]:
    """Return a warning if data, network or epochs are others than those of the published Tables II and III."""
    here = (settings["data"]["name"], settings["data"]["train_rows"], tuple(settings["network"].get("hidden", ())))
    if here == ("mnist", _THEIR_ROWS, _THEIR_HIDDEN) and settings["epochs"] == _THEIR_EPOCHS:
        return []
    return [
        "The published numbers are for MNIST's first 6,000 images, 784-75-10, at most 75 epochs: compare only if "
        "that is what was run here."
    ]


def table_text(title: str, here: Sequence[PublishedRow], published: Sequence[PublishedRow], cores: int) -> str:
    """Return one table, ours at the left, as text."""
    theirs = {row.processes: _cells(row, 2) for row in published}
    heads = ("time s", "accuracy %", "impact")
    rows = [
        (
            f"{row.processes}{'*' if row.processes > cores else ''}",
            *_cells(row, 3),
            *theirs.get(row.processes, ("", "", "")),
        )
        for row in here
    ]
    groups = [Group(heads, "here"), Group(heads, "published (MIPRO 2021)")]
    return f"{title}\n{text_table(['processes'], groups, rows)}"


def _cells(row: PublishedRow, decimals: int) -> tuple[str, str, str]:
    return f"{row.time_s:.{decimals}f}", f"{row.accuracy_pct:.2f}", f"{row.impact:,.2f}"
