"""The table of the study of speculative back-propagation: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyhands.core.words import count
from manyhands.reports.format import seconds
from manyhands.runtime.terminal import BRIEF, Detail, Group, legend, text_table
from manyhands.studies.compare.text import (
    VERDICT_STYLES,
    coarse_note,
    verdict_notes,
    warnings_text,
    with_interval,
)
from manyhands.studies.speculative.results import Speculation, SpeculativeRow

_KEYS = ("case",)
_GROUPS = (
    Group(("train\ns", "less time\n% (95 %)")),
    Group(("hits\n%", "saved\n%", "most\n%", "ideal\n%"), "lanes", rank=2),
    Group(("accuracy %\n(95 %)",), rank=1),
    Group(("vs sequential\npoints (95 %)", "verdict")),
)


def speculative_text(found: Speculation, detail: Detail = BRIEF) -> str:
    """Return the table as text that fits the terminal, with the meaning of its columns below."""
    rows = found.summary
    if not rows:
        return "No run was finished."
    table = text_table(_KEYS, _GROUPS, [_cells(row) for row in rows], detail, VERDICT_STYLES)
    blocks = [table, legend(_notes(found, rows), detail), warnings_text(_limits(found, rows), detail)]
    return "\n\n".join(filter(None, blocks))


def speculative_markdown(found: Speculation) -> str:
    """Return the table as Markdown, for the documentation."""
    rows = found.summary
    if not rows:
        return "No run was finished.\n"
    heads = [head.replace("\n", " ") for head in (*_KEYS, *(head for group in _GROUPS for head in group.heads))]
    rule = ("---", *("---:" for _ in heads[1:]))
    table = [f"| {' | '.join(line)} |" for line in [heads, rule, *map(_cells, rows)]]
    return "\n".join([*table, "", *_notes(found, rows), *_limits(found, rows), ""])


def _cells(row: SpeculativeRow) -> tuple[str, ...]:
    compared = row.row
    return (
        f"{row.case.name}{'*' if row.oversubscribed else ''}",
        seconds(compared.train_s),
        _reduction(row),
        _percent(row.hit_rate if row.case.threshold else None),
        *(_percent(each) for each in _lanes(row)),
        with_interval(compared.accuracy.times(100), "{:.2f}"),
        "" if compared.delta is None else with_interval(compared.delta, "{:+.2f}"),
        "" if compared.verdict is None else compared.verdict.word,
    )


def _lanes(row: SpeculativeRow) -> tuple[float | None, ...]:
    """Return what lanes have saved; nothing if there is one only."""
    return (row.saved, row.ceiling, row.ideal) if row.case.lanes > 1 else (None, None, None)


def _reduction(row: SpeculativeRow) -> str:
    """Return by how much less time training took, and its interval; nothing for the reference."""
    if row.row.verdict is None:
        return ""
    interval = row.reduction_interval
    ends = "" if interval is None else f" ({interval[0]:.1f}..{interval[1]:.1f})"
    return f"{row.reduction:.1f}{ends}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _parts(settings: Mapping[str, Any]) -> str:
    parts = settings["torch"]["micro_batches"]
    return f", {count(parts, 'micro-batch')}" if parts > 1 else ""


def _notes(found: Speculation, rows: Sequence[SpeculativeRow]) -> list[str]:
    """Return what was measured, and how."""
    settings, data = found.settings, found.settings["data"]
    compared = [row.row for row in rows]
    counts = [row.seeds for row in compared]
    seeds = f"{counts[0]}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    notes = [
        *verdict_notes({row.case.name: row.row.verdict for row in rows}, "seed"),
        f"{data['name']}, {data['train_rows']:,} training and {data['test_rows']:,} test samples; "
        f"{settings['architecture']}, {settings['network']['optimizer']} {settings['network']['learning_rate']:g}, "
        f"global batch {settings['batch']}, {count(settings['epochs'], 'epoch')}, schedule {settings['schedule']}, "
        f"single precision; {seeds} {'seed' if max(counts) == 1 else 'seeds'}, all cases in turns.",
        f"sequential: the same code in one lane, T=0{_parts(settings)}; T: samples farther than that from what is "
        f"stored are computed truly; autograd: the ordinary learner; {settings['workers']} workers: the same, "
        f"{settings['strategy']}.",
        "less time: than the sequential run, median over the seeds. ± and brackets: 95 % intervals over seeds; "
        "differences are paired by seed.",
        "hits: samples whose gradient came from what was stored. saved: by how much forward and backward passes "
        "together took less time than one after the other, in steps without misses; most: what lanes that never wait "
        "would have saved with every sample a hit (T=0: without speculation), by the measured times; ideal: by "
        "multiply-adds.",
    ]
    if any(run["workers"] > 1 and len(run["curve"] or []) > settings["epochs"] for run in found.runs):
        notes.append(
            "Accuracy was measured after every epoch, of several workers after every round, which costs them up to a "
            "fifth of their speed (docs/studies.md)."
        )
    return notes


def _limits(found: Speculation, rows: Sequence[SpeculativeRow]) -> list[str]:
    """Return notes on the limits of what the table shows."""
    notes = [f"Warning: {text}" for text in found.problems()]
    notes += coarse_note(found.settings, (row.row.verdict for row in rows))
    notes += [f"diverged: {each['case']}, seed {each['seed']}, step {each['step']}" for each in found.diverged]
    if any(row.oversubscribed for row in rows):
        cores = count(found.environment["cores"], "usable core")
        notes.append(f"* more lanes or workers than the {cores}: timings are not meaningful for more cores.")
    if found.resumed:
        notes.append("Resumed from a checkpoint: times come from more than one session.")
    if found.interrupted:
        notes.append("Interrupted: only finished runs are counted.")
    return notes
