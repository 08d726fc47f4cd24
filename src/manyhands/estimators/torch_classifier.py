"""`TorchClassifier`: a PyTorch module of the user's with scikit-learn's interface, trained by many workers."""

# ruff: noqa: N803, N806 - X is scikit-learn's name, which users may pass by keyword

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from manyhands.core.choices import DEVICES, PRECISIONS
from manyhands.core.errors import DataError, SettingsError
from manyhands.core.extras import require
from manyhands.core.strategy import Strategy
from manyhands.data.checksum import checksum_of
from manyhands.estimators.checkpointing import check as check_checkpoint
from manyhands.estimators.consistency import Given, facts_of
from manyhands.estimators.constraints import FRACTION, OF_FITS, POSITIVE
from manyhands.estimators.documentation import with_shared_sections
from manyhands.estimators.fitting import Call, carry_out
from manyhands.estimators.history import Score
from manyhands.estimators.images import check_shape, flattened, sample_shape
from manyhands.estimators.labels import check_classes, check_probabilities
from manyhands.estimators.rows import Rows
from manyhands.estimators.saving import SavedTorch
from manyhands.estimators.torch_fitting import TorchFit
from manyhands.estimators.workers import check_place, strategy_for, workers_and_team
from manyhands.runtime.memory import memory_errors_explained
from manyhands.teams.agreement import as_text, together

_STORED = (np.float32, np.uint8)
"""What samples are trained on as they are; anything else becomes the first of them."""


@with_shared_sections
class TorchClassifier(SavedTorch, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A PyTorch module that classifies, with the interface of scikit-learn's estimators, trained by many workers.

    It stands in pipelines and searches like any other classifier. What the module returns are logits, of which the
    softmax are probabilities. Inputs are not scaled: put a scaler before it, or let the module do it. Bytes (uint8)
    reach it as float32 numbers from 0 to 255; all other numbers become float32, too.

    Parameters
    ----------
    module : torch.nn.Module or callable
        A module that takes a batch of shape (rows, ...) and returns logits of shape (rows, n_classes): training starts
        from a copy of it. Or a function, or class, that makes one: then ``random_state`` decides the start. If it has
        arguments named ``n_features``, ``n_classes`` or ``sample_shape``, it is given what they say.
    optimizer : str, default="adam"
        ``"sgd"``, ``"momentum"``, ``"nesterov"``, ``"adam"``, ``"adamw"``, ``"rmsprop"``, ``"adagrad"``,
        ``"adadelta"`` or ``"adamax"``, as in ``torch.optim``.
    learning_rate : float, default=0.001
        The step size.
    weight_decay : float, default=None
        As in ``torch.optim``; by default the optimizer's own.
    momentum : float, default=0.9
        Of ``"momentum"`` and ``"nesterov"``; below 1.
    batch_size : int, default="auto"
        Samples of a step, of all workers together: the global batch. ``"auto"`` is ``min(200, n_samples)``.
    max_iter : int, default=20
        Epochs at most.
    schedule : str, default=None
        How the learning rate changes over ``max_iter`` epochs, such as ``"cosine"`` or ``"one-cycle"``.
    {parameters: shuffle, random_state, tol, n_iter_no_change, early_stopping, validation_fraction, warm_start, verbose}
    loss_function : callable, default=None
        Takes logits and class numbers, and returns their mean loss; cross-entropy by default.
    parameter_groups : callable, default=None
        Takes the module and returns groups as ``torch.optim`` takes them: ``params``, ``lr``, ``weight_decay``.
    clip : float, default=None
        The Euclidean norm down to which gradients are scaled.
    augment : tuple of str, default=()
        How batches of images are changed at random: ``"shift"``, ``"rotate"``, ``"scale"``, ``"elastic"``, ``"flip"``,
        ``"crop"``.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of convolutions and matrix products.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where the module is trained.
    sample_shape : tuple of int, default=None
        Shape of one sample, such as (1, 28, 28), if the rows of X are flat.
    {parameters: n_workers, strategy, team, checkpoint}

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained module. It may be changed: predictions and further training use it as it is.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    sample_shape_ : tuple of int
        Shape of one sample as the module takes it.
    {attributes: loss_, loss_curve_, best_loss_, validation_scores_, best_validation_score_, n_iter_, t_, n_workers_}
    n_features_in_ : int
        Number of values of a sample.
    feature_names_in_ : ndarray of shape (features,)
        Names of the columns of X, if all are strings.

    See Also
    --------
    MLPClassifier : A multilayer perceptron, without PyTorch.

    Notes
    -----
    Every worker computes in one thread: ``n_workers=-1`` uses all cores.

    {notes}

    Examples
    --------
    >>> from manyhands import TorchClassifier
    >>> from sklearn.datasets import load_digits
    >>> from torch import nn
    >>> def network(n_features, n_classes):
    ...     return nn.Sequential(nn.Linear(n_features, 50), nn.ReLU(), nn.Linear(50, n_classes))
    >>> X, y = load_digits(return_X_y=True)
    >>> model = TorchClassifier(network, n_workers=2, max_iter=300, tol=0.01, random_state=0)
    >>> model = model.fit(X[:1000] / 16, y[:1000])
    >>> model.score(X[1000:] / 16, y[1000:]) > 0.8
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **OF_FITS,
        "module": [callable],
        "optimizer": [str],
        "learning_rate": [POSITIVE],
        "momentum": [FRACTION],
        "schedule": [str, object],
        "loss_function": [callable, None],
        "parameter_groups": [callable, None],
        "clip": [POSITIVE, None],
        "augment": ["array-like", str],
        "precision": [StrOptions(set(PRECISIONS))],
        "device": [StrOptions(set(DEVICES))],
        "sample_shape": ["array-like", None],
    }

    module_: Any
    classes_: NDArray[Any]

    def __init__(
        self,
        module: Any,
        *,
        optimizer: str = "adam",
        learning_rate: float = 0.001,
        weight_decay: float | None = None,
        momentum: float = 0.9,
        batch_size: int | str = "auto",
        max_iter: int = 20,
        schedule: Any = None,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        n_iter_no_change: float = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        verbose: bool = False,
        loss_function: Callable[[Any, Any], Any] | None = None,
        parameter_groups: Callable[[Any], Any] | None = None,
        clip: float | None = None,
        augment: Sequence[str] = (),
        precision: str = "auto",
        device: str = "cpu",
        sample_shape: Sequence[int] | None = None,
        n_workers: int | Literal["all"] | None = None,
        strategy: str | Strategy = "auto",
        team: str = "threads",
        checkpoint: Any = None,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.schedule = schedule
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.verbose = verbose
        self.loss_function = loss_function
        self.parameter_groups = parameter_groups
        self.clip = clip
        self.augment = augment
        self.precision = precision
        self.device = device
        self.sample_shape = sample_shape
        self.n_workers = n_workers
        self.strategy = strategy
        self.team = team
        self.checkpoint = checkpoint

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the module to samples and labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, channels, height, width) or (n_samples, ...)
            The samples; of shape (n_samples, height, width), images of one channel.
        y : array-like of shape (n_samples,)
            Their labels, of two classes or more.
        sample_weight : array-like of shape (n_samples,), default=None
            What each sample counts in the loss.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            As scikit-learn's estimators; if training diverges, too.
        SettingsError
            If PyTorch is missing, or the module or a parameter cannot be: a ValueError that says what to change.
        DataError, RankError
            As `MLPClassifier.fit`.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch; the optimizer goes on where the last call has left it.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        ValueError
            As :meth:`fit`; also with early stopping or a schedule, for which one epoch is not enough.
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    @memory_errors_explained("the fit")
    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, classes: Any = None) -> Self:
        """Train, for one epoch if ``incremental``."""
        check_place(self.team)
        with together(self.team) as step:
            require("torch")
            self._validate_params()
            check_checkpoint(self, incremental=incremental)
            _, team = workers_and_team(self.n_workers, self.team)
            strategy_for(self.strategy, team)
            self._check_call(sample_weight, incremental)
            if incremental:
                _check_partial_fit_first_call(self, classes)
            first = not hasattr(self, "module_") or not (self.warm_start or incremental)
            given = self._given(X, y, sample_weight, reset=first)
            call = "partial_fit" if incremental else "fit"
            step.bring(lambda: facts_of(self, call, given, classes, first=first))
            numbers = self._class_numbers(given.y, known=incremental or not first)
            rows = Rows(given.X, numbers.reshape(-1, 1), given.weights, self.sample_shape_)
        carry_out(TorchFit, Call(self, rows, first=first, incremental=incremental))
        return self

    def _check_call(self, sample_weight: Any, incremental: bool) -> None:
        """Check that the parameters and the call go together."""
        for name in ("early_stopping", "schedule"):
            if incremental and getattr(self, name):
                raise ValueError(f"partial_fit does not support {name}={getattr(self, name)}")
        if sample_weight is not None and self.loss_function is not None:
            raise SettingsError("sample_weight is for the loss cross-entropy; a loss_function would not know of it")

    def _given(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> Given:
        """Check samples, labels and weights; samples become rows."""
        X, stored = flattened(X)
        with np.errstate(over="ignore"):  # what is infinite in single precision is refused with a better message
            X, y = validate_data(self, X, y, dtype=_STORED, multi_output=True, reset=reset)
        if type_of_target(y, input_name="y").startswith("multilabel"):
            raise DataError(f"y has shape {y.shape}: TorchClassifier learns one class for each row, not several labels")
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if reset:
            self.sample_shape_ = sample_shape(self.sample_shape, stored, X.shape[1])
        check_shape(stored, self.sample_shape_)
        return Given(X, y, None if sample_weight is None else _check_sample_weight(sample_weight, X))

    def _class_numbers(self, y: NDArray[Any], *, known: bool) -> NDArray[Any]:
        """Return the number of each label; the classes are ``known``, or those of the labels."""
        if known:
            check_classes(self, unique_labels(y))
        else:
            self.classes_ = unique_labels(y)
        if len(self.classes_) < 2:
            raise DataError(
                f"a classifier needs samples of two classes or more; there is one class, {self.classes_[0]!r}"
            )
        encoder = LabelEncoder()
        encoder.classes_ = self.classes_
        return np.asarray(encoder.transform(y))

    def _facts(self) -> dict[str, str]:
        """Return parameters, as text, that all processes of a job must have in common."""
        functions = {name: _name_of(getattr(self, name)) for name in ("module", "loss_function", "parameter_groups")}
        return {**functions, "the shape of a sample": as_text(self.sample_shape_)}

    def _weights(self) -> list[NDArray[Any]]:
        """Return the arrays of the network."""
        from manyhands.learners.torch.forward import blocks_of

        return list(blocks_of(self.module_).values())

    def _score_of(self, held: Rows) -> Score:
        """Return what counts rows whose class is found: NaN for outputs that are no numbers."""

        def score(outputs: NDArray[Any]) -> float:
            if not np.isfinite(outputs).all():
                return float("nan")
            return float(np.average(outputs.argmax(axis=1) == held.targets[:, 0], weights=held.weights))

        return score

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the label of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or as for :meth:`fit`
            The samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            The label of the most probable class.
        """
        found = self.predict_proba(X)
        return np.asarray(self.classes_[found.argmax(axis=1)])

    @memory_errors_explained("the prediction")
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or as for :meth:`fit`
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
            In the order of ``classes_``.

        Raises
        ------
        DataError
            If the samples have another shape, or a probability is no number.
        sklearn.exceptions.NotFittedError
            If there is no trained module yet.
        """
        check_is_fitted(self, "module_")
        from manyhands.learners.torch.forward import predict_rows

        X, stored = flattened(X)
        with np.errstate(over="ignore"):
            X = validate_data(self, X, dtype=_STORED, reset=False)
        check_shape(stored, self.sample_shape_)
        found = predict_rows(self.module_, X, self.sample_shape_, self.precision)
        check_probabilities(found)
        return found

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or as for :meth:`fit`
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
            In the order of ``classes_``.
        """
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))


def _name_of(given: Any) -> str:
    """Return text that is the same in all processes that have been given the same function, or module."""
    if given is None:
        return "not given"
    if hasattr(given, "state_dict") and not isinstance(given, type):
        from manyhands.learners.torch.forward import blocks_of

        total = checksum_of(np.array(repr(given)))
        for block in blocks_of(given).values():
            total = checksum_of(block, total)
        return f"{type(given).__qualname__} with the checksum {total:08x}"
    return f"{getattr(given, '__module__', '')}.{getattr(given, '__qualname__', type(given).__qualname__)}"
