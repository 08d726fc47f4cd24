"""Learners `lda` and `qda`: normal distributions of classes, with one covariance for all of them or one for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError, SingularError
from manyhands.core.learner import Share, Statistic
from manyhands.core.samples import Control, Samples
from manyhands.learners.sums import solving
from manyhands.learners.sums.base import Arrays, MadeOfSums, Pass, checked, is_whole
from manyhands.learners.sums.covariance import Covariances, Quartics
from manyhands.learners.sums.gram import Scatter
from manyhands.learners.sums.moments import Moments


class Discriminant(MadeOfSums):
    """What both have in common.

    Attributes
    ----------
    means : ndarray of shape (K, F)
        Of inputs, by class.
    prior : ndarray of shape (K,)
        Probability of each class.
    covariances : Covariances
        What the passes have found.
    """

    means: NDArray[np.float64]
    prior: NDArray[np.float64]
    covariances: Covariances
    each_class = False
    """Whether every class has a covariance of its own."""
    least = 0
    """The fewest samples of a class."""
    _failure: SingularError | None = None

    def _first(self, table: Samples, rows: int) -> Pass:
        """Return the first pass over the moments; products and a solution follow."""
        if table.weights is not None:
            raise SettingsError("discriminant analysis takes no weights of samples")
        self._failure = None
        self.moments = Moments(self.classes, self.features, after=lambda: self._after_moments(table, rows))
        self._whole = is_whole(table)
        return self.moments.first(table, rows)

    @property
    def by_class(self) -> bool:
        """Whether blocks are of one class: where bytes are not exact anyway, products of few rows would be slow."""
        return self._whole is False and self.each_class

    _whole: bool | None = None

    @property
    def failure(self) -> SingularError | None:
        """The first class whose covariance cannot be inverted."""
        return self._failure

    def _after_moments(self, table: Samples, rows: int) -> Pass | None:
        """Note means and priors, and go on to the products."""
        moments, given = self.moments, self.settings.priors
        self.means = moments.means
        self.prior = moments.counts / moments.counts.sum() if given is None else np.array(given)
        few = np.flatnonzero(moments.counts < self.least)
        if len(few):
            self._failure = SingularError(int(few[0]), 0, self.features, int(moments.counts[few[0]]), "reg_param")
            return None
        self._scatter = Scatter(moments, lambda: self._after_products(rows), by_class=self.each_class)
        return self._scatter.next_pass(table, rows)

    def _after_products(self, rows: int) -> Pass:
        """Go on to the shrinkage, if it is to be found, or to the solution."""
        if self.settings.shrinkage != "auto":
            return self._to_solution(None)
        quartics = Quartics(self._scatter, lambda: self._to_solution(quartics), rows)
        return quartics

    def _to_solution(self, quartics: Quartics | None) -> Pass:
        self.covariances = Covariances(self._scatter, self.settings.shrinkage, quartics)
        return self._solution()

    def _solution(self) -> Pass:
        """Return the pass that solves."""
        raise NotImplementedError

    def _complete(self) -> None:
        """Do nothing more."""


class LDA(Discriminant):
    """Linear discriminant analysis.

    Attributes
    ----------
    solution : solving.Solution
        The discriminants.
    """

    solution: solving.Solution

    @property
    def each_class(self) -> bool:  # type: ignore[override]
        """Whether classes need covariances of their own, to be weighted or shrunk apart."""
        chosen = self.settings
        return chosen.class_covariances or (
            chosen.lda_solver != "svd" and (chosen.priors is not None or chosen.shrinkage == "auto")
        )

    def _solution(self) -> Pass:
        return _Linear(self)

    def solve(self) -> solving.Solution:
        """Solve it."""
        chosen, rows = self.settings, float(self.moments.counts.sum())
        if chosen.lda_solver == "svd":
            within = self._scatter.summed() / rows
            return solving.svd(within, self.means, self.prior, rows, chosen.tol)
        within = self.covariances.within(self.prior)
        if chosen.lda_solver == "lsqr":
            return solving.lsqr(within, self.means, self.prior)
        return solving.eigen(within, self.covariances.total(), self.means, self.prior)

    def _scores(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return logarithms of unnormalized probabilities."""
        solution = self.solution
        found: NDArray[np.float64] = (inputs - solution.center) @ solution.coef.T + solution.intercept
        return found

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the discriminants."""
        return {name: array.copy() for name, array in self.solution._asdict().items()}

    def load_weights(self, blocks: Arrays) -> None:
        """Restore them; a ValueError says what cannot be."""
        directions = blocks["scalings"].shape[-1]
        shapes = {"coef": (self.classes, self.features), "intercept": (self.classes,)}
        shapes |= {"center": (self.features,), "base": (self.features,)}
        shapes |= {"scalings": (self.features, directions), "ratio": blocks["ratio"].shape[:1]}
        self.solution = solving.Solution(**checked(blocks, shapes))


_SAME = ("coef", "intercept", "center", "base")
"""Parts of a solution whose shapes are known before."""


class _Linear(Pass):
    """One worker solves, and all get its solution: a second one would take the core from a third."""

    reads = False

    def __init__(self, learner: LDA) -> None:
        self._learner = learner

    def asks(self) -> dict[str, Statistic]:
        """Return a solution with the most directions that there can be."""
        classes, features = self._learner.classes, self._learner.features
        most = features if self._learner.settings.lda_solver == "eigen" else min(classes, features)
        shapes = {"coef": (classes, features), "intercept": (classes,), "center": (features,), "base": (features,)}
        shapes |= {"scalings": (features, most), "ratio": (most,)}
        sizes = Statistic((1, 2), "parts", np.int64)
        return {"sizes": sizes, **{name: Statistic((1, *shape), "parts") for name, shape in shapes.items()}}

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Solve, if that is this worker's."""
        for one in range(*share.part(1).indices(1)):
            found = self._learner.solve()
            into["sizes"][one] = found.scalings.shape[1], len(found.ratio)
            for name in _SAME:
                into[name][one] = getattr(found, name)
            into["scalings"][one, :, : found.scalings.shape[1]] = found.scalings
            into["ratio"][one, : len(found.ratio)] = found.ratio

    def conclude(self, found: Arrays) -> None:
        """Take the solution."""
        directions, explained = found["sizes"][0]
        scalings, ratio = found["scalings"][0, :, :directions], found["ratio"][0, :explained]
        same = {name: found[name][0].copy() for name in _SAME}
        self._learner.solution = solving.Solution(**same, scalings=scalings.copy(), ratio=ratio.copy())


class QDA(Discriminant):
    """Quadratic discriminant analysis.

    Attributes
    ----------
    scalings : ndarray of shape (K, F)
        Variances along the main axes of each class, the largest first.
    rotations : ndarray of shape (K, F, F)
        These axes, as columns.
    """

    each_class = True
    least = 2
    scalings: NDArray[np.float64]
    rotations: NDArray[np.float64]

    def _solution(self) -> Pass:
        return _Quadratic(self)

    @property
    def regularized(self) -> bool:
        """Whether covariances are mixed with the unit matrix; else they may be shrunk, as in scikit-learn."""
        return self.settings.qda_solver == "svd" and self.settings.shrinkage is None

    def axes(self, label: int) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Return the variances along the main axes of a class, these axes, and along how many it varies."""
        values, vectors = np.linalg.eigh(self.covariances.of_class(label))
        scaling, rotation = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        if self.regularized:
            scaling = (1.0 - self.settings.reg_param) * scaling + self.settings.reg_param
        # scikit-learn's svd finds as many axes as samples at most.
        most = min(int(self.moments.counts[label]), self.features) if self.regularized else self.features
        return scaling, rotation, int((scaling[:most] > self.settings.tol).sum())

    def take(self, scalings: NDArray[np.float64], rotations: NDArray[np.float64], ranks: NDArray[np.int64]) -> None:
        """Take the axes of all classes, unless the covariance of one cannot be inverted."""
        for label, rank in enumerate(ranks):
            if rank < self.features:
                rows = int(self.moments.counts[label])
                remedy = "reg_param" if self.regularized and rows > self.features else "shrinkage"
                self._failure = SingularError(label, int(rank), self.features, rows, remedy)
                return
        self.scalings, self.rotations = scalings, rotations

    def _scores(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return logarithms of unnormalized probabilities."""
        found = np.empty((len(inputs), self.classes))
        with np.errstate(divide="ignore"):
            constants = -0.5 * np.log(self.scalings).sum(axis=1) + np.log(self.prior)
        for label, constant in enumerate(constants):
            along = (inputs - self.means[label]) @ (self.rotations[label] * self.scalings[label] ** -0.5)
            found[:, label] = constant - 0.5 * (along * along).sum(axis=1)
        return found

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the distributions."""
        names = ("means", "prior", "scalings", "rotations")
        return {name: getattr(self, name).copy() for name in names}

    def load_weights(self, blocks: Arrays) -> None:
        """Restore them; a ValueError says what cannot be."""
        shape = self.classes, self.features
        shapes = {"means": shape, "prior": shape[:1], "scalings": shape, "rotations": (*shape, self.features)}
        found = checked(blocks, shapes)
        if not (found["scalings"] > 0).all() or not (found["prior"] >= 0).all():
            raise ValueError("variances must be above 0, and priors from 0 on")
        for name, block in found.items():
            setattr(self, name, block)


class _Quadratic(Pass):
    """Every worker finds the axes of some classes."""

    reads = False

    def __init__(self, learner: QDA) -> None:
        self._learner = learner

    def asks(self) -> dict[str, Statistic]:
        """Return axes and variances of all classes."""
        classes, features = self._learner.classes, self._learner.features
        return {
            "scalings": Statistic((classes, features), "parts"),
            "rotations": Statistic((classes, features, features), "parts"),
            "ranks": Statistic((classes,), "parts", np.int64),
        }

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Find this worker's."""
        for label in range(*share.part(self._learner.classes).indices(self._learner.classes)):
            if control.stop[0]:
                return
            into["scalings"][label], into["rotations"][label], into["ranks"][label] = self._learner.axes(label)
            control.progress[0] += 1

    def conclude(self, found: Arrays) -> None:
        """Take all."""
        self._learner.take(found["scalings"], found["rotations"], found["ranks"])
