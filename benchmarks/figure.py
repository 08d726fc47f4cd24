"""RESULTS.png: all contestants' times as times of the reference, a panel for each workload.

``python figure.py`` draws it again from RESULTS.json, without measuring anything.
"""

from __future__ import annotations

import io
import json
import textwrap
from pathlib import Path
from typing import Any

from intervals import Median
from workloads import WORKLOADS, Workload

from manyhands.runtime.atomic_files import write_whole

_OURS, _PEER = "#1f5fa8", "#c8591a"
_ROW, _EDGES, _WIDTH = 0.24, 0.62, 9.0  # inches


def draw(panels: list[tuple[Workload, list[dict[str, Any]]]], path: Path) -> None:
    """Draw one dot with its interval for each contestant, on one logarithmic axis for all panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(workload, [row for row in table if row["ratio"] is not None]) for workload, table in panels]
    panels = [(workload, table) for workload, table in panels if table]
    if not panels:
        return
    heights = [_ROW * len(table) + _EDGES for _, table in panels]
    figure = Figure((_WIDTH, sum(heights) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axis, (workload, table) in zip(axes, panels, strict=True):
        _panel(axis, workload, table)
    _scale(axes[-1], [row["ratio"] for _, table in panels for row in table])
    figure.suptitle("Training and reading time: times of the reference (1), less is better", fontsize=11)
    content = io.BytesIO()
    figure.savefig(content, dpi=130)
    write_whole(path, content.getvalue())


def _panel(axis: Any, workload: Workload, table: list[dict[str, Any]]) -> None:
    places = range(len(table))[::-1]
    references = workload.references.values()
    for place, row in zip(places, table, strict=True):
        times, name = row["ratio"], row["contestant"]
        color = _OURS if name.startswith(("ours", "manyhands")) else _PEER
        axis.plot([times.low, times.high], [place, place], color=color, linewidth=2.2, solid_capstyle="butt")
        axis.plot(times.value, place, "D" if name in references else "o", color=color, markersize=5.5)
        text = "reference" if name in references else f"{times.value:.2f}"
        axis.annotate(
            *(text, (max(times.high, times.value), place)),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=color,
        )
    axis.axvline(1, color="0.6", linewidth=0.8, zorder=0)
    axis.set_yticks(places, [row["contestant"] for row in table], fontsize=8.5)
    axis.set_ylim(-0.7, len(table) - 0.3)
    title = textwrap.fill(f"{workload.letter}: {workload.title}", 72)
    axis.set_title(title, loc="left", fontsize=9.5, fontweight="bold")
    axis.grid(axis="x", color="0.9", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _scale(axis: Any, ratios: list[Any]) -> None:
    low, high = min(one.low for one in ratios), max(max(one.high, one.value) for one in ratios)
    left, right = low / 1.15, high * max(high / low, 2) ** 0.14  # room for the last number, however long the axis is
    axis.set_xscale("log")
    axis.set_xlim(left, right)
    ticks = [each for each in (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100, 200) if left <= each <= right]
    axis.set_xticks(ticks, [f"{each:g}" for each in ticks])
    axis.xaxis.minorticks_off()
    axis.set_xlabel("times of the reference's seconds in the same round\n(median and 95 % interval, logarithmic)")


def redraw(folder: Path) -> None:
    """Draw RESULTS.png from RESULTS.json, both in ``folder``."""
    tables = json.loads((folder / "RESULTS.json").read_text())["tables"]
    rows = {
        letter: [{**row, "ratio": row["ratio"] and Median(**row["ratio"])} for row in table]
        for letter, table in tables.items()
    }
    draw([(WORKLOADS[letter], table) for letter, table in rows.items()], folder / "RESULTS.png")


if __name__ == "__main__":
    redraw(Path(__file__).parent)
