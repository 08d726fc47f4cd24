"""scikit-learn's own estimators of the same kinds, with the same settings: what is theirs is timed in one thread."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from manyhands.data.dataset import Dataset
from manyhands.exporting.sklearn_network import THEIR_ACTIVATIONS
from manyhands.learners.sums.settings import SumsSettings
from manyhands.training.plan import Plan

_OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam")
"""Of our optimizers, those that scikit-learn's networks have."""


@dataclass(frozen=True)
class Reference:
    """One fit of an estimator.

    Attributes
    ----------
    seconds
        Of the fit alone.
    classes : ndarray of shape (rows,)
        The class number that it gives each test sample.
    accuracy
        On the test samples, 0..1.
    """

    seconds: float
    classes: NDArray[np.int64]
    accuracy: float


def has_reference(plan: Plan) -> bool:
    """Return whether scikit-learn has such an estimator; it lacks some of our activations and optimizers."""
    if plan.needs.sums:
        return True
    network = plan.network
    return (
        network.activation in THEIR_ACTIVATIONS and network.optimizer in _OPTIMIZERS and network.loss == "cross_entropy"
    )


def fitted(plan: Plan, dataset: Dataset) -> Reference:
    """Fit the estimator of a plan for one worker, on the inputs that our learner has."""
    dtype = np.float64 if plan.needs.sums else np.dtype(plan.network.dtype)
    inputs, tests = (table.inputs().astype(dtype) for table in (dataset.train, dataset.test))
    estimator = FACTORIES[plan.learner](plan, int(max(inputs.max(initial=0), tests.max(initial=0))))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of collinear variables, and of networks that would go on learning
        begin = time.perf_counter()
        estimator.fit(inputs, dataset.train.labels)
        seconds = time.perf_counter() - begin
        found = np.asarray(estimator.predict(tests), np.int64)
    return Reference(seconds, found, float(np.mean(found == dataset.test.labels)))


def _gaussian(plan: Plan, _largest: int) -> Any:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(priors=plan.sums.priors, var_smoothing=plan.sums.var_smoothing)


def _multinomial(plan: Plan, _largest: int) -> Any:
    from sklearn.naive_bayes import MultinomialNB

    return MultinomialNB(alpha=plan.sums.alpha)


def _bernoulli(plan: Plan, _largest: int) -> Any:
    from sklearn.naive_bayes import BernoulliNB

    return BernoulliNB(alpha=plan.sums.alpha, binarize=plan.sums.binarize_at)


def _categorical(plan: Plan, largest: int) -> Any:
    from sklearn.naive_bayes import CategoricalNB

    return CategoricalNB(alpha=plan.sums.alpha, min_categories=largest + 1)


def _lda(plan: Plan, _largest: int) -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    sums = plan.sums
    return LinearDiscriminantAnalysis(
        solver=sums.lda_solver, shrinkage=sums.shrinkage, priors=sums.priors, tol=sums.tol
    )


def _qda(plan: Plan, _largest: int) -> Any:
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    sums = plan.sums
    own = (
        {"solver": "eigen", "shrinkage": sums.shrinkage}
        if sums.qda_solver == "eigen"
        else {"reg_param": sums.reg_param}
    )
    return QuadraticDiscriminantAnalysis(priors=sums.priors, tol=sums.tol, **own)


def _of_trees(sums: SumsSettings, seed: int) -> dict[str, Any]:
    """Return what a tree and the trees of a forest have in common."""
    names = ("criterion", "max_depth", "min_samples_split", "min_samples_leaf", "min_impurity_decrease")
    own = {name: getattr(sums, name) for name in (*names, "max_leaf_nodes", "ccp_alpha")}
    return {**own, "random_state": seed}


def _most_features(sums: SumsSettings) -> int | float | str | None:
    return None if sums.max_features == "all" else sums.max_features


def _tree(plan: Plan, _largest: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    sums = plan.sums
    own = {"splitter": sums.splitter, "max_features": _most_features(sums)}
    return DecisionTreeClassifier(**own, **_of_trees(sums, plan.seed))


def _forest(plan: Plan, _largest: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    sums = plan.sums
    most = "sqrt" if sums.max_features is None else _most_features(sums)
    own = {"bootstrap": sums.bootstrap, "max_samples": sums.max_samples, "n_estimators": sums.n_estimators}
    return RandomForestClassifier(max_features=most, n_jobs=1, **own, **_of_trees(sums, plan.seed))


def _network(plan: Plan, _largest: int) -> Any:
    """Return a network with our settings as far as they exist: it has no such schedules of the learning rate."""
    from sklearn.neural_network import MLPClassifier

    from manyhands.learners.sklearn_mlp import their_names

    return MLPClassifier(
        **their_names(plan.network),
        batch_size=plan.batch,
        max_iter=plan.epochs,
        n_iter_no_change=plan.epochs + 1,  # all epochs, as ours
        random_state=plan.seed,
    )


FACTORIES: dict[str, Callable[[Plan, int], Any]] = {
    "gaussian-nb": _gaussian,
    "multinomial-nb": _multinomial,
    "bernoulli-nb": _bernoulli,
    "categorical-nb": _categorical,
    "lda": _lda,
    "qda": _qda,
    "tree": _tree,
    "forest": _forest,
    "mlp": _network,
}
"""The estimator of each learner, by name: made for a plan and the largest input."""
