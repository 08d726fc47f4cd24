"""Predictions from ``coefs_`` and ``intercepts_`` as they are now, in NumPy: nothing to compile, sparse rows too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit
from sklearn.utils.extmath import safe_sparse_dot

Values = NDArray[Any]

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, eq. 14


def _softmax(values: Values) -> Values:
    np.exp(values - values.max(axis=1, keepdims=True), out=values)
    values /= values.sum(axis=1, keepdims=True)
    return values


def _elu(values: Values) -> Values:
    return np.where(values > 0, values, np.expm1(np.minimum(values, 0)))


ACTIVATIONS: dict[str, Callable[[Values], Values]] = {
    "identity": lambda values: values,
    "logistic": lambda values: expit(values, out=values),
    "tanh": lambda values: np.tanh(values, out=values),
    "relu": lambda values: np.maximum(values, 0, out=values),
    "leaky_relu": lambda values: np.where(values > 0, values, 0.01 * values),
    "elu": _elu,
    "selu": lambda values: _SELU_SCALE * np.where(values > 0, values, _SELU_ALPHA * _elu(values)),
    "gelu": lambda values: 0.5 * values * (1 + erf(values * np.sqrt(0.5).astype(values.dtype))),
    "silu": lambda values: values * expit(values),
    "softplus": lambda values: np.logaddexp(0, values),
    "softsign": lambda values: values / (1 + np.abs(values)),
    "softmax": _softmax,
    "exp": lambda values: np.exp(values, out=values),
}
"""Each may write into its argument."""


def forward(
    rows: Any, coefs: Sequence[Values], intercepts: Sequence[Values], activation: str, out_activation: str
) -> Values:
    """Return the network's outputs, shape (rows, outputs), for an array or sparse matrix of shape (rows, features).

    The activations, of hidden neurons and of outputs, are keys of :data:`ACTIVATIONS`.
    """
    last = len(coefs) - 1
    values = rows
    for layer, (weights, biases) in enumerate(zip(coefs, intercepts, strict=True)):
        values = safe_sparse_dot(values, weights)
        values += biases
        values = ACTIVATIONS[out_activation if layer == last else activation](values)
    return np.asarray(values)
