"""The shape of a multilayer perceptron: its settings, and where its layers lie in the flat vector."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import SettingsError
from manyhands.protocols import Vector

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
"""In the order of the codes in `kernels`."""
OPTIMIZERS = ("adam", "sgd")
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class MLPSettings:
    """What a user chooses about the network and its optimizer; the defaults are scikit-learn's.

    Attributes
    ----------
    hidden
        Widths of the hidden layers, input side first; empty for softmax regression.
    activation
        One of :data:`ACTIVATIONS`, for all hidden layers.
    optimizer
        ``"adam"`` or ``"sgd"``.
    learning_rate
        Step size (scikit-learn: ``learning_rate_init``).
    l2
        Strength of the penalty ``l2 / (2 B) * sum(W**2)``, B the global batch, biases excluded (``alpha``).
    momentum, nesterov
        For SGD.
    beta_1, beta_2, epsilon
        For Adam.
    dtype
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    hidden: tuple[int, ...] = (100,)
    activation: str = "relu"
    optimizer: str = "adam"
    learning_rate: float = 0.001
    l2: float = 0.0001
    momentum: float = 0.9
    nesterov: bool = True
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(operator.index(width) for width in self.hidden))
        if any(width < 1 for width in self.hidden):
            raise SettingsError(f"hidden layers need at least one neuron each, not {list(self.hidden)}")
        _one_of("activation", self.activation, ACTIVATIONS)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("dtype", self.dtype, DTYPES)
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise SettingsError(f"the learning rate must be a number above 0, not {self.learning_rate}")
        largest = float(np.finfo(self.dtype).max)
        if not 0 <= self.l2 <= largest:
            raise SettingsError(f"l2 must be 0 or larger and a finite {self.dtype} number, not {self.l2}")
        for name in ("momentum", "beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if not 0 < self.epsilon <= largest:
            raise SettingsError(f"epsilon must be above 0 and a finite {self.dtype} number, not {self.epsilon}")


def wider(settings: MLPSettings, times: int) -> MLPSettings:
    """Return the settings of ``times`` such networks side by side."""
    return replace(settings, hidden=tuple(times * width for width in settings.hidden))


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise SettingsError(f"unknown {name} {value!r}; choose one of {', '.join(choices)}")


def padded(width: int) -> int:
    """Return the stored width of a layer of ``width`` neurons: the next multiple of 16, but none of 256 from 1,024 on.

    Matrix products like whole registers: OpenBLAS runs 784 x 75 at 140 GFLOP/s and 784 x 80 at 190, and our own tiles
    (`manyhands.learners.mlp.tiles`) take nothing else. Rows that are whole kilobytes long meet in a few sets of the
    caches and drive each other out: at width 1,024 the tiles run at half their speed. On every CPU alike, so that
    vectors fit each other.
    """
    stored = -(-width // 16) * 16
    return stored + 16 if stored % 256 == 0 and stored >= 1024 else stored


class Layout:
    """Where the layers of a network lie in its flat vector.

    Parameters
    ----------
    features, hidden, classes
        The network's real widths.

    Attributes
    ----------
    real_widths, widths : ndarray of shape (L + 1,), int64
        Inputs, hidden layers, classes: as the user sees them, and as stored.
    weight_at, bias_at : ndarray of shape (L,), int64
        Where each layer's weights (in, out) and biases (out,) begin.
    size : int
        Length of the vector, padding included.
    """

    def __init__(self, features: int, hidden: Sequence[int], classes: int) -> None:
        self.real_widths = np.array([features, *hidden, classes], dtype=np.int64)
        self.widths = np.array([features, *map(padded, [*hidden, classes])], dtype=np.int64)
        inputs, outputs = self.widths[:-1], self.widths[1:]
        ends = np.cumsum((inputs + 1) * outputs)
        self.bias_at = ends - outputs
        self.weight_at = self.bias_at - inputs * outputs
        self.size = int(ends[-1])

    @property
    def layers(self) -> int:
        """Number of weight matrices L."""
        return len(self.weight_at)

    def weights(self, vector: Vector, layer: int) -> NDArray[Any]:
        """Return the (in, out) weights of a layer as a view, without padding."""
        rows, columns = self.widths[layer], self.widths[layer + 1]
        begin = self.weight_at[layer]
        block = vector[begin : begin + rows * columns].reshape(rows, columns)
        return block[: self.real_widths[layer], : self.real_widths[layer + 1]]

    def biases(self, vector: Vector, layer: int) -> NDArray[Any]:
        """Return the (out,) biases of a layer as a view, without padding."""
        begin = self.bias_at[layer]
        return vector[begin : begin + self.real_widths[layer + 1]]


def initialize(vector: Vector, layout: Layout, activation: str, rng: np.random.Generator) -> None:
    """Write scikit-learn's start: Glorot's uniform distribution for weights and biases (Glorot & Bengio 2010, eq. 16).

    The bound is sqrt(6 / (in + out)), or sqrt(2 / (in + out)) for logistic units. Padding becomes zero.
    """
    vector[:] = 0
    factor = 2.0 if activation == "logistic" else 6.0
    for layer in range(layout.layers):
        inputs, outputs = layout.real_widths[layer], layout.real_widths[layer + 1]
        bound = math.sqrt(factor / (inputs + outputs))
        layout.weights(vector, layer)[:] = rng.uniform(-bound, bound, (inputs, outputs))
        layout.biases(vector, layer)[:] = rng.uniform(-bound, bound, outputs)
