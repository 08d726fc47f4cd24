"""The scaling of a model as nodes of a graph: stored values go in, the network's inputs come out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from manyhands.data.scaling import Scaling
from manyhands.exporting.graph import Graph

_COARSE = 1e-5
"""Steps between float32 numbers that are larger than this share of a feature's deviation can show in probabilities."""


def stored_dtype(scaling: Scaling, dtype: DTypeLike) -> np.dtype[Any]:
    """Return the dtype in which stored values are given to the graph of a network that computes in ``dtype``.

    It is float32, or float64 if the network computes in float64, or if float32 is too coarse for features that lie as
    far from zero as the scaling's center.
    """
    if np.dtype(dtype) == np.float64 or (scaling.center is not None and _is_coarse(scaling.center, scaling.scale)):
        return np.dtype(np.float64)
    return np.dtype(np.float32)


def _is_coarse(center: NDArray[np.float64], scale: NDArray[np.float64]) -> bool:
    """Return whether float32 is too coarse for the values of some feature, of this mean and deviation (1 / scale)."""
    center, scale = center[scale > 0], scale[scale > 0]  # the others are constant
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32's range
        step = np.spacing(np.maximum(np.abs(center), 1 / scale).astype(np.float32))
    return not (step * scale <= _COARSE).all()


def scaled(graph: Graph, value: str, stored: np.dtype[Any], scaling: Scaling, shape: tuple[int, ...]) -> str:
    """Add the scaling of a value, and return the network's inputs, of the graph's dtype.

    Parameters
    ----------
    graph
        Where nodes are added.
    value
        Stored values of shape (N, *shape).
    stored
        Their dtype.
    scaling
        What becomes of them. A center is subtracted, and what is left is scaled, in double precision, as in training.
    shape
        Of one sample.
    """
    if scaling.threshold is not None:
        threshold = graph.constant("threshold", np.array(scaling.threshold, stored))
        value, stored = graph.apply("GreaterOrEqual", value, threshold), np.dtype(np.bool_)
    dtype = graph.dtype if scaling.center is None else np.dtype(np.float64)
    value = value if stored == dtype else graph.cast(value, dtype)
    for operator, name, vector, neutral in (
        ("Sub", "center", scaling.center, 0),
        ("Mul", "scale", scaling.scale, 1),
        ("Add", "shift", scaling.shift, 0),
    ):
        if vector is not None and (vector != neutral).any():
            value = graph.apply(operator, value, graph.constant(name, _factor(vector, shape).astype(dtype)))
    return value if dtype == graph.dtype else graph.cast(value, graph.dtype)


def _factor(vector: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a vector in the shape of a sample, or one number if all are equal."""
    return np.array(vector[0]) if (vector == vector[0]).all() else vector.reshape(shape)
