"""One tree grows, level by level: each level is a search, by one worker or by many, and then all nodes are divided."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, SettingsError
from manyhands.core.samples import Samples
from manyhands.learners.sums.settings import SumsSettings
from manyhands.learners.sums.trees.arrays import TreeArrays
from manyhands.learners.sums.trees.dividing import advance, plant
from manyhands.learners.sums.trees.draws import draw_features, random_order
from manyhands.learners.sums.trees.kernel_args import (
    CHUNK,
    CODES,
    ENTROPY,
    FOUND,
    GINI,
    POISSON,
    SQUARED,
    Coded,
    Members,
    Nodes,
    Rule,
    Work,
)
from manyhands.learners.sums.trees.pruning import best_first, in_depth_first_order, never_expanded, pruned
from manyhands.learners.sums.trees.search import draw_further, search

_KINDS = {
    "gini": GINI,
    "entropy": ENTROPY,
    "log_loss": ENTROPY,
    "squared_error": SQUARED,
    "friedman_mse": SQUARED,  # as in scikit-learn since 1.9
    "poisson": POISSON,
}
_DEEPEST = 2**31 - 1


def kind_of(criterion: str, regression: bool) -> int:
    """Return the kernels' number of a criterion. For numbers, ``gini``, which is the default, means squared error.

    Raises
    ------
    SettingsError
        If it is one for the other kind of targets.
    """
    kind = SQUARED if regression and criterion == "gini" else _KINDS[criterion]
    if regression != (kind >= SQUARED):
        wanted = "squared_error, friedman_mse or poisson" if regression else "gini, entropy or log_loss"
        raise SettingsError(f"criterion {criterion!r} does not suit these targets; use {wanted}")
    return kind


def features_drawn(wanted: int | float | str | None, features: int) -> int:
    """Return how many features are drawn for a split, as in scikit-learn; None means all."""
    if wanted is None or wanted == "all":
        return features
    if isinstance(wanted, str):
        wanted = int(math.sqrt(features) if wanted == "sqrt" else math.log2(features))
    elif isinstance(wanted, float):
        wanted = int(wanted * features)
    return min(max(1, wanted), features)


def are_whole(weights: NDArray[Any] | None) -> bool:
    """Whether weights are whole numbers whose sum an int32 can hold, so that they can be counted."""
    return weights is None or bool((weights == np.floor(weights)).all() and weights.sum(dtype=np.float64) < 2**31)


class Growth:
    """A tree that grows.

    Parameters
    ----------
    coded
        The samples' codes.
    table
        The samples: labels or targets.
    weights
        Weight of each sample; samples without weight do not take part. None for 1.
    settings
        Of the tree.
    outputs
        How many classes; 1 for targets.
    regression
        Whether targets are predicted.
    drawn
        How many features are drawn for each node.
    key
        Of everything that is random.

    Attributes
    ----------
    open : int
        How many nodes may be split now; none when the tree is complete.
    """

    def __init__(
        self,
        coded: Coded,
        table: Samples,
        weights: NDArray[Any] | None,
        settings: SumsSettings,
        *,
        outputs: int,
        regression: bool,
        drawn: int,
        key: np.uint64,
    ) -> None:
        kind, whole = kind_of(settings.criterion, regression), are_whole(weights) and not regression
        self._coded, self._settings = coded, settings
        self._members = _members(table, weights, whole, regression)
        if not len(self._members.rows):
            raise DataError("no sample has a weight")
        if kind == POISSON and (self._members.targets.min() < 0 or not self._members.targets.sum() > 0):
            raise DataError("the criterion poisson needs targets from 0 on, some of them larger")
        order = random_order(key, len(coded.codes))
        depth = _DEEPEST if settings.max_depth is None else settings.max_depth
        self._rule = Rule(
            kind=kind, integral=whole, random=settings.splitter == "random", drawn=drawn, depth=depth,
            least_split=max(settings.min_samples_split, 2 * settings.min_samples_leaf),
            least_rows=settings.min_samples_leaf, least_weight=float(settings.min_weight_leaf),
            least_decrease=float(settings.min_impurity_decrease),
            total=float(self._members.weights.sum(dtype=np.float64)), key=key,
            order=order, rank=np.argsort(order).astype(np.int32),
        )  # fmt: skip
        count = len(self._members.rows)
        self._nodes = _nodes(min(2 * count - 1, 2 ** min(depth + 1, 40) - 1) + 2, outputs)
        self._work = _work(self._rule, outputs, len(coded.codes), whole)
        self._words = -(-len(coded.codes) // 64)
        self._made = 1
        self._opened = np.zeros(int(plant(self._nodes, self._members, self._rule)), np.int32)
        self._known = np.zeros((len(self._opened), self._words), np.uint64)
        self._keys = np.zeros(0)  # of the splits so far, see `never_expanded`
        self._open_keys = np.full(len(self._opened), np.inf)

    @property
    def open(self) -> int:
        """How many nodes may be split now."""
        return len(self._opened)

    def search(self, features: slice, found: NDArray[np.float64], stop: NDArray[np.int64]) -> None:
        """Find the best splits over some of the features; write them to ``found``, shape (open, FOUND)."""
        rule, work = self._rule, self._work
        mine = features.start, features.stop, features.step or 1
        every = rule.drawn == len(self._coded.codes)
        looks = np.zeros((0 if every else self.open, self._words), np.uint64)
        found[:] = (-np.inf, -1, -1, 0, np.inf)
        totals = np.empty((self.open, self._nodes.totals.shape[1] + 2), work.moved.dtype)
        place = (self._coded, self._members, self._nodes, self._opened)
        if not every:
            draw_features(rule, self._opened, work.permutation, work.swaps, looks)
        search(*place, totals, looks, self._known, rule, work, *mine, found, stop)
        if not every:
            looks[:] = 0
            if draw_further(*place, self._known, rule, work.permutation, work.swaps, *mine, found, looks):
                search(*place, totals, looks, self._known, rule, work, *mine, found, stop)

    def advance(self, found: NDArray[np.float64]) -> None:
        """Split the open nodes by what all workers have found, shape (n, open, FOUND)."""
        following, parents = np.empty(2 * self.open, np.int32), np.empty(2 * self.open, np.int32)
        self._made, opens = advance(
            self._coded, self._members, self._nodes, self._made, self._opened, found, self._rule, following, parents
        )
        following, parents = following[:opens], parents[:opens]
        if self._settings.max_leaf_nodes is not None:
            following, parents = self._within_reach(following, parents)
        self._opened, self._known = following, self._known[parents]

    def _within_reach(self, following: NDArray[Any], parents: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Leave out the open nodes that best-first order cannot come to."""
        keys = np.minimum(self._open_keys, self._nodes.improvement[self._opened])
        split = self._nodes.left[self._opened] >= 0
        self._keys = np.append(self._keys, keys[split])
        never = never_expanded(self._keys, int(self._settings.max_leaf_nodes or 0) - 1, keys[parents])
        self._open_keys = keys[parents][~never]
        return following[~never], parents[~never]

    def finished(self) -> TreeArrays:
        """Return the tree, pruned as the settings say."""
        nodes, made = self._nodes, self._made
        improvement = nodes.improvement[:made].copy()
        tree = TreeArrays(
            children_left=nodes.left[:made],
            children_right=nodes.right[:made],
            feature=nodes.feature[:made],
            threshold=nodes.threshold[:made],
            impurity=nodes.impurity[:made],
            n_node_samples=nodes.count[:made],
            weighted_n_node_samples=nodes.weight[:made],
            value=(nodes.totals[:made] / nodes.weight[:made, None])[:, None, :],
        )
        most = self._settings.max_leaf_nodes
        shaped = in_depth_first_order(tree) if most is None else best_first(tree, improvement, most)
        return pruned(shaped, self._settings.ccp_alpha)


def _members(table: Samples, weights: NDArray[Any] | None, whole: bool, regression: bool) -> Members:
    """Return all samples that have a weight, in one node."""
    kept: Any = slice(None) if weights is None or weights.all() else np.flatnonzero(weights)
    rows = np.arange(table.rows, dtype=np.uint32)[kept]
    masses = np.ones(len(rows)) if weights is None else weights[kept]
    masses = masses.astype(np.int32 if whole else np.float64)
    labels, targets = np.zeros(len(rows), np.int32), np.zeros(0)
    if regression:
        assert table.targets is not None  # the learner has seen to that
        targets = table.targets[kept, 0].astype(np.float64)
    else:
        labels = table.labels[kept].astype(np.int32)
    spare = [np.empty_like(each) for each in (rows, labels, masses, targets)]
    return Members(rows, labels, masses, targets, *spare)


def _nodes(room: int, outputs: int) -> Nodes:
    """Return room for nodes; what is not used takes no memory."""
    whole, wide, real = np.int32, np.int64, np.float64
    return Nodes(
        left=np.empty(room, whole),
        right=np.empty(room, whole),
        feature=np.empty(room, whole),
        threshold=np.empty(room, real),
        impurity=np.empty(room, real),
        improvement=np.empty(room, real),
        count=np.empty(room, wide),
        weight=np.empty(room, real),
        totals=np.empty((room, outputs), real),
        start=np.empty(room, wide),
        depth=np.empty(room, whole),
    )


def _work(rule: Rule, outputs: int, features: int, whole: bool) -> Work:
    """Return a worker's memory for one feature of one node."""
    logs = np.zeros(0)
    if rule.kind == ENTROPY and whole:
        numbers = np.arange(int(rule.total) + 1, dtype=np.float64)
        logs = numbers * np.log(np.maximum(numbers, 1.0))
    width = 2 if rule.kind >= SQUARED else outputs
    return Work(
        keys=np.zeros(CHUNK + 16, np.int32),
        sorted=np.zeros(CHUNK, np.int32),
        counts=np.zeros(CODES, np.int32),
        sums=np.zeros(CODES * width, np.int32 if whole else np.float64),
        groups=np.zeros(CODES + 1, np.int32),
        ends=np.zeros(CODES + 1, np.int32),
        moved=np.zeros(outputs, np.int64 if whole else np.float64),
        logs=logs,
        permutation=np.arange(features, dtype=np.int32),
        swaps=np.zeros(features, np.int32),
    )


def found_shape(opened: int) -> tuple[int, int]:
    """Return the shape of what one worker finds for so many open nodes."""
    return (opened, FOUND)
