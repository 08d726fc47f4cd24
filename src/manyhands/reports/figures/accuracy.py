"""Accuracy by number of workers (figure 7 of Todorov et al. 2021), and every single accuracy."""

from __future__ import annotations

import statistics

from manyhands.core.words import count
from manyhands.reports import queries
from manyhands.reports.figures.by_workers import accuracy_value, draw_by_workers
from manyhands.reports.figures.style import (
    GREY,
    INK,
    PALE,
    REFERENCE,
    Picture,
    dress,
    legend_above,
    looks,
    new_figure,
    within_percent,
)
from manyhands.reports.figures.text import label
from manyhands.reports.format import decimal, listed
from manyhands.reports.schema import Record

_WORDS = ("same", "higher", "lower", "undecided")


def accuracy(compare: Record) -> Picture:
    """Draw accuracies with intervals, and their paired differences to the sequential run with the margin."""
    compared = [row for row in compare["summary"] if row["delta_pp"] is not None and row["workers"] > 1]
    figure, panels = new_figure(1, 2 if compared else 1, width=9.0 if compared else 6.6)
    draw_by_workers(panels[0], compare, accuracy_value)
    dress(panels[0], "workers", "accuracy on the test rows, %", "accuracy")
    within_percent(panels[0].yaxis)
    if compared:
        if not compare["settings"]["scaled"]:
            margin = compare["settings"]["margin"]
            panels[1].axhspan(-margin, margin, color=PALE, linewidth=0)
        panels[1].axhline(0, color=INK, linewidth=1, linestyle=REFERENCE.dashes)
        draw_by_workers(panels[1], compare, lambda row: (row["delta_pp"], row["delta_ci95"]), compared)
        dress(panels[1], "workers", "percentage points", "difference to the sequential run, paired")
    legend_above(figure, panels)
    finding = verdicts(compare)
    base = queries.reference(compare)
    start = f"the sequential run has {decimal(100 * base['accuracy_mean'])} %" if base is not None else ""
    facts = "; ".join(text for text in (start, finding) if text)
    intervals = " with 95 % intervals" if any(row["accuracy_ci95"] for row in compare["summary"]) else ""
    caption = (
        f"Accuracy by number of workers{intervals} ({queries.repetitions(compare)}): {facts}."
        f"{_band_note(compare) if compared else ''}{_published_note(compare)}"
    )
    return Picture("accuracy", caption, f"Accuracy by number of workers, and its change: {facts}.", figure)


def verdicts(compare: Record) -> str:
    """Return which rows have which verdict, as in ``same with gradient (2 and 4 workers), lower with one-shot``."""
    phrases = []
    for word in _WORDS:
        groups: dict[str, list[int]] = {}
        for row in queries.parallel_rows(compare):
            if row["verdict"] == word:
                groups.setdefault(row["strategy"], []).append(row["workers"])
        if groups:
            items = [f"{name} ({listed(list(map(str, sorted(found))))} workers)" for name, found in groups.items()]
            phrases.append(f"{word} with {listed(items)}")
    return "; ".join(phrases)


def _band_note(compare: Record) -> str:
    """Return what the band means."""
    if compare["settings"]["scaled"]:
        return ""
    margin = compare["settings"]["margin"]
    return f" An interval that lies within the grey band, the margin of ±{margin:g} points, is called the same."


def _published_note(compare: Record) -> str:
    """Return the published figures where the data are the published ones."""
    data = compare["settings"]["data"]
    if (data["name"], data["train_rows"]) != ("mnist", 6000) or compare["settings"]["splits"]:
        return ""
    return (
        " The published program, which averages once and takes raw pixels, fell from 88.23 to 85.15, 82.56 and "
        "80.97 % with 2, 4 and 6 processes: too low for these axes."
    )


def accuracies(compare: Record) -> Picture | None:
    """Draw the accuracy of every single run as a dot, a row for each strategy and number of workers."""
    groups: dict[tuple[str, int], list[float]] = {}
    for run in compare["runs"]:
        if run["accuracy"] is not None:
            groups.setdefault((run["strategy"], run["workers"]), []).append(100 * run["accuracy"])
    if max(map(len, groups.values()), default=0) < 2:
        return None
    figure, (axes,) = new_figure(width=8.2, height=1.1 + 0.36 * len(groups))
    styles = looks(dict.fromkeys(name for name, _ in groups))
    for place, ((name, _), values) in enumerate(groups.items()):
        look, mean = styles[name], statistics.fmean(values)
        heights = [place + 0.11 * (run % 3 - 1) for run in range(len(values))]
        axes.plot(values, heights, color=look.colour, marker=look.marker, markersize=5.5, linestyle="none", alpha=0.75)
        axes.plot([mean, mean], [place - 0.36, place + 0.36], color=INK, linewidth=2)
        if name == queries.SEQUENTIAL:
            axes.axvline(mean, color=GREY, linestyle=REFERENCE.dashes, linewidth=1)
    axes.set_yticks(range(len(groups)), [f"{label(name)}, {count(n, 'worker')}" for name, n in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6)
    dress(axes, "accuracy on the test rows, %", "")
    within_percent(axes.xaxis)
    axes.grid(False, axis="y")
    splits = compare["settings"]["splits"]
    finding = _spread(groups)
    own = ", each on a random split of its own" if splits else ""
    caption = (
        f"Accuracy of every run{own}: {finding}. The bars are means, and the dashed line is the mean of the sequential "
        "runs."
    )
    return Picture("accuracies", caption, f"Dots of all accuracies, by strategy and workers: {finding}.", figure)


def _spread(groups: dict[tuple[str, int], list[float]]) -> str:
    """Return the range of the sequential accuracies beside that of all the others."""
    found: dict[str, list[float]] = {"sequential": [], "parallel": []}
    for (name, _), values in groups.items():
        found["sequential" if name == queries.SEQUENTIAL else "parallel"] += values
    return listed([f"{name} {decimal(min(each))} to {decimal(max(each))} %" for name, each in found.items() if each])
