"""How good a trained network is on the test rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, DivergedError
from manyhands.core.learner import Model
from manyhands.core.parameters import parameter
from manyhands.data.dataset import Dataset
from manyhands.training.model import accuracy


def evaluate(learner: Model, dataset: Dataset, steps: int) -> float:
    """Return the accuracy on the test rows, 0..1, after so many steps; NaN if there are none.

    Probabilities that are not finite are a DataError if the values of the test row are too large, else a DivergedError.
    """
    if not dataset.test.rows:
        return float("nan")
    found = learner.predict_proba(dataset.test)
    wrong = ~np.isfinite(found).all(axis=1)
    if wrong.any():
        raise _not_finite(np.flatnonzero(wrong), dataset, steps)
    return accuracy(found, dataset.test.labels)


def _not_finite(rows: NDArray[np.int64], dataset: Dataset, steps: int) -> Exception:
    """Return the error for rows whose probabilities are not finite, because of their values or of the network."""
    largest = dataset.scaling.largest_input
    if largest(dataset.test.features[rows]) <= largest(dataset.train.features):
        return DivergedError(steps, 0, float("nan"))
    return DataError(
        f"test row {rows[0] + 1}: the probabilities are not finite numbers ({len(rows)} such rows); its values are too "
        f"large beside those of the training rows; use {parameter('dtype', 'float64')}, or leave such rows out"
    )
