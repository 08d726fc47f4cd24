"""Solver ``lbfgs``: one batch of all rows, whose steps cannot be divided; scikit-learn's own estimator does it."""

# ruff: noqa: N803 - X is scikit-learn's name, which users may pass by keyword

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from sklearn.utils import check_random_state

from manyhands.core.errors import SettingsError
from manyhands.estimators.sklearn_attributes import copy_fitted, their_class
from manyhands.estimators.workers import workers_and_team
from manyhands.exporting.sklearn_network import check_activation
from manyhands.learners.mlp.settings import MLPSettings, check_room
from manyhands.teams.agreement import together
from manyhands.teams.job import from_rank_0
from manyhands.teams.registry import kind_of

Estimator = TypeVar("Estimator")


def check(estimator: Any) -> None:
    """Check that scikit-learn's estimator has all that is asked for."""
    check_activation(estimator.activation, "solver='lbfgs' is scikit-learn's and")
    if estimator.checkpoint is not None:
        raise SettingsError(
            "solver='lbfgs' is scikit-learn's: there is no moment for a checkpoint to go on from; leave checkpoint out"
        )
    if (estimator.dropout, estimator.weight_init, estimator.bias_init) != (0, "auto", "auto"):
        raise SettingsError(
            "solver='lbfgs' is scikit-learn's: it has no dropout, and starts as weight_init='auto' does"
        )


def fit(estimator: Estimator, X: Any, y: Any, sample_weight: Any) -> Estimator:
    """Fit scikit-learn's estimator with the same parameters, and take over its network.

    In an MPI job every process does the same.
    """
    ours: Any = estimator
    _check_room(ours, X, y)
    kind = their_class(type(ours))
    names = kind().get_params()
    inner = kind(**{name: value for name, value in ours.get_params(deep=False).items() if name in names})
    _, team = workers_and_team(ours.n_workers, ours.team)
    processes = kind_of(team).processes
    named = getattr(ours, "feature_names_in_", None) if processes else None  # of rows that are checked already
    if processes:
        seed = check_random_state(ours.random_state).randint(2**31 - 1)
        inner.set_params(random_state=from_rank_0(team, int(seed)))
    if ours.warm_start and hasattr(ours, "coefs_"):
        copy_fitted(ours, inner)
    words = {} if sample_weight is None else {"sample_weight": sample_weight}
    with together(team):
        inner.fit(X, y, **words)
    for stale in ("_optimizer", "_best", "_epochs", "_seed", "feature_names_in_"):
        ours.__dict__.pop(stale, None)
    copy_fitted(inner, ours)
    if named is not None:
        ours.feature_names_in_ = named
    ours.n_workers_ = 1
    return estimator


def _check_room(estimator: Any, X: Any, y: Any) -> None:
    """Check that the network fits into memory; what else is wrong with the rows, scikit-learn says."""
    features, outputs = (np.shape(each)[1] if np.ndim(each) == 2 else 1 for each in (X, y))
    check_room(MLPSettings(estimator._hidden(), dtype="float64"), features, outputs)
