"""Which part of every layer each of several workers holds, and where it lies in that worker's flat vector.

The levels are those of Pethick et al. 2003. With ``node``, a worker holds a slice of every hidden layer's neurons: the
columns of weights that lead to them. With ``weight``, it holds a slice of every layer's inputs: rows, whose products
are added up over the workers. With ``pairs``, columns and rows take turns (Shoeybi et al. 2019, arXiv 1909.08053, sec.
3): the neurons between the two layers of a pair are needed by nobody else, so there is one sum for each pair. The last
layer is cut by rows where its inputs are sliced, and else held by all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.grid import NODE, PAIRS, WEIGHT
from manyhands.core.parameters import parameter
from manyhands.core.types import Vector
from manyhands.learners.mlp.layout import Layout
from manyhands.learners.mlp.settings import padded

COLUMNS, ROWS, WHOLE = range(3)
"""How a layer's weights are cut."""


class Cut(NamedTuple):
    """How a network is cut.

    Attributes
    ----------
    kinds
        Of each layer's weights: COLUMNS, ROWS or WHOLE.
    sliced
        Whether each worker has some of the neurons only, from the inputs to the outputs.
    """

    kinds: tuple[int, ...]
    sliced: tuple[bool, ...]


def cut_of(level: str, layers: int) -> Cut:
    """Return how a network of so many weight matrices is cut at a level, one of NODE, WEIGHT and PAIRS."""
    hidden = layers - 1
    if level == NODE:
        return Cut((COLUMNS,) * hidden + (ROWS,), (False, *(True,) * hidden, False))
    if level == WEIGHT:
        return Cut((ROWS,) * layers, (True, *(True,) * hidden, False))
    assert level == PAIRS
    kinds = [COLUMNS if layer % 2 == 0 else ROWS for layer in range(layers)]
    if layers % 2:
        kinds[-1] = WHOLE
    return Cut(tuple(kinds), (False, *(kind == COLUMNS for kind in kinds)))


def check_cut(level: str, parts: int, widths: Sequence[int]) -> None:
    """Raise SettingsError unless every worker gets a part of every layer; ``widths`` are those of all layers."""
    hidden = widths[1:-1]
    if not hidden and level != WEIGHT:
        raise SettingsError(f"{parameter('grid', f'{level}={parts}')} divides hidden layers, and the network has none")
    cut = cut_of(level, len(widths) - 1)
    for width, sliced in zip(widths, cut.sliced, strict=True):
        if sliced and width < parts:
            raise SettingsError(
                f"{parameter('grid', f'{level}={parts}')} divides every layer by {parts}, and one has {width} "
                f"{'features' if width == widths[0] and cut.sliced[0] else 'neurons'}; use fewer workers for it"
            )


class Block(NamedTuple):
    """Where a block of a layer's weights is in the whole layer, and where in a worker's part of it."""

    rows: slice
    columns: slice
    own_rows: slice
    own_columns: slice


class SliceLayout(Layout):
    """One worker's part of a network; for what else a layout has see `manyhands.learners.mlp.layout.Layout`.

    Parameters
    ----------
    features, hidden, classes
        The whole network.
    level
        NODE, WEIGHT or PAIRS.
    rank, parts
        This worker, and how many share the network.

    Attributes
    ----------
    real_widths, widths : ndarray of shape (L + 1,), int64
        Neurons that this worker has, without and with padding; of the inputs all.
    whole_widths : ndarray of shape (L + 1,), int64
        Neurons of the whole network, as the user sees them.
    joint_widths : ndarray of shape (L + 1,), int64
        Stored width of each layer when all workers' parts of it stand side by side.
    inner, outer : ndarray of shape (L,), int64
        Rows and columns of this worker's weights.
    first_input : int
        The first input that it reads in its first layer.
    weight_at, bias_at, first_unit, size
        See `Layout`.
    """

    def __init__(
        self, features: int, hidden: Sequence[int], classes: int, *, level: str, rank: int, parts: int
    ) -> None:
        self.rank, self.parts = rank, parts
        self.whole_widths = np.array([features, *hidden, classes], np.int64)
        check_cut(level, parts, self.whole_widths.tolist())
        self.cut = cut_of(level, len(self.whole_widths) - 1)
        self._bounds = [
            np.arange(parts + 1) * width // parts if sliced else None
            for width, sliced in zip(self.whole_widths.tolist(), self.cut.sliced, strict=True)
        ]
        self._places = [self._stored(unit) for unit in range(len(self.whole_widths))]
        self.joint_widths = np.array([int(place[-1]) for place in self._places], np.int64)
        self.widths = np.array([self.own_width(unit, rank) for unit in range(len(self._places))], np.int64)
        self.real_widths = np.array([self._real(unit) for unit in range(len(self._places))], np.int64)
        self.first_unit = np.array([self._first(unit) for unit in range(len(self._places))], np.int64)
        self.first_input = int(self.first_unit[0])
        self.first_unit[0] = 0
        self._place_layers()

    @property
    def largest(self) -> int:
        """Numbers in this worker's largest layer."""
        return int((self.inner * self.outer).max() + self.widths[1:].max())

    @property
    def widest(self) -> int:
        """The largest number of columns of this worker's weights."""
        return int(self.outer.max())

    @property
    def longest(self) -> int:
        """The largest number of rows of this worker's weights, or of neurons that it has."""
        return int(max(self.inner.max(), self.widths.max()))

    def _stored(self, unit: int) -> NDArray[np.int64]:
        """Return where each worker's neurons of a layer begin and end when they stand side by side, with padding."""
        bounds, width = self._bounds[unit], int(self.whole_widths[unit])
        if unit == 0:
            return np.array([0, width]) if bounds is None else bounds
        widths = [width] if bounds is None else np.diff(bounds).tolist()
        return np.concatenate([[0], np.cumsum([padded(each) for each in widths])])

    def own_width(self, unit: int, rank: int) -> int:
        """Return how many neurons of a layer a worker stores; of the inputs all."""
        if self._bounds[unit] is None or unit == 0:
            return int(self.joint_widths[unit])
        return int(self._places[unit][rank + 1] - self._places[unit][rank])

    def offset(self, unit: int, rank: int) -> int:
        """Return where a worker's neurons begin among those of all, with padding."""
        return 0 if self._bounds[unit] is None else int(self._places[unit][rank])

    def _real(self, unit: int) -> int:
        bounds = self._bounds[unit]
        if bounds is None or unit == 0:
            return int(self.whole_widths[unit])
        return int(bounds[self.rank + 1] - bounds[self.rank])

    def _first(self, unit: int) -> int:
        bounds = self._bounds[unit]
        return 0 if bounds is None else int(bounds[self.rank])

    def _place_layers(self) -> None:
        """Find the shapes of this worker's weights, and where they begin in its vector."""
        inner, outer = [], []
        for layer, kind in enumerate(self.cut.kinds):
            joint, own = self.joint_widths, self.widths
            of_inputs = np.diff(self._places[0])[self.rank] if layer == 0 and kind == ROWS else own[layer]
            inner.append(int(of_inputs if kind == ROWS else joint[layer]))
            outer.append(int(joint[layer + 1] if kind == ROWS else own[layer + 1]))
        self.inner, self.outer = np.array(inner, np.int64), np.array(outer, np.int64)
        sizes = self.inner * self.outer
        ends = np.cumsum(sizes + self.widths[1:])
        self.bias_at = ends - self.widths[1:]
        self.weight_at = self.bias_at - sizes
        self.size = int(ends[-1])

    def weights(self, vector: Vector, layer: int) -> NDArray[Any]:
        """Return this worker's weights of a layer as a view, shape (inner, outer), with padding."""
        begin, rows, columns = self.weight_at[layer], self.inner[layer], self.outer[layer]
        return vector[begin : begin + rows * columns].reshape(rows, columns)

    def bias_slice(self, layer: int) -> slice:
        """Return which of the whole layer's biases these are."""
        first = int(self.first_unit[layer + 1])
        return slice(first, first + int(self.real_widths[layer + 1]))

    def is_counted(self, layer: int) -> bool:
        """Whether sums over all workers' weights count this worker's of a layer: what all have, the first counts."""
        return self.cut.kinds[layer] != WHOLE or self.rank == 0

    def counts_biases(self, layer: int) -> bool:
        """Whether sums over all workers' biases count this worker's of a layer."""
        return self.cut.sliced[layer + 1] or self.rank == 0

    def blocks(self, layer: int) -> Iterator[Block]:
        """Yield the blocks of a layer's weights that this worker has."""
        kind = self.cut.kinds[layer]
        rows = self._spans(layer, alone=kind == ROWS)
        columns = self._spans(layer + 1, alone=kind == COLUMNS)
        for (row, own_row), (column, own_column) in itertools.product(rows, columns):
            yield Block(row, column, own_row, own_column)

    def _spans(self, unit: int, *, alone: bool) -> list[tuple[slice, slice]]:
        """Return spans of a layer's neurons, each with its place in this worker's weights: ``alone``, its own only."""
        bounds, places = self._bounds[unit], self._places[unit]
        if bounds is None:
            whole = slice(0, int(self.whole_widths[unit]))
            return [(whole, whole)]
        ranks = [self.rank] if alone else range(self.parts)
        shift = places[self.rank] if alone else 0
        return [
            (
                slice(int(bounds[each]), int(bounds[each + 1])),
                slice(int(places[each] - shift), int(places[each] - shift + bounds[each + 1] - bounds[each])),
            )
            for each in ranks
        ]
