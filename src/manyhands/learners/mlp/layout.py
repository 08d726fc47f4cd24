"""Where the layers of a network lie in the flat vector, and how they begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.types import Vector
from manyhands.learners.mlp.initialization import parse_initialization
from manyhands.learners.mlp.settings import MLPSettings, padded

_DRAWN_AT_ONCE = 1 << 20
"""Random numbers that are drawn at once, in double precision: of a wide network's weights never all."""


class Layout:
    """Where the layers of a network lie in its flat vector.

    Attributes
    ----------
    real_widths, widths : ndarray of shape (L + 1,), int64
        Inputs, hidden layers, classes: as the user sees them, and as stored.
    weight_at, bias_at : ndarray of shape (L,), int64
        Where each layer's weights (in, out) and biases (out,) begin.
    first_unit : ndarray of shape (L + 1,), int64
        Number of the first neuron of each layer: 0, as all are here.
    size : int
        Length of the vector, padding included.
    """

    def __init__(self, features: int, hidden: Sequence[int], classes: int) -> None:
        self.real_widths = np.array([features, *hidden, classes], dtype=np.int64)
        self.widths = np.array([features, *map(padded, [*hidden, classes])], dtype=np.int64)
        self.first_unit = np.zeros_like(self.widths)
        inputs, outputs = self.widths[:-1], self.widths[1:]
        ends = np.cumsum((inputs + 1) * outputs)
        self.bias_at = ends - outputs
        self.weight_at = self.bias_at - inputs * outputs
        self.size = int(ends[-1])

    @property
    def largest(self) -> int:
        """Numbers in the largest layer: room for one piece of the gradient, which is a whole layer for BLAS."""
        return int(((self.widths[:-1] + 1) * self.widths[1:]).max())

    @property
    def widest(self) -> int:
        """The largest number of columns of a layer's weights."""
        return int(self.widths[1:].max())

    @property
    def longest(self) -> int:
        """The largest number of inputs or neurons of a layer."""
        return int(self.widths.max())

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
    for drawn in drawn_pieces(layout.real_widths, settings, rng):
        if drawn.of_weights:
            layout.weights(vector, drawn.layer)[drawn.first : drawn.first + len(drawn.values)] = drawn.values
        else:
            layout.biases(vector, drawn.layer)[:] = drawn.values


class Drawn(NamedTuple):
    """A piece of a network's start: consecutive rows of a layer's weights, or its biases."""

    of_weights: bool
    layer: int
    first: int
    values: NDArray[Any]


def drawn_pieces(real_widths: NDArray[np.int64], settings: MLPSettings, rng: np.random.Generator) -> Iterator[Drawn]:
    """Draw a network's start in pieces that need little memory, in an order that is the same for whole and slice."""
    weights = parse_initialization("weight_init", settings.weight_init)
    biases = parse_initialization("bias_init", settings.bias_init)
    for layer in range(len(real_widths) - 1):
        inputs, outputs = map(int, real_widths[layer : layer + 2])
        known = inputs, outputs, settings.activation, rng
        at_once = inputs if weights.kind == "orthogonal" else max(1, _DRAWN_AT_ONCE // outputs)
        for first in range(0, inputs, at_once):
            rows = min(at_once, inputs - first)
            yield Drawn(True, layer, first, weights.draw((rows, outputs), *known))
        yield Drawn(False, layer, 0, biases.draw((outputs,), *known))
