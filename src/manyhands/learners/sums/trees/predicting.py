"""Predictions of trees: samples go from the root to a leaf, compared in float32 as scikit-learn's are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import Samples
from manyhands.learners.sums.trees.arrays import TreeArrays
from manyhands.runtime.jit import compiled_exactly, inlined_exactly

_BLOCK = 256
"""Samples that go through a tree together, before they go through the next one."""


class _Trees(NamedTuple):
    """All trees' nodes, end to end."""

    begins: Any
    """int64 (trees + 1,)."""
    left: Any
    right: Any
    feature: Any
    threshold: Any
    value: Any
    """float64 (nodes, K)."""


class _Rows(NamedTuple):
    """Samples as they are stored."""

    features: Any
    scale: Any
    shift: Any
    center: Any
    """float64 (features,), zeros for none."""
    plain: bool
    """Whether stored values are inputs."""


class Predictor:
    """What predicts with trees.

    Parameters
    ----------
    trees
        At least one; all have the same number of outputs.
    """

    def __init__(self, trees: list[TreeArrays]) -> None:
        sizes = [tree.node_count for tree in trees]
        together = {
            name: np.concatenate([getattr(tree, name) for tree in trees])
            for name in ("children_left", "children_right", "feature", "threshold", "value")
        }
        self._trees = _Trees(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            together["children_left"],
            together["children_right"],
            together["feature"],
            together["threshold"],
            np.ascontiguousarray(together["value"][:, 0, :]),
        )

    def values(self, table: Samples) -> NDArray[np.float64]:
        """Return the mean of the trees' values, shape (rows, K)."""
        out = np.zeros((table.rows, self._trees.value.shape[1]))
        _add_values(_rows_of(table), self._trees, 0, len(self._trees.begins) - 1, np.zeros(0, np.bool_), out)
        out /= len(self._trees.begins) - 1
        return out

    def add_values(self, table: Samples, tree: int, mask: NDArray[np.bool_], out: NDArray[np.float64]) -> None:
        """Add one tree's values for the rows in ``mask`` to ``out``."""
        _add_values(_rows_of(table), self._trees, tree, tree + 1, mask, out)

    def leaves(self, table: Samples) -> NDArray[np.int32]:
        """Return the leaf that each sample comes to in each tree, shape (rows, trees)."""
        out = np.zeros((table.rows, len(self._trees.begins) - 1), np.int32)
        _find_leaves(_rows_of(table), self._trees, out)
        return out


def _rows_of(table: Samples) -> _Rows:
    """Return samples as compiled code takes them."""
    center = np.zeros(len(table.scale)) if table.center is None else table.center
    plain = bool((table.scale == 1).all() and (table.shift == 0).all() and not center.any())
    return _Rows(table.features, table.scale, table.shift, center, plain)


@inlined_exactly
def _leaf(rows: _Rows, row: int, trees: _Trees, tree: int) -> int:
    """Return the number, among all nodes, of the leaf that a sample comes to."""
    begin = trees.begins[tree]
    node = begin
    while trees.left[node] >= 0:
        feature = trees.feature[node]
        stored = rows.features[row, feature]
        value = np.float32(stored)
        if not rows.plain:
            value = np.float32((stored - rows.center[feature]) * rows.scale[feature] + rows.shift[feature])
        node = begin + (trees.left[node] if value <= trees.threshold[node] else trees.right[node])
    return int(node)


@compiled_exactly
def _add_values(rows: _Rows, trees: _Trees, first: int, last: int, mask: Any, out: Any) -> None:
    """Add the values of trees ``first`` to ``last - 1``; a mask that is not empty chooses rows."""
    for top in range(0, len(out), _BLOCK):
        for tree in range(first, last):
            for row in range(top, min(top + _BLOCK, len(out))):
                if len(mask) > 0 and not mask[row]:
                    continue
                leaf = _leaf(rows, row, trees, tree)
                for k in range(out.shape[1]):
                    out[row, k] += trees.value[leaf, k]


@compiled_exactly
def _find_leaves(rows: _Rows, trees: _Trees, out: Any) -> None:
    """Write the leaf of each row in each tree, numbered from the tree's root."""
    for top in range(0, len(out), _BLOCK):
        for tree in range(out.shape[1]):
            for row in range(top, min(top + _BLOCK, len(out))):
                out[row, tree] = _leaf(rows, row, trees, tree) - trees.begins[tree]
