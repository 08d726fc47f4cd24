"""The report of one model: its mistakes and its calibration, as a page with figures and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manyhands.core.errors import missing as reasons_text
from manyhands.core.words import count
from manyhands.data.dataset import Examples
from manyhands.evaluation.diagnostics import Diagnosis, evaluation
from manyhands.evaluation.text import NOTHING, certainty, class_cells, percent
from manyhands.records.seal import sealed
from manyhands.reports.csv_cells import csv_text
from manyhands.reports.figures.model import (
    calibration_figure,
    confusion_figure,
    image_shape,
    mistakes_figure,
    weights_figure,
)
from manyhands.reports.figures.style import Draft, Picture
from manyhands.reports.folder import EVALUATION, NUMBERS, PAGE, PICTURES, take
from manyhands.reports.format import first_capital, layers
from manyhands.reports.page import Page
from manyhands.reports.publishing import publish
from manyhands.reports.tables.table import Table
from manyhands.runtime.atomic_files import make_output_folder
from manyhands.training.model import TrainedModel

_WIDEST, _MOST_CONFUSIONS = 30, 20
_QUESTION = "What does the model get wrong?"


def write_diagnosis(
    found: Diagnosis,
    model: TrainedModel,
    examples: Examples,
    folder: str | Path,
    record: Mapping[str, Any] | None = None,
    *,
    transpose: bool | None = None,
    replace: bool = False,
) -> Path:
    """Write the report of a model's diagnosis on test samples into a folder; return the path of the page.

    Beside the page stand the record, every figure as PNG and SVG, and CSV files of the classes, the confusion matrix,
    the bins of the calibration error and the wrongly classified rows. An older report of the same command is replaced
    whole. For the errors, see `manyhands.reports.folder.take` and `manyhands.reports.publishing.publish`.

    Parameters
    ----------
    record
        The content of the JSON file (`manyhands.evaluation.diagnostics.evaluation`); None: it is made here.
    transpose
        Whether images are stored lying on their side, as EMNIST publishes its own. None: whether the file of the
        labels is named like one of EMNIST's.
    replace
        Whether the report of something else may be replaced, too.
    """
    whole = evaluation(found, model.name or "a model") if record is None else record
    turned = examples.is_transposed if transpose is None else transpose
    files = {EVALUATION: (json.dumps(sealed(whole), indent=1) + "\n").encode(), **_csv_files(found)}
    target = make_output_folder(folder)
    take(target, whole, replace=replace)
    return publish(
        target,
        files,
        _drafts(found, model, examples, turned),
        lambda pictures, names, missing: _page(found, model, examples, whole, pictures, names, missing),
        PAGE,
    )


def left_out(found: Diagnosis, examples: Examples) -> str:
    """Return which pictures are left out, and why; an empty text if none is."""
    if image_shape(examples) is None:
        shape = " x ".join(map(str, examples.features.shape[1:]))
        return (
            f"rows and weights are not drawn: {shape} values are no grey image (rows stored in two dimensions, or a "
            "square number of 25 or more)"
        )
    return "" if len(found.mistakes) else "no row is classified wrongly, so none is drawn"


def _drafts(found: Diagnosis, model: TrainedModel, examples: Examples, transpose: bool) -> list[Draft]:
    shape = image_shape(examples)
    first = shape if model.learner.layered else None  # shape of what the first layer sees, if it is a dense one
    draw = (
        lambda: confusion_figure(found),
        lambda: calibration_figure(found),
        lambda: shape and mistakes_figure(found, examples, shape, transpose=transpose),
        lambda: first and weights_figure(model, first, transpose=transpose),
    )
    return [Draft(name, each) for name, each in zip(PICTURES, draw, strict=True)]


def _page(
    found: Diagnosis,
    model: TrainedModel,
    examples: Examples,
    record: Mapping[str, Any],
    pictures: Sequence[tuple[Picture, bytes]],
    files: Sequence[str],
    missing: Mapping[str, str],
) -> str:
    """Return the HTML."""
    dense = f"hidden {layers(model.settings.hidden)} {model.settings.activation}"
    network = dense if model.learner.layered else model.kind
    rows = count(len(found.truth), "test row")
    subject = (
        f"model {record['model']}, trained on {model.name or 'unknown data'}, {network}, "
        f"inputs {'as stored' if model.scaling.name == 'none' else model.scaling.name}; "
        f"{rows}; {record['environment']['time']}"
    )
    without = left_out(found, examples)
    notes = [f"{first_capital(without)}."] if without else []
    return Page(
        kind="model",
        question=_QUESTION,
        answer=_answer(found),
        subject=subject,
        environment=record["environment"],
        figures=pictures,
        tables=_tables(found),
        files=files,
        notes=[*notes, f"Not drawn: {reasons_text(missing)}."] if missing else notes,
    ).html()


def _answer(found: Diagnosis) -> str:
    """Return the findings in one or two sentences."""
    wrong, rows = len(found.mistakes), len(found.truth)
    start = f"{wrong} of {count(rows, 'test row')} are taken for another class: accuracy {percent(found.accuracy)} %."
    worst = min((each for each in found.classes if each.f1 is not None), key=lambda each: each.f1 or 0.0)
    hardest = f" The class with the lowest F1 is {worst.label} ({percent(worst.f1)} %)." if wrong else ""
    return f"{start}{hardest} The model is {certainty(found)} ({percent(found.confidence)} % on average)."


def _tables(found: Diagnosis) -> list[Table]:
    classes = [class_cells(each) for each in found.classes]
    mean = ("mean", *(percent(value) for value in found.means.values()), str(len(found.truth)))
    scores = ("class", "precision %", "recall %", "F1 %", "rows")
    tables = [Table("Classes", scores, [*classes, mean], marked=frozenset([len(classes)]))]
    confusions = found.confusions(_MOST_CONFUSIONS)
    if confusions:
        lines = [(str(e.truth), str(e.predicted), str(e.rows), f"{100 * e.share:.1f}") for e in confusions]
        what = ("true class", "taken for", "rows", "share of its rows %")
        tables.append(Table("Most frequent confusions", what, lines))
    if len(found.labels) <= _WIDEST:
        names = [str(label) for label in found.labels.tolist()]
        matrix = [
            (name, *(str(number) if number else "" for number in row))
            for name, row in zip(names, found.confusion.tolist(), strict=True)
        ]
        note = "A line for each true class, a column for each predicted one."
        tables.append(Table("Confusion matrix", ("", *names), matrix, note))
    bins = [
        (f"{100 * e.low:.1f} to {100 * e.high:.1f}", str(e.rows), percent(e.confidence), percent(e.accuracy))
        for e in found.bins
        if e.rows
    ]
    columns = ("probability %", "rows", "its mean %", "accuracy %")
    return [*tables, Table("Calibration", columns, bins, f"Bins without rows are left out. {NOTHING}: undefined.")]


def _csv_files(found: Diagnosis) -> dict[str, bytes]:
    """Return classes, confusions, bins and mistakes as CSV files; what has no value is empty."""
    labels = found.labels.tolist()
    classes = ([e.label, e.precision, e.recall, e.f1, e.rows, e.predicted] for e in found.classes)
    matrix = ([label, *row] for label, row in zip(labels, found.confusion.tolist(), strict=True))
    bins = ([e.low, e.high, e.rows, e.confidence, e.accuracy] for e in found.bins)
    mistakes = (
        [row + 1, labels[found.truth[row]], labels[found.predicted[row]], float(found.probability[row])]
        for row in found.mistakes.tolist()
    )
    tables = (
        [("class", "precision", "recall", "f1", "rows", "predicted"), *classes],
        [("true class", *labels), *matrix],
        [("low", "high", "rows", "confidence", "accuracy"), *bins],
        [("row", "true class", "predicted class", "probability"), *mistakes],
    )
    return {name: csv_text(table) for name, table in zip(NUMBERS, tables, strict=True)}
