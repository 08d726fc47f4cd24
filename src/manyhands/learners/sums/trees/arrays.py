"""Trees as arrays, named and numbered as scikit-learn's, and what is computed from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NO_FEATURE, _NO_THRESHOLD = -2, -2.0
_DTYPES = {
    "children_left": np.int32,
    "children_right": np.int32,
    "feature": np.int32,
    "threshold": np.float64,
    "impurity": np.float64,
    "n_node_samples": np.int64,
    "weighted_n_node_samples": np.float64,
    "value": np.float64,
}


@dataclass(frozen=True)
class TreeArrays:
    """A tree: the arrays of scikit-learn's `Tree`, an entry for each node.

    Attributes
    ----------
    children_left, children_right : ndarray, int32
        -1 for leaves.
    feature : ndarray, int32
        -2 for leaves.
    threshold : ndarray, float64
        Inputs up to it go left; -2 for leaves.
    impurity : ndarray, float64
    n_node_samples : ndarray, int64
    weighted_n_node_samples : ndarray, float64
    value : ndarray of shape (nodes, 1, K), float64
        Shares of the classes, or the mean.
    """

    children_left: NDArray[np.int32]
    children_right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    impurity: NDArray[np.float64]
    n_node_samples: NDArray[np.int64]
    weighted_n_node_samples: NDArray[np.float64]
    value: NDArray[np.float64]

    @property
    def node_count(self) -> int:
        """How many nodes."""
        return len(self.feature)

    @property
    def n_leaves(self) -> int:
        """How many leaves."""
        return int((self.children_left < 0).sum())

    @property
    def max_depth(self) -> int:
        """Most splits above a leaf."""
        depth, level = 0, np.zeros(1, np.int32)
        while len(level := level[self.children_left[level] >= 0]):
            level = np.concatenate([self.children_left[level], self.children_right[level]])
            depth += 1
        return depth

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def picked(self, order: NDArray[Any], leaves: NDArray[np.bool_]) -> TreeArrays:
        """Return the tree of the nodes in ``order``, which begins with the root; where ``leaves``, they become ones.

        ``leaves`` has an entry for each node of this tree.
        """
        places = np.full(self.node_count + 1, -1, np.int32)  # the last is that of -1
        places[order] = np.arange(len(order), dtype=np.int32)
        ends = leaves[order]
        changed: dict[str, Any] = {
            name: array[order] for name, array in self.arrays().items() if not name.startswith("children")
        }
        changed["feature"][ends], changed["threshold"][ends] = _NO_FEATURE, _NO_THRESHOLD
        for name in ("children_left", "children_right"):
            children = places[getattr(self, name)[order]]
            changed[name] = np.where(ends, np.int32(-1), children)
        return TreeArrays(**changed)


def importances_of(tree: TreeArrays, features: int, normalize: bool = True) -> NDArray[np.float64]:
    """Return how much each feature makes the impurity smaller, as scikit-learn's `compute_feature_importances`."""
    found = np.zeros(features)
    nodes = np.flatnonzero(tree.children_left >= 0)
    cost = tree.weighted_n_node_samples * tree.impurity
    gains = cost[nodes] - cost[tree.children_left[nodes]] - cost[tree.children_right[nodes]]
    np.add.at(found, tree.feature[nodes], gains)
    found /= tree.weighted_n_node_samples[0]
    total = found.sum()
    return found / total if normalize and total > 0 else found


def forest_importances(trees: list[TreeArrays], features: int) -> NDArray[np.float64]:
    """Return the mean of the trees' importances, as scikit-learn's forests: trees without a split are left out."""
    found = [importances_of(tree, features) for tree in trees if tree.node_count > 1]
    if not found:
        return np.zeros(features)
    mean = np.mean(found, axis=0, dtype=np.float64)
    return np.asarray(mean / mean.sum())


def blocks_of(trees: list[TreeArrays]) -> dict[str, NDArray[Any]]:
    """Return trees as named arrays, end to end, with ``tree_sizes``."""
    named = [tree.arrays() for tree in trees]
    blocks = {name: np.concatenate([each[name] for each in named]) for name in _DTYPES}
    return {**blocks, "tree_sizes": np.array([tree.node_count for tree in trees], np.int64)}


def trees_from(blocks: Mapping[str, NDArray[Any]], features: int, outputs: int) -> list[TreeArrays]:
    """Return the trees in blocks from :func:`blocks_of`, which may come from a stranger.

    Raises
    ------
    ValueError
        If they are no such trees: with the words.
    """
    wanted = {**_DTYPES, "tree_sizes": np.int64}
    for name, dtype in wanted.items():
        if name not in blocks:
            raise ValueError(f"the trees have no {name}")
        if blocks[name].dtype != dtype:
            raise ValueError(f"{name} of the trees is {blocks[name].dtype}, not {np.dtype(dtype)}")
    sizes = blocks["tree_sizes"]
    if sizes.ndim != 1 or not len(sizes) or sizes.min() < 1:
        raise ValueError("tree_sizes must be the numbers of nodes of at least one tree")
    nodes = sum(int(size) for size in sizes)  # Python's numbers: a sum of strangers' must not wrap around
    for name in _DTYPES:
        shape = (nodes, 1, outputs) if name == "value" else (nodes,)
        if blocks[name].shape != shape:
            raise ValueError(f"{name} of the trees has the shape {blocks[name].shape}, not {shape}")
    trees, begin = [], 0
    for number, size in enumerate(sizes.tolist()):
        tree = TreeArrays(**{name: blocks[name][begin : begin + size].copy() for name in _DTYPES})
        problem = _problem_of(tree, features)
        if problem:
            raise ValueError(f"tree {number + 1} of {len(sizes)} cannot be: {problem}")
        trees.append(tree)
        begin += size
    return trees


def _problem_of(tree: TreeArrays, features: int) -> str:
    """Return what is wrong with a tree, or an empty text."""
    numbers = np.arange(tree.node_count)
    left, right, leaves = tree.children_left, tree.children_right, tree.children_left == -1
    if not np.array_equal(leaves, right == -1):
        return "a node has one child"
    for children in (left, right):
        if (children[~leaves] <= numbers[~leaves]).any() or (children >= tree.node_count).any():
            return "the number of a child is not behind its parent's, or not that of a node"
    parents = np.bincount(np.concatenate([left[~leaves], right[~leaves]]), minlength=tree.node_count)
    if parents[0] != 0 or (parents[1:] != 1).any():
        return "a node has not exactly one parent"
    if (tree.feature[~leaves] < 0).any() or (tree.feature[~leaves] >= features).any():
        return f"a split is by none of the {features} features"
    if not np.isfinite(tree.threshold).all():
        return "a threshold is not finite"
    if not np.isfinite(tree.value).all():
        return "a value is not finite"
    if not (np.isfinite(tree.weighted_n_node_samples).all() and (tree.n_node_samples > 0).all()):
        return "a node has no samples"
    return ""
