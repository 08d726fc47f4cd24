"""Results as text for a terminal."""

from __future__ import annotations

import textwrap
from typing import Any

from manyhands.records.statistics import Estimate
from manyhands.studies.compare.results import Comparison, SummaryRow

_HEADER = (
    ("", "", "train", "total", "speed-", "effi-", "accuracy %", "vs sequential", "", "impact", "impact"),
    ("strategy", "n", "s", "s", "up", "ciency", "(95 %)", "points (95 %)", "verdict", "", "w. comm."),
)


def comparison_table(comparison: Comparison) -> str:
    """Return the comparison as a table of at most 110 columns, with what its words mean below."""
    rows = comparison.summary
    if not rows:
        return "No run was finished."
    cells = [_cells(row) for row in rows]
    lines = [*_HEADER, *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER[0]))]
    text = [_line(line, widths) for line in lines]
    text.insert(2, "-" * len(text[1]))
    blocks = ["\n".join(text), target_lines(rows, comparison.settings.get("target")), law_lines(comparison.laws)]
    return "\n\n".join([*filter(None, blocks), "\n".join(_notes(comparison, rows))])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """Join cells: the first to the left, the others to the right."""
    first = cells[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]).rstrip()


def _cells(row: SummaryRow) -> tuple[str, ...]:
    return (
        row.strategy,
        f"{row.workers}{'*' if row.oversubscribed else ''}",
        seconds_text(row.train_s),
        seconds_text(row.total_s),
        f"{row.speedup if row.scaled_speedup is None else row.scaled_speedup:.2f}",
        f"{row.efficiency:.2f}",
        with_interval(row.accuracy.times(100), "{:.2f}"),
        "" if row.delta is None else with_interval(row.delta, "{:+.2f}"),
        "" if row.verdict is None else row.verdict.word,
        _impact(row.impact),
        _impact(row.impact_with_communication),
    )


def seconds_text(value: float) -> str:
    """Show milliseconds below 100 s, then four digits."""
    return f"{value:.3f}" if value < 100 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _impact(value: float) -> str:
    """Show one decimal, but three digits for slow runs, whose impact is small."""
    return f"{value:#.3g}" if value < 1 else f"{value:.1f}" if value < 1e4 else f"{value:.0f}"


def with_interval(value: Estimate, form: str) -> str:
    """Show a number, by ``form``, and half of its interval, if it has one."""
    half = value.half_width
    return form.format(value.mean) + ("" if half is None else f" ±{half:.2f}")


def target_lines(rows: list[SummaryRow], target: float | None) -> str:
    """Return how long everyone took to a target accuracy, as text; empty if there is none."""
    if target is None:
        return ""
    lines = [f"training time to {100 * target:g} % of the test rows (measuring is not counted)"]
    for row in rows:
        name = f"  {row.strategy:<17} n={row.workers}{'*' if row.oversubscribed else ' '}"
        if row.target_s is None:
            lines.append(f"{name}  never reached")
            continue
        times = "" if row.target_speedup is None else f"  {row.target_speedup:.2f} times as fast"
        missed = "" if row.target_reached == row.seeds else f"  (reached by {row.target_reached} of {row.seeds})"
        lines.append(f"{name}  {seconds_text(row.target_s)} s{times}{missed}")
    return "\n".join(lines)


def law_lines(laws: list[dict[str, Any]]) -> str:
    """Return what the laws say about each strategy's speedups, as text; empty if none could be fitted."""
    lines = [line for law in laws if (line := _law_line(law))]
    return "\n".join(["how the speedup grows with the workers", *lines]) if lines else ""


def _law_line(law: dict[str, Any]) -> str:
    amdahl, usl, gustafson = law["amdahl"], law["usl"], law["gustafson"]
    parts = []
    if amdahl is not None:
        fraction = amdahl["serial_fraction"]
        most = f"at most {1 / fraction:.1f} times" if fraction > 0.001 else "no limit seen"
        slower = all(speedup < 1 for speedup, n in zip(law["speedups"], law["workers"], strict=True) if n > 1)
        parts.append(
            "slower than one worker" if slower else f"Amdahl: {100 * fraction:.0f} % serial{_star(amdahl)}, {most}"
        )
    if usl is not None:
        best = usl["best_workers"]
        tells = "more is better" if best is None else f"best with {best:.0f} workers" if best >= 1.5 else "best with 1"
        parts.append(f"USL: contention {usl['contention']:.2f}, coherency {usl['coherency']:.3f}{_star(usl)}, {tells}")
    if gustafson is not None:
        parts.append(f"Gustafson: {100 * gustafson['serial_fraction']:.0f} % serial{_star(gustafson)}")
    line = f"  {law['strategy']:<17} {'; '.join(parts)}"
    return textwrap.fill(line, 110, subsequent_indent=" " * 20, break_on_hyphens=False) if parts else ""


def _star(law: dict[str, Any]) -> str:
    return "*" if law["oversubscribed"] else ""


def _notes(comparison: Comparison, rows: list[SummaryRow]) -> list[str]:
    """Explain the columns, and what must not be read into them."""
    counts = [row.seeds for row in rows]
    seeds = f"{counts[0]}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    splits = comparison.settings.get("splits") is not None
    what = ("random split" if splits else "seed") + ("s" if max(counts) != 1 else "")
    notes = [
        f"Medians of times, means of accuracies over {seeds} {what};",
        f"± is the 95 % interval, differences are paired by {'split' if splits else 'seed'}.",
        *(["Splits share rows: their intervals are corrected for it (Nadeau & Bengio)."] if splits else []),
        *_verdict_notes(rows, "split" if splits else "seed"),
        "train: from data in place to merged parameters; total: reading and distributing added.",
        "impact: accuracy in percent per second of train, and of total (w. comm.).",
    ]
    if comparison.settings.get("scaled"):
        notes.append("speed-up: scaled, work done in the sequential run's time: n workers trained on n times the rows.")
    if any(record.get("curve") for record in comparison.runs):
        notes.append("Measured on the way, which costs parallel runs up to a fifth of their speed (docs/studies.md).")
    if any(row.oversubscribed for row in rows):
        cores = comparison.environment["cores"]
        notes.append(
            f"* more workers than the {cores} usable core{'s' if cores != 1 else ''}: "
            "these times say nothing about more cores."
        )
    if comparison.resumed:
        notes.append("Resumed from a checkpoint: times come from more than one session.")
    if comparison.interrupted:
        notes.append("Interrupted: only finished runs are counted.")
    return notes


def _verdict_notes(rows: list[SummaryRow], unit: str) -> list[str]:
    """Explain the verdicts, and say what would settle those that are open."""
    verdicts = [row.verdict for row in rows if row.verdict is not None]
    if not verdicts:
        return []
    margin = verdicts[0].margin
    notes = [f"same: the interval lies within ±{margin:g} points (TOST); lower, higher: on one side of zero."]
    open_ones = [
        f"{row.strategy} n={row.workers}: {row.verdict.advice(unit)}"
        for row in rows
        if row.verdict is not None and row.verdict.word == "undecided"
    ]
    if len({text.split(": ", 1)[1] for text in open_ones}) == 1 and len(open_ones) > 1:
        open_ones = [open_ones[0].split(": ", 1)[1]]
    if open_ones:
        notes.append(textwrap.fill("undecided: " + "; ".join(open_ones) + ".", 100))
    return notes
