"""`MLPClassifier`: scikit-learn's classifier, trained by many workers."""

# ruff: noqa: N803, N806 - X is scikit-learn's name, which users may pass by keyword

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from manyhands.core.errors import DataError
from manyhands.core.strategy import Strategy
from manyhands.estimators.base import STORED, BaseMLP
from manyhands.estimators.history import Score
from manyhands.estimators.rows import Rows
from manyhands.runtime.memory import check_memory


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """A multilayer perceptron that classifies, with the conduct of `sklearn.neural_network.MLPClassifier`.

    All of its parameters mean the same, and it can stand in for it in pipelines and searches. Behind them are those of
    this package: workers that train together, and more activations and solvers.

    Two classes have one logistic output, more have a softmax; several labels per row have a logistic output each.

    Parameters
    ----------
    hidden_layer_sizes : array-like of shape (n_layers - 2,), default=(100,)
        Number of neurons of each hidden layer.
    activation : str, default="relu"
        Of the hidden neurons: ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"``, ``"elu"``,
        ``"selu"``, ``"gelu"``, ``"silu"``, ``"softplus"`` or ``"softsign"``.
    solver : str, default="adam"
        ``"adam"``; ``"sgd"``, with ``momentum`` and ``nesterovs_momentum``; ``"momentum"``, ``"nesterov"``,
        ``"adagrad"``, ``"rmsprop"``, ``"adadelta"``, ``"adamax"``, ``"nadam"``, ``"adamw"``, ``"lamb"`` or ``"lars"``;
        or ``"lbfgs"``, which is scikit-learn's own and has one worker.
    alpha : float, default=0.0001
        Strength of the L2 penalty, which is divided by the batch when added to the loss.
    batch_size : int, default="auto"
        Rows of a step, of all workers together: the global batch. ``"auto"`` is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        How the rate changes, for ``solver="sgd"`` (``"momentum"``, ``"nesterov"``): not at all; after every epoch to
        ``learning_rate_init / (t + 1)**power_t``, t the rows seen; or divided by 5 whenever training would have
        stopped, until it is below 1e-6.
    learning_rate_init : float, default=0.001
        The step size. Not every solver is at its best with this default.
    power_t : float, default=0.5
        Exponent of ``"invscaling"``.
    max_iter : int, default=200
        Epochs at most.
    shuffle : bool, default=True
        Whether rows are shuffled in every epoch.
    random_state : int, RandomState instance or None, default=None
        Of everything random. With an int, the same ``n_workers`` and the same ``team``, all results have the same bits
        (unless the strategy is hogwild or easgd).
    tol : float, default=1e-4
        By how much loss or validation score must improve.
    verbose : bool, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether ``fit`` goes on with the network of the last call.
    momentum : float, default=0.9
        Of ``solver="sgd"``, ``"momentum"``, ``"nesterov"`` and ``"lars"``; below 1.
    nesterovs_momentum : bool, default=True
        Whether ``solver="sgd"`` uses Nesterov's momentum.
    early_stopping : bool, default=False
        Whether to set rows aside, to end when the score on them does not improve, and to keep the best network. Not
        for strategies whose workers are never alike at the end of an epoch.
    validation_fraction : float, default=0.1
        How many of the rows.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's and its relatives' moments.
    epsilon : float, default=1e-8
        Keeps quotients of the adaptive solvers finite; adadelta and lamb are usually given 1e-6.
    n_iter_no_change : int, default=10
        Epochs without improvement after which training ends.
    max_fun : int, default=15000
        Of ``solver="lbfgs"``: calls of the loss at most.
    n_workers : int, default=None
        Workers that train together: None for one (in an MPI job: all of its processes), -1 for one on each usable
        core. Fewer are used, with a warning, if a batch has fewer rows; and inside a worker of joblib only as many as
        it may have threads, so that ``GridSearchCV(n_jobs=2)`` keeps two cores busy and not four.
    strategy : str or Strategy, default="auto"
        When workers talk, such as ``"gradient"``, ``"periodic:1epoch"`` or ``"one-shot"``. ``"auto"``: threads average
        gradients in every step, which gives the result of one worker up to rounding; processes average the network
        after every epoch. Batch, rate and schedule stay yours with any strategy.
    team : {"threads", "mpi"}, default="threads"
        How they talk. With ``"mpi"``, in a program started by mpiexec, every process calls ``fit`` with the same
        arguments and gets the same network; if one has other arguments, or fails, all raise an error.
    data : {"whole", "sharded"}, default="whole"
        What each process gives to ``fit`` with ``team="mpi"``: the same rows as all others, or rows of its own. With
        ``"sharded"`` all get the network of one fit on the rows of all processes, one after the other in the order of
        their ranks; a class need not be in every shard. Where one process trains, its rows are the only shard.
    sharding : {"global", "fixed"}, default=None
        Whether workers share every batch or keep a part of the rows each; by default as the strategy says.
    dtype : {"float32", "float64"}, default="float32"
        What training computes in, whatever the rows are; float64 all the same where float32 would lose what tells
        them apart, as of time stamps.
    dropout : float, default=0.0
        The chance of a hidden neuron to be left out of a step.
    weight_init, bias_init : str, default="auto"
        How weights and biases start, such as ``"he_normal"``; ``"auto"`` is scikit-learn's way.
    weight_decay : float, default=None
        Decoupled decay of adamw, lamb and lars; by default the solver's own.
    rho : float, default=None
        How much rmsprop and adadelta keep of their mean squares; by default the solver's own.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    coefs_, intercepts_ : list of ndarray
        Weights of shape (in, out) and biases of shape (out,) of each layer, in the dtype of the rows. They may be
        changed: predictions and further training use them as they are.
    loss_ : float
        Of the last epoch, penalty included.
    loss_curve_ : list of float
        Of every epoch.
    best_loss_ : float or None
        The lowest of them; None with early stopping.
    validation_scores_ : list of float or None
        With early stopping, the score after every epoch at whose end the workers were alike.
    best_validation_score_ : float or None
        The highest of them.
    n_iter_ : int
        Epochs of the last call.
    t_ : int
        Rows seen.
    n_layers_, n_outputs_ : int
        Of the network; the inputs count as a layer.
    out_activation_ : str
        Of the outputs.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if all are strings.
    n_workers_ : int
        Workers that have trained.

    See Also
    --------
    MLPRegressor : The same for real numbers.
    from_sklearn : An estimator with the network of one of scikit-learn's.

    Notes
    -----
    Ctrl-C ends the training and keeps the network: with one worker as it is, with several as it was after the last
    epoch at whose end they were alike.

    Examples
    --------
    >>> from manyhands import MLPClassifier
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> network = MLPClassifier(n_workers=2, max_iter=50, tol=0.01, random_state=0).fit(X[:1000], y[:1000])
    >>> network.score(X[1000:], y[1000:]) > 0.9
    True
    """

    classes_: NDArray[Any]

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
        n_workers: int | None = None,
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

    @property
    def _loss_of_learner(self) -> str:
        return "cross_entropy" if self._out_activation == "softmax" else "binary_cross_entropy"

    @property
    def _out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _check_targets(self, y: Any) -> None:
        """Refuse what scikit-learn stumbles over."""
        if sparse.issparse(y) and y.ndim != 2:
            raise DataError("y is sparse and has one dimension; give labels as a dense array: y.toarray()")

    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Check rows and labels."""
        X, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=STORED, reset=reset)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _targets(self, y: Any, incremental: bool) -> NDArray[Any]:
        """Return an indicator: True for what a row belongs to."""
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(unique_labels(y))
        check_memory(8 * y.shape[0] * len(self.classes_), "an indicator of all rows' classes", "use fewer of either")
        return np.asarray(self._label_binarizer.transform(y).astype(bool))

    def _begin_incremental(self, y: Any, classes: Any) -> None:
        """Take note of all labels that will ever come, in the first call."""
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)

    def _check_classes(self, found: NDArray[Any]) -> None:
        """Refuse labels that the network does not know, with scikit-learn's words."""
        if self.warm_start:
            if set(found) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {found}"
                )
        elif len(np.setdiff1d(found, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {found}."
            )

    def _score_of(self, held: Rows) -> Score:
        """Return what counts rows whose classes are all found: NaN for outputs that are no numbers."""

        def score(outputs: NDArray[Any]) -> float:
            if not np.isfinite(outputs).all():
                return float("nan")
            if self._out_activation == "softmax":
                right = outputs.argmax(axis=1) == held.targets.argmax(axis=1)
            else:
                right = ((outputs > 0.5) == held.targets).all(axis=1)
            return float(np.average(right, weights=held.weights))

        return score

    @available_if(lambda self: self._check_solver())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch; the optimizer goes on where the last call has left it.

        So many calls with the same rows are a ``fit`` with so many epochs, bit for bit, if ``random_state`` is an int
        and the workers average gradients or are one.

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,), or array-like or sparse matrix of shape (n_samples, n_outputs)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            What each row counts in the loss.
        classes : array of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call.

        Returns
        -------
        self
            The estimator.
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def _probabilities(self, X: Any) -> NDArray[Any]:
        """Return the network's outputs, which must be numbers: the largest of NaNs would be the first class."""
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = self._outputs(X)
        wrong = ~np.isfinite(outputs).all(axis=1)
        if wrong.any():
            raise DataError(
                f"row {int(np.argmax(wrong)) + 1}: the probabilities are not finite numbers ({int(wrong.sum())} such "
                f"rows): its values, or the weights, are too large for {outputs.dtype}"
            )
        return outputs

    def predict(self, X: Any) -> Any:
        """Return the label of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,), or ndarray or sparse matrix of shape (n_samples, n_classes)
            Labels; with several per row, an indicator, which is sparse (CSR) if that of the training was sparse.
        """
        check_is_fitted(self, "coefs_")
        outputs = self._probabilities(X)
        return self._label_binarizer.inverse_transform(outputs.ravel() if self.n_outputs_ == 1 else outputs)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; with several labels per row, each on its own.
        """
        check_is_fitted(self, "coefs_")
        outputs = self._probabilities(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return np.asarray(np.log(self.predict_proba(X)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
