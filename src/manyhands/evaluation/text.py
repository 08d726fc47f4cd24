"""A diagnosis as text for a terminal."""

from __future__ import annotations

from manyhands.data.labels import Label
from manyhands.evaluation.diagnostics import ClassScores, Diagnosis
from manyhands.runtime.terminal import RULE, Group, Row, columns, labelled, text_table

NOTHING = "-"
_LONGEST_NAME, _MOST_CLASSES, _MOST_CONFUSIONS = 20, 60, 30


def diagnosis_text(found: Diagnosis) -> str:
    """Return calibration, classes and confusions, found by `manyhands.evaluation.diagnostics.diagnose`, as text."""
    return "\n\n".join([calibration_text(found), classes_text(found), confusion_text(found)])


def calibration_text(found: Diagnosis) -> str:
    """Return the model's confidence, and how far its accuracy is from it."""
    return labelled(
        "certainty",
        f"{percent(found.confidence)} % on average (mean probability of the predicted class)\n{certainty(found)}\n"
        f"calibration error {percent(found.calibration_error)} points ({len(found.bins)} bins)",
    )


def certainty(found: Diagnosis) -> str:
    """Return how far the confidence is above or below the accuracy, in words."""
    gap = 100 * (found.confidence - found.accuracy)
    if abs(gap) < 0.005:
        return "neither over- nor underconfident"
    return f"{'over' if gap > 0 else 'under'}confident by {abs(gap):.2f} points"


def classes_text(found: Diagnosis) -> str:
    """Return precision, recall and F1 of every class; of many classes, the worst."""
    shown, note = list(found.classes), ""
    if len(shown) > _MOST_CLASSES:
        shown = sorted(shown, key=lambda each: -1.0 if each.f1 is None else each.f1)[:_MOST_CLASSES]
        note = f"the {_MOST_CLASSES} worst of {len(found.classes)} classes\n"
    rows: list[Row] = [(name_text(each.label), *class_cells(each)[1:]) for each in shown]
    mean = ("mean", *(percent(value) for value in found.means.values()), str(len(found.truth)))
    scores = Group(("precision %", "recall %", "F1 %", "samples"))
    return note + text_table(["class"], [scores], [*rows, RULE, mean])


def class_cells(each: ClassScores) -> tuple[str, ...]:
    """Return a class's name and numbers; what is undefined is a dash."""
    return str(each.label), percent(each.precision), percent(each.recall), percent(each.f1), str(each.rows)


def percent(value: float | None) -> str:
    """Return a share as percent; a dash if there is none."""
    return NOTHING if value is None else f"{100 * value:.2f}"


def name_text(label: Label) -> str:
    """Return a class's name as it may stand in a terminal: printable, and not too long."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in str(label))
    return plain if len(plain) <= _LONGEST_NAME else plain[: _LONGEST_NAME - 3] + "..."


def confusion_text(found: Diagnosis) -> str:
    """Return the confusion matrix; if the terminal is too narrow for it, the most frequent confusions instead."""
    names = [name_text(label) for label in found.labels.tolist()]
    rows = [
        (name, *(str(number) if number else "." for number in row))
        for name, row in zip(names, found.confusion.tolist(), strict=True)
    ]
    matrix = text_table([""], [Group(names)], rows)
    if max(map(len, matrix.splitlines())) <= columns():
        return f"confusions: a row for each true class, a column for each predicted one\n{matrix}"
    too_wide = f"The matrix of {len(names)} x {len(names)} confusions is wider than {columns()} columns."
    return f"{too_wide}\n{frequent_text(found)}"


def frequent_text(found: Diagnosis) -> str:
    """Return the most frequent confusions."""
    confusions = found.confusions(_MOST_CONFUSIONS)
    if not confusions:
        return "No sample is taken for another class."
    rows = [
        (name_text(each.truth), name_text(each.predicted), str(each.rows), f"{100 * each.share:.1f}")
        for each in confusions
    ]
    group = Group(("taken for", "samples", "% of its samples"))
    return f"most frequent confusions\n{text_table(['true class'], [group], rows)}"
