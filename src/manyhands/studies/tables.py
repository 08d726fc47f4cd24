"""Results as text for a terminal."""

from __future__ import annotations

from manyhands.studies.compare import Comparison, SummaryRow
from manyhands.studies.statistics import Estimate

_HEADER = (
    ("", "", "train", "total", "speed-", "effi-", "accuracy %", "vs sequential", "impact", "impact"),
    ("strategy", "n", "s", "s", "up", "ciency", "(95 %)", "points (95 %)", "", "w. comm."),
)


def comparison_table(comparison: Comparison) -> str:
    """Return the comparison as a table of at most 100 columns, with what its words mean below."""
    rows = comparison.summary
    if not rows:
        return "No run was finished."
    cells = [_cells(row) for row in rows]
    lines = [*_HEADER, *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER[0]))]
    text = [_line(line, widths) for line in lines]
    text.insert(2, "-" * len(text[1]))
    return "\n".join([*text, "", *_notes(comparison, rows)])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """Join cells: the first to the left, the others to the right."""
    first = cells[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]).rstrip()


def _cells(row: SummaryRow) -> tuple[str, ...]:
    percent = Estimate(
        100 * row.accuracy.mean, *(None if x is None else 100 * x for x in (row.accuracy.low, row.accuracy.high))
    )
    return (
        row.strategy,
        f"{row.workers}{'*' if row.oversubscribed else ''}",
        _seconds(row.train_s),
        _seconds(row.total_s),
        f"{row.speedup:.2f}",
        f"{row.efficiency:.2f}",
        _with_interval(percent, "{:.2f}"),
        "" if row.delta is None else _with_interval(row.delta, "{:+.2f}"),
        _impact(row.impact),
        _impact(row.impact_with_communication),
    )


def _seconds(value: float) -> str:
    """Show milliseconds below 100 s, then four digits."""
    return f"{value:.3f}" if value < 100 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _impact(value: float) -> str:
    """Show one decimal, but three digits for slow runs, whose impact is small."""
    return f"{value:#.3g}" if value < 1 else f"{value:.1f}" if value < 1e4 else f"{value:.0f}"


def _with_interval(value: Estimate, form: str) -> str:
    half = value.half_width
    return form.format(value.mean) + ("" if half is None else f" ±{half:.2f}")


def _notes(comparison: Comparison, rows: list[SummaryRow]) -> list[str]:
    """Explain the columns, and what must not be read into them."""
    counts = [row.seeds for row in rows]
    seeds = f"{counts[0]}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    notes = [
        f"Medians of times, means of accuracies over {seeds} seed{'s' if max(counts) != 1 else ''};",
        "± is the 95 % interval, differences are paired by seed.",
        "train: from data in place to merged parameters; total: reading and distributing added.",
        "impact: accuracy in percent per second of train, and of total (w. comm.).",
    ]
    if any(row.oversubscribed for row in rows):
        cores = comparison.environment["cores"]
        notes.append(
            f"* more workers than the {cores} usable core{'s' if cores != 1 else ''}: "
            "these times say nothing about more cores."
        )
    if comparison.interrupted:
        notes.append("Interrupted: only finished runs are counted.")
    return notes
