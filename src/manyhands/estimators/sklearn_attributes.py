"""The classes and fitted attributes that scikit-learn's estimators and ours have in common, and copies of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import neural_network
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from manyhands.core.errors import SettingsError
from manyhands.exporting.sklearn_network import check_activation

_THEIRS: dict[str, Any] = {
    "MLPClassifier": neural_network.MLPClassifier,
    "MLPRegressor": neural_network.MLPRegressor,
}
"""scikit-learn's own classes, by the names that ours have, too."""


_THEIR_SOLVERS: dict[str, dict[str, Any]] = {
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "nesterovs_momentum": True},
}

_FITTED = (
    "coefs_", "intercepts_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "feature_names_in_",
    "classes_", "_label_binarizer", "n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "validation_scores_",
    "best_validation_score_", "_no_improvement_count",
)  # fmt: skip
"""What both have after a fit, if they have it at all."""


def copy_fitted(source: Any, target: Any) -> None:
    """Copy fitted attributes; arrays and lists become the target's own."""
    for name in _FITTED:
        if hasattr(source, name):
            value = getattr(source, name)
            if isinstance(value, list):
                value = [each.copy() if isinstance(each, np.ndarray) else each for each in value]
            setattr(target, name, value.copy() if isinstance(value, np.ndarray) else value)


def their_class(ours: type) -> Any:
    """Return scikit-learn's class that a class of ours, or a subclass, corresponds to."""
    return next(_THEIRS[kind.__name__] for kind in ours.__mro__ if kind.__name__ in _THEIRS)


def to_sklearn(estimator: Any) -> BaseEstimator:
    """Return scikit-learn's estimator with the network of one of ours; see its method of that name."""
    check_is_fitted(estimator, "coefs_")
    check_activation(estimator.activation, "scikit-learn")
    kind = their_class(type(estimator))
    names = kind().get_params()
    words = {name: value for name, value in estimator.get_params(deep=False).items() if name in names}
    words.update(_THEIR_SOLVERS.get(words["solver"], {}))
    if words["solver"] not in ("lbfgs", "sgd", "adam"):
        words["solver"] = "adam"
    made = kind(**words)
    copy_fitted(estimator, made)
    # Copies, as its training writes into those it has.
    made._best_coefs = [each.copy() for each in made.coefs_]
    made._best_intercepts = [each.copy() for each in made.intercepts_]
    return made


def from_sklearn(ours: type[Any], fitted: Any, parameters: dict[str, Any]) -> Any:
    """Return an estimator of a class of ours with scikit-learn's network; see its method of that name."""
    theirs = their_class(ours)
    if not isinstance(fitted, theirs):
        raise SettingsError(
            f"{ours.__name__}.from_sklearn takes a fitted {theirs.__name__}, not {type(fitted).__name__}"
        )
    check_is_fitted(fitted, "coefs_")
    made = ours(**{**fitted.get_params(deep=False), **parameters})
    copy_fitted(fitted, made)
    made.n_workers_ = 1
    return made
