"""The table of the study of strategies: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from manyhands.core.words import count
from manyhands.reports.format import layers
from manyhands.runtime.terminal import BRIEF, Detail, Group, legend, text_table
from manyhands.strategies import parse_strategy
from manyhands.studies.compare.results import SummaryRow
from manyhands.studies.compare.text import (
    VERDICT_STYLES,
    coarse_note,
    same_note,
    shown_rows,
    warnings_text,
    with_interval,
)
from manyhands.studies.strategies.results import StrategiesComparison

_HEADER = ("strategy", "n", "rate", "rounds", "KB sent", "samples", "accuracy %", "vs sequential", "verdict")
_RANKS = (*[(name, 2) for name in _HEADER[2:6]], ("accuracy %", 1), ("vs sequential", 0), ("verdict", 0))


def _cells(comparison: StrategiesComparison, rows: Sequence[SummaryRow]) -> list[tuple[str, ...]]:
    """Return the table's cells, a row for each strategy and number of workers."""
    base = next(row for row in rows if row.strategy == "sequential")
    whole = _runs(comparison, base)[0]["examples"]
    return [_line(row, _runs(comparison, row)[0], whole) for row in rows]


def _line(row: SummaryRow, first: dict[str, Any], whole: int) -> tuple[str, ...]:
    """Return the cells of one row; its runs differ in nothing but seed, accuracy and time."""
    return (
        row.strategy,
        str(row.workers),
        f"{first['learning_rate']:g}",
        f"{first['rounds']:,}",
        "shared" if parse_strategy(row.strategy).needs.shared_memory else f"{first['bytes_sent'] / 1000:,.0f}",
        f"{first['examples'] / whole:.3f}",
        with_interval(row.accuracy.times(100), "{:.2f}"),
        "" if row.delta is None else with_interval(row.delta, "{:+.2f}"),
        "" if row.verdict is None else row.verdict.word,
    )


def _runs(comparison: StrategiesComparison, row: SummaryRow) -> list[dict[str, Any]]:
    """Return a row's runs."""
    key = (row.strategy, row.workers)
    return [record for record in comparison.runs if (record["strategy"], record["workers"]) == key]


def strategies_text(comparison: StrategiesComparison, detail: Detail = BRIEF) -> str:
    """Return the table as text for the terminal."""
    rows = shown_rows(comparison.summary, detail)
    if not rows:
        return "No run was finished."
    groups = [Group((name,), rank=rank) for name, rank in _RANKS]
    table = text_table(_HEADER[:2], groups, _cells(comparison, rows), detail, VERDICT_STYLES)
    blocks = [table, legend(_notes(comparison), detail), warnings_text(_warnings(comparison), detail)]
    return "\n\n".join(filter(None, blocks))


def strategies_markdown(comparison: StrategiesComparison) -> str:
    """Return the table as Markdown, for the documentation."""
    if not comparison.summary:
        return "No run was finished.\n"
    rule = ("---", *("---:" for _ in _HEADER[2:]), "---")
    lines: list[Sequence[str]] = [_HEADER, rule, *_cells(comparison, comparison.summary)]
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([*table, "", *_notes(comparison), *_warnings(comparison), ""])


def _notes(comparison: StrategiesComparison) -> list[str]:
    """Return what was measured, and how, the most important first."""
    settings, data = comparison.settings, comparison.settings["data"]
    rates = ", ".join(f"{rate:g}" for rate in settings["rates"])
    network = settings.get("architecture") or f"hidden {layers(settings['network']['hidden'])}"
    return [
        f"{data['name']}, {data['train_rows']:,} training, {data['validation_rows']:,} validation and "
        f"{data['test_rows']:,} test samples; {network}, {settings['network']['optimizer']}, "
        f"global batch {settings['batch']}, "
        f"{count(settings['epochs'], 'epoch')}, schedule {settings['schedule']}; {count(settings['seeds'], 'seed')}.",
        f"rate: the best of {rates} on the validation samples, over "
        f"{count(settings['tuning'], 'other seed')}, for every row of the table by itself.",
        "rounds, KB sent: of one worker, which sends one vector in each round (shared: it writes shared memory "
        "instead); samples: its share of the sequential run's. ± is the 95 % interval over seeds, which one of twenty "
        "misses.",
        same_note(settings["margin"]),
        "The rates of merges that use validation samples were chosen on the same samples.",
    ]


def _warnings(comparison: StrategiesComparison) -> list[str]:
    """Return the limits of what the table shows."""
    notes = [*(f"Warning: {text}" for text in comparison.problems())]
    notes += [*coarse_note(comparison.settings, (row.verdict for row in comparison.summary))]
    notes += [*(f"diverged: {what}" for what in comparison.diverged)]
    return notes + (["Interrupted: only finished runs are counted."] if comparison.interrupted else [])
