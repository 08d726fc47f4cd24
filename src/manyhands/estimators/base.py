"""What the two estimators have in common: scikit-learn's parameters and conduct, and ours behind them."""

# ruff: noqa: N803, N806 - X is scikit-learn's name, which users may pass by keyword

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from manyhands.core.checks import shortened, whole
from manyhands.core.choices import ACTIVATIONS, DTYPES, OPTIMIZERS
from manyhands.core.errors import SettingsError
from manyhands.core.strategy import Strategy
from manyhands.estimators import checkpointing, lbfgs, sklearn_attributes
from manyhands.estimators.consistency import Given, check_shard, facts_of, gather
from manyhands.estimators.constraints import COUNT, FRACTION, NOT_NEGATIVE, OF_FITS, POSITIVE, Number
from manyhands.estimators.fitting import Call, carry_out
from manyhands.estimators.forward import forward
from manyhands.estimators.mlp_fitting import MLPFit
from manyhands.estimators.rows import Rows
from manyhands.estimators.saving import SavedMLP
from manyhands.estimators.workers import check_place, strategy_for, workers_and_team
from manyhands.runtime.memory import check_memory, memory_errors_explained
from manyhands.teams.agreement import as_text, together

STORED = (np.float64, np.float32, np.uint8)
"""What rows are trained on as they are; anything else becomes the first of them."""


class BaseMLP(SavedMLP, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """See `MLPClassifier` and `MLPRegressor`."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **OF_FITS,
        "hidden_layer_sizes": ["array-like", COUNT],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"lbfgs", *OPTIMIZERS})],
        "alpha": [NOT_NEGATIVE],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [POSITIVE],
        "power_t": [NOT_NEGATIVE],
        "momentum": [Number(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "beta_1": [FRACTION],
        "beta_2": [FRACTION],
        "epsilon": [POSITIVE],
        "max_fun": [COUNT],
        "data": [StrOptions({"whole", "sharded"})],
        "sharding": [StrOptions({"global", "fixed"}), None],
        "dtype": [StrOptions(set(DTYPES))],
        "dropout": [FRACTION],
        "weight_init": [str],
        "bias_init": [str],
        "rho": [FRACTION, None],
    }

    n_outputs_: int

    def __init__(
        self,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_workers = n_workers
        self.strategy = strategy
        self.team = team
        self.data = data
        self.sharding = sharding
        self.dtype = dtype
        self.dropout = dropout
        self.weight_init = weight_init
        self.bias_init = bias_init
        self.weight_decay = weight_decay
        self.rho = rho
        self.checkpoint = checkpoint

    def _check_targets(self, y: Any) -> None:
        """Refuse targets that cannot be, whatever the solver."""

    @property
    def _loss_of_learner(self) -> str:
        """Our name for the loss."""
        raise NotImplementedError

    @property
    def _out_activation(self) -> str:
        """scikit-learn's name for the output activation."""
        raise NotImplementedError

    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Check the rows of this process, and return them with what the user wants for each."""
        raise NotImplementedError

    def _targets(self, y: Any, incremental: bool) -> NDArray[Any]:
        """Return targets for the outputs; these are all rows."""
        raise NotImplementedError

    def _begin_incremental(self, y: Any, classes: Any) -> None:
        """Get ready for a call of `partial_fit`, which may be the first."""

    def _score_of(self, held: Rows) -> Any:
        """Return what scores outputs for rows that are set aside."""
        raise NotImplementedError

    def _hidden(self) -> tuple[int, ...]:
        """Return the widths of the hidden layers."""
        given = self.hidden_layer_sizes
        try:
            sizes = list(given) if not isinstance(given, dict | set | frozenset | Integral) else [given]
            return tuple(whole("a size", size, least=1) for size in sizes)
        except (TypeError, SettingsError) as error:
            raise SettingsError(
                f"hidden_layer_sizes must be > 0 and whole numbers, got {shortened(given)}: {error}"
            ) from error

    def _facts(self) -> dict[str, str]:
        """Return parameters, as text, that all processes of a job must have in common."""
        return {"hidden_layer_sizes": as_text(self._hidden())}

    def _weights(self) -> list[NDArray[Any]]:
        """Return the arrays of the network."""
        return [*self.coefs_, *self.intercepts_]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model to rows and targets.

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (n_samples, n_features)
            The rows. Bytes (uint8) are trained on as they are; sparse rows become dense.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or real numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            What each row counts in the loss.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            As scikit-learn's estimator; if training diverges, too.
        SettingsError
            If the settings cannot work together: a ValueError that says what to change. Of an MPI job, also if the
            processes have different ones. If there are checkpoints of another fit in the folder ``checkpoint``.
        OutputError
            If nothing can be written into the folder ``checkpoint``.
        OutOfMemoryError
            If there is not enough memory for the network, or for the rows as they are trained on.
        DataError
            If the processes of an MPI job give different rows: a ValueError that says what differs.
        RankError
            If the fit has failed in another process of the job: of the same kind as there, with its message.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    @memory_errors_explained("the fit")
    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, classes: Any = None) -> Self:
        """Train, for one epoch if ``incremental``."""
        check_place(self.team)
        with together(self.team) as step:
            self._validate_params()
            checkpointing.check(self, incremental=incremental)
            hidden = self._hidden()
            self._check_targets(y)
            _, team = workers_and_team(self.n_workers, self.team)
            if self.solver != "lbfgs":
                strategy_for(self.strategy, team)
            if incremental:
                self._begin_incremental(y, classes)
            if self.early_stopping and incremental:
                raise ValueError("partial_fit does not support early_stopping=True")
            first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
            if self.solver == "lbfgs":
                lbfgs.check(self)
                if not step.joint:
                    return lbfgs.fit(self, X, y, sample_weight)
            given = self._given(X, y, sample_weight, reset=first)
            shards = step.joint and self.data == "sharded"
            if shards:
                check_shard(given)
            call = "partial_fit" if incremental else "fit"
            step.bring(lambda: facts_of(self, call, given, classes, first=first))
        if shards:
            given = gather(given)
        if self.solver == "lbfgs":
            return lbfgs.fit(self, given.X, given.y, given.weights)
        with together(self.team):
            targets = self._targets(given.y, incremental)
            rows = Rows(given.X, targets.reshape(-1, 1) if targets.ndim == 1 else targets, given.weights)
        dtype = np.float32 if rows.features.dtype == np.float32 else np.float64
        carry_out(partial(MLPFit, hidden, dtype), Call(self, rows, first=first, incremental=incremental))
        return self

    def _given(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> Given:
        """Check what this process gives."""
        X, y = self._check_rows(X, y, reset)
        return Given(X, y, None if sample_weight is None else _check_sample_weight(sample_weight, X))

    def _check_solver(self) -> bool:
        """Tell scikit-learn's `available_if` whether there are epochs."""
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    @memory_errors_explained("the prediction")
    def _outputs(self, X: Any) -> NDArray[Any]:
        """Return the network's outputs for rows that are checked here, shape (n_samples, n_outputs)."""
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        numbers = X.shape[0] * sum(sorted(map(len, self.intercepts_))[-2:])  # of two layers at a time
        check_memory(
            numbers * self.coefs_[0].dtype.itemsize, f"a prediction for {X.shape[0]:,} rows", "predict fewer at a time"
        )
        return forward(X, self.coefs_, self.intercepts_, self.activation, self.out_activation_)

    def to_sklearn(self) -> Any:
        """Return a fitted estimator of scikit-learn with the same network.

        It has what the two have in common. An optimizer that scikit-learn lacks becomes its default, which matters
        only for further training; that begins with a fresh optimizer in any case.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor
            The same network.

        Raises
        ------
        SettingsError
            If scikit-learn lacks the activation.
        sklearn.exceptions.NotFittedError
            If there is no network yet.
        """
        return sklearn_attributes.to_sklearn(self)

    @classmethod
    def from_sklearn(cls, fitted: Any, **parameters: Any) -> Self:
        """Return an estimator with the network of a fitted one of scikit-learn's.

        Parameters
        ----------
        fitted : sklearn.neural_network.MLPClassifier or MLPRegressor
            Of the same kind.
        **parameters
            Of the new estimator, where they differ, such as ``n_workers=2``.

        Returns
        -------
        MLPClassifier or MLPRegressor
            The same network.

        Raises
        ------
        SettingsError
            If it is an estimator of another kind.
        sklearn.exceptions.NotFittedError
            If it has no network yet.
        """
        made: Self = sklearn_attributes.from_sklearn(cls, fitted, parameters)
        return made

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
