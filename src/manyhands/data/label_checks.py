"""Checks of the classes of training rows: whether these are labels at all, and which column looks like them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.core.parameters import parameter
from manyhands.data.columns import Names
from manyhands.data.labels import named, number_of
from manyhands.data.likely_labels import is_label_name, likely_label

_FEW = 20  # of fewer rows, most may well have a class of their own
_MOST_CLASSES = 10  # of more, the last column may be the label if it has fewer


class LabelSource(NamedTuple):
    """Where labels come from.

    Attributes
    ----------
    path
        The file.
    name
        Name of their column.
    asked
        Whether somebody said which column it is, or it is beyond doubt.
    feature_names, columns
        Of the other columns: their names, and their numbers in the file, from 0.
    """

    path: Path | None
    name: str | None
    asked: bool
    feature_names: Names | None
    columns: tuple[int, ...] | None


def check_classes(classes: NDArray[Any], labels: NDArray[Any], features: NDArray[Any], source: LabelSource) -> None:
    """Check that training rows have two classes or more.

    Raises
    ------
    DataError
        If not; it names the column that looks like the label.
    """
    if len(classes) < 2:
        raise DataError(
            f"the {len(labels)} training rows have one class only ({classes[0]}); a classifier needs two"
            f"{label_hint(labels, features, source)}",
            path=source.path,
        )


def doubt_about(classes: NDArray[Any], labels: NDArray[Any], features: NDArray[Any], source: LabelSource) -> str | None:
    """Return why labels hardly are labels: decimals, most rows have their own, another column looks better; else None.

    Parameters
    ----------
    classes : ndarray of shape (K,)
        The different labels.
    labels : ndarray of shape (rows,)
        Of the rows that are trained on.
    features : ndarray of shape (rows, features)
        As stored.
    source
        Where they come from.
    """
    where = "" if source.name is None else f" {source.name!r}"
    question = f"is the column{where} of the labels the right one ({parameter('label_column')})?"
    hint = label_hint(labels, features, source).removeprefix(";")
    decimals = classes.dtype.kind == "f" and (classes != np.rint(classes)).any()
    numbers = " (to predict numbers, take manyhands.MLPRegressor)" if decimals else ""
    if len(labels) >= _FEW and len(classes) > len(labels) / 2:
        return f"{len(classes)} classes for {len(labels)} training rows{numbers}: {question}{hint}"
    if decimals:
        return f"the labels have decimals ({named(classes)}){numbers}: {question}{hint}"
    if hint and len(classes) > _MOST_CLASSES:
        return f"{len(classes)} classes ({named(classes)}): {question}{hint}"
    return _same_numbers(classes)


def _same_numbers(classes: NDArray[Any]) -> str | None:
    """Return a warning of words that are one number: they stay words where another label is no number."""
    if classes.dtype.kind != "U":
        return None
    first: dict[float, str] = {}
    for word in classes.tolist():
        value = number_of(word)
        if value is not None and first.setdefault(value, word) != word:
            return (
                f"the labels {first[value]!r} and {word!r} are the same number, but two classes, because all labels "
                "are words where one of them is no number; write them alike if they are one class"
            )
    return None


def label_hint(labels: NDArray[Any], features: NDArray[Any], source: LabelSource) -> str:
    """Return which column looks like the label, as the end of a message; nothing if none does, or these do."""
    if source.asked or labels.dtype.kind == "U" or is_label_name(source.name):
        return ""
    found = likely_label(features, source.feature_names, source.columns)
    return "" if found is None else f"; {found}"
