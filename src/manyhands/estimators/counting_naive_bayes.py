"""scikit-learn's Naive Bayes estimators for counts, categories and features that are there or not: many workers count.

See `manyhands.estimators.naive_bayes`.
"""

# ruff: noqa: N803, N806 - X and Y are scikit-learn's names

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn import naive_bayes
from sklearn.preprocessing import binarize as binarized
from sklearn.utils.validation import check_non_negative, validate_data

from manyhands.estimators.documentation import with_shared_sections
from manyhands.estimators.naive_bayes import NaiveBayes, Workers
from manyhands.estimators.sums_fitting import OF_SUMS, sparse_sums, trained
from manyhands.learners.sums.settings import SumsSettings

Sums = tuple[NDArray[np.float64], NDArray[np.float64]]


def _codes_and_weights(Y: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.float64] | None]:
    """Return the class number and the weight of each row: ``Y`` has the weight in the column of its class."""
    codes = (Y != 0).argmax(axis=1).astype(np.int32)
    weights = Y.sum(axis=1, dtype=np.float64)
    return codes, None if (weights == 1).all() else weights


class Counting(NaiveBayes):
    """What the estimators have in common whose rows are counts."""

    _sums_so_far = ("class_count_", "feature_count_", "category_count_")

    def _sums(self, X: Any, Y: NDArray[Any], learner: str = "multinomial-nb", **settings: Any) -> Sums:
        """Return the weight of each class, and the sums of its rows."""
        codes, weights = _codes_and_weights(Y)
        if sparse.issparse(X):
            return sparse_sums(self, X, codes, weights, classes=Y.shape[1])
        found = trained(self, learner, X, codes, weights, classes=Y.shape[1], settings=SumsSettings(**settings))
        return found.counts, found.sums

    def _add(self, sums: Sums) -> None:
        """Add sums to those of the calls before."""
        self.class_count_ += sums[0]
        self.feature_count_ += sums[1]

    class_count_: NDArray[np.float64]
    feature_count_: NDArray[np.float64]


@with_shared_sections
class MultinomialNB(Counting, naive_bayes.MultinomialNB):  # type: ignore[misc]  # scikit-learn has no types
    """Naive Bayes of counts: `sklearn.naive_bayes.MultinomialNB`, whose sums are made by many workers.

    Everything else is scikit-learn's own code.

    Parameters
    ----------
    alpha : float or array-like of shape (n_features,), default=1.0
        Additive smoothing; 0 for none.
    force_alpha : bool, default=True
        Whether an ``alpha`` below 1e-10 stays as it is.
    fit_prior : bool, default=True
        Whether to learn the probabilities of classes; if not, all have the same.
    class_prior : array-like of shape (n_classes,), default=None
        The probabilities of classes.
    {workers}

    Attributes
    ----------
    class_count_ : ndarray of shape (n_classes,)
        Weight of each class.
    class_log_prior_ : ndarray of shape (n_classes,)
        Logarithm of its probability.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    feature_count_ : ndarray of shape (n_classes, n_features)
        Sums of each class.
    feature_log_prob_ : ndarray of shape (n_classes, n_features)
        Logarithms of the probabilities of features in each class.
    {fitted}

    See Also
    --------
    BernoulliNB : For features that are there or not.
    CategoricalNB : For categories.
    GaussianNB : For real numbers.

    Notes
    -----
    {bits}

    Examples
    --------
    >>> from manyhands import MultinomialNB
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MultinomialNB(n_workers=2).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {**naive_bayes.MultinomialNB._parameter_constraints, **OF_SUMS}

    def __init__(
        self,
        *,
        alpha: Any = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: Any = None,
        n_workers: Workers = None,
        team: str = "threads",
    ) -> None:
        super().__init__(alpha=alpha, force_alpha=force_alpha, fit_prior=fit_prior, class_prior=class_prior)
        self.n_workers = n_workers
        self.team = team

    def _count(self, X: Any, Y: NDArray[Any]) -> None:
        """Add up the rows of each class."""
        check_non_negative(X, "MultinomialNB (input X)")
        self._add(self._sums(X, Y))


@with_shared_sections
class BernoulliNB(Counting, naive_bayes.BernoulliNB):  # type: ignore[misc]  # scikit-learn has no types
    """Naive Bayes of features that are there or not: `sklearn.naive_bayes.BernoulliNB`, counted by many workers.

    Everything else is scikit-learn's own code.

    Parameters
    ----------
    alpha : float or array-like of shape (n_features,), default=1.0
        Additive smoothing; 0 for none.
    force_alpha : bool, default=True
        Whether an ``alpha`` below 1e-10 stays as it is.
    binarize : float or None, default=0.0
        Larger values count as 1, others as 0; None if they are 0 and 1 already.
    fit_prior : bool, default=True
        Whether to learn the probabilities of classes; if not, all have the same.
    class_prior : array-like of shape (n_classes,), default=None
        The probabilities of classes.
    {workers}

    Attributes
    ----------
    class_count_ : ndarray of shape (n_classes,)
        Weight of each class.
    class_log_prior_ : ndarray of shape (n_classes,)
        Logarithm of its probability.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    feature_count_ : ndarray of shape (n_classes, n_features)
        Weight of the rows of each class in which a feature is 1.
    feature_log_prob_ : ndarray of shape (n_classes, n_features)
        Logarithms of the probabilities of features in each class.
    {fitted}

    See Also
    --------
    CategoricalNB : For categories.
    GaussianNB : For real numbers.
    MultinomialNB : For counts.

    Notes
    -----
    {bits}

    Examples
    --------
    >>> from manyhands import BernoulliNB
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = BernoulliNB(binarize=8, n_workers=2).fit(X, y)
    >>> model.score(X, y) > 0.85
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {**naive_bayes.BernoulliNB._parameter_constraints, **OF_SUMS}

    def __init__(
        self,
        *,
        alpha: Any = 1.0,
        force_alpha: bool = True,
        binarize: float | None = 0.0,
        fit_prior: bool = True,
        class_prior: Any = None,
        n_workers: Workers = None,
        team: str = "threads",
    ) -> None:
        super().__init__(
            alpha=alpha, force_alpha=force_alpha, binarize=binarize, fit_prior=fit_prior, class_prior=class_prior
        )
        self.n_workers = n_workers
        self.team = team

    def _check_X_y(self, X: Any, y: Any, reset: bool = True) -> tuple[Any, Any]:  # noqa: N802 - theirs
        """Check rows and labels; dense rows stay as they are, for the workers compare them where they lie."""
        X, y = super(naive_bayes.BernoulliNB, self)._check_X_y(X, y, reset=reset)
        if self.binarize is not None and sparse.issparse(X):
            X = binarized(X, threshold=self.binarize)
        return X, y

    def _count(self, X: Any, Y: NDArray[Any]) -> None:
        """Count the rows of each class that have a feature."""
        if self.binarize is None or sparse.issparse(X):
            self._add(self._sums(X, Y))
            return
        dtype = np.result_type(X.dtype, self.binarize) if X.dtype.kind == "f" else np.float64
        # Rounded as NumPy compares it with such rows.
        self._add(self._sums(X, Y, "bernoulli-nb", binarize_at=float(np.asarray(self.binarize, dtype))))


@with_shared_sections
class CategoricalNB(Counting, naive_bayes.CategoricalNB):  # type: ignore[misc]  # scikit-learn has no types
    """Naive Bayes of categories: `sklearn.naive_bayes.CategoricalNB`, counted by many workers.

    Everything else is scikit-learn's own code. Bytes (uint8) stay bytes.

    Parameters
    ----------
    alpha : float, default=1.0
        Additive smoothing; 0 for none.
    force_alpha : bool, default=True
        Whether an ``alpha`` below 1e-10 stays as it is.
    fit_prior : bool, default=True
        Whether to learn the probabilities of classes; if not, all have the same.
    class_prior : array-like of shape (n_classes,), default=None
        The probabilities of classes.
    min_categories : int or array-like of shape (n_features,), default=None
        How many categories each feature has at least.
    {workers}

    Attributes
    ----------
    category_count_ : list of ndarray of shape (n_classes, n_categories)
        For each feature, the weight of the rows of each class and category.
    class_count_ : ndarray of shape (n_classes,)
        Weight of each class.
    class_log_prior_ : ndarray of shape (n_classes,)
        Logarithm of its probability.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    feature_log_prob_ : list of ndarray of shape (n_classes, n_categories)
        For each feature, logarithms of the probabilities of categories in each class.
    n_categories_ : ndarray of shape (n_features,), int64
        How many categories each feature has.
    {fitted}

    See Also
    --------
    BernoulliNB : For features that are there or not.
    GaussianNB : For real numbers.
    MultinomialNB : For counts.

    Notes
    -----
    {bits}

    Examples
    --------
    >>> from manyhands import CategoricalNB
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = CategoricalNB(n_workers=2).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {**naive_bayes.CategoricalNB._parameter_constraints, **OF_SUMS}

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        force_alpha: bool = True,
        fit_prior: bool = True,
        class_prior: Any = None,
        min_categories: Any = None,
        n_workers: Workers = None,
        team: str = "threads",
    ) -> None:
        super().__init__(
            alpha=alpha,
            force_alpha=force_alpha,
            fit_prior=fit_prior,
            class_prior=class_prior,
            min_categories=min_categories,
        )
        self.n_workers = n_workers
        self.team = team

    def _check_X_y(self, X: Any, y: Any, reset: bool = True) -> tuple[Any, Any]:  # noqa: N802 - theirs
        """Check rows and labels."""
        X, y = validate_data(self, X, y, dtype=[np.dtype(int), np.uint8], ensure_all_finite=True, reset=reset)
        check_non_negative(X, "CategoricalNB (input X)")
        return X, y

    def _count(self, X: Any, Y: NDArray[Any]) -> None:
        """Count the categories of each class."""
        codes, weights = _codes_and_weights(Y)
        found = trained(self, "categorical-nb", X, codes, weights, classes=Y.shape[1])
        self.class_count_ += found.counts
        self.n_categories_ = self._validate_n_categories((found.sizes - 1)[None], self.min_categories)
        ends = np.cumsum(found.sizes)
        for feature, (end, size) in enumerate(zip(ends, found.sizes, strict=True)):
            before = self.category_count_[feature]
            more = max(self.n_categories_[feature] - before.shape[1], 0)
            counts = np.pad(before, [(0, 0), (0, more)])
            counts[:, :size] += found.found[:, end - size : end]
            self.category_count_[feature] = counts
