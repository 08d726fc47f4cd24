"""The figures of speculative back-propagation: accuracy over time, the lanes of one step, and hit rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from manyhands.records.statistics import estimate
from manyhands.reports import speculative
from manyhands.reports.figures.convergence import Course, draw_course, limit_to_ends, mean_course, usable_points
from manyhands.reports.figures.style import (
    Draft,
    Look,
    Mark,
    Picture,
    annotate,
    dodged,
    draw_series,
    dress,
    in_percent,
    legend_above,
    looks,
    new_figure,
    within_percent,
)
from manyhands.reports.figures.text import label
from manyhands.reports.format import decimal, listed, seconds
from manyhands.reports.schema import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DRAWN = ("sequential", "plain", "balanced", "pipelined", "predicted", "workers")
_COLOURS = {"forward": "#0072B2", "input gradient": "#D55E00", "weight gradient": "#009E73"}
_WIDTH, _INCHES_OF_LETTER = 7.6, 0.075
"""Inches of a panel, and of a letter in a bar."""


def speculative_figures(study: Record) -> list[Draft]:
    """Return the figures of a study of speculation, or of as much of it as was finished."""
    if not study["runs"]:
        return []
    return [
        Draft("accuracy_over_time", partial(accuracy_over_time, study)),
        Draft("lanes_of_a_step", partial(lanes_of_a_step, study)),
        Draft("hit_rates", partial(hit_rates, study)),
    ]


def accuracy_over_time(study: Record) -> Picture | None:
    """Draw the mean course of the accuracy over training time: a case of each kind."""
    courses = _courses(study)
    if not courses:
        return None
    figure, (axes,) = new_figure(height=4.2)
    styles = looks(courses)
    for series, (name, course) in enumerate(courses.items()):
        _draw(axes, course, styles[name], name, series / len(courses))
    if any(len(course.values) > 1 for course in courses.values()):
        limit_to_ends(axes, list(courses.values()), "accuracy")
    dress(axes, "training time, s", "accuracy, %")
    legend_above(figure, [axes], columns=3)
    ends = "; ".join(
        f"{name} ended at {decimal(course.values[-1].mean)} % after {seconds(course.train_s[-1])} s"
        for name, course in courses.items()
    )
    caption = (
        f"Accuracy on held-out rows against training time (mean over {speculative.repetitions(study)}, with 95 % "
        f"intervals if there are several): {ends}."
    )
    return Picture("accuracy_over_time", caption, f"Curves of the accuracy by training seconds: {ends}.", figure)


def _courses(study: Record) -> dict[str, Course]:
    """Return the mean courses of the cases that are drawn, by their names."""
    cases = [case for kind in _DRAWN if (case := speculative.typical(study, kind)) is not None]
    curves = {
        case["name"]: [points for run in speculative.runs_of(study, case) if (points := usable_points(run, "accuracy"))]
        for case in cases
    }
    return {name: mean_course(found, "accuracy") for name, found in curves.items() if found}


def _draw(axes: Axes, course: Course, look: Look, name: str, part: float) -> None:
    """Draw a course; one that was measured only once is a point."""
    if len(course.values) > 1:
        draw_course(axes, course.train_s, course.values, look, name, part)
    else:
        only = course.values[0]
        draw_series(axes, [Mark(course.train_s[0], only.mean, only.interval)], look, name, line=False)


def lanes_of_a_step(study: Record) -> Picture | None:
    """Draw what each lane did in the last step of a run: plain lanes above balanced ones."""
    lines = _time_lines(study)
    if not lines:
        return None
    numbers = [1 + max(each["lane"] for each in spans) for spans in lines.values()]
    figure, panels = new_figure(
        len(lines), height=1.3 + sum(0.75 + 0.5 * number for number in numbers), sharex=True, height_ratios=numbers
    )
    last = max(_end(spans) for spans in lines.values())
    panels[0].set_xlim(0, 1.01 * last)
    for axes, (name, spans), number in zip(panels, lines.items(), numbers, strict=True):
        _draw_lanes(axes, spans, number, last)
        dress(axes, "ms" if axes is panels[-1] else "", "", f"{label(name)}: {decimal(_end(spans))} ms")
        axes.grid(False, axis="y")
    legend_above(figure, panels)
    facts = "; ".join(f"{name} took {decimal(_end(spans))} ms" for name, spans in lines.items())
    caption = (
        f"What each lane did in a run's last step (of several runs, that of median length), by layer, without the "
        f"optimizer's update: {facts}. Gaps are waiting, and work that belongs to no layer."
    )
    return Picture("lanes_of_a_step", caption, f"Time lines of the lanes of one step: {facts}.", figure)


def _time_lines(study: Record) -> dict[str, list[Record]]:
    """Return the last steps of plain, balanced and pipelined lanes, by case: of several runs, that of median length."""
    found = {}
    for case in (speculative.typical(study, kind) for kind in ("plain", "balanced", "pipelined")):
        runs = [] if case is None else speculative.runs_of(study, case)
        lines = [
            run["speculation"]["timeline"] for run in runs if run["speculation"] and run["speculation"]["timeline"]
        ]
        if case is not None and lines:
            found[case["name"]] = [_in_ms(span) for span in sorted(lines, key=_end)[(len(lines) - 1) // 2]]
    return found


def _in_ms(span: Record) -> Record:
    return {**span, **{name: 1000 * span[name] for name in ("begin", "end")}}


def _end(spans: Sequence[Record]) -> float:
    return max(float(span["end"]) for span in spans)


def _draw_lanes(axes: Axes, spans: Sequence[Record], number: int, last: float) -> None:
    """Draw the work of each lane as bars, named where there is room."""
    for what, colour in _COLOURS.items():
        mine = [span for span in spans if span["what"] == what]
        axes.barh(
            [span["lane"] for span in mine],
            [span["end"] - span["begin"] for span in mine],
            left=[span["begin"] for span in mine],
            height=0.72,
            color=colour,
            edgecolor="white",
            linewidth=0.5,
            label=what,
        )
    for span in spans:
        inches = _WIDTH * (span["end"] - span["begin"]) / last
        if inches > _INCHES_OF_LETTER * (len(span["layer"]) + 1):
            middle = (span["begin"] + span["end"]) / 2
            annotate(axes, label(span["layer"]), (middle, span["lane"]), (0, 0), "white", ha="center", va="center")
    axes.set_yticks(range(number), [f"lane {each + 1}" for each in range(number)])
    axes.set_ylim(number - 0.5, -0.5)


def hit_rates(study: Record) -> Picture | None:
    """Draw the part of samples that were hits, by epoch, for each threshold."""
    rates = _rates(study)
    if not rates:
        return None
    figure, (axes,) = new_figure(height=3.9)
    styles = looks(rates)
    for series, (name, marks) in enumerate(rates.items()):
        beside = [replace(mark, x=dodged(int(mark.x), series, len(rates))) for mark in marks]
        draw_series(axes, beside, styles[name], name)
    axes.locator_params(axis="x", integer=True)
    if axes.get_xlim()[1] < 2:  # a single epoch
        axes.set_xlim(0.5, 1.5)
        axes.set_xticks([1])
    axes.set_ylim(-2, 100)
    within_percent(axes.yaxis)
    dress(axes, "epoch", "hits, %")
    legend_above(figure, [axes])
    ends = listed([f"{decimal(marks[-1].y, 1)} % with {name}" for name, marks in rates.items()])
    caption = (
        f"Samples whose gradient came from a stored outcome, by epoch (mean over {speculative.repetitions(study)}); in "
        f"the last epoch {ends}."
    )
    return Picture("hit_rates", caption, f"Hit rates by epoch: in the last epoch {ends}.", figure)


def _rates(study: Record) -> dict[str, list[Mark]]:
    """Return the hit rates of the balanced cases with the fewest lanes, epoch by epoch."""
    cases = [case for case in speculative.cases_of(study, "balanced") if case["threshold"]]
    lanes = min((case["lanes"] for case in cases), default=0)
    found = {f"T={case['threshold']:g}": _marks(study, case) for case in cases if case["lanes"] == lanes}
    return {name: marks for name, marks in found.items() if marks}


def _marks(study: Record, case: Record) -> list[Mark]:
    """Return the mean hit rate of each epoch in percent, as far as all runs go."""
    facts = [run["speculation"] for run in speculative.runs_of(study, case) if run["speculation"]]
    by_epoch = zip(*(each["hit_rate_by_epoch"] for each in facts), strict=False)
    means = [estimate([100 * rate for rate in rates]) for rates in by_epoch]
    ends = [in_percent(mean.interval) for mean in means]
    return [Mark(epoch, mean.mean, interval) for epoch, (mean, interval) in enumerate(zip(means, ends, strict=True), 1)]
