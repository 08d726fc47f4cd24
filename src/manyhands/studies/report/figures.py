"""All figures that a record allows, in the order of the report."""

from __future__ import annotations

from functools import partial
from typing import Any

from manyhands.studies.report import figures_accuracy, figures_convergence, figures_published, figures_speed
from manyhands.studies.report.canvas import Draft, Picture, plain_style, require_matplotlib
from manyhands.studies.report.figures_networks import network_figures
from manyhands.studies.report.figures_sweep import sweep_figures
from manyhands.studies.report.records import Record, complete, parts


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
        found += figures_published.published_figures(inside.published)
    if inside.networks is not None:
        found += network_figures(inside.networks)
    return found


def _of_comparison(compare: Record) -> list[Draft]:
    """Return the figures of a comparison, or of as much of it as was finished."""
    if not compare["summary"]:
        return []
    return [
        Draft("training_time", partial(figures_speed.training_time, compare)),
        Draft("speedup", partial(figures_speed.speedup, compare)),
        Draft("scaled_speedup", partial(figures_speed.scaled_speedup, compare)),
        Draft("accuracy", partial(figures_accuracy.accuracy, compare)),
        Draft("accuracies", partial(figures_accuracy.accuracies, compare)),
        Draft("convergence_accuracy", partial(figures_convergence.convergence, compare, "accuracy")),
        Draft("convergence_loss", partial(figures_convergence.convergence, compare, "loss")),
        Draft("impact", partial(figures_speed.impact, compare)),
    ]
