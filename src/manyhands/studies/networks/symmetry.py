"""Counts of distinct neurons: those of a layer that start alike and get the same gradients stay alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 1e-3


def distinct_neurons(blocks: Mapping[str, NDArray[Any]]) -> list[int]:
    """Return, for every hidden layer, how many of its neurons differ from each other by what they read.

    Two neurons are alike if none of their incoming weights, nor their biases, differ by more than a thousandth of the
    layer's largest: sums of the same numbers in another order are not the same to the last bit.

    Parameters
    ----------
    blocks
        ``weights.0`` of shape (inputs, outputs), ``biases.0`` of shape (outputs,), ``weights.1``, ... as
        `manyhands.learners.mlp.learner.MLP.weights` returns them; the last layer has no hidden neurons.
    """
    hidden = sum(name.startswith("weights.") for name in blocks) - 1
    return [_count(np.vstack([blocks[f"weights.{k}"], blocks[f"biases.{k}"]])) for k in range(hidden)]


def _count(columns: NDArray[Any]) -> int:
    """Return how many columns differ from all those counted before."""
    near, found = _TOLERANCE * float(np.abs(columns).max()), 0
    while columns.shape[1]:
        columns = columns[:, np.abs(columns - columns[:, :1]).max(axis=0) > near]
        found += 1
    return found
