"""Results as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from manyhands.core.words import count
from manyhands.records.statistics import Estimate, Verdict, coarse_margin
from manyhands.reports.format import impact, seconds
from manyhands.runtime.terminal import (
    BOLD,
    BRIEF,
    GREEN,
    RED,
    YELLOW,
    Detail,
    Group,
    legend,
    paragraph,
    styled,
    text_table,
)  # fmt: skip
from manyhands.studies.compare.results import Comparison, SummaryRow

_KEYS = ("strategy", "n")
_GROUPS = (
    Group(("train\ns",)),
    Group(("total\ns",), rank=2),
    Group(("speed-\nup",)),
    Group(("effi-\nciency",), rank=2),
    Group(("accuracy %\n(95 %)",), rank=1),
    Group(("vs sequential\npoints (95 %)", "verdict")),
    Group(("impact\n", "impact\nw. comm."), rank=3),
)
VERDICT_STYLES = {"same": GREEN, "higher": GREEN, "lower": RED, "undecided": YELLOW, "?": YELLOW}
"""The styles of verdicts in tables."""


def comparison_table(comparison: Comparison, detail: Detail = BRIEF) -> str:
    """Return the comparison as a table that fits the terminal, with the meaning of its columns below."""
    rows = shown_rows(comparison.summary, detail)
    if not rows:
        return "No run was finished."
    table = text_table(_KEYS, _GROUPS, [_cells(row) for row in rows], detail, VERDICT_STYLES)
    target = comparison.settings.get("target")
    blocks = [table, target_text(rows, target, detail), laws_text(comparison.laws, detail) if detail.wide else ""]
    blocks += [legend(_notes(comparison, rows), detail), warnings_text(_warnings(comparison, rows), detail)]
    return "\n\n".join(filter(None, blocks))


def shown_rows(rows: Sequence[SummaryRow], detail: Detail) -> list[SummaryRow]:
    """Return the rows to show: with one worker, a strategy is another one only to those who ask for all of it."""
    return [row for row in rows if detail.wide or row.workers > 1 or row.strategy == "sequential"]


def warnings_text(texts: Sequence[str], detail: Detail) -> str:
    """Return what readers must know, whatever else they leave out."""
    return "\n".join(styled(paragraph(text), BOLD, detail) for text in texts)


def coarse_note(settings: Mapping[str, Any], verdicts: Iterable[Verdict | None]) -> list[str]:
    """Return a warning if one test sample is more than the margin within which accuracies are called the same."""
    known = [verdict for verdict in verdicts if verdict is not None]
    rows = settings.get("data", {}).get("test_rows", 0)
    found = coarse_margin(known[0].margin, rows) if known else None
    return [] if found is None else [f"Beware: {found}"]


def _name(row: SummaryRow) -> tuple[str, str]:
    return row.strategy, f"{row.workers}{'*' if row.oversubscribed else ''}"


def _cells(row: SummaryRow) -> tuple[str, ...]:
    return (
        *_name(row),
        seconds(row.train_s),
        seconds(row.total_s),
        f"{row.speedup if row.scaled_speedup is None else row.scaled_speedup:.2f}",
        f"{row.efficiency:.2f}",
        with_interval(row.accuracy.times(100), "{:.2f}"),
        "" if row.delta is None else with_interval(row.delta, "{:+.2f}"),
        "" if row.verdict is None else row.verdict.word,
        impact(row.impact),
        impact(row.impact_with_communication),
    )


def with_interval(value: Estimate, form: str) -> str:
    """Return a mean in a format such as ``{:.2f}``, and half of its interval, if it has one."""
    half = value.half_width
    return form.format(round(value.mean, 2) + 0.0) + ("" if half is None else f" ±{half:.2f}")


def target_text(rows: list[SummaryRow], target: float | None, detail: Detail = BRIEF) -> str:
    """Return a table of the training times to a target accuracy; empty if there is none."""
    if target is None:
        return ""
    title = f"training time to an accuracy of {100 * target:g} % on the test samples (evaluations are not counted)"
    columns = Group(("s", "times as fast", "reached by"))
    return f"{paragraph(title)}\n{text_table(_KEYS, [columns], [_target_cells(row) for row in rows], detail)}"


def _target_cells(row: SummaryRow) -> tuple[str, ...]:
    return (
        *_name(row),
        "never" if row.target_s is None else seconds(row.target_s),
        "" if row.target_speedup is None else f"{row.target_speedup:.2f}",
        f"{row.target_reached} of {row.seeds}",
    )


def laws_text(laws: list[dict[str, Any]], detail: Detail = BRIEF) -> str:
    """Return a table of what the laws say about each strategy's speedups; empty if none could be fitted."""
    fitted = [law for law in laws if any(law[name] is not None for name in ("amdahl", "usl", "gustafson"))]
    if not fitted:
        return ""
    groups = [
        Group(("serial", "at most"), "Amdahl"),
        Group(("contention", "coherency", "best n"), "USL"),
        Group(("serial",), "Gustafson"),
    ]
    rows = [(law["strategy"], *_amdahl(law), *_usl(law["usl"]), _serial(law["gustafson"])) for law in fitted]
    return f"how the speedup grows with the workers\n{text_table(['strategy'], groups, rows, detail)}"


def _amdahl(law: dict[str, Any]) -> tuple[str, str]:
    fit = law["amdahl"]
    if fit is None:
        return "", ""
    if all(speedup < 1 for speedup, n in zip(law["speedups"], law["workers"], strict=True) if n > 1):
        return "", "below 1"
    fraction = fit["serial_fraction"]
    return _serial(fit), f"{1 / fraction:.1f}" if fraction > 0.001 else "no limit"


def _usl(fit: dict[str, Any] | None) -> tuple[str, str, str]:
    if fit is None:
        return "", "", ""
    best = fit["best_workers"]
    return (
        f"{fit['contention']:.2f}{_star(fit)}",
        f"{fit['coherency']:.3f}{_star(fit)}",
        "no limit" if best is None else f"{max(best, 1):.0f}",
    )


def _serial(fit: dict[str, Any] | None) -> str:
    return "" if fit is None else f"{100 * fit['serial_fraction']:.0f} %{_star(fit)}"


def _star(crowded: dict[str, Any]) -> str:
    return "*" if crowded["oversubscribed"] else ""


def _notes(comparison: Comparison, rows: list[SummaryRow]) -> list[str]:
    """Return the legend, the most important notes first."""
    splits = comparison.settings.get("splits") is not None
    unit = "split" if splits else "seed"
    notes = [
        f"{_repetitions(rows, splits=splits)}: medians of times, means of accuracies; ±: 95 % interval over {unit}s.",
        *verdict_notes({f"{row.strategy} n={row.workers}": row.verdict for row in rows}, unit),
        *(["Splits share samples; their intervals are corrected for that (Nadeau & Bengio)."] if splits else []),
        f"Differences are paired by {unit}. Intervals say how much {unit}s differ, and not what other test samples "
        "would do.",
        "train: the time from loaded data to merged parameters; total: with reading and distributing the data.",
        "speed-up: median of the sequential run's training time over this one's; efficiency: speed-up per worker.",
        "impact: accuracy in percent per second of train; with communication (w. comm.): of distributing the data and "
        "train. Reading is in neither.",
    ]
    if any(record.get("curve") for record in comparison.runs):
        notes.append(
            "Convergence was measured during training, which costs parallel runs up to a fifth of their speed "
            "(docs/studies.md)."
        )
    return notes


def _repetitions(rows: list[SummaryRow], *, splits: bool) -> str:
    counts = [row.seeds for row in rows]
    number = f"{counts[0]}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    what = ("random split" if splits else "seed") + ("s" if max(counts) != 1 else "")
    return f"{number} {what}"


def _warnings(comparison: Comparison, rows: list[SummaryRow]) -> list[str]:
    """Return the limits of what the table shows."""
    notes = [f"Warning: {text}" for text in comparison.problems()]
    notes += coarse_note(comparison.settings, (row.verdict for row in rows))
    if comparison.settings.get("scaled"):
        notes.append(
            "speed-up: scaled, as n workers trained on n times the samples: the work done in the sequential run's time."
        )
    if any(row.oversubscribed for row in rows):
        cores = count(comparison.environment["cores"], "usable core")
        notes.append(f"* more workers than the {cores}: timings are not meaningful for machines with more cores.")
    if comparison.resumed:
        notes.append("Resumed from a checkpoint: times come from more than one session.")
    if comparison.interrupted:
        notes.append("Interrupted: only finished runs are counted.")
    return notes


def verdict_notes(rows: Mapping[str, Verdict | None], unit: str) -> list[str]:
    """Return notes on the verdicts of rows, by their names, and on what would decide open ones."""
    verdicts = {name: verdict for name, verdict in rows.items() if verdict is not None}
    if not verdicts:
        return []
    margin = next(iter(verdicts.values())).margin
    notes = [same_note(margin)]
    advice = {name: each.advice(unit) for name, each in verdicts.items() if each.word == "undecided"}
    if len(set(advice.values())) == 1 and len(advice) > 1:
        notes.append(f"undecided: {next(iter(advice.values()))}.")
    elif advice:
        notes.append(f"undecided: {'; '.join(f'{name}: {text}' for name, text in advice.items())}.")
    return notes


def same_note(margin: float) -> str:
    """Return what verdicts mean."""
    return f"same: interval within ±{margin:g} points (TOST); lower, higher: on one side of zero."
