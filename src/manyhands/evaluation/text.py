"""A diagnosis as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.data.labels import Label
from manyhands.evaluation.diagnostics import ClassScores, Confusion, Diagnosis

NOTHING = "-"
_LONGEST_NAME, _MOST_CLASSES, _MOST_CONFUSIONS = 20, 60, 30


def diagnosis_text(found: Diagnosis, width: int = 80) -> str:
    """Return calibration, classes and confusions as text.

    Parameters
    ----------
    found
        From `manyhands.evaluation.diagnostics.diagnose`.
    width
        Columns of the terminal.
    """
    return "\n\n".join([calibration_text(found), classes_text(found), confusion_text(found, width)])


def calibration_text(found: Diagnosis) -> str:
    """Say how sure the model is, and how far it is right to be so."""
    return (
        f"certainty {percent(found.confidence)} % on average (mean probability of the predicted class)\n"
        f"          {certainty(found)}\n"
        f"          calibration error {percent(found.calibration_error)} points ({len(found.bins)} bins)"
    )


def certainty(found: Diagnosis) -> str:
    """Say how certainty compares with accuracy."""
    gap = 100 * (found.confidence - found.accuracy)
    if abs(gap) < 0.005:
        return "as sure as it is right"
    return f"{abs(gap):.2f} points {'more' if gap > 0 else 'less'} sure than right"


def classes_text(found: Diagnosis) -> str:
    """Return precision, recall and F1 of every class; of many classes, the worst."""
    shown, note = list(found.classes), ""
    if len(shown) > _MOST_CLASSES:
        shown = sorted(shown, key=lambda each: -1.0 if each.f1 is None else each.f1)[:_MOST_CLASSES]
        note = f"the {_MOST_CLASSES} worst of {len(found.classes)} classes\n"
    lines = [
        ("class", "precision %", "recall %", "F1 %", "rows"),
        *(class_cells(each) for each in shown),
        ("mean", *(percent(value) for value in found.means.values()), str(len(found.truth))),
    ]
    text = _aligned([(name_text(name), *cells) for name, *cells in lines])
    rule = "-" * max(map(len, text))
    return note + "\n".join([text[0], rule, *text[1:-1], rule, text[-1]])


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


def confusion_text(found: Diagnosis, width: int = 80) -> str:
    """Return the confusion matrix; if it is wider than ``width`` columns, the most frequent confusions instead."""
    names = [name_text(label) for label in found.labels.tolist()]
    cells = [[str(number) if number else "." for number in row] for row in found.confusion.tolist()]
    lines = _aligned([("", *names), *([name, *row] for name, row in zip(names, cells, strict=True))], gap=1)
    if max(map(len, lines)) <= width:
        return "\n".join(["confusions: a line for each true class, a column for each predicted one", *lines])
    size = f"{len(names)} x {len(names)}"
    return f"the matrix of {size} confusions is wider than {width} columns\n{frequent_text(found, width)}"


def frequent_text(found: Diagnosis, width: int = 80) -> str:
    """Return the most frequent confusions, in as many columns as fit."""
    confusions = found.confusions(_MOST_CONFUSIONS)
    if not confusions:
        return "no row is taken for another class"
    items = _aligned([_confusion_cells(each) for each in confusions], right=(False, False, False, True, True))
    columns = max(1, (width + 4) // (len(items[0]) + 4))
    height = -(-len(items) // columns)
    padded = [each.ljust(max(map(len, items))) for each in items]
    lines = ["    ".join(padded[line::height]).rstrip() for line in range(height)]
    most = "most frequent: true class, what it was taken for, rows, share of its rows"
    return "\n".join([most, *lines])


def _confusion_cells(each: Confusion) -> tuple[str, ...]:
    share = f"{100 * each.share:.1f} %"
    return name_text(each.truth), "as", name_text(each.predicted), str(each.rows), share


def _aligned(lines: Sequence[Sequence[str]], gap: int = 2, right: Sequence[bool] | None = None) -> list[str]:
    """Join cells in columns: the first to the left and the others to the right, unless ``right`` says so."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    sides = [place > 0 for place in range(len(widths))] if right is None else right
    return [
        (" " * gap)
        .join(
            cell.rjust(width) if side else cell.ljust(width)
            for cell, width, side in zip(line, widths, sides, strict=True)
        )
        .rstrip()
        for line in lines
    ]
