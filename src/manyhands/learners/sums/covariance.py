"""Covariance matrices of classes, and how far they are shrunk (Ledoit & Wolf 2004), from what the passes have found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Share, Statistic
from manyhands.core.samples import BLOCK_ROWS, Control, Samples
from manyhands.learners.sums import exact
from manyhands.learners.sums.base import Arrays, Pass, blocks, inputs_of
from manyhands.learners.sums.gram import Scatter

Matrix = NDArray[np.float64]


class Quartics(Pass):
    """The pass that Ledoit and Wolf's shrinkage needs: sums of the fourth powers of samples' lengths.

    Samples are standardized first: those of each class by its own means and standard deviations, and once more by those
    of all samples together.

    Attributes
    ----------
    found : ndarray of shape (K + 1,)
        The sums, the last that of all samples.
    """

    found: NDArray[np.float64]

    def __init__(self, scatter: Scatter, after: Callable[[], Pass | None], rows: int) -> None:
        moments = scatter.moments
        variances = [*moments.variances, moments.whole_variances()]
        whole = moments.counts @ moments.means / moments.counts.sum()
        self._means, self._scales = np.array([*moments.means, whole]), np.array([scale_of(each) for each in variances])
        self._after, self._classes = after, moments.classes
        # A squared length of a standardized sample is at most the rows times the features.
        self._units = exact.Units(BLOCK_ROWS * (float(rows) * moments.features) ** 2, 2 * rows)

    def asks(self) -> dict[str, Statistic]:
        """Return the sums."""
        return {"quartics": Statistic((exact.LEVELS, self._classes + 1))}

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Add block by block."""
        for rows in blocks(share, control, 1):
            inputs, labels, sums = inputs_of(table, rows), table.labels[rows], np.zeros(self._classes + 1)
            for place, which in ((labels, labels), (np.full_like(labels, -1), np.full_like(labels, -1))):
                apart = (inputs - self._means[which]) / self._scales[which]
                np.add.at(sums, place, (apart * apart).sum(axis=1) ** 2)
            self._units.add(into["quartics"], sums)

    def conclude(self, found: Arrays) -> Pass | None:
        """Keep the sums."""
        self.found = exact.total(found["quartics"])
        return self._after()


def scale_of(variances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return standard deviations; 1 for features that do not vary."""
    return np.where(variances > 0, np.sqrt(variances), 1.0)


class Covariances:
    """Covariances, shrunk as the user wants them.

    Parameters
    ----------
    scatter
        What the passes have found.
    shrinkage
        None, a number from 0 to 1, or ``"auto"``.
    quartics
        For ``"auto"``.
    """

    def __init__(self, scatter: Scatter, shrinkage: float | str | None, quartics: Quartics | None) -> None:
        self._scatter, self._moments = scatter, scatter.moments
        self._shrinkage, self._quartics = shrinkage, quartics

    def of_class(self, label: int) -> Matrix:
        """Return the covariance of one class."""
        count = self._moments.counts[label]
        plain = self._scatter.matrix(label) / count
        return self._shrunk(plain, self._moments.variances[label], count, label)

    def within(self, priors: NDArray[np.float64]) -> Matrix:
        """Return the mean of the classes' covariances, weighted by their priors."""
        moments = self._moments
        if self._scatter.by_class:
            found: Matrix = np.sum(
                [prior * self.of_class(label) for label, prior in enumerate(priors) if moments.counts[label]], axis=0
            )
            return found
        plain: Matrix = self._scatter.matrix(0) / moments.counts.sum()
        # Without priors of the user's, shrinking all is shrinking each.
        return plain if self._shrinkage is None else _towards_unit(plain, float(self._shrinkage))

    def total(self) -> Matrix:
        """Return the covariance of all samples."""
        moments = self._moments
        count = moments.counts.sum()
        apart = moments.means - moments.counts @ moments.means / count
        plain = (self._scatter.summed() + (apart * moments.counts[:, None]).T @ apart) / count
        return self._shrunk(plain, moments.whole_variances(), count, -1)

    def _shrunk(self, plain: Matrix, variances: NDArray[np.float64], count: float, which: int) -> Matrix:
        if self._shrinkage is None:
            return plain
        if self._shrinkage != "auto":
            return _towards_unit(plain, float(self._shrinkage))
        assert self._quartics is not None
        scale = scale_of(variances)
        standard = plain / scale[:, None] / scale
        shrunk = _towards_unit(standard, _ledoit_wolf(standard, count, float(self._quartics.found[which])))
        return shrunk * scale[:, None] * scale


def _towards_unit(matrix: Matrix, shrinkage: float) -> Matrix:
    """Return a matrix that is shrunk towards its mean variance times the unit matrix."""
    found = (1.0 - shrinkage) * matrix
    found.flat[:: len(matrix) + 1] += shrinkage * np.trace(matrix) / len(matrix)
    return found


def _ledoit_wolf(matrix: Matrix, count: float, quartic: float) -> float:
    """Return how far to shrink a covariance (Ledoit & Wolf 2004, lemma 3.3-3.5, as scikit-learn computes it)."""
    features = len(matrix)
    if features == 1:
        return 0.0
    mean, squares = np.trace(matrix) / features, float((matrix * matrix).sum())
    spread = (squares - features * mean * mean) / features
    noise = min((quartic / count - squares) / (features * count), spread)
    return 0.0 if noise == 0 else float(noise / spread)
