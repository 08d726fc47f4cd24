"""What classifiers say about labels and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError


def check_classes(estimator: Any, found: NDArray[Any]) -> None:
    """Refuse labels that a network to go on with does not know, with scikit-learn's words."""
    if estimator.warm_start:
        if set(found) != set(estimator.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {estimator.classes_}, `y` has {found}"
            )
    elif len(np.setdiff1d(found, estimator.classes_, assume_unique=True)):
        raise ValueError(
            f"`y` has classes not in `self.classes_`. `self.classes_` has {estimator.classes_}. 'y' has {found}."
        )


def check_probabilities(outputs: NDArray[Any]) -> None:
    """Check that probabilities of shape (rows, K) are numbers: the largest of NaNs would be the first class."""
    wrong = ~np.isfinite(outputs).all(axis=1)
    if wrong.any():
        raise DataError(
            f"row {int(np.argmax(wrong)) + 1}: the probabilities are not finite numbers ({int(wrong.sum())} such "
            f"rows): its values, or the weights, are too large for {outputs.dtype}"
        )
