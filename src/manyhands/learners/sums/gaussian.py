"""Learner `gaussian-nb`: Naive Bayes with a normal distribution for each feature in each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import Samples
from manyhands.learners.sums import kernels
from manyhands.learners.sums.base import Arrays, MadeOfSums, Pass, checked
from manyhands.learners.sums.moments import Moments


class GaussianNB(MadeOfSums):
    """The learner, with the formulas of scikit-learn's estimator of this name.

    Attributes
    ----------
    theta, var : ndarray of shape (K, F)
        Means and variances of inputs, the latter with `epsilon` added.
    epsilon : float
        ``var_smoothing`` times the largest variance of a feature.
    prior : ndarray of shape (K,)
        Probability of each class.
    moments : Moments
        What the passes have found.
    """

    def _first(self, table: Samples, rows: int) -> Pass:
        """Return the first pass over the moments."""
        self.moments = Moments(self.classes, self.features)
        return self.moments.first(table, rows)

    def _complete(self) -> None:
        """Make the model of the moments."""
        moments = self.moments
        self.epsilon = self.settings.var_smoothing * float(moments.whole_variances().max())
        self.theta, self.var = moments.means, moments.variances + self.epsilon
        given = self.settings.priors
        with np.errstate(invalid="ignore"):  # of weights that are all 0
            self.prior = moments.counts / moments.counts.sum() if given is None else np.array(given)

    def _scores(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return joint log-likelihoods."""
        out = np.empty((len(inputs), self.classes))
        with np.errstate(divide="ignore"):
            constant = np.log(self.prior) - 0.5 * np.log(2.0 * np.pi * self.var).sum(axis=1)
        kernels.gaussian_scores(inputs, self.theta, 1.0 / self.var, constant, out)
        return out

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the distributions."""
        return {"theta": self.theta.copy(), "var": self.var.copy(), "prior": self.prior.copy()}

    def load_weights(self, blocks: Arrays) -> None:
        """Restore them; a ValueError says what cannot be."""
        shape = self.classes, self.features
        found = checked(blocks, {"theta": shape, "var": shape, "prior": (self.classes,)})
        if not (found["var"] > 0).all() or not (found["prior"] >= 0).all():
            raise ValueError("variances must be above 0, and priors from 0 on")
        self.theta, self.var, self.prior = found["theta"], found["var"], found["prior"]
