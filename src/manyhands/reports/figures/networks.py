"""Accuracy, time, learning speed and confidence of networks, and what averaging changes (after arXiv 2304.09590)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from manyhands.core.words import count
from manyhands.records.statistics import Estimate
from manyhands.reports import networks, queries
from manyhands.reports.figures.by_workers import accuracy_value
from manyhands.reports.figures.convergence import draw_course, mean_course, usable_points
from manyhands.reports.figures.style import (
    GREY,
    INK,
    PALE,
    Draft,
    Look,
    Picture,
    annotate,
    annotate_inside,
    dress,
    legend_above,
    log_axis,
    looks,
    new_figure,
    within_percent,
)
from manyhands.reports.figures.text import label
from manyhands.reports.format import decimal, listed, seconds
from manyhands.reports.schema import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 24  # networks in one figure
_MOST_CURVES = 12
_NEAR = 4.0  # points below the best that are always shown
_FAR = 6.0  # times the distance of the upper third to the best: what lies farther out is drawn at the edge
_LABELLED = 6
_TITLE: dict[str, Any] = {"fontsize": 10.5, "color": INK, "loc": "left"}


def network_figures(study: Record) -> list[Draft]:
    """Return the figures of a study of networks.

    For each axis, what its values change, and how fast they learn; then all together.
    """
    found: list[Draft] = []
    for axis, members in networks.groups(study).items():
        parts = [members[first : first + _MOST] for first in range(0, len(members), _MOST)]
        for number, part in enumerate(parts, 1):
            name = f"networks_{axis or 'all'}{f'_{number}' if len(parts) > 1 else ''}"
            found.append(Draft(name, partial(_compared, study, axis, part, name)))
        found.append(Draft(f"learning_{axis or 'all'}", partial(_learning, study, axis, members)))
    if networks.alone(study):
        found.append(Draft("networks_confidence", partial(_certainty, study)))
        found.append(Draft("networks_tradeoff", partial(_tradeoff, study)))
    return found


def _compared(study: Record, axis: str, members: Sequence[int], name: str) -> Picture:
    """Draw accuracy, its change by averaging, and time: a line for each network."""
    rows = [row for network in members for row in networks.rows_of(study, network)]
    several = any(row["workers"] > 1 for row in rows)
    titles = ["accuracy, %", *(["against one worker, points"] if several else []), "training time, s"]
    height = 1.5 + (0.3 + 0.05 * (len(networks.trainers(study)) - 1)) * len(members)
    figure, panels = new_figure(1, len(titles), width=9.6, height=height, sharey=True)
    styles = looks(networks.trainers(study))
    marks = [accuracy_value, *([_difference] if several else []), _time]
    if several:
        margin = study["settings"]["margin"]
        panels[1].axvspan(-margin, margin, color=PALE, linewidth=0)
        panels[1].axvline(0, color=INK, linewidth=1)
    for panel, mark, title in zip(panels, marks, titles, strict=True):
        _dots(panel, study, members, mark, styles)
        dress(panel, title, "")
        panel.grid(False, axis="y")
    panels[0].set_yticks(range(len(members)), [label(study["networks"][each]["name"]) for each in members])
    panels[0].set_ylim(len(members) - 0.4, -0.6)
    legend_above(figure, panels[-1:], 3)
    finding = _finding(study, members)
    band = f" The grey band is the margin of ±{study['settings']['margin']:g} points." if several else ""
    change = ", its change by averaging" if several else ""
    caption = (
        f"{networks.title(axis).capitalize()}: accuracy on the test rows{change} and training time, with 95 % "
        f"intervals. {finding}. Arrows stand for values that are too far away for the axis.{band}{_crowd(study, rows)}"
    )
    return Picture(name, caption, f"Dots of accuracy and training time by network. {finding}.", figure)


def _crowd(study: Record, rows: Sequence[Record]) -> str:
    if not any(row["oversubscribed"] for row in rows):
        return ""
    return f" Hollow points have more workers than the {queries.cores(study)}; their times say little."


Value = tuple[float, list[float] | None]
Measure = Callable[[Record], Value | None]
"""A function that returns a row's value and its interval; None if the row has no such value."""


def _difference(row: Record) -> Value | None:
    return None if row["delta_pp"] is None else (row["delta_pp"], row["delta_ci95"])


def _time(row: Record) -> Value | None:
    return row["train_s"], None


def _dots(axes: Axes, study: Record, members: Sequence[int], measure: Measure, styles: dict[str, Look]) -> None:
    """Draw one measure: a dot for each row; far outside, an arrow at the edge with the value."""
    rows = [(place, row) for place, network in enumerate(members) for row in networks.rows_of(study, network)]
    found = [(place, row, value) for place, row in rows if (value := measure(row)) is not None]
    low, high = _view([value for *_, value in found], measure, study["settings"]["margin"])
    if measure is _time:
        log_axis(axes.xaxis)
    elif found:
        axes.set_xlim(low, min(high, 100.0) if measure is accuracy_value else high)
    names, far = list(styles), set[int]()
    for place, row, (number, interval) in found:
        series = names.index(networks.who(row))
        y, look = place + (series - (len(names) - 1) / 2) * 0.72 / len(names), styles[networks.who(row)]
        if not low <= number <= high:  # no time is: all of them are shown
            _arrow(axes, number, low if number < low else high, y, look, named=place not in far)
            far.add(place)
            continue
        if interval is not None:
            axes.plot(interval, [y, y], color=look.colour, linewidth=1.2)
        face = "white" if row["oversubscribed"] else look.colour
        axes.plot([number], [y], color=look.colour, marker=look.marker, markersize=5, markerfacecolor=face, zorder=3)
    for name in names:
        look = styles[name]
        text = "one worker" if name == queries.SEQUENTIAL else label(name)
        axes.plot([], [], color=look.colour, marker=look.marker, markersize=6, linestyle="none", label=text)


def _arrow(axes: Axes, value: float, edge: float, y: float, look: Look, *, named: bool) -> None:
    """Draw an arrow at the edge of an axis for a value beyond it, with the value if there is room."""
    below = value < edge
    axes.plot([edge], [y], color=look.colour, marker="<" if below else ">", markersize=5)
    if named:
        side, shift = ("left", 5) if below else ("right", -5)
        annotate(axes, f"{value:.3g}", (edge, y), (shift, 0), look.colour, va="center", ha=side)


def _view(values: Sequence[Value], measure: Measure, margin: float) -> tuple[float, float]:
    """Return the limits of an axis that leave out a few far values, so that the others can be distinguished."""
    means = [mean for mean, _ in values]
    if measure is _time or not means:
        return 0.0, float("inf")
    if measure is accuracy_value:
        low, high = _lowest(means), max(means)
    else:
        high = max(3 * margin, 4 * _upper_third([abs(mean) for mean in means]))
        low, high = max(-high, min(means, default=0)), min(high, max(means))
        low, high = min(low, -1.5 * margin), max(high, 1.5 * margin)
    halves = [(ends[1] - ends[0]) / 2 for mean, ends in values if ends is not None and low <= mean <= high]
    room = min(max(halves, default=0.0), 0.5 * (high - low)) + 0.04 * (high - low) + 1e-9
    return low - room, high + room


def _upper_third(values: Sequence[float]) -> float:
    """Return the value that two thirds do not exceed."""
    return sorted(values)[round(2 * (len(values) - 1) / 3)]


def _lowest(values: Sequence[float]) -> float:
    """Return the lowest of the accuracies, in percent, that are not far below the best."""
    best = max(values)
    return min(value for value in values if value >= best - max(_NEAR, _FAR * (best - _upper_third(values))))


def _finding(study: Record, members: Sequence[int]) -> str:
    """Return the range of the accuracies with one worker, and the largest loss by averaging."""
    alone = networks.alone(study)
    rows = sorted((alone[each] for each in members if each in alone), key=lambda row: row["accuracy_mean"])
    changed = [row for each in members for row in networks.rows_of(study, each) if row["delta_pp"] is not None]

    ends = [f"{decimal(100 * row['accuracy_mean'])} % ({_name(study, row)})" for row in (rows[:1] + rows[1:][-1:])]
    text = f"With one worker the accuracies are {'from ' if len(ends) > 1 else ''}{' to '.join(ends)}"
    if changed:
        worst = min(changed, key=lambda row: row["delta_pp"])
        text += (
            f"; averaging cost most in {_name(study, worst)} ({networks.who(worst)}: {worst['delta_pp']:+.2f} points)"
        )
    return text


def _name(study: Record, row: Record) -> str:
    return str(study["networks"][row["network"]]["name"])


def _learning(study: Record, axis: str, members: Sequence[int]) -> Picture | None:
    """Draw accuracy by epochs and by seconds with one worker, a curve for each network."""
    courses = {}
    for network in members[:_MOST_CURVES]:
        runs = [run for run in study["runs"] if run["network"] == network and run["strategy"] == queries.SEQUENTIAL]
        curves = [points for run in runs if len(points := usable_points(run, "accuracy")) > 1]
        if curves:
            courses[study["networks"][network]["name"]] = mean_course(curves, "accuracy")
    if not courses:
        return None
    figure, panels = new_figure(1, 2, width=9.6, height=4.3, sharey=True)
    styles = looks(courses)
    for panel, where, title in zip(panels, ("epochs", "train_s"), ("epochs", "training time, s"), strict=True):
        for series, (name, course) in enumerate(courses.items()):
            plain = [Estimate(value.mean, None, None) for value in course.values]  # a dozen bands would hide the curves
            draw_course(panel, getattr(course, where), plain, styles[name], name, series / len(courses))
        for target in study["settings"]["targets"]:
            panel.axhline(100 * target, color=GREY, linewidth=1, linestyle=(0, (1, 2)))
        dress(panel, title, "accuracy on the test rows, %" if where == "epochs" else "")
    log_axis(panels[1].xaxis)
    ends = [course.values[-1].mean for course in courses.values()]
    low, high = min([_lowest(ends), *(100 * target for target in study["settings"]["targets"])]), max(ends)
    panels[0].set_ylim(low - max(1.0, 0.25 * (high - low)), min(high + 0.5, 100.0))
    legend_above(figure, panels, 5)
    below = [name for name, course in courses.items() if course.values[-1].mean < panels[0].get_ylim()[0]]
    finding = _speed(study, members[:_MOST_CURVES])
    left_out = f" Left out: {count(len(members) - _MOST_CURVES, 'network')}." if members[_MOST_CURVES:] else ""
    low_ones = f" Below the axis: {', '.join(below)}." if below else ""
    lines = " The dotted lines are the targets." if study["settings"]["targets"] else ""
    caption = (
        f"Learning speed by {networks.title(axis)}: accuracy against epochs and training time with one worker, mean "
        f"over the seeds. {finding}.{lines}{low_ones}{left_out}"
    )
    alt = f"Curves of the accuracy by epochs and by seconds, one for each network. {finding}."
    return Picture(f"learning_{axis or 'all'}", caption, alt, figure)


def _speed(study: Record, members: Sequence[int]) -> str:
    """Return which networks reached the highest target first, by epochs and by seconds."""
    alone = networks.alone(study)
    for place in range(len(study["settings"]["targets"]) - 1, -1, -1):
        reached = [
            (each, alone[each]["reached"][place]) for each in members if each in alone and alone[each]["reached"]
        ]
        reached = [(each, found) for each, found in reached if found["runs"]]
        if reached:
            by_epochs = min(reached, key=lambda pair: pair[1]["epochs"])
            by_seconds = min(reached, key=lambda pair: pair[1]["seconds"])
            names = [study["networks"][each]["name"] for each, _ in (by_epochs, by_seconds)]
            return (
                f"{100 * by_epochs[1]['target']:g} % came first after {by_epochs[1]['epochs']:.3g} epochs "
                f"({names[0]}), and after {seconds(by_seconds[1]['seconds'])} s ({names[1]})"
            )
    return "No target was reached" if study["settings"]["targets"] else "No targets were set"


def _certainty(study: Record) -> Picture:
    """Draw confidence against accuracy: the region of most networks, and, if some are far from it, all of them."""
    styles = looks(networks.trainers(study))
    points = [(100 * row["accuracy_mean"], 100 * row["confidence_mean"], row) for row in study["summary"]]
    left, bottom = (_lowest([point[place] for point in points]) for place in (0, 1))
    near = [point for point in points if point[0] >= left and point[1] >= bottom]
    ratios = {"width_ratios": (1.7, 1)} if len(near) < len(points) else {}
    figure, panels = new_figure(1, 2 if ratios else 1, width=9.6 if ratios else 7.0, height=4.6, **ratios)
    for panel, shown in zip(panels, (near, points), strict=False):
        _draw_certainty(panel, shown, styles)
        _label(panel, study, sorted(shown, key=lambda point: -abs(point[0] - point[1])))
        dress(panel, "accuracy, %", "confidence, %" if panel is panels[0] else "")
    if ratios:
        panels[0].set_title(f"{len(near)} of {len(points)}", **_TITLE)
        panels[1].set_title("all", **_TITLE)
    legend_above(figure, panels, 3)
    finding = _surest(study)
    both = " On the left are most of them, on the right all." if ratios else ""
    caption = (
        "Confidence, which is the mean probability of the predicted class, against accuracy, both on the test rows: "
        f"{finding}.{both}"
    )
    return Picture("networks_confidence", caption, f"Dots of confidence by accuracy: {finding}.", figure)


def _draw_certainty(panel: Axes, points: Sequence[tuple[float, float, Record]], styles: dict[str, Look]) -> None:
    """Draw points of accuracy and confidence, with the line on which both are the same."""
    for name, look in styles.items():
        mine = [(x, y) for x, y, row in points if networks.who(row) == name]
        text = "one worker" if name == queries.SEQUENTIAL else label(name)
        places = list(zip(*mine, strict=True)) or [(), ()]
        panel.plot(*places, color=look.colour, marker=look.marker, markersize=5, linestyle="none", label=text)
    panel.margins(0.08)
    for axis in (panel.xaxis, panel.yaxis):
        low, high = axis.get_view_interval()
        axis.axes.set(**{f"{axis.axis_name}lim": (low - 0.3, high + 0.3)})
    within_percent(panel.xaxis, panel.yaxis)
    limits = panel.get_xlim(), panel.get_ylim()
    line: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": (0, (4, 2)), "zorder": 1}
    panel.plot([0, 100], [0, 100], label="perfectly calibrated", **line)
    panel.set(xlim=limits[0], ylim=limits[1])


def _surest(study: Record) -> str:
    rows = list(networks.alone(study).values())
    over = sum(row["confidence_mean"] > row["accuracy_mean"] for row in rows)
    best, worst = (pick(rows, key=lambda row: row["calibration_error_mean"]) for pick in (min, max))
    ends = [f"{decimal(100 * row['calibration_error_mean'], 1)} % ({_name(study, row)})" for row in (best, worst)]
    return (
        f"with one worker, {over} of {count(len(rows), 'network')} {'is' if over == 1 else 'are'} surer than right; "
        f"the calibration error goes from {' to '.join(ends)}"
    )


def _label(axes: Axes, study: Record, points: Sequence[tuple[float, float, Record]]) -> None:
    """Write the names of the first networks, each once, where there is room."""
    named: dict[int, tuple[float, float]] = {}
    wide, high = (share * abs(ends[1] - ends[0]) for share, ends in ((0.4, axes.get_xlim()), (0.06, axes.get_ylim())))
    for x, y, row in points:
        crowded = any(abs(x - other) < wide and abs(y - place) < high for other, place in named.values())
        if row["network"] in named or crowded or len(named) == _LABELLED:
            continue
        named[row["network"]] = x, y
        annotate_inside(axes, label(_name(study, row), 28), (x, y), 4)


def _tradeoff(study: Record) -> Picture:
    """Draw accuracy against training time with one worker, and name the networks that no other beats in both."""
    rows = sorted(networks.alone(study).values(), key=lambda row: row["train_s"])
    front = [
        row for place, row in enumerate(rows) if all(row["accuracy_mean"] > r["accuracy_mean"] for r in rows[:place])
    ]
    figure, (axes,) = new_figure(width=8.2, height=4.6)
    percent = [100 * row["accuracy_mean"] for row in rows]
    low, high = _lowest(percent), max(percent)
    shown = [row for row in rows if 100 * row["accuracy_mean"] >= low]
    for part, colour, size in ((shown, "#0072B2", 5), ([row for row in shown if row in front], "#D55E00", 7)):
        places = [[row["train_s"] for row in part], [100 * row["accuracy_mean"] for row in part]]
        axes.plot(*places, color=colour, marker="o", markersize=size, linestyle="none")
    log_axis(axes.xaxis)
    axes.set_ylim(low - 0.08 * (high - low) - 0.2, high + 0.08 * (high - low) + 0.2)
    within_percent(axes.yaxis)
    for number, row in enumerate(front):
        if row in shown:
            place = row["train_s"], 100 * row["accuracy_mean"]
            annotate_inside(axes, label(_name(study, row), 28), place, -11 if number % 2 else 6)
    dress(axes, "training time, s", "accuracy on the test rows, %")
    names = [_name(study, row) for row in front]
    missing = len(rows) - len(shown)
    below = f" Below the axis: {count(missing, 'network')}." if missing else ""
    finding = f"none is both faster and better than {listed(names)}"
    caption = f"Accuracy against training time with one worker: {finding} (named).{below}"
    return Picture("networks_tradeoff", caption, f"Dots of accuracy by training time: {finding}.", figure)
