"""All figures that a record allows, in the order of the report."""

from __future__ import annotations

from functools import partial
from typing import Any

from manyhands.reports.figures import accuracy, convergence, speed, todorov2021
from manyhands.reports.figures.classifiers import classifier_figures
from manyhands.reports.figures.levels import level_figures
from manyhands.reports.figures.networks import network_figures
from manyhands.reports.figures.speculative import speculative_figures
from manyhands.reports.figures.style import Draft, Picture, plain_style, require_matplotlib
from manyhands.reports.figures.sweep import sweep_figures
from manyhands.reports.schema import Record, complete, parts


def make_figures(record: Any) -> list[Picture]:
    """Draw what a record allows.

    Parameters
    ----------
    record
        As loaded from JSON.

    Returns
    -------
    list of Picture
        Each with name, caption, alternative text and a ``matplotlib.figure.Figure``; for a full study, Todorov et al.
        2021's figures 3 to 8 are among them.

    Raises
    ------
    FormatError
        If no report can be made of the record.
    SettingsError
        If matplotlib is missing.
    """
    require_matplotlib()
    with plain_style():
        found = [draft.draw() for draft in drafts(complete(record))]
    return [picture for picture in found if picture is not None]


def drafts(record: Record) -> list[Draft]:
    """Return what can be drawn of a completed record; nothing is drawn yet."""
    inside = parts(record)
    found: list[Draft] = []
    if inside.sweep is not None:
        found += sweep_figures(inside.sweep)
    if inside.compare is not None:
        found += _of_comparison(inside.compare)
    if inside.published is not None:
        found += todorov2021.published_figures(inside.published)
    if inside.networks is not None:
        found += network_figures(inside.networks)
    if inside.speculative is not None:
        found += speculative_figures(inside.speculative)
    if inside.levels is not None:
        found += level_figures(inside.levels)
    if inside.classifiers is not None:
        found += classifier_figures(inside.classifiers)
    return found


def _of_comparison(compare: Record) -> list[Draft]:
    """Return the figures of a comparison, or of as much of it as was finished."""
    if not compare["summary"]:
        return []
    return [
        Draft("training_time", partial(speed.training_time, compare)),
        Draft("speedup", partial(speed.speedup, compare)),
        Draft("scaled_speedup", partial(speed.scaled_speedup, compare)),
        Draft("accuracy", partial(accuracy.accuracy, compare)),
        Draft("accuracies", partial(accuracy.accuracies, compare)),
        Draft("convergence_accuracy", partial(convergence.convergence, compare, "accuracy")),
        Draft("convergence_loss", partial(convergence.convergence, compare, "loss")),
        Draft("impact", partial(speed.impact, compare)),
    ]
