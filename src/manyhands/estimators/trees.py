"""scikit-learn's decision trees, grown by many workers: the two estimators and what forests share with them.

They are subclasses, and their ``tree_`` is scikit-learn's own kind of tree: predictions, paths, importances, pruning
paths and drawings are its code. What is ours is the growing, which goes over bytes as they are stored.
"""

# ruff: noqa: N803, N806 - X is scikit-learn's name

from __future__ import annotations

import math
import warnings
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn import tree as theirs
from sklearn.base import is_classifier
from sklearn.tree._tree import NODE_DTYPE, Tree
from sklearn.utils import check_random_state, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from manyhands.core.errors import TrainingWarning
from manyhands.core.words import count
from manyhands.estimators.documentation import with_shared_sections
from manyhands.estimators.sums_fitting import OF_SUMS, FittedBySums, trained
from manyhands.estimators.workers import workers_and_team
from manyhands.learners.sums.settings import SumsSettings
from manyhands.learners.sums.trees.arrays import TreeArrays
from manyhands.learners.sums.trees.growing import features_drawn
from manyhands.teams.job import from_rank_0
from manyhands.teams.registry import SOLO

Workers = int | Literal["all"] | None
_OURS = ("gini", "entropy", "log_loss", "squared_error", "friedman_mse", "poisson")
_LARGEST = float(np.finfo(np.float32).max)


class GrownBySums(FittedBySums):
    """What trees and forests have in common: checks as scikit-learn makes them, and settings of the learner."""

    criterion: Any
    max_depth: int | None
    min_samples_split: Any
    min_samples_leaf: Any
    min_weight_fraction_leaf: float
    max_features: Any
    max_leaf_nodes: int | None
    min_impurity_decrease: float
    ccp_alpha: float
    random_state: Any
    class_weight: Any = None
    monotonic_cst: Any

    def _left_to_scikit_learn(self, X: Any, y: Any) -> bool:
        """Return whether this is a fit that our trees cannot do: theirs does it then, with one worker."""
        values = X.data if sparse.issparse(X) else X
        return (
            self.criterion not in _OURS
            or self.monotonic_cst is not None
            or (np.ndim(y) == 2 and np.shape(y)[1] > 1)
            or bool(values.dtype.kind == "f" and np.isnan(values).any())
        )

    def _rows_of(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Check rows and targets."""
        rows: dict[str, Any] = {"accept_sparse": "csc", "ensure_all_finite": "allow-nan", "dtype": "numeric"}
        X, y = validate_data(self, X, y, validate_separately=(rows, {"ensure_2d": False, "dtype": None}))
        values = X.data if sparse.issparse(X) else X
        if values.dtype.kind == "f" and values.size and not np.nanmax(np.abs(values)) <= _LARGEST:
            raise ValueError("Input X contains infinity or a value too large for dtype('float32').")
        if self.criterion == "poisson" and (y < 0).any():
            raise ValueError("Some value(s) of y are negative which is not allowed for Poisson regression.")
        if self.criterion == "poisson" and not y.sum() > 0:
            raise ValueError("Sum of y is not positive which is necessary for Poisson regression.")
        if len(y) != X.shape[0]:
            raise ValueError(f"Number of labels={len(y)} does not match number of samples={X.shape[0]}")
        return X, np.atleast_1d(y)

    def _encoded(self, y: NDArray[Any]) -> tuple[NDArray[Any], Any]:
        """Return class numbers, or targets of shape (rows, 1), and the labels."""
        y = y.ravel() if y.ndim == 2 else y
        if not is_classifier(self):
            return y.astype(np.float64).reshape(-1, 1), None
        check_classification_targets(y)
        labels, codes = np.unique(y, return_inverse=True)
        return codes.astype(np.int32), labels

    def _weights_of(self, X: Any, y: Any, sample_weight: Any) -> NDArray[np.float64] | None:
        """Return the weights of rows, those of their classes included."""
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        if self.class_weight is None:
            return weights
        of_classes: NDArray[np.float64] = compute_sample_weight(self.class_weight, y)
        return of_classes if weights is None else weights * of_classes

    def _settings(self, rows: int, weights: NDArray[np.float64] | None, **others: Any) -> SumsSettings:
        """Return the settings of the learner, shares as numbers."""
        least = self.min_samples_leaf
        leaf = int(least) if isinstance(least, Integral) else math.ceil(least * rows)
        few = self.min_samples_split
        split = int(few) if isinstance(few, Integral) else max(2, math.ceil(few * rows))
        weight = float(rows if weights is None else weights.sum())
        return SumsSettings(
            criterion=self.criterion,
            max_depth=None if self.max_depth is None else int(self.max_depth),
            min_samples_leaf=leaf,
            min_samples_split=max(split, 2 * leaf),
            min_weight_leaf=float(self.min_weight_fraction_leaf) * weight,
            max_features="all" if self.max_features is None else self.max_features,
            max_leaf_nodes=None if self.max_leaf_nodes is None else int(self.max_leaf_nodes),
            min_impurity_decrease=float(self.min_impurity_decrease),
            ccp_alpha=float(self.ccp_alpha),
            **others,
        )

    def _seed(self) -> int:
        """Return the seed of everything random."""
        drawn = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return from_rank_0(self.team, drawn)

    def _say_binned(self, learner: Any) -> None:
        """Say if some thresholds were not tried."""
        self.binned_features_ = np.flatnonzero(learner.binned)
        if len(self.binned_features_):
            warnings.warn(
                f"{count(len(self.binned_features_), 'feature')} have more than 256 different values: for these, "
                "thresholds between 256 quantiles are tried, and not all (binned_features_ has their numbers)",
                TrainingWarning,
                stacklevel=5,
            )

    def _say_left(self) -> None:
        """Say it if a fit that is scikit-learn's was to have several workers."""
        self.n_workers_, self.binned_features_ = 1, np.zeros(0, np.intp)
        if workers_and_team(self.n_workers, self.team)[1] != SOLO:
            warnings.warn(
                "scikit-learn grows these trees, with one worker: several outputs, missing values, absolute_error and "
                "monotonic constraints are its own",
                TrainingWarning,
                stacklevel=5,
            )


def theirs_of(arrays: TreeArrays, features: int, classes: int) -> Any:
    """Return scikit-learn's kind of tree; of one that predicts a number, ``classes`` is 1."""
    tree = Tree(features, np.array([classes], np.intp), 1)
    nodes = np.zeros(arrays.node_count, NODE_DTYPE)
    nodes["left_child"], nodes["right_child"] = arrays.children_left, arrays.children_right
    for name in ("feature", "threshold", "impurity", "n_node_samples", "weighted_n_node_samples"):
        nodes[name] = getattr(arrays, name)
    values = np.ascontiguousarray(arrays.value, np.float64)
    depth = arrays.max_depth
    tree.__setstate__({"max_depth": depth, "node_count": arrays.node_count, "nodes": nodes, "values": values})
    return tree


class _Tree(GrownBySums):
    """What the two kinds of trees have in common."""

    splitter: str

    def fit(self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True) -> Self:
        """Grow a tree.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows. Bytes (uint8) are used as they are, other numbers are compared as float32.
        y : array-like of shape (n_samples,)
            Labels, or numbers. With several columns, scikit-learn grows the tree.
        sample_weight : array-like of shape (n_samples,), default=None
            What each row counts.
        check_input : bool, default=True
            Rows are checked in any case; scikit-learn has this parameter.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            As scikit-learn's estimator.
        SettingsError
            If there cannot be such workers: a ValueError that says what to change. Of an MPI job, also if the processes
            have different parameters.
        DataError
            If the processes of an MPI job give different rows: a ValueError that says what differs.
        OutOfMemoryError
            If there is not enough memory.
        RankError
            If the fit has failed in another process of the job: of the same kind as there, with its message.
        """
        with self._all_or_none():
            self._validate_params()  # type: ignore[attr-defined]  # of scikit-learn's estimator
            rows, targets = self._rows_of(X, y)
            if self._left_to_scikit_learn(rows, targets):
                self._say_left()
                super().fit(X, y, sample_weight, check_input)  # type: ignore[misc]
            else:
                self._grow(rows, targets, sample_weight)
        return self

    def _grow(self, X: Any, y: NDArray[Any], sample_weight: Any) -> None:
        codes, labels = self._encoded(y)
        weights = self._weights_of(X, y, sample_weight)
        settings = self._settings(X.shape[0], weights, splitter=self.splitter)
        dense = X.toarray() if sparse.issparse(X) else X
        classes = 0 if labels is None else len(labels)
        learner = trained(self, "tree", dense, codes, weights, classes=classes, settings=settings, seed=self._seed())
        self.n_outputs_ = 1
        if labels is not None:
            self.classes_, self.n_classes_ = labels, classes
        self.max_features_ = features_drawn(settings.max_features, X.shape[1])
        self.tree_ = theirs_of(learner.tree, X.shape[1], max(classes, 1))
        self._say_binned(learner)


@with_shared_sections
class DecisionTreeClassifier(_Tree, theirs.DecisionTreeClassifier):  # type: ignore[misc]  # scikit-learn has no types
    """A decision tree for classes: `sklearn.tree.DecisionTreeClassifier`, grown by many workers.

    Workers look for the splits of a level together, each over its part of the features. Features with up to 256
    different values, such as pixels, are split exactly as scikit-learn does; of others, thresholds between 256
    quantiles are tried, and a `TrainingWarning` says so. Of splits that are equally good, that of the first feature in
    a random order (from ``random_state``) is taken; scikit-learn draws another order for each node. Several outputs,
    missing values and monotonic constraints are left to scikit-learn, which has one worker.

    Parameters
    ----------
    criterion, splitter, max_depth, min_samples_split, min_samples_leaf, min_weight_fraction_leaf, max_features, \
random_state, max_leaf_nodes, min_impurity_decrease, class_weight, ccp_alpha, monotonic_cst
        As in scikit-learn.
    {workers}

    Attributes
    ----------
    tree_ : sklearn.tree._tree.Tree
        The tree.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    n_classes_, n_outputs_, max_features_ : int
        As in scikit-learn.
    binned_features_ : ndarray of shape (any,)
        Features of which some thresholds were not tried.
    {fitted}

    See Also
    --------
    DecisionTreeRegressor : For numbers.
    RandomForestClassifier : Many trees.

    Notes
    -----
    The tree is the same, to the bit, for any number of workers.

    Examples
    --------
    >>> from manyhands import DecisionTreeClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DecisionTreeClassifier(max_depth=3, n_workers=2).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **theirs.DecisionTreeClassifier._parameter_constraints,
        **OF_SUMS,
    }

    def __init__(
        self,
        *,
        criterion: Any = "gini",
        splitter: Any = "best",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: Any = None,
        random_state: Any = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        class_weight: Any = None,
        ccp_alpha: float = 0.0,
        monotonic_cst: Any = None,
        n_workers: Workers = None,
        team: str = "threads",
    ) -> None:
        super().__init__(
            criterion=criterion,
            splitter=splitter,
            max_depth=max_depth,
            min_samples_split=min_samples_split,
            min_samples_leaf=min_samples_leaf,
            min_weight_fraction_leaf=min_weight_fraction_leaf,
            max_features=max_features,
            random_state=random_state,
            max_leaf_nodes=max_leaf_nodes,
            min_impurity_decrease=min_impurity_decrease,
            class_weight=class_weight,
            ccp_alpha=ccp_alpha,
            monotonic_cst=monotonic_cst,
        )
        self.n_workers = n_workers
        self.team = team


@with_shared_sections
class DecisionTreeRegressor(_Tree, theirs.DecisionTreeRegressor):  # type: ignore[misc]  # scikit-learn has no types
    """A decision tree for numbers: `sklearn.tree.DecisionTreeRegressor`, grown by many workers.

    See `DecisionTreeClassifier` for what is the same and what is not. The criterion ``absolute_error`` is left to
    scikit-learn, too.

    Parameters
    ----------
    criterion, splitter, max_depth, min_samples_split, min_samples_leaf, min_weight_fraction_leaf, max_features, \
random_state, max_leaf_nodes, min_impurity_decrease, ccp_alpha, monotonic_cst
        As in scikit-learn.
    {workers}

    Attributes
    ----------
    tree_ : sklearn.tree._tree.Tree
        The tree.
    n_outputs_, max_features_ : int
        As in scikit-learn.
    binned_features_ : ndarray of shape (any,)
        Features of which some thresholds were not tried.
    {fitted}

    See Also
    --------
    DecisionTreeClassifier : For classes.

    Notes
    -----
    The tree is the same, to the bit, for any number of workers.

    Examples
    --------
    >>> from manyhands import DecisionTreeRegressor
    >>> model = DecisionTreeRegressor(max_depth=2).fit([[1], [2], [3], [4]], [1.0, 1.0, 5.0, 5.0])
    >>> model.predict([[3.5]]).tolist()
    [5.0]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **theirs.DecisionTreeRegressor._parameter_constraints,
        **OF_SUMS,
    }

    def __init__(
        self,
        *,
        criterion: Any = "squared_error",
        splitter: Any = "best",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: Any = None,
        random_state: Any = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        ccp_alpha: float = 0.0,
        monotonic_cst: Any = None,
        n_workers: Workers = None,
        team: str = "threads",
    ) -> None:
        super().__init__(
            criterion=criterion,
            splitter=splitter,
            max_depth=max_depth,
            min_samples_split=min_samples_split,
            min_samples_leaf=min_samples_leaf,
            min_weight_fraction_leaf=min_weight_fraction_leaf,
            max_features=max_features,
            random_state=random_state,
            max_leaf_nodes=max_leaf_nodes,
            min_impurity_decrease=min_impurity_decrease,
            ccp_alpha=ccp_alpha,
            monotonic_cst=monotonic_cst,
        )
        self.n_workers = n_workers
        self.team = team
