"""Training time, speedup and impact factor by number of workers: figures 5, 6 and 8 of Todorov et al. 2021."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from manyhands.records.laws import Amdahl, Gustafson, Scalability
from manyhands.reports import queries
from manyhands.reports.figures.by_workers import Value, draw_by_workers
from manyhands.reports.figures.style import (
    GREY,
    INK,
    Look,
    Mark,
    Picture,
    draw_series,
    dress,
    from_zero,
    legend_above,
    new_figure,
)
from manyhands.reports.figures.text import label
from manyhands.reports.format import decimal, seconds
from manyhands.reports.format import impact as impact_text
from manyhands.reports.schema import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 3  # panels side by side
_MEASURED = Look("#0072B2", "o", "-")
_LOG_FROM = 16  # workers from which an axis of workers doubles at equal distances


def hollow_note(compare: Record) -> str:
    """Return what hollow points mean, as a sentence; nothing if there is none."""
    if not queries.crowded(compare):
        return ""
    return (
        f" Hollow points and numbers with * have more workers than the {queries.cores(compare)}; their times say "
        "nothing about a machine with more cores."
    )


def training_time(compare: Record) -> Picture:
    """Draw median training seconds by workers (figure 5), and seconds to the target accuracy if one was set."""
    target = compare["settings"]["target"]
    reached = target is not None and any(row["target_s"] is not None for row in compare["summary"])
    figure, panels = new_figure(1, 2 if reached else 1, width=9.0 if reached else 6.6)
    draw_by_workers(panels[0], compare, partial(_without_interval, "train_s"))
    dress(panels[0], "workers", "training time, s", "to the last epoch" if reached else "")
    if reached:
        draw_by_workers(panels[1], compare, partial(_without_interval, "target_s"))
        dress(panels[1], "workers", "training time, s", f"until {100 * target:g} % was first measured")
    from_zero(panels)
    legend_above(figure, panels)
    best = queries.fastest(queries.parallel_rows(compare) or compare["summary"])
    base = queries.reference(compare)
    finding = f"the fastest, {queries.named(best)}, took {seconds(best['train_s'])} s"
    if base is not None and best is not base:
        finding = f"the sequential run took {seconds(base['train_s'])} s, {finding.replace(' took', '')}"
    caption = (
        f"Training time by number of workers (median, {queries.repetitions(compare)}): {finding}.{hollow_note(compare)}"
    )
    return Picture("training_time", caption, f"Line chart of training seconds by number of workers: {finding}.", figure)


def _without_interval(field: str, row: Record) -> Value:
    return row[field], None


def impact(compare: Record) -> Picture | None:
    """Draw the impact factor of training alone, and with communication (figure 8)."""
    fields = {"impact": "of training", "impact_with_communication": "with communication"}
    fields = {field: text for field, text in fields.items() if any(row[field] for row in compare["summary"])}
    if not fields:
        return None
    figure, panels = new_figure(1, len(fields), width=4.5 * len(fields) + (0 if len(fields) > 1 else 2))
    findings = []
    for panel, (field, text) in zip(panels, fields.items(), strict=True):
        draw_by_workers(panel, compare, partial(_without_interval, field))
        dress(panel, "workers", "impact factor, % / s" if panel is panels[0] else "", text)
        rows = [row for row in compare["summary"] if row[field] is not None]
        best = max(rows, key=lambda row: (not row["oversubscribed"], row[field]))
        findings.append(f"{text} {queries.named(best)} is best ({impact_text(best[field])})")
    from_zero(panels)
    legend_above(figure, panels)
    finding = " and ".join(findings)
    scales = " Each panel has a scale of its own." if len(fields) > 1 else ""
    caption = f"Impact factor, accuracy in percent per second: {finding}.{scales}{hollow_note(compare)}"
    return Picture("impact", caption, f"Line charts of the impact factor by number of workers: {finding}.", figure)


def speedup(compare: Record) -> Picture | None:
    """Draw measured speedups with intervals, the ideal, and the laws of Amdahl and Gunther (figure 6)."""
    names = [name for name in queries.parallel_strategies(compare) if _measured(compare, name, "speedup")]
    if not names or compare["settings"]["scaled"]:
        return None
    laws = {law["strategy"]: law for law in compare["laws"]}
    figure, panels = _panels(compare, names, "speedup", "speedup")
    for axes, name in zip(panels, names, strict=True):
        curves, title = _fitted(laws.get(name))
        _draw_laws(axes, compare, curves)
        axes.set_title(f"{label(name, 30)}{title}", fontsize=10.5, color=INK, loc="left")
    legend_above(figure, panels)
    best = queries.fastest([row for row in compare["summary"] if row["strategy"] in names])
    finding = f"{queries.named(best)} reached {decimal(best['speedup'])} of the ideal {best['workers']}"
    if best["verdict"] == "lower" and (
        kept := [row for row in queries.parallel_rows(compare) if row["verdict"] == "same"]
    ):
        other = queries.fastest(kept)
        finding += f", with the same accuracy {queries.named(other)} {decimal(other['speedup'])}"
    has_intervals = any(row["speedup_ci95"] for row in compare["summary"])
    caveat = " Laws with * were fitted to such points, for lack of others." if queries.fitted_crowded(compare) else ""
    caption = (
        f"Speedup over the sequential run{' with 95 % intervals' if has_intervals else ''}"
        f"{', and the laws fitted to it' if compare['laws'] else ''}: {finding}."
        f"{hollow_note(compare)}{caveat}"
    )
    alt = f"Speedup by number of workers, a panel for each strategy: {finding}."
    return Picture("speedup", caption, alt, figure)


def scaled_speedup(compare: Record) -> Picture | None:
    """Draw speedups of runs whose data grow with the workers, and Gustafson's law."""
    names = [name for name in queries.parallel_strategies(compare) if _measured(compare, name, "scaled_speedup")]
    if not names:
        return None
    laws = {law["strategy"]: law for law in compare["laws"] if law["gustafson"] is not None}
    figure, panels = _panels(compare, names, "scaled_speedup", "scaled speedup")
    for axes, name in zip(panels, names, strict=True):
        law, title = laws.get(name), ""
        if law is not None:
            fraction = law["gustafson"]["serial_fraction"]
            _draw_laws(axes, compare, [("Gustafson's law", "-", Gustafson(fraction).speedup)])
            title = f"\nserial part {100 * fraction:.0f} %{queries.starred(law, 'gustafson')}"
        axes.set_title(f"{label(name, 30)}{title}", fontsize=10.5, color=INK, loc="left")
    legend_above(figure, panels)
    rows = [row for row in compare["summary"] if row["strategy"] in names and row["scaled_speedup"] is not None]
    best = max(rows, key=lambda row: (not row["oversubscribed"], row["scaled_speedup"]))
    finding = f"{queries.named(best)} did {decimal(best['scaled_speedup'])} times the sequential run's work per second"
    caption = f"Scaled speedup, n workers on n times the samples: {finding}.{hollow_note(compare)}"
    alt = f"Scaled speedup by number of workers, a panel for each strategy: {finding}."
    return Picture("scaled_speedup", caption, alt, figure)


def _panels(compare: Record, names: Sequence[str], field: str, title: str) -> tuple[Figure, list[Axes]]:
    """Draw each strategy's measured points and the ideal line into a panel of its own."""
    rows, columns = -(-len(names) // _ACROSS), min(len(names), _ACROSS)
    width = 6.6 if columns == 1 else 9.4
    figure, panels = new_figure(rows, columns, width=width, height=0.7 + 3.3 * rows, sharex=True, sharey=True)
    for unused in panels[len(names) :]:
        unused.remove()
    panels, workers = panels[: len(names)], queries.worker_numbers(compare)
    for position, (axes, name) in enumerate(zip(panels, names, strict=True)):
        axes.plot([1, max(workers)], [1, max(workers)], color=GREY, linewidth=1, label="ideal")
        marks = [
            Mark(row["workers"], row[field], row.get(f"{field}_ci95"), row["oversubscribed"])
            for row in _measured(compare, name, field)
        ]
        what = "measured, 95 % interval" if any(mark.interval for mark in marks) else "measured"
        draw_series(axes, marks, _MEASURED, what, line=False)
        dress(axes, "workers", title if position % _ACROSS == 0 else "")
        axes.tick_params(labelbottom=True)
        _scale(axes, workers, queries.crowded(compare), [m.y for m in marks])
    top = max(row[field] for name in names for row in _measured(compare, name, field))
    ends = [row[f"{field}_ci95"][1] for row in compare["summary"] if row.get(f"{field}_ci95")]
    panels[0].set_ylim(0, max([min(max(workers), 1.6 * max(top, 1)), 1.15 * top, *(1.05 * end for end in ends)]))
    return figure, panels


def _measured(compare: Record, name: str, field: str) -> list[Record]:
    """Return the rows of a strategy with two or more workers that have a value."""
    return [row for row in queries.rows_of(compare, name) if row["workers"] > 1 and row[field] is not None]


def _scale(axes: Axes, workers: Sequence[int], crowded: set[int], values: Sequence[float]) -> None:
    """Scale the x axis by the number of workers, logarithmically if there are many."""
    doubling = max(workers) > _LOG_FROM
    if doubling:
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    axes.set_xticks(workers, [f"{number}*" if number in crowded else str(number) for number in workers])
    axes.set_xlim(0.9, max(workers) * (1.35 if doubling else 1.06) + 0.1)


def _fitted(law: Record | None) -> tuple[list[tuple[str, str, Callable[[float], float]]], str]:
    """Return the curves of a strategy's laws, and what they say as the second line of a title."""
    curves: list[tuple[str, str, Callable[[float], float]]] = []
    facts = []
    if law is not None and law["amdahl"] is not None:
        fraction = law["amdahl"]["serial_fraction"]
        curves.append(("Amdahl's law", "--", Amdahl(fraction).speedup))
        facts.append(f"serial part {100 * fraction:.0f} %{queries.starred(law, 'amdahl')}")
    if law is not None and law["usl"] is not None:
        usl = law["usl"]
        curves.append(("universal scalability law", ":", Scalability(usl["contention"], usl["coherency"]).speedup))
        best = usl["best_workers"]
        facts.append(f"{'no best n' if best is None else f'best n {best:.3g}'}{queries.starred(law, 'usl')}")
    return curves, "\n" + ", ".join(facts) if facts else ""


def _draw_laws(axes: Axes, compare: Record, curves: Sequence[tuple[str, str, Callable[[float], float]]]) -> None:
    """Draw the curves of laws over the measured range."""
    reach = np.geomspace(1, max(queries.worker_numbers(compare)), 100)
    for name, style, curve in curves:
        axes.plot(reach, [curve(n) for n in reach], color=INK, linestyle=style, linewidth=1.5, label=name)
