"""scikit-learn's random forest of classes, whose trees are grown by many workers."""

# ruff: noqa: N803 - X is scikit-learn's name

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn import ensemble as theirs
from sklearn.ensemble._bootstrap import _get_n_samples_bootstrap
from sklearn.metrics import accuracy_score

from manyhands.estimators.documentation import with_shared_sections
from manyhands.estimators.sums_fitting import OF_SUMS, trained
from manyhands.estimators.trees import GrownBySums, Workers, theirs_of
from manyhands.learners.sums.trees.draws import bootstrap


@with_shared_sections
class RandomForestClassifier(GrownBySums, theirs.RandomForestClassifier):  # type: ignore[misc]  # it has no types
    """A random forest: `sklearn.ensemble.RandomForestClassifier`, whose trees are grown by many workers.

    Every worker grows some of the trees. What is random about a tree depends on ``random_state`` and its number, so the
    forest is the same for any number of workers; it is not scikit-learn's with the same ``random_state``, but one like
    it. Features with more than 256 different values are split between quantiles, see `DecisionTreeClassifier`. Warm
    starts, several outputs, missing values, monotonic constraints and ``class_weight="balanced_subsample"`` are left to
    scikit-learn.

    Parameters
    ----------
    n_estimators, criterion, max_depth, min_samples_split, min_samples_leaf, min_weight_fraction_leaf, max_features, \
max_leaf_nodes, min_impurity_decrease, bootstrap, oob_score, random_state, verbose, warm_start, class_weight, \
ccp_alpha, max_samples, monotonic_cst
        As in scikit-learn.
    n_jobs : int, default=None
        Threads that predict, and that grow what is left to scikit-learn.
    {workers}

    Attributes
    ----------
    estimators_ : list of sklearn.tree.DecisionTreeClassifier
        The trees.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    n_classes_, n_outputs_ : int
        As in scikit-learn.
    oob_score_, oob_decision_function_ : float, ndarray of shape (n_samples, n_classes)
        With ``oob_score``: what trees say about rows that they were grown without.
    estimators_samples_ : list of ndarray
        The rows of each tree.
    binned_features_ : ndarray of shape (any,)
        Features of which some thresholds were not tried.
    {fitted}

    See Also
    --------
    DecisionTreeClassifier : A single tree.

    Notes
    -----
    The forest is the same, to the bit, for any number of workers.

    Examples
    --------
    >>> from manyhands import RandomForestClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RandomForestClassifier(n_estimators=20, random_state=0, n_workers=2).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **theirs.RandomForestClassifier._parameter_constraints,
        **OF_SUMS,
    }
    _grown_seed: int | None = None

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        criterion: Any = "gini",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: Any = "sqrt",
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        bootstrap: bool = True,
        oob_score: bool | Callable[..., float] = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
        class_weight: Any = None,
        ccp_alpha: float = 0.0,
        max_samples: Any = None,
        monotonic_cst: Any = None,
        n_workers: Workers = None,
        team: str = "threads",
    ) -> None:
        super().__init__(
            n_estimators,
            criterion=criterion,
            max_depth=max_depth,
            min_samples_split=min_samples_split,
            min_samples_leaf=min_samples_leaf,
            min_weight_fraction_leaf=min_weight_fraction_leaf,
            max_features=max_features,
            max_leaf_nodes=max_leaf_nodes,
            min_impurity_decrease=min_impurity_decrease,
            bootstrap=bootstrap,
            oob_score=oob_score,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
            warm_start=warm_start,
            class_weight=class_weight,
            ccp_alpha=ccp_alpha,
            max_samples=max_samples,
            monotonic_cst=monotonic_cst,
        )
        self.n_workers = n_workers
        self.team = team

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Grow the forest.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows. Bytes (uint8) are used as they are, other numbers are compared as float32.
        y : array-like of shape (n_samples,)
            Their labels. With several columns, scikit-learn grows the forest.
        sample_weight : array-like of shape (n_samples,), default=None
            What each row counts: how likely it is drawn, or, without bootstrap, its weight.

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
            self._validate_params()
            rows, targets = self._rows_of(X, y)
            if self._left_to_scikit_learn(rows, targets):
                self._grown_seed = None
                self._say_left()
                super().fit(X, y, sample_weight)
            else:
                self._grow(rows, targets, sample_weight)
        return self

    def _left_to_scikit_learn(self, X: Any, y: Any) -> bool:
        """Return whether only scikit-learn can do this fit."""
        subsampled = isinstance(self.class_weight, str) and self.class_weight == "balanced_subsample"
        return bool(self.warm_start) or subsampled or super()._left_to_scikit_learn(X, y)

    def _grow(self, X: Any, y: NDArray[Any], sample_weight: Any) -> None:
        if not self.bootstrap and self.max_samples is not None:
            raise ValueError(
                "`max_sample` cannot be set if `bootstrap=False`. Either switch to `bootstrap=True` or set "
                "`max_sample=None`."
            )
        if not self.bootstrap and self.oob_score:
            raise ValueError("Out of bag estimation only available if bootstrap=True")
        codes, self.classes_ = self._encoded(y)
        self._sample_weight = weights = self._weights_of(X, y, sample_weight)
        self._n_samples, self.n_outputs_, self.n_classes_ = X.shape[0], 1, len(self.classes_)
        self._validate_estimator()
        draws = _get_n_samples_bootstrap(X.shape[0], self.max_samples, weights) if self.bootstrap else None
        self._n_samples_bootstrap = draws
        settings = self._settings(
            X.shape[0],
            weights,
            n_estimators=int(self.n_estimators),
            bootstrap=bool(self.bootstrap),
            max_samples=None if draws is None or draws == X.shape[0] else int(draws),
        )
        dense, self._grown_seed = X.toarray() if sparse.issparse(X) else X, self._seed()
        learner = trained(
            self, "forest", dense, codes, weights, classes=self.n_classes_, settings=settings, seed=self._grown_seed
        )
        self.estimators_ = [self._theirs(tree) for tree in learner.trees]
        self._say_binned(learner)
        if self.oob_score:
            self._score_out_of_bag(dense, codes)

    def _theirs(self, tree: Any) -> Any:
        """Return an estimator of scikit-learn's with one of the trees."""
        made = self._make_estimator(append=False, random_state=0)
        made.n_features_in_, made.n_outputs_ = self.n_features_in_, 1
        made.classes_, made.n_classes_ = np.arange(self.n_classes_, dtype=np.float64), self.n_classes_
        made.tree_ = theirs_of(tree, self.n_features_in_, self.n_classes_)
        return made

    def _score_out_of_bag(self, X: NDArray[Any], codes: NDArray[np.int32]) -> None:
        """Set what trees say about rows that they were grown without."""
        sums, votes = np.zeros((len(codes), self.n_classes_)), np.zeros(len(codes), np.int64)
        for number, tree in enumerate(self.estimators_):
            without = np.flatnonzero(self._counts(number) == 0)
            sums[without] += tree.predict_proba(X[without].astype(np.float32), check_input=False)
            votes[without] += 1
        if (votes == 0).any():
            warnings.warn(
                "Some inputs do not have OOB scores. This probably means too few trees were used to compute any "
                "reliable OOB estimates.",
                UserWarning,
                stacklevel=4,
            )
        self.oob_decision_function_ = sums / np.maximum(votes, 1)[:, None]
        scorer = self.oob_score if callable(self.oob_score) else accuracy_score
        self.oob_score_ = scorer(codes, self.oob_decision_function_.argmax(axis=1))

    def _counts(self, number: int) -> NDArray[np.int32]:
        """Return how often each row is in a tree's sample."""
        assert self._grown_seed is not None
        assert self._n_samples_bootstrap is not None
        return bootstrap(self._grown_seed, number, self._n_samples, self._n_samples_bootstrap, self._sample_weight)

    def _get_estimators_indices(self) -> Any:
        """Yield the rows of each tree."""
        if self._grown_seed is None or not self.bootstrap:
            yield from super()._get_estimators_indices()
            return
        for number in range(len(self.estimators_)):
            yield np.repeat(np.arange(self._n_samples, dtype=np.int32), self._counts(number))
