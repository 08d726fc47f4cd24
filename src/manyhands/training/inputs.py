"""Whether a data set's inputs can be computed in the network's dtype, and are told apart in it."""

from __future__ import annotations

import numpy as np

from manyhands.data.dataset import Dataset
from manyhands.data.precision import numbered, say_once
from manyhands.errors import DataError

_RATHER = "standardize them (--scale auto), or use --dtype float64"


def check_inputs(dataset: Dataset, dtype: str) -> None:
    """Check the inputs of a data set before it is trained on.

    Parameters
    ----------
    dataset
        The rows and their scaling.
    dtype
        The network's.

    Raises
    ------
    DataError
        If an input is no finite number of this dtype, or all values of a feature become one.
    """
    stored, scaling = dataset.train.features.dtype, dataset.scaling
    if not all(np.isfinite(vector).all() for vector in scaling.vectors().values()):
        raise DataError(
            "a feature varies so little that its scaling is no finite number; "
            "multiply it by a large number, or scale the data yourself and use --scale none"
        )
    if stored == np.uint8 or (scaling.center is None and stored.itemsize <= np.dtype(dtype).itemsize):
        return
    if not dataset.largest_input <= float(np.finfo(dtype).max):
        raise DataError(
            f"an input is no finite {dtype} number: a value is too large, or too far from the training rows'; "
            "use --dtype float64, or leave such rows out"
        )
    if scaling.center is None:  # else it is subtracted before anything is rounded
        _check_resolution(dataset, dtype)


def _check_resolution(dataset: Dataset, dtype: str) -> None:
    """Check that doubles which are not standardized stay apart as float32; say it where that is doubtful."""
    coarse = dataset.coarse_in_single
    for column in np.flatnonzero(coarse):
        values = dataset.train.features[:, column]
        low, high = values.min(), values.max()
        if np.float32(low) == np.float32(high):
            raise DataError(
                f"all values of feature {column + 1}, from {low:.15g} to {high:.15g}, are one in {dtype}; {_RATHER}"
            )
    if coarse.any():
        say_once(f"{dtype} loses much of what tells the values of {numbered('feature', coarse)} apart; {_RATHER}")
