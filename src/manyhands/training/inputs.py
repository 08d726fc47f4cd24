"""Whether a data set's inputs can be computed in the network's dtype, and stay different in it."""

from __future__ import annotations

import numpy as np

from manyhands.core.errors import DataError
from manyhands.core.parameters import parameter
from manyhands.data.dataset import Dataset
from manyhands.data.precision import numbered, say_once

_LARGE = 1e5


def _rather() -> str:
    return f"standardize them ({parameter('scale', 'auto')}), or use {parameter('dtype', 'float64')}"


def check_inputs(dataset: Dataset, dtype: str) -> None:
    """Check the inputs of a data set before a network of this dtype is trained on them.

    A DataError says if an input is no finite number of the dtype, or the square of one that is not standardized, or if
    all values of a feature become one.
    """
    stored, scaling = dataset.train.features.dtype, dataset.scaling
    if not all(np.isfinite(vector).all() for vector in scaling.vectors().values()):
        raise DataError(
            "a feature varies so little that its scaling is no finite number; "
            f"multiply it by a large number, or scale the data yourself and use {parameter('scale', 'none')}"
        )
    if stored == np.uint8:
        return
    if scaling.center is None:
        if dataset.test.rows:  # estimators, which have none, scale nothing, and train on what scikit-learn's do
            _check_sizes(dataset, dtype)
        if stored.itemsize <= np.dtype(dtype).itemsize:
            return
    if not dataset.largest_input <= float(np.finfo(dtype).max):
        raise DataError(
            f"an input is no finite {dtype} number: a value is too large, or too far from the training rows'; "
            f"use {parameter('dtype', 'float64')}, or leave such rows out"
        )
    if scaling.center is None:  # else it is subtracted before anything is rounded
        _check_resolution(dataset, dtype)


def _check_sizes(dataset: Dataset, dtype: str) -> None:
    """Check that inputs which are not standardized can be multiplied with their like; say it if they are rather large.

    A product of inputs is what a gradient step changes an output by.
    """
    largest, most = dataset.scaling.largest_input(dataset.train.features), float(np.finfo(dtype).max)
    if not largest * largest * dataset.features <= most:
        raise DataError(
            f"inputs of up to {largest:.3g} are too large: products of such numbers are no finite {dtype} numbers; "
            f"standardize them ({parameter('scale', 'auto')}), or divide them by a constant"
        )
    if largest > _LARGE and (dtype == "float64" or not dataset.coarse_in_single.any()):  # else more is said below
        say_once(
            f"networks hardly learn from inputs of up to {largest:.3g}; standardize them ({parameter('scale', 'auto')})"
        )


def _check_resolution(dataset: Dataset, dtype: str) -> None:
    """Check that doubles which are not standardized stay apart as float32; say it where that is doubtful."""
    coarse = dataset.coarse_in_single
    for column in np.flatnonzero(coarse):
        values = dataset.train.features[:, column]
        low, high = values.min(), values.max()
        if np.float32(low) == np.float32(high):
            raise DataError(
                f"all values of feature {column + 1}, from {low:.15g} to {high:.15g}, are one in {dtype}; {_rather()}"
            )
    if coarse.any():
        say_once(f"{dtype} loses much of what tells the values of {numbered('feature', coarse)} apart; {_rather()}")
