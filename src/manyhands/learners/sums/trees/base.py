"""What learners of trees have in common: their form, the pass that makes codes, predictions, and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, SettingsError
from manyhands.core.learner import Share, Statistic, SumLearner
from manyhands.core.samples import Control, Order, Samples
from manyhands.core.types import Vector
from manyhands.learners.sums.settings import SumsSettings
from manyhands.learners.sums.trees import codes
from manyhands.learners.sums.trees.arrays import TreeArrays, blocks_of, trees_from
from manyhands.learners.sums.trees.growing import are_whole, kind_of
from manyhands.learners.sums.trees.kernel_args import Coded
from manyhands.learners.sums.trees.predicting import Predictor


class TreesLearner(SumLearner):
    """A tree, or several; see `manyhands.core.learner.SumLearner`.

    With one class and a table that has targets, of shape (rows, 1), numbers are predicted; else classes. All rows must
    be in the table: workers divide features, or trees, and not rows, so the model is that of one worker, bit for bit.

    Parameters
    ----------
    settings
        What users set; names and meanings are scikit-learn's.
    features, classes
        Of the data; 1 class for targets.
    rank
        The worker, for messages.
    seed
        Of everything that is random.

    Attributes
    ----------
    trees : list of TreeArrays
        The model; empty before training.
    binned : ndarray of shape (features,), bool
        Which features have more than 256 different inputs, so that only some thresholds were tried.
    """

    def __init__(self, settings: SumsSettings, features: int, classes: int, *, rank: int = 0, seed: int = 0) -> None:
        if features < 1 or classes < 1:
            raise SettingsError(f"a tree needs at least 1 feature and 1 class; the data have {features} and {classes}")
        self.settings, self.features, self.classes = settings, features, classes
        self.rank, self.seed = rank, seed
        self.size, self.steps_taken = 0, 0
        self.dtype: np.dtype[Any] = np.dtype(np.float64)
        self.parameters: Vector = np.zeros(0)
        self.buffers: Vector = np.zeros(0)
        self.trees: list[TreeArrays] = []
        self.binned = np.zeros(features, bool)
        self.regression = False
        self._table: Samples | None = None
        self._coded: Coded | None = None
        self._predictor: Predictor | None = None

    @property
    def by_rows(self) -> bool:
        """Workers divide features, or trees."""
        return False

    @property
    def random_start(self) -> bool:
        """No start is drawn."""
        return False

    def bind(self, vector: Vector) -> None:
        """Do nothing: trees are no vector."""

    def initialize(self, rng: np.random.Generator) -> None:
        """Do nothing: training begins with no tree."""

    def prepare(self, table: Samples) -> None:
        """Compile all that a table of this form needs, with a tiny one."""
        count = min(8, table.rows)
        tiny = table.take(slice(0, count)) if count else table
        if not count:
            return
        alone = self._like()
        if tiny.targets is None:
            tiny = tiny.with_arrays({"labels": np.arange(count, dtype=np.int32) % self.classes})
        else:
            tiny = tiny.with_arrays({"targets": np.arange(1, count + 1, dtype=np.float64)[:, None]})
        if table.weights is not None:  # whole weights are other code
            weights = np.full(count, 1.0 if are_whole(table.weights) else 0.5, table.weights.dtype)
            tiny = tiny.with_arrays({"weights": weights})
        mixed = np.zeros_like(tiny.features)
        mixed[1::2] = 1
        tiny = tiny.with_arrays({"features": mixed})
        rows = np.arange(count, dtype=np.int32)
        order = Order(rows, np.array([0, count]), np.array([count], np.int32))
        control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
        alone.begin(tiny, count)
        while (asked := alone.asks()) is not None:
            found = {name: np.zeros(each.shape, each.dtype) for name, each in asked.items()}
            alone.collect(tiny, Share(order, 0, 1), found, control)
            alone.conclude({name: found[name][None] if each.how == "gather" else found[name]
                            for name, each in asked.items()})  # fmt: skip
        alone.predict_proba(tiny)

    def _like(self) -> TreesLearner:
        """Return a new learner for :meth:`prepare`."""
        return type(self)(self.settings, self.features, self.classes, rank=self.rank, seed=self.seed)

    def begin(self, table: Samples, rows: int) -> None:
        """Get ready for a new model.

        Raises
        ------
        SettingsError
            If settings do not suit the targets.
        DataError
            If some rows are not in the table.
        """
        self.regression = self.classes == 1 and table.targets is not None
        kind_of(self.settings.criterion, self.regression)
        if rows != table.rows:
            raise DataError(f"trees need all {rows:,} samples in memory of every worker; here are {table.rows:,}")
        if self.regression and table.targets is not None and table.targets.shape[1] != 1:
            raise DataError(f"trees predict one number for each sample, not {table.targets.shape[1]}")
        self._table, self._coded, self._predictor, self.trees = table, None, None, []

    def _asks_codes(self) -> Mapping[str, Statistic]:
        """Return what the first pass needs."""
        assert self._table is not None
        return codes.asks(self.features, self._table.rows)

    def _collect_codes(self, table: Samples, share: Share, into: Mapping[str, NDArray[Any]]) -> None:
        """Make the codes of this worker's features."""
        codes.collect(table, share.part(self.features), into)

    def _conclude_codes(self, found: Mapping[str, NDArray[Any]], integral: bool) -> Coded:
        """Take the codes of all features."""
        self.binned = found["binned"].astype(bool)
        return codes.coded(found, integral)

    def _complete(self, trees: list[TreeArrays]) -> None:
        """Take the model; what only training needs is given up."""
        self.trees, self._predictor = trees, Predictor(trees)
        self._table = self._coded = None

    @property
    def predictor(self) -> Predictor:
        """What predicts with the trees.

        Raises
        ------
        SettingsError
            If there are none yet.
        """
        if self._predictor is None:
            raise SettingsError("there is no tree yet: train first, or load weights")
        return self._predictor

    def predict_proba(self, table: Samples) -> NDArray[np.float64]:
        """Return class probabilities, shape (rows, K); of targets the predictions, shape (rows, 1)."""
        return self.predictor.values(table)

    def outputs(self, table: Samples) -> NDArray[np.float64]:
        """Return the same as :meth:`predict_proba`."""
        return self.predict_proba(table)

    def apply(self, table: Samples) -> NDArray[np.int32]:
        """Return the leaf that each sample comes to in each tree, shape (rows, trees)."""
        return self.predictor.leaves(table)

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the trees' arrays, end to end, with ``tree_sizes``, and which features are ``binned``."""
        return {**blocks_of(self.trees), "binned": self.binned.astype(np.uint8)} if self.trees else {}

    def load_weights(self, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Take trees from a file.

        Raises
        ------
        ValueError
            If they are no trees, or not for these data.
        """
        trees = trees_from(blocks, self.features, self.classes)
        binned = blocks.get("binned")
        if binned is None or binned.shape != (self.features,) or binned.dtype != np.uint8 or binned.max() > 1:
            raise ValueError(f"binned must be {self.features} zeros and ones, as uint8")
        self._check_number(len(trees))
        self.binned = binned.astype(bool)
        self._complete(trees)

    def _check_number(self, trees: int) -> None:
        """Raise ValueError if a model cannot have so many trees."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the model; nothing else is needed, as trees are not trained on."""
        return self.weights()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state` returned."""
        if state:
            self.load_weights(state)
        else:
            self.trees, self._predictor = [], None
