"""Where the layers of a network lie in the flat vector, and how they begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.types import Vector
from manyhands.learners.mlp.initialization import parse_initialization
from manyhands.learners.mlp.settings import MLPSettings, padded


class Layout:
    """Where the layers of a network lie in its flat vector.

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


def initialize(vector: Vector, layout: Layout, settings: MLPSettings, rng: np.random.Generator) -> None:
    """Write a start as the settings say (`manyhands.learners.mlp.initialization`); padding becomes zero."""
    vector[:] = 0
    weights = parse_initialization("weight_init", settings.weight_init)
    biases = parse_initialization("bias_init", settings.bias_init)
    for layer in range(layout.layers):
        inputs, outputs = map(int, layout.real_widths[layer : layer + 2])
        known = inputs, outputs, settings.activation, rng
        layout.weights(vector, layer)[:] = weights.draw((inputs, outputs), *known)
        layout.biases(vector, layer)[:] = biases.draw((outputs,), *known)
