"""The classes and fitted attributes that scikit-learn's estimators and ours have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import neural_network

from manyhands.core.errors import SettingsError

THEIR_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")


THEIRS: dict[str, Any] = {
    "MLPClassifier": neural_network.MLPClassifier,
    "MLPRegressor": neural_network.MLPRegressor,
}
"""scikit-learn's own classes, by the names that ours have, too."""


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


def their_class(estimator: Any) -> Any:
    """Return scikit-learn's class that an estimator of ours, or of a subclass, corresponds to."""
    return next(THEIRS[kind.__name__] for kind in type(estimator).__mro__ if kind.__name__ in THEIRS)


def check_activation(activation: str, what: str) -> None:
    """Refuse activations that scikit-learn lacks.

    Raises
    ------
    SettingsError
        If it is one.
    """
    if activation not in THEIR_ACTIVATIONS:
        raise SettingsError(f"{what} has no activation {activation!r}; those it has are {', '.join(THEIR_ACTIVATIONS)}")
