"""`MLPRegressor`: scikit-learn's regressor, trained by many workers."""

# ruff: noqa: N803, N806 - X is scikit-learn's name, which users may pass by keyword

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from manyhands.core.errors import DataError
from manyhands.core.strategy import Strategy
from manyhands.estimators.base import STORED, BaseMLP
from manyhands.estimators.documentation import with_shared_sections
from manyhands.estimators.history import Score
from manyhands.estimators.rows import Rows


@with_shared_sections
class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """A multilayer perceptron for real numbers, with the conduct of `sklearn.neural_network.MLPRegressor`.

    All of its parameters mean the same, and it can stand in for it in pipelines and searches. Behind them are those of
    this package: workers that train together, and more activations and solvers.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default="squared_error"
        Half the squared error of linear outputs, or half the Poisson deviance of exponential ones, for ``y >= 0``.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    MLPClassifier : The same for classes.
    from_sklearn : An estimator with the network of one of scikit-learn's.

    Notes
    -----
    {notes}

    Examples
    --------
    >>> from manyhands import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> network = MLPRegressor(n_workers=2, max_iter=2000, tol=0.1, random_state=1).fit(X[:150], y[:150])
    >>> network.score(X[150:], y[150:]) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_workers: int | Literal["all"] | None = None,
        strategy: str | Strategy = "auto",
        team: str = "threads",
        data: str = "whole",
        sharding: str | None = None,
        dtype: str = "float32",
        dropout: float = 0.0,
        weight_init: str = "auto",
        bias_init: str = "auto",
        weight_decay: float | None = None,
        rho: float | None = None,
        checkpoint: Any = None,
    ) -> None:
        shared = {name: value for name, value in locals().items() if name not in ("self", "loss", "__class__")}
        super().__init__(**shared)
        self.loss = loss

    @property
    def _loss_of_learner(self) -> str:
        return self.loss

    @property
    def _out_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _check_targets(self, y: Any) -> None:
        """Refuse what scikit-learn stumbles over, or trains on to no end: no numbers, and counts below 0."""
        if sparse.issparse(y):
            raise DataError("y is sparse, and a regressor takes dense targets: give y.toarray()")
        values = np.asarray(y)
        if values.dtype.kind in "SUTVmM":
            raise DataError(f"y must be numbers, not {values.dtype}")
        if self.loss == "poisson" and values.dtype.kind in "iuf":
            with np.errstate(invalid="ignore"):
                negative = values < 0
            if negative.any():
                raise DataError(
                    f"Some value(s) of y are out of the valid range of the loss 'poisson', which is for numbers from "
                    f"0 on: {values[negative][0]}"
                )

    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Check rows and numbers."""
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=STORED,
            reset=reset,
        )
        self._check_targets(y)  # again: what was an array of objects is one of numbers now
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _targets(self, y: Any, incremental: bool) -> NDArray[Any]:
        """Return the numbers themselves."""
        return np.asarray(y)

    def _score_of(self, held: Rows) -> Score:
        """Return what computes R²: NaN for outputs that are no numbers."""

        def score(outputs: NDArray[Any]) -> float:
            if not np.isfinite(outputs).all():
                return float("nan")
            return float(r2_score(held.targets, outputs, sample_weight=held.weights))

        return score

    @available_if(lambda self: self._check_solver())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch; the optimizer goes on where the last call has left it.

        So many calls with the same rows are a ``fit`` with so many epochs, bit for bit, if ``random_state`` is an int
        and the workers average gradients or are one.

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            What each row counts in the loss.

        Returns
        -------
        self
            The estimator.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the numbers of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        check_is_fitted(self, "coefs_")
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs
