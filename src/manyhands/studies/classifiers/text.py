"""The table of a study of classifiers: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.core.words import count, size
from manyhands.reports import classifiers
from manyhands.reports.classifiers import model_word, point_ms, short_ms, short_seconds, sklearn_word
from manyhands.reports.format import impact, span
from manyhands.reports.schema import Record
from manyhands.reports.tables.classifiers import choice_note
from manyhands.runtime.terminal import BRIEF, GREEN, Detail, Group, legend, text_table
from manyhands.studies.base.text import as_reports_see_it, limit_notes, markdown_table, plain_heads
from manyhands.studies.classifiers.results import Classifiers
from manyhands.studies.compare.text import VERDICT_STYLES, warnings_text

_KEYS = ("classifier", "n")
_GROUPS = (
    Group(("time\ns",), rank=1),
    Group(("with\ncomm. s",)),
    Group(("speed-\nup",)),
    Group(("95 %\n",), rank=3),
    Group(("effi-\nciency",)),
    Group(("accuracy %\n(95 %)",)),
    Group(("ms per\npoint",), rank=2),
    Group(("impact\n", "impact\nw. comm."), rank=4),
    Group(("sent\n", "\nrounds"), rank=5),
    Group(("vs\nn = 1", "vs scikit-\nlearn")),
)
_STYLES = {**VERDICT_STYLES, "same model": GREEN, "same answers": GREEN}


def classifiers_text(found: Classifiers, detail: Detail = BRIEF) -> str:
    """Return the table as text that fits the terminal, with the meaning of its columns below."""
    study = as_reports_see_it(found)
    rows: list[Sequence[str] | str | None] = []
    for learner in classifiers.learners(study):
        rows += [*([None] if rows else []), *_cells_of(study, learner)]
    if not rows:
        return "No run was finished."
    warnings = [*(f"Warning: {text}" for text in found.problems()), *limit_notes(study)]
    blocks = [text_table(_KEYS, _GROUPS, rows, detail, _STYLES), legend(_notes(study), detail)]
    return "\n\n".join(filter(None, [*blocks, warnings_text(warnings, detail)]))


def classifiers_markdown(found: Classifiers) -> str:
    """Return the table as Markdown, for the documentation."""
    study = as_reports_see_it(found)
    heads = plain_heads([*_KEYS, *(head for group in _GROUPS for head in group.heads)])
    rows = [cells for learner in classifiers.learners(study) for cells in _cells_of(study, learner)]
    notes = [*_notes(study), *limit_notes(study), classifiers.answer(study)]
    return "\n\n".join([markdown_table(heads, rows), *notes, ""])


def _cells_of(study: Record, learner: str) -> list[tuple[str, ...]]:
    """Return the rows of a classifier, and that of scikit-learn's estimator of the same kind."""
    ours = [_cells(row) for row in study["summary"] if row["learner"] == learner]
    theirs = classifiers.theirs_of(study, learner)
    return ours if theirs is None else [*ours, _their_cells(theirs)]


def _cells(row: Record) -> tuple[str, ...]:
    return (
        row["learner"] if row["workers"] == 1 else "",
        f"{row['workers']}{'*' if row['oversubscribed'] else ''}",
        short_seconds(row["compute_s"]),
        short_seconds(row["train_s"]),
        f"{row['speedup']:.2f}",
        "" if row["speedup_ci95"] is None else span(row["speedup_ci95"]).replace(" to ", ".."),
        f"{row['efficiency']:.2f}",
        _percent(row),
        short_ms(point_ms(row)),
        impact(row["impact"]),
        impact(row["impact_with_communication"]),
        size(row["bytes_sent"]),
        f"{row['rounds']:,.0f}",
        model_word(row),
        sklearn_word(row),
    )


def _their_cells(row: Record) -> tuple[str, ...]:
    time_s, point = short_seconds(row["fit_s"]), point_ms({**row, "train_s": row["fit_s"]})
    factor = impact(row["impact"])
    return (
        "  sklearn",
        "",
        *(time_s, time_s, "", "", ""),
        *(_percent(row), short_ms(point), factor, factor, "", "", "", ""),
    )


def _percent(row: Record) -> str:
    """Return the mean accuracy in percent, and half of its interval."""
    interval = row["accuracy_ci95"]
    half = "" if interval is None else f" ±{50 * (interval[1] - interval[0]):.2f}"
    return f"{100 * row['accuracy_mean']:.2f}{half}"


def _notes(study: Record) -> list[str]:
    """Return what was measured, and how, the most important notes first."""
    settings = study["settings"]
    data, margin = settings["data"], settings["margin"]
    notes = [
        f"{count(settings['runs'], 'run')} of each in turns, {data['train_rows']:,} samples of {data['name']}; medians "
        "of times, means of accuracies, ±: 95 % interval over the runs.",
        "time: of computing; with comm.: with distributing and exchanging, of which are speed-up, efficiency and ms "
        "per point (milliseconds for each percentage point of accuracy).",
        f"vs n = 1: same model: to the bit; else same: within ±{margin:g} points (TOST); lower, higher: on one side of "
        "zero. vs scikit-learn: same answers to all test samples; else as vs n = 1.",
        "sklearn: scikit-learn's estimator of the same kind, with the same settings and inputs, in one thread.",
    ]
    if "mlp" in settings["learners"]:
        notes.append(
            "mlp: the neural network, trained as auto chooses for each n; scikit-learn's has its settings at n = 1."
        )
    if chosen := choice_note(study):
        notes.insert(1, chosen)
    if settings["stored"]:
        notes.append(f"Values as they are stored, not scaled: {', '.join(settings['stored'])}.")
    return notes
