"""Networks from scikit-learn's own estimators."""

from __future__ import annotations

from typing import Any

from manyhands.core.errors import SettingsError
from manyhands.estimators.classifier import MLPClassifier
from manyhands.estimators.regressor import MLPRegressor
from manyhands.estimators.sklearn_attributes import their_class


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
    for ours in (MLPClassifier, MLPRegressor):
        if isinstance(fitted, their_class(ours)):
            return ours.from_sklearn(fitted, **parameters)
    raise SettingsError(
        f"from_sklearn takes a fitted sklearn.neural_network.MLPClassifier or MLPRegressor, not {type(fitted).__name__}"
    )
