"""Learners `multinomial-nb`, `bernoulli-nb` and `categorical-nb`: Naive Bayes of things that are counted.

Bytes without weights are added as whole numbers. Weights are divided into parts of common units, whose sums are exact
(`manyhands.learners.sums.exact`), and so are sums of other inputs; so no bit depends on the number of workers.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.core.learner import Share, Statistic
from manyhands.core.parameters import parameter
from manyhands.core.samples import Control, Samples
from manyhands.learners.sums import exact, kernels
from manyhands.learners.sums.base import Arrays, MadeOfSums, Pass, blocks, checked, heaviest_of, inputs_of, is_whole
from manyhands.learners.sums.moments import Moments
from manyhands.runtime.memory import check_memory

_SLACK = 1e-9
"""By how much the logarithm of a probability may be above 0: rounding."""


class _Discrete(MadeOfSums):
    """What the three have in common: prior probabilities.

    Attributes
    ----------
    prior : ndarray of shape (K,)
        Logarithms of the probabilities of the classes.
    """

    @property
    @abstractmethod
    def counts(self) -> NDArray[np.float64]:
        """The weight of each class, shape (K,)."""

    def _complete(self) -> None:
        """Make the model of what was counted."""
        with np.errstate(all="ignore"):  # a class without samples has the probability 0
            self.prior = np.log(self.counts) - np.log(self.counts.sum())
            self._learn(self.settings.alpha)

    @abstractmethod
    def _learn(self, alpha: float) -> None:
        """Make the probabilities of features; ``alpha`` is added to what was counted."""

    def _blocks(self) -> dict[str, NDArray[Any]]:
        return {"prior": self.prior.copy()}

    def _load_prior(self, blocks: Arrays) -> None:
        """Restore the prior probabilities."""
        prior = checked(blocks, {"prior": (self.classes,)})["prior"]
        if not (prior <= _SLACK).all() or not np.isfinite(prior).any():
            raise ValueError("prior must have logarithms of probabilities")
        self.prior = prior


class _Linear(_Discrete):
    """Those whose scores are linear in the inputs.

    Attributes
    ----------
    logs : ndarray of shape (K, F)
        Logarithms of the probabilities of features.
    """

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return logarithms of probabilities."""
        return {"logs": self.logs.copy(), **self._blocks()}

    def load_weights(self, blocks: Arrays) -> None:
        """Restore them; a ValueError says what cannot be."""
        logs = checked(blocks, {"logs": (self.classes, self.features)})["logs"]
        if not (logs <= _SLACK).all() or not np.isfinite(logs).all():
            raise ValueError("logs must have finite logarithms of probabilities")
        self._load_prior(blocks)
        self.logs = logs


class MultinomialNB(_Linear):
    """The learner, with the formulas of scikit-learn's estimator of this name.

    Attributes
    ----------
    moments : Moments
        What the passes have found.
    """

    def _first(self, table: Samples, rows: int) -> Pass:
        """Return the first pass over the sums."""
        self.moments = Moments(self.classes, self.features, squared=False, about_zero=True)
        return self.moments.first(table, rows)

    @property
    def counts(self) -> NDArray[np.float64]:
        """The weight of each class, shape (K,)."""
        return self.moments.counts

    @property
    def sums(self) -> NDArray[np.float64]:
        """The sums of the inputs of each class, shape (K, F)."""
        return self.moments.sums

    def _learn(self, alpha: float) -> None:
        """Make the probabilities."""
        sums = self.sums + alpha
        self.logs = np.log(sums) - np.log(sums.sum(axis=1, keepdims=True))

    def _scores(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return joint log-likelihoods."""
        return np.asarray(inputs @ self.logs.T + self.prior)


class BernoulliNB(_Linear):
    """The learner, with the formulas of scikit-learn's estimator of this name.

    Attributes
    ----------
    counts : ndarray of shape (K,)
        The weight of each class.
    sums : ndarray of shape (K, F)
        The weight of the samples of each class in which an input is above the threshold.
    threshold : float
        Inputs above it count as 1, others as 0.
    """

    counts: NDArray[np.float64] = np.zeros(0)
    sums: NDArray[np.float64] = np.zeros(0)

    def _first(self, table: Samples, rows: int) -> Pass:
        """Return the only pass."""
        self.threshold = float(self.settings.binarize_at)
        return _AbovePass(self, table, rows)

    def _learn(self, alpha: float) -> None:
        """Make the probabilities."""
        self.logs = np.log(self.sums + alpha) - np.log(self.counts + 2 * alpha)[:, None]

    def _scores(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return joint log-likelihoods."""
        above = (inputs > self.threshold).astype(np.float64)
        with np.errstate(divide="ignore"):
            below = np.log1p(-np.exp(np.minimum(self.logs, 0.0)))
        if np.isfinite(below).all():
            return np.asarray(above @ (self.logs - below).T + (self.prior + below.sum(axis=1)))
        below = np.maximum(below, np.finfo(float).min / self.features)  # no product of 0 and infinity
        return np.asarray(above @ self.logs.T + (1.0 - above) @ below.T + self.prior)

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return logarithms of probabilities, and the threshold."""
        return {**super().weights(), "threshold": np.array([self.threshold])}

    def load_weights(self, blocks: Arrays) -> None:
        """Restore them; a ValueError says what cannot be."""
        threshold = float(checked(blocks, {"threshold": (1,)})["threshold"][0])
        if not np.isfinite(threshold):
            raise ValueError("threshold must be a finite number")
        super().load_weights(blocks)
        self.threshold = threshold


class _AbovePass(Pass):
    """The pass of `BernoulliNB`."""

    def __init__(self, learner: BernoulliNB, table: Samples, rows: int) -> None:
        self._learner, self._terms = learner, rows
        self._thresholds = _stored_thresholds(table, learner.threshold)
        self._levels = _levels_of(table)

    def asks(self) -> dict[str, Statistic]:
        """Return counts of rows, and of those in which a feature is above the threshold."""
        shape = self._levels, self._learner.classes, self._learner.features
        return {"counts": Statistic(shape[:2]), "found": Statistic(shape)}

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Count bytes as whole numbers; add the weights of other samples in exact parts."""
        if self._thresholds is not None:
            counts, found = np.zeros(self._learner.classes, np.int64), np.zeros(into["found"].shape[1:], np.uint32)
            for rows in blocks(share, control, kernels.MOST_ROWS):
                kernels.count_above(table.features, table.labels, rows, self._thresholds, counts, found)
            into["counts"][0] += counts
            into["found"][0] += found
            return
        weights, at = _weight_parts(table, self._terms), self._learner.threshold
        for rows in blocks(share, control):
            inputs = inputs_of(table, rows)
            kernels.weigh_above(inputs, table.labels, rows, weights, at, into["counts"], into["found"])

    def conclude(self, found: Arrays) -> None:
        """Keep the sums."""
        self._learner.counts, self._learner.sums = found["counts"].sum(axis=0), found["found"].sum(axis=0)


def _stored_thresholds(table: Samples, threshold: float) -> NDArray[np.int16] | None:
    """Return for each feature the largest byte whose input is not above a threshold; None if these are no bytes."""
    if not is_whole(table) or not (table.scale > 0).all():
        return None
    inputs = np.arange(256.0)[:, None] * table.scale + table.shift
    found: NDArray[np.int16] = ((inputs <= threshold).sum(axis=0) - 1).astype(np.int16)
    return found


def _levels_of(table: Samples) -> int:
    """Return into how many parts weights are divided; see `_weight_parts`."""
    return 1 if table.weights is None else exact.LEVELS


def _weight_parts(table: Samples, terms: int) -> NDArray[np.float64]:
    """Return the weights of all samples as they are added up, shape (levels, rows): ones, or parts of common units."""
    if table.weights is None:
        return np.ones((1, table.rows))
    weights = table.weights.astype(np.float64, copy=False)
    return np.stack(list(exact.Units(heaviest_of(table), terms).parts(weights)))


class CategoricalNB(_Discrete):
    """The learner, with the formulas of scikit-learn's estimator of this name.

    A value that no sample of the training had counts as one that no sample of any class has.

    Attributes
    ----------
    sizes : ndarray of shape (F,), int64
        How many values each feature has: its largest one, and 1.
    counts : ndarray of shape (K,)
        The weight of each class.
    found : ndarray of shape (K, sum of sizes)
        The weight of each class's samples that have a value of a feature, feature by feature.
    logs : ndarray of shape (sum of sizes + F, K)
        Logarithms of probabilities, feature by feature; behind the values of each, the one of values it never had.
    """

    counts: NDArray[np.float64] = np.zeros(0)
    found: NDArray[np.float64]

    def _first(self, table: Samples, rows: int) -> Pass:
        """Return the first pass, over the largest values."""
        return _HighestPass(self, rows, _levels_of(table))

    def _learn(self, alpha: float) -> None:
        """Make the probabilities."""
        starts = np.cumsum(self.sizes) - self.sizes
        seen = np.arange(self.sizes.sum()) + np.repeat(np.arange(self.features), self.sizes)
        smooth = np.full((self.classes, len(seen) + self.features), alpha)
        smooth[:, seen] += self.found
        totals = np.add.reduceat(self.found, starts, axis=1) + alpha * self.sizes
        self.logs = np.ascontiguousarray((np.log(smooth) - np.log(np.repeat(totals, self.sizes + 1, axis=1))).T)

    def _scores(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return joint log-likelihoods."""
        out = np.tile(self.prior, (len(inputs), 1))
        kernels.categorical_scores(inputs, self.sizes, self.logs, out)
        return out

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return sizes and logarithms of probabilities."""
        return {"sizes": self.sizes.astype(np.float64), "logs": self.logs.copy(), **self._blocks()}

    def load_weights(self, blocks: Arrays) -> None:
        """Restore them; a ValueError says what cannot be."""
        sizes = checked(blocks, {"sizes": (self.features,)})["sizes"]
        most = np.asarray(blocks["logs"]).size if "logs" in blocks else 0
        if not ((sizes >= 1) & (sizes <= most) & (sizes == np.floor(sizes))).all():
            raise ValueError("sizes must be whole numbers from 1 on, as many as there are logarithms")
        logs = checked(blocks, {"logs": (int(sizes.sum()) + self.features, self.classes)})["logs"]
        if not (logs <= _SLACK).all() or not np.isfinite(logs).all():
            raise ValueError("logs must have finite logarithms of probabilities")
        self._load_prior(blocks)
        self.sizes, self.logs = sizes.astype(np.int64), logs


class _HighestPass(Pass):
    """The first pass of `CategoricalNB`: the largest value of each feature."""

    def __init__(self, learner: CategoricalNB, rows: int, levels: int) -> None:
        self._learner, self._terms, self._levels = learner, rows, levels

    def asks(self) -> dict[str, Statistic]:
        """Return the largest values of each worker's samples."""
        return {"highest": Statistic((self._learner.features,), "gather")}

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Look at all values."""
        for rows in blocks(share, control):
            values = _values(table, rows)
            if values.dtype != np.uint8:
                _check_categories(values, table.first_row + rows)
            np.maximum(into["highest"], values.max(axis=0), out=into["highest"])

    def conclude(self, found: Arrays) -> Pass:
        """Note how many values there are."""
        learner = self._learner
        numbers = found["highest"].max(axis=0) + 1.0
        check_memory(
            int(8 * (2 * self._levels + 4) * learner.classes * numbers.sum()),
            "counting the values of all features in all classes",
            "number the categories of each feature from 0 on, or leave features with many out",
        )
        learner.sizes = numbers.astype(np.int64)
        return _ValuesPass(learner, self._terms, self._levels)


def _values(table: Samples, rows: NDArray[np.int32]) -> NDArray[Any]:
    """Return the inputs of some rows; bytes that are inputs as they are stay bytes."""
    if table.features.dtype == np.uint8 and table.center is None and (table.scale == 1).all() and not table.shift.any():
        return np.asarray(table.features[rows])
    return inputs_of(table, rows)


def _check_categories(values: NDArray[np.float64], numbers: NDArray[Any]) -> None:
    """Check that inputs are whole numbers from 0 on; ``numbers`` are those of their rows."""
    wrong = (values < 0) | (values != np.floor(values))
    if wrong.any():
        row, feature = np.argwhere(wrong)[0]
        raise DataError(
            f"row {numbers[row] + 1}: feature {feature + 1} is {values[row, feature]:.6g}, and categories are whole "
            f"numbers from 0 on; number them so, and use {parameter('scale', 'none')}"
        )


class _ValuesPass(Pass):
    """The second pass of `CategoricalNB`: how often each value occurs."""

    def __init__(self, learner: CategoricalNB, rows: int, levels: int) -> None:
        self._learner, self._terms, self._levels = learner, rows, levels
        self._starts = np.cumsum(learner.sizes) - learner.sizes

    def asks(self) -> dict[str, Statistic]:
        """Return counts of rows, and of those with each value."""
        shape = self._levels, self._learner.classes, int(self._learner.sizes.sum())
        return {"counts": Statistic(shape[:2]), "found": Statistic(shape)}

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Add weights in exact parts."""
        weights = _weight_parts(table, self._terms)
        for rows in blocks(share, control):
            values = _values(table, rows)
            kernels.weigh_values(values, table.labels, rows, weights, self._starts, into["counts"], into["found"])

    def conclude(self, found: Arrays) -> None:
        """Keep the sums."""
        self._learner.counts, self._learner.found = found["counts"].sum(axis=0), found["found"].sum(axis=0)
