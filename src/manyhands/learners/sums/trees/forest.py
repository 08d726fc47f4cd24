"""Learner `forest`: trees of samples drawn with replacement, each grown by one worker."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.learner import Share, Statistic
from manyhands.core.samples import Control, Samples
from manyhands.learners.sums.trees.arrays import TreeArrays
from manyhands.learners.sums.trees.base import TreesLearner
from manyhands.learners.sums.trees.draws import bootstrap, key_of
from manyhands.learners.sums.trees.growing import Growth, are_whole, features_drawn, found_shape


class ForestLearner(TreesLearner):
    """The learner; see `TreesLearner`. Passes: codes, trees (each worker grows its own), and their arrays.

    A tree depends on the seed and its number only: the forest is the same whoever grows what.
    """

    _sizes: NDArray[np.int64] | None = None
    _own: dict[int, TreeArrays]

    def begin(self, table: Samples, rows: int) -> None:
        """Get ready for a new forest.

        Raises
        ------
        SettingsError
            If rows are to be chosen for each tree, but not drawn.
        """
        super().begin(table, rows)
        if self.settings.max_samples is not None and not self.settings.bootstrap:
            raise SettingsError("max_samples says how many rows are drawn; it needs bootstrap")
        self._sizes, self._own = None, {}

    def asks(self) -> Mapping[str, Statistic] | None:
        """Return what the next pass needs: codes, sizes of trees, or trees."""
        if self.trees:
            return None
        if self._coded is None:
            return self._asks_codes()
        count = self.settings.n_estimators
        if self._sizes is None:
            return {"sizes": Statistic((count,), "parts", np.int64)}
        shape = (count, int(self._sizes.max()))  # padded, so that a worker's part is a part of the first axis
        plain = {
            "children_left": np.int32,
            "children_right": np.int32,
            "feature": np.int32,
            "threshold": np.float64,
            "impurity": np.float64,
            "n_node_samples": np.int64,
            "weighted_n_node_samples": np.float64,
        }
        asked = {name: Statistic(shape, "parts", dtype) for name, dtype in plain.items()}
        return {**asked, "value": Statistic((*shape, 1, self.classes), "parts", np.float64)}

    def collect(self, table: Samples, share: Share, into: Mapping[str, NDArray[Any]], control: Control) -> None:
        """Make the codes of this worker's features, grow its trees, or give them to all."""
        if self._coded is None:
            self._collect_codes(table, share, into)
            return
        mine = share.part(self.settings.n_estimators)
        for number in range(mine.start, mine.stop):
            if self._sizes is not None:
                tree = self._own[number]
                for name, array in tree.arrays().items():
                    into[name][number, : tree.node_count] = array
            elif number not in self._own:
                grown = self._grown(table, number, control.stop)
                if grown is None:
                    return
                self._own[number] = grown
                into["sizes"][number] = grown.node_count
                control.progress[0] += 1

    def _grown(self, table: Samples, number: int, stop: NDArray[np.int64]) -> TreeArrays | None:
        """Return one tree, or None if the run was stopped."""
        assert self._coded is not None
        drawn = self.settings.max_features
        weights = table.weights
        if self.settings.bootstrap:
            draws = self.settings.max_samples or table.rows
            weights = bootstrap(self.seed, number, table.rows, draws, table.weights)
        growth = Growth(
            self._coded,
            table,
            weights,
            self.settings,
            outputs=self.classes,
            regression=self.regression,
            drawn=features_drawn("sqrt" if drawn is None else drawn, self.features),
            key=key_of(self.seed, "forest", number),
        )
        while growth.open and stop[0] == 0:
            found = np.empty((1, *found_shape(growth.open)))
            growth.search(slice(0, self.features), found[0], stop)
            if stop[0] == 0:
                growth.advance(found)
        return growth.finished() if stop[0] == 0 else None

    def conclude(self, found: Mapping[str, NDArray[Any]]) -> None:
        """Take codes, sizes, or all trees."""
        if self._coded is None:
            whole = self._table is not None and (self.settings.bootstrap or are_whole(self._table.weights))
            self._coded = self._conclude_codes(found, whole and not self.regression)
        elif self._sizes is None:
            self._sizes = found["sizes"].copy()
        else:
            sizes, self._own = self._sizes.tolist(), {}
            self._complete(
                [
                    TreeArrays(**{name: array[number, :size] for name, array in found.items()})
                    for number, size in enumerate(sizes)
                ]
            )

    def oob_values(self, table: Samples) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return for each training sample the sum of the values of the trees grown without it, and their number.

        Raises
        ------
        SettingsError
            If there are no samples that a tree was grown without.
        """
        if not self.settings.bootstrap:
            raise SettingsError("without bootstrap, every tree has all samples")
        out, votes = np.zeros((table.rows, self.classes)), np.zeros(table.rows, np.int64)
        draws = self.settings.max_samples or table.rows
        for number in range(len(self.trees)):
            without = bootstrap(self.seed, number, table.rows, draws, table.weights) == 0
            self.predictor.add_values(table, number, without, out)
            votes += without
        return out, votes

    def report(self) -> Mapping[str, Any]:
        """Return the forest's size."""
        if not self.trees:
            return {}
        depths, leaves = ([getattr(tree, name) for tree in self.trees] for name in ("max_depth", "n_leaves"))
        binned = int(np.count_nonzero(self.binned))
        return {
            "trees": len(self.trees),
            "mean_leaves": math.fsum(leaves) / len(leaves),
            "depth": max(depths),
            "binned_features": binned,
        }
