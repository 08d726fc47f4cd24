"""The course of accuracy and loss on held-out rows, by epochs and by seconds (after Alowaisheq and Dhami)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyhands.core.words import count
from manyhands.records.statistics import Estimate, estimate
from manyhands.reports import queries
from manyhands.reports.figures.style import GREY, Look, Picture, dress, legend_above, log_axis, looks, new_figure
from manyhands.reports.figures.text import label
from manyhands.reports.format import decimal, seconds
from manyhands.reports.schema import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_ROWS = 4  # numbers of workers in one figure
_LOG_FROM = 20  # times the smallest loss, from which the axis is logarithmic


@dataclass(frozen=True)
class Course:
    """The mean course of the runs of one strategy at one number of workers."""

    epochs: list[float]
    train_s: list[float]
    values: list[Estimate]


def convergence(compare: Record, measure: str) -> Picture | None:
    """Draw the mean course of ``accuracy`` or ``loss`` with its 95 % interval, sequential beside parallel."""
    courses = _courses(compare, measure)
    workers = sorted({n for _, n in courses if n > 1}) or sorted({n for _, n in courses})
    shown = workers[:_MOST_ROWS]
    if not shown:
        return None
    figure, panels = new_figure(len(shown), 2, height=0.8 + 2.7 * len(shown), sharey=True, sharex="col")
    styles = looks(dict.fromkeys([*queries.strategies(compare), *(name for name, _ in courses)]))
    unit = "accuracy, %" if measure == "accuracy" else "loss"
    for row, number in enumerate(shown):
        chosen = {name: course for (name, n), course in courses.items() if n == number or name == queries.SEQUENTIAL}
        for column, (axis, field) in enumerate((("epochs", "epochs"), ("training time, s", "train_s"))):
            axes = panels[2 * row + column]
            for series, (name, course) in enumerate(chosen.items()):
                part = series / len(chosen)
                draw_course(axes, getattr(course, field), course.values, styles[name], name, part)
            _draw_target(axes, compare, measure)
            crowd = f", more than the {queries.cores(compare)}" if number in queries.crowded(compare) else ""
            last = row == len(shown) - 1
            title = f"{count(number, 'worker')}{crowd}" if column == 0 else ""
            dress(axes, axis if last else "", unit if column == 0 else "", title)
    panels[0].locator_params(axis="x", integer=True)
    limit_to_ends(panels[0], list(courses.values()), measure)
    legend_above(figure, panels)
    finding = _finding(compare, courses, measure)
    left_out = f" Left out: {', '.join(map(str, workers[_MOST_ROWS:]))} workers." if workers[_MOST_ROWS:] else ""
    caption = (
        f"{measure.capitalize()} on held-out rows against epochs and against training time (mean over "
        f"{queries.repetitions(compare)}{_band(courses)}): {finding}.{left_out}"
    )
    alt = f"Curves of the {measure} on held-out rows by epochs and by training seconds: {finding}."
    return Picture(f"convergence_{measure}", caption, alt, figure)


def _band(courses: dict[tuple[str, int], Course]) -> str:
    has_band = any(value.low is not None for course in courses.values() for value in course.values)
    return ", band: 95 % interval" if has_band else ""


def _courses(compare: Record, measure: str) -> dict[tuple[str, int], Course]:
    """Return the mean courses of all groups of runs whose curves were recorded."""
    groups: dict[tuple[str, int], list[list[Record]]] = {}
    for run in compare["runs"]:
        if len(points := usable_points(run, measure)) > 1:
            groups.setdefault((run["strategy"], run["workers"]), []).append(points)
    return {group: mean_course(curves, measure) for group, curves in groups.items()}


def usable_points(run: Record, measure: str) -> list[Record]:
    """Return the points of a run's curve that can be drawn."""
    return [
        point
        for point in run["curve"] or []
        if point[measure] is not None and point["epoch"] is not None and point["train_s"] is not None
    ]


def mean_course(curves: Sequence[Sequence[Record]], measure: str) -> Course:
    """Return the mean over runs, point by point, as far as all of them go."""
    factor = 100 if measure == "accuracy" else 1
    together = list(zip(*curves, strict=False))
    return Course(
        [statistics.fmean(point["epoch"] for point in points) for points in together],
        [statistics.fmean(point["train_s"] for point in points) for points in together],
        [estimate([factor * point[measure] for point in points]) for points in together],
    )


def draw_course(
    axes: Axes, where: Sequence[float], values: Sequence[Estimate], look: Look, name: str, part: float
) -> None:
    """Draw a course with its interval as a band; ``part`` (0..1) shifts its markers beside those of other courses."""
    every = max(1, len(where) // 5)
    axes.plot(
        where,
        [value.mean for value in values],
        color=look.colour,
        linestyle=look.dashes,
        linewidth=1.6,
        marker=look.marker,
        markersize=5,
        markevery=(int(part * every), every),
        label=label(name),
    )
    ends = [value.interval for value in values if value.interval is not None]
    if len(ends) == len(where):
        axes.fill_between(
            where, [low for low, _ in ends], [high for _, high in ends], color=look.colour, alpha=0.18, linewidth=0
        )


def _draw_target(axes: Axes, compare: Record, measure: str) -> None:
    target = compare["settings"]["target"]
    if target is not None and measure == "accuracy":
        name = f"target {100 * target:g} %"
        axes.axhline(100 * target, color=GREY, linewidth=1.2, linestyle=(0, (1, 2)), label=name)


def limit_to_ends(axes: Axes, courses: Sequence[Course], measure: str) -> None:
    """Limit the y axis to where the courses end and differ, without the first steps of all."""
    means = [value.mean for course in courses for value in course.values]
    ends = [course.values[-1].mean for course in courses]
    reach = max(ends) - min(ends)
    if measure == "accuracy":
        spread = max(8 * reach, 0.25 * (max(means) - min(means)))
        low = max(min(means), max(means) - spread) - 0.02 * spread
        axes.set_ylim(min(low, 99.9), min(max(means) + 0.1 * spread + 1e-9, 100.0))
    elif min(means) > 0 and max(means) > _LOG_FROM * min(means):
        log_axis(axes.yaxis)


def _finding(compare: Record, courses: dict[tuple[str, int], Course], measure: str) -> str:
    """Return where and when the sequential course and the best parallel one ended."""
    rows = [row for row in queries.parallel_rows(compare) if (row["strategy"], row["workers"]) in courses]
    groups = [group for group in courses if group[0] == queries.SEQUENTIAL][:1]
    if rows:
        best = queries.fastest(rows)
        groups.append((best["strategy"], best["workers"]))
    unit = " %" if measure == "accuracy" else ""
    places = 2 if measure == "accuracy" else 3
    facts = []
    for name, number in groups or list(courses)[:1]:
        course = courses[name, number]
        who = name if name == queries.SEQUENTIAL else f"{name} with {count(number, 'worker')}"
        end = decimal(course.values[-1].mean, places)
        facts.append(f"{who} ended at {end}{unit} after {seconds(course.train_s[-1])} s")
    return ", ".join(facts)
