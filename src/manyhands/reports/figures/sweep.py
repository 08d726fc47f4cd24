"""Training time and accuracy over hidden size and epochs: figures 3 and 4 of Todorov et al. 2021, beside theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from manyhands.records.todorov2021 import published_sweep
from manyhands.reports.figures.style import (
    INK,
    PALE,
    Draft,
    Mark,
    Picture,
    draw_series,
    dress,
    from_zero,
    in_percent,
    legend_above,
    looks,
    new_figure,
    within_percent,
)
from manyhands.reports.format import decimal, network_name, seconds, trained
from manyhands.reports.schema import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEASURES = {"time_s": "training time, s", "accuracy_pct": "accuracy, %"}
_VIEWS = {"time_s": (36, -64), "accuracy_pct": (24, -128)}  # from where neither surface hides its own chosen point


def published_rows() -> list[Record]:
    """Return Table I of Todorov et al. 2021 as rows like those of a sweep record."""
    return [{**row, "hidden": [row["hidden"]]} for row in published_sweep()]


def comparable(sweep: Record) -> bool:
    """Return whether the published Table I may stand beside a sweep: MNIST, and one hidden layer."""
    return sweep["settings"]["data"]["name"] == "mnist" and all(len(row["hidden"]) == 1 for row in sweep["table"])


def sweep_figures(sweep: Record) -> list[Draft]:
    """Return the figures of a sweep: surfaces if its grid is complete, else lines."""
    rows = sweep["table"]
    if not rows:
        return []
    if _is_grid(rows):
        return [Draft(_surface_name(measure), partial(_surfaces, sweep, measure)) for measure in _MEASURES]
    return [Draft("sweep", partial(_lines, sweep))]


def _surface_name(measure: str) -> str:
    return "time_surface" if measure == "time_s" else "accuracy_surface"


def _is_grid(rows: Sequence[Record]) -> bool:
    """Return whether the rows are all pairs of two or more widths and two or more numbers of epochs."""
    widths, epochs = {tuple(row["hidden"]) for row in rows}, {row["epochs"] for row in rows}
    pairs = {(tuple(row["hidden"]), row["epochs"]) for row in rows}
    single = all(len(width) == 1 for width in widths)
    return single and len(widths) > 1 and len(epochs) > 1 and len(pairs) == len(widths) * len(epochs)


def _surfaces(sweep: Record, measure: str) -> Picture:
    """Draw one measure over hidden size and epochs, ours and, where it makes sense, the published one."""
    both = comparable(sweep)
    title = _MEASURES[measure]
    figure, panels = new_figure(
        1, 2 if both else 1, width=9.4 if both else 5.6, height=4.2, subplot_kw={"projection": "3d"}
    )
    _surface(panels[0], sweep["table"], measure, title, "here", sweep["best"])
    if both:
        best = {"hidden": [75], "epochs": 75}
        _surface(panels[1], published_rows(), measure, title, "published (MIPRO 2021)", best)
    finding = _finding(sweep, measure)
    beside = ". On the right is the published table, with a scale of its own" if both else ""
    caption = (
        f"{title.partition(',')[0].capitalize()} over hidden size and epochs{_where(sweep, measure)}: "
        f"{finding}{beside}."
        f"{_best_note(sweep)}{_time_note(sweep) if measure == 'time_s' else ''}"
    )
    alt = f"Surface of {title} over hidden size and epochs: {finding}."
    return Picture(_surface_name(measure), caption, alt, figure)


def _surface(axes: Any, rows: Sequence[Record], measure: str, z_title: str, title: str, best: Record | None) -> None:
    """Draw one surface, darker where lower, and a dot on the chosen classifier."""
    widths, epochs = sorted({row["hidden"][0] for row in rows}), sorted({row["epochs"] for row in rows})
    heights = {(row["hidden"][0], row["epochs"]): row[measure] for row in rows}
    x, y = np.meshgrid(widths, epochs, indexing="ij")
    z = np.array([[heights[width, epoch] for epoch in epochs] for width in widths], float)
    axes.computed_zorder = False
    axes.plot_surface(x, y, z, cmap="cividis", edgecolor=INK, linewidth=0.6, alpha=0.9, rstride=1, cstride=1, zorder=1)
    if best is not None and len(best["hidden"]) == 1 and (best["hidden"][0], best["epochs"]) in heights:
        place = best["hidden"][0], best["epochs"]
        point = ([place[0]], [place[1]], [heights[place]])
        axes.plot(*point, color="white", marker="o", markersize=10, markeredgecolor=INK, linestyle="none", zorder=3)
        axes.plot(*point, color="#D55E00", marker="o", markersize=6, linestyle="none", zorder=4)
    axes.set_facecolor("white")
    axes.set_title(title, fontsize=10.5, color=INK, y=0.98)
    axes.set_xlabel("hidden neurons", fontsize=10, color=INK, labelpad=6)
    axes.set_ylabel("epochs", fontsize=10, color=INK, labelpad=6)
    axes.set_zlabel(z_title, fontsize=10, color=INK, labelpad=6)
    axes.set_xticks(widths if len(widths) <= 6 else widths[:: -(-len(widths) // 6)])
    axes.set_yticks(epochs if len(epochs) <= 6 else epochs[:: -(-len(epochs) // 6)])
    axes.tick_params(labelsize=9, colors=INK)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color("white")
        axis._axinfo["grid"].update(color=PALE, linewidth=0.8)
    if measure == "accuracy_pct":
        within_percent(axes.zaxis)
    elevation, azimuth = _VIEWS[measure]
    axes.view_init(elev=elevation, azim=azimuth)
    axes.set_box_aspect(None, zoom=0.9)


def _name(sweep: Record, row: Record) -> str:
    return network_name(row["hidden"], sweep["settings"]["architecture"])


def _neurons(sweep: Record, row: Record) -> str:
    """Return the name of a row's network in a sentence."""
    return f"{_name(sweep, row)}{'' if sweep['settings']['architecture'] else ' neurons'}"


def _where(sweep: Record, measure: str) -> str:
    chosen = sweep["settings"]["chosen_on"]
    return f", on the {chosen} rows" if measure == "accuracy_pct" and chosen else ""


def _best_note(sweep: Record) -> str:
    best = sweep["best"]
    theirs = "there 75 neurons, 75 epochs" if comparable(sweep) else ""
    ours = "" if best is None else trained(_neurons(sweep, best), best["epochs"])
    if theirs and ours:
        ours = f"here {ours}; "
    return f" The dot is the chosen classifier, {ours}{theirs}." if ours or theirs else ""


def _time_note(sweep: Record) -> str:
    if not any(row["time_falsified"] for row in sweep["table"]):
        return ""
    return " Some sessions ran side by side, which makes their times too long."


def _finding(sweep: Record, measure: str) -> str:
    """Return the lowest and the highest value, and where they are."""
    show = seconds if measure == "time_s" else decimal
    unit = "s" if measure == "time_s" else "%"
    rows = sorted(sweep["table"], key=lambda row: row[measure])
    ends = [
        f"{show(row[measure])} {unit} ({trained(_neurons(sweep, row), row['epochs'])})"
        for row in (rows[:1] + rows[1:][-1:])
    ]
    return "from " + " to ".join(ends) if len(ends) > 1 else ends[0]


def _lines(sweep: Record) -> Picture:
    """Draw time and accuracy as lines over epochs, or over the networks if all have the same epochs."""
    rows = sweep["table"]
    figure, panels = new_figure(1, 2)
    epochs = sorted({row["epochs"] for row in rows})
    networks: dict[str, list[Record]] = {}
    for row in rows:
        networks.setdefault(_name(sweep, row), []).append(row)
    before, axis = ("", "networks") if sweep["settings"]["architecture"] else ("hidden ", "hidden layers")
    for panel, (measure, title) in zip(panels, _MEASURES.items(), strict=True):
        if len(epochs) > 1:
            _over_epochs(panel, networks, measure, before)
        else:
            _over_networks(panel, networks, measure)
        dress(panel, "epochs" if len(epochs) > 1 else axis, title, title.partition(",")[0])
    from_zero(panels[:1])
    within_percent(panels[1].yaxis)
    if len(epochs) > 1:
        legend_above(figure, panels)
    finding = f"{_finding(sweep, 'time_s')}, and {_finding(sweep, 'accuracy_pct')}"
    each = trained("networks", epochs[0]) + (" each" if epochs[0] else "")
    over = "epochs, a line for each network" if len(epochs) > 1 else each
    caption = f"Training time and accuracy over {over}: {finding}.{_time_note(sweep)}"
    return Picture("sweep", caption, f"Line charts of training time and accuracy over {over}: {finding}.", figure)


def _interval(row: Record, measure: str) -> Any:
    return in_percent(row["accuracy_ci95"]) if measure == "accuracy_pct" else None


def _over_epochs(axes: Axes, networks: Mapping[str, Sequence[Record]], measure: str, before: str) -> None:
    styles = looks(list(networks))
    for name, rows in networks.items():
        mine = sorted(rows, key=lambda row: row["epochs"])
        marks = [Mark(row["epochs"], row[measure], _interval(row, measure)) for row in mine]
        draw_series(axes, marks, styles[name], f"{before}{name}")


def _over_networks(axes: Axes, networks: Mapping[str, Sequence[Record]], measure: str) -> None:
    marks = [
        Mark(place, row[measure], _interval(row, measure))
        for place, rows in enumerate(networks.values())
        for row in rows
    ]
    draw_series(axes, marks, looks(["networks"])["networks"], "networks")
    axes.set_xticks(range(len(networks)), list(networks))
    axes.set_xlim(-0.5, len(networks) - 0.5)
