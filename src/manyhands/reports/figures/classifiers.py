"""Time, speedup, accuracy and impact factor of classifiers by workers: as figures 5 to 8 of Todorov et al. 2021."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from manyhands.core.words import count
from manyhands.reports import classifiers, queries
from manyhands.reports.classifiers import short_seconds
from manyhands.reports.figures.by_workers import Value, accuracy_value, draw_by_workers
from manyhands.reports.figures.speed import hollow_note
from manyhands.reports.figures.style import (
    GREY,
    Draft,
    Picture,
    dress,
    from_zero,
    legend_above,
    log_axis,
    new_figure,
    within_percent,
)
from manyhands.reports.format import decimal
from manyhands.reports.format import impact as impact_text
from manyhands.reports.schema import Record

_COLUMNS = 5
_BOTH = {"without communication": "compute_s", "with communication": "train_s"}
_IMPACTS = {"without communication": "impact", "with communication": "impact_with_communication"}


def classifier_figures(study: Record) -> list[Draft]:
    """Return the figures of a study of classifiers, or of as much of it as was finished."""
    if not study["summary"]:
        return []
    return [
        Draft("training_time", partial(_times, study)),
        Draft("speedup", partial(_speedup, study)),
        Draft("accuracy", partial(_accuracy, study)),
        Draft("impact", partial(_impact, study)),
    ]


def _field(name: str, row: Record) -> Value:
    return row[name], None


def _panels(study: Record, fields: dict[str, str], axis: str, name: str, finding: str, what: str) -> Picture:
    """Draw one measure without and with communication, in logarithmic scale: classifiers differ by powers of ten."""
    figure, panels = new_figure(1, len(fields), height=4.4, sharey=True)
    for panel, (title, field) in zip(panels, fields.items(), strict=True):
        draw_by_workers(panel, study, partial(_field, field), by="learner", reference=classifiers.NETWORK)
        dress(panel, "workers", axis if panel is panels[0] else "", title)
    log_axis(panels[0].yaxis)
    legend_above(figure, panels, columns=_COLUMNS)
    caption = f"{what} by number of workers, {_often(study)}: {finding}.{hollow_note(study)}"
    return Picture(name, caption, f"Line charts of {what.lower()} by number of workers: {finding}.", figure)


def _often(study: Record) -> str:
    return f"medians over {count(max(row['runs'] or 0 for row in study['summary']), 'run')}"


def _best(study: Record, key: Callable[[Record], float]) -> Record:
    """Return the best row, one whose workers had cores of their own if there is any."""
    return max(study["summary"], key=lambda row: (not row["oversubscribed"], key(row)))


def _named(row: Record) -> str:
    return f"{row['learner']} with {count(row['workers'], 'worker')}"


def _times(study: Record) -> Picture:
    best = _best(study, lambda row: -float(row["train_s"]))
    finding = f"the fastest with communication, {_named(best)}, took {short_seconds(best['train_s'])} s"
    return _panels(study, _BOTH, "training time, s", "training_time", finding, "Training time")


def _impact(study: Record) -> Picture:
    best = _best(study, lambda row: float(row["impact_with_communication"]))
    finding = (
        f"accuracy in percent per second; with communication {_named(best)} is best "
        f"({impact_text(best['impact_with_communication'])})"
    )
    return _panels(study, _IMPACTS, "impact factor, % / s", "impact", finding, "Impact factor")


def _speedup(study: Record) -> Picture | None:
    workers = sorted({row["workers"] for row in study["summary"]})
    if len(workers) < 2:
        return None
    figure, (axes,) = new_figure(width=7.4, height=4.6)
    axes.plot(range(len(workers)), workers, color=GREY, linewidth=1, label="ideal")
    draw_by_workers(
        axes, study, lambda row: (row["speedup"], row["speedup_ci95"]), by="learner", reference=classifiers.NETWORK
    )
    dress(axes, "workers", "speedup over one worker")
    from_zero([axes])
    legend_above(figure, [axes], columns=_COLUMNS)
    several = [row for row in study["summary"] if row["workers"] > 1]
    best = max(several, key=lambda row: (not row["oversubscribed"], row["speedup"]))
    finding = f"{_named(best)} reached {decimal(best['speedup'])} of the ideal {best['workers']}"
    caption = f"Speedup over one worker, with 95 % intervals, {_often(study)}: {finding}.{hollow_note(study)}"
    return Picture("speedup", caption, f"Speedup by number of workers, a line for each classifier: {finding}.", figure)


def _accuracy(study: Record) -> Picture:
    figure, (axes,) = new_figure(width=7.4, height=4.6)
    draw_by_workers(axes, study, accuracy_value, by="learner", reference=classifiers.NETWORK)
    dress(axes, "workers", "accuracy on the test rows, %")
    within_percent(axes.yaxis)
    legend_above(figure, [axes], columns=_COLUMNS)
    several = [row for row in study["summary"] if row["workers"] > 1]
    same = {row["learner"] for row in several if row["same_model"]} - {
        row["learner"] for row in several if not row["same_model"]
    }
    known = [name for name in classifiers.learners(study) if name in same]
    best = max(study["summary"], key=lambda row: float(row["accuracy_mean"]))
    finding = f"the highest is that of {best['learner']} ({decimal(100 * best['accuracy_mean'])} %)"
    if known:
        finding += f"; to the bit the same model at every n: {', '.join(known)}"
    hollow = f" Numbers with * are more than the {queries.cores(study)}." if queries.crowded(study) else ""
    caption = f"Accuracy by number of workers, means with 95 % intervals: {finding}.{hollow}"
    return Picture(
        "accuracy", caption, f"Accuracy by number of workers, a line for each classifier: {finding}.", figure
    )
