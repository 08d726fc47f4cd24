"""Learner `tree`: a decision tree whose splits all workers look for together, each over its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Share, Statistic
from manyhands.core.samples import Control, Samples
from manyhands.learners.sums.trees.arrays import TreeArrays
from manyhands.learners.sums.trees.base import TreesLearner
from manyhands.learners.sums.trees.draws import key_of
from manyhands.learners.sums.trees.growing import Growth, are_whole, features_drawn, found_shape


class TreeLearner(TreesLearner):
    """The learner; see `TreesLearner`. The first pass makes codes, and each level of the tree is another one.

    Every worker finds the best split of every open node over its features. What all have found is known to all, so each
    chooses the same (the largest improvement; of equal ones the first feature in a random order, and its lowest
    threshold), and divides all nodes itself.
    """

    _growth: Growth | None = None

    def begin(self, table: Samples, rows: int) -> None:
        """Get ready for a new tree."""
        super().begin(table, rows)
        self._growth = None

    def asks(self) -> Mapping[str, Statistic] | None:
        """Return what the next pass needs: codes, or the splits of a level."""
        if self.trees:
            return None
        if self._growth is None:
            return self._asks_codes()
        return {"splits": Statistic(found_shape(self._growth.open), "gather")}

    def collect(self, table: Samples, share: Share, into: Mapping[str, NDArray[Any]], control: Control) -> None:
        """Make the codes of this worker's features, or find the best splits over them."""
        if self._growth is None:
            self._collect_codes(table, share, into)
        else:
            # Neighbouring pixels cost much the same, so workers take turns.
            mine = slice(share.rank, self.features, share.size)
            self._growth.search(mine, into["splits"], control.stop)
            control.progress[0] += 1

    def conclude(self, found: Mapping[str, NDArray[Any]]) -> None:
        """Begin with the root, or divide the open nodes."""
        if self._growth is None:
            self._growth = self._begun(found)
        else:
            self._growth.advance(found["splits"])
        if not self._growth.open:
            self._complete([self._growth.finished()])
            self._growth = None

    def _begun(self, found: Mapping[str, NDArray[Any]]) -> Growth:
        """Return a tree that has a root only."""
        table = self._table
        assert table is not None
        coded = self._conclude_codes(found, are_whole(table.weights) and not self.regression)
        return Growth(
            coded,
            table,
            table.weights,
            self.settings,
            outputs=self.classes,
            regression=self.regression,
            drawn=features_drawn(self.settings.max_features, self.features),
            key=key_of(self.seed, "tree"),
        )

    @property
    def tree(self) -> TreeArrays:
        """The tree."""
        return self.trees[0]

    def _check_number(self, trees: int) -> None:
        if trees != 1:
            raise ValueError(f"this model is one tree, and the file has {trees}")

    def report(self) -> Mapping[str, Any]:
        """Return the tree's size."""
        if not self.trees:
            return {}
        tree = self.tree
        binned = int(np.count_nonzero(self.binned))
        return {"leaves": tree.n_leaves, "depth": tree.max_depth, "binned_features": binned}
