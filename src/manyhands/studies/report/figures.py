"""All figures that a record allows, in the order of the report."""

from __future__ import annotations

from typing import Any

from manyhands.studies.report import figures_accuracy, figures_convergence, figures_published, figures_speed
from manyhands.studies.report.canvas import Picture, require_matplotlib
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
    inside = parts(complete(record))
    found: list[Picture | None] = []
    if inside.sweep is not None:
        found += sweep_figures(inside.sweep)
    if inside.compare is not None:
        found += _of_comparison(inside.compare)
    if inside.published is not None:
        found += figures_published.published_figures(inside.published)
    if inside.networks is not None:
        found += network_figures(inside.networks)
    return [picture for picture in found if picture is not None]


def _of_comparison(compare: Record) -> list[Picture | None]:
    """Draw a comparison, or as much of it as was finished."""
    if not compare["summary"]:
        return []
    return [
        figures_speed.training_time(compare),
        figures_speed.speedup(compare),
        figures_speed.scaled_speedup(compare),
        figures_accuracy.accuracy(compare),
        figures_accuracy.accuracies(compare),
        figures_convergence.convergence(compare, "accuracy"),
        figures_convergence.convergence(compare, "loss"),
        figures_speed.impact(compare),
    ]
