"""How good a trained network is on the test rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, DivergedError
from manyhands.core.learner import Model
from manyhands.core.parameters import parameter
from manyhands.core.samples import Samples
from manyhands.data.dataset import Dataset
from manyhands.training.model import scores


def evaluate(learner: Model, dataset: Dataset, steps: int) -> float:
    """Return the accuracy on the test rows, 0..1, after so many steps; NaN if there are none.

    Probabilities that are not finite are a DataError if the values of the test row are too large, else a DivergedError.
    """
    if not dataset.test_rows:
        return float("nan")
    right = rows = 0
    for table in dataset.test_tables():
        found = learner.predict_proba(table)
        wrong = ~np.isfinite(found).all(axis=1)
        if wrong.any():
            raise _not_finite(np.flatnonzero(wrong), rows, table, dataset, steps)
        right += int((found.argmax(axis=1) == table.labels).sum())
        rows += table.rows
    return right / rows


def scores_of(model: Model, tables: Iterable[Samples]) -> tuple[float, float]:
    """Return loss and accuracy on the rows of one table, or of several, as `manyhands.training.model.scores`."""
    found = [(table.rows, *scores(model.predict_proba(table), table.labels)) for table in tables]
    if len(found) == 1:
        return found[0][1:]
    rows = sum(count for count, _, _ in found)
    loss, score = (sum(each[0] * each[place] for each in found) / rows for place in (1, 2))
    return loss, score


def _not_finite(rows: NDArray[np.int64], before: int, table: Samples, dataset: Dataset, steps: int) -> Exception:
    """Return the error for rows whose probabilities are not finite, because of their values or of the network.

    ``before`` is the number of test rows before those of the table.
    """
    largest = dataset.scaling.largest_input
    if largest(table.features[rows]) <= largest(dataset.train.features):
        return DivergedError(steps, 0, float("nan"))
    return DataError(
        f"test row {before + rows[0] + 1}: the probabilities are not finite numbers ({len(rows)} such rows); its "
        f"values are too large beside those of the training rows; use {parameter('dtype', 'float64')}, or leave "
        "such rows out"
    )
