"""The figures of the levels of parallelism: where dividing a network begins to pay, and each level's step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from manyhands.core.words import count
from manyhands.reports import levels
from manyhands.reports.figures.style import (
    INK,
    Draft,
    Look,
    Mark,
    Picture,
    annotate,
    draw_series,
    dress,
    from_zero,
    legend_above,
    log_axis,
    looks,
    new_figure,
)
from manyhands.reports.format import listed
from manyhands.reports.levels import DIVIDING, EXEMPLAR, ONE, SESSION, milliseconds
from manyhands.reports.schema import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVELS = (SESSION, EXEMPLAR, *DIVIDING)
_HIGHEST = 1.6
"""The end of an axis, in heights of its highest bar, at most."""
_NAMES = {ONE: "one worker"}


def level_figures(study: Record) -> list[Draft]:
    """Return the figures of a study of the levels, or of as much of it as was finished."""
    if not study["summary"]:
        return []
    return [Draft("crossover", partial(crossover, study)), Draft("levels", partial(bars, study))]


def _looks() -> dict[str, Look]:
    """Return one look for each level in all figures; one worker's is that of references."""
    found = looks(["sequential", *_LEVELS])
    return {ONE: found.pop("sequential"), **found}


def crossover(study: Record) -> Picture | None:
    """Draw a step's time over the width of two hidden layers: measured, and by the model."""
    series = {level: levels.points(study, level) for level in (ONE, EXEMPLAR, "node", "pairs")}
    series = {level: found for level, found in series.items() if found}
    if EXEMPLAR not in series or len(series[EXEMPLAR]) < 2:
        return None
    figure, (axes,) = new_figure(height=4.4)
    styles = _looks()
    for level, found in series.items():
        _draw_width(axes, found, levels.model_line(study, level), styles[level], _NAMES.get(level, level))
    axes.plot([], [], color=INK, linestyle=(0, (1, 2)), linewidth=1.2, label="cost model")
    widths = [width for width, _ in series[EXEMPLAR]]
    axes.set_xscale("log")
    axes.set_xticks(widths, list(map(str, widths)))
    axes.minorticks_off()
    log_axis(axes.yaxis)
    workers = count(study["settings"]["crossing_workers"], "worker")
    dress(axes, "neurons in each of two hidden layers", f"a step with {workers}, ms")
    _mark_crossover(axes, study)
    legend_above(figure, [axes], columns=5)
    text = levels.crossover_text(study)
    caption = f"Time of a step, median over the repeats with 95 % intervals; dotted: the cost model. {text}"
    return Picture("crossover", caption, f"Times of a step over the width of two hidden layers. {text}", figure)


def _draw_width(
    axes: Axes, found: Sequence[tuple[int, Record]], model: Sequence[tuple[int, float]], look: Look, name: str
) -> None:
    """Draw a level's measured points, and the model's line."""
    marks = [Mark(width, row["step_ms"], row["step_ms_ci95"], row["oversubscribed"]) for width, row in found]
    draw_series(axes, marks, look, name)
    widths, said = [width for width, _ in model], [ms for _, ms in model]
    axes.plot(widths, said, color=look.colour, linestyle=(0, (1, 2)), linewidth=1.2)


def _mark_crossover(axes: Axes, study: Record) -> None:
    """Mark the width from which on dividing the network takes less time."""
    width = levels.crossover(study)
    if width is None:
        return
    axes.axvline(width, color=INK, linewidth=0.9)
    low, _ = axes.get_ylim()
    annotate(axes, f"dividing the network is faster from {width:.0f} on", (width, low), (-4, 6), ha="right")


def bars(study: Record) -> Picture | None:
    """Draw the time of a step at each level and number of workers: a panel for each network."""
    names = levels.network_names(study)
    if not names:
        return None
    figure, panels = new_figure(1, len(names), height=3.9)
    styles, facts = _looks(), []
    for axes, hidden in zip(panels, names, strict=True):
        rows = levels.rows_of(study, hidden)
        _draw_bars(axes, rows, styles)
        dress(axes, "workers", "a step, ms" if axes is panels[0] else "", levels.title(study, hidden))
        axes.grid(False, axis="x")
        facts += _fact(names[hidden], rows)
    from_zero(panels)
    for axes, hidden in zip(panels, names, strict=True):  # an interval that reaches far beyond all bars is cut off
        highest = max(row["step_ms"] for row in levels.rows_of(study, hidden))
        axes.set_ylim(0, min(axes.get_ylim()[1], _HIGHEST * highest))
    legend_above(figure, panels, columns=6)
    found = f"The shortest step of one training: {listed(facts)}." if facts else ""
    starred = " Pale: more workers than cores." if any(row["oversubscribed"] for row in study["summary"]) else ""
    caption = (
        f"Time of a step at each level, median over the repeats with 95 % intervals; of trainings side by side "
        f"(session), their time over their number. {found}{starred}"
    )
    return Picture("levels", caption, f"Bars of the time of a step, by network, level and workers. {found}", figure)


def _fact(name: str, rows: Sequence[Record]) -> list[str]:
    best = levels.fastest(rows)
    if best is None:
        return []
    return [f"{name}, {best['level']} with {count(best['workers'], 'worker')} ({milliseconds(best['step_ms'])} ms)"]


def _draw_bars(axes: Axes, rows: Sequence[Record], styles: dict[str, Look]) -> None:
    """Draw the bars of a network, those of one number of workers side by side."""
    numbers = sorted({row["workers"] for row in rows})
    crowded = {row["workers"] for row in rows if row["oversubscribed"]}
    for place, number in enumerate(numbers):
        group = [row for row in rows if row["workers"] == number]
        for position, row in enumerate(group):
            _draw_bar(axes, place + 0.15 * (position - (len(group) - 1) / 2), row, styles[row["level"]])
    ticks = [f"{number}*" if number in crowded else str(number) for number in numbers]
    axes.set_xticks(range(len(numbers)), ticks)


def _draw_bar(axes: Axes, x: float, row: Record, look: Look) -> None:
    axes.bar(
        [x],
        [row["step_ms"]],
        width=0.14,
        color=look.colour,
        alpha=0.45 if row["oversubscribed"] else 1.0,
        label=_NAMES.get(row["level"], row["level"]),
    )
    if row["step_ms_ci95"]:
        low, high = row["step_ms_ci95"]
        axes.plot([x, x], [low, high], color=INK, linewidth=1.0)
