"""Networks to and from scikit-learn's own estimators."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from manyhands.core.errors import SettingsError
from manyhands.estimators.sklearn_attributes import THEIRS, check_activation, copy_fitted, their_class

_THEIR_SOLVERS: dict[str, dict[str, Any]] = {
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "nesterovs_momentum": True},
}


def to_sklearn(estimator: Any) -> BaseEstimator:
    """Return scikit-learn's estimator with the network of one of ours; see its method of that name."""
    check_is_fitted(estimator, "coefs_")
    check_activation(estimator.activation, "scikit-learn")
    kind = their_class(estimator)
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


def from_sklearn(fitted: Any, **parameters: Any) -> Any:
    """Return an estimator of ours with the network of a fitted one of scikit-learn's.

    Parameters
    ----------
    fitted : sklearn.neural_network.MLPClassifier or MLPRegressor
        Whose network it is. Its optimizer's state stays behind.
    **parameters
        Of the new estimator, where they differ, such as ``n_workers=2``.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Fitted; ``partial_fit`` and ``warm_start`` go on from there.

    Raises
    ------
    SettingsError
        If it is another kind of estimator.
    sklearn.exceptions.NotFittedError
        If it has no network yet.

    Examples
    --------
    >>> from sklearn import neural_network
    >>> from sklearn.datasets import load_iris
    >>> from manyhands import from_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = neural_network.MLPClassifier((5,), solver="lbfgs", random_state=0, max_iter=1000).fit(X, y)
    >>> ours = from_sklearn(theirs, n_workers=2)
    >>> bool((ours.predict(X) == theirs.predict(X)).all())
    True
    """
    from manyhands.estimators.classifier import MLPClassifier
    from manyhands.estimators.regressor import MLPRegressor

    for ours in (MLPClassifier, MLPRegressor):
        if isinstance(fitted, THEIRS[ours.__name__]):
            check_is_fitted(fitted, "coefs_")
            made = ours(**{**fitted.get_params(deep=False), **parameters})
            copy_fitted(fitted, made)
            made.n_workers_ = 1
            return made
    raise SettingsError(
        f"from_sklearn takes a fitted sklearn.neural_network.MLPClassifier or MLPRegressor, not {type(fitted).__name__}"
    )
