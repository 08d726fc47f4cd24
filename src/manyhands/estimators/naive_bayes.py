"""scikit-learn's Naive Bayes estimators, whose sums over the rows are made by many workers: their base, and GaussianNB.

They are subclasses: parameters are checked, rows validated, probabilities computed and predictions made by
scikit-learn's own code. What is ours is where it goes over the rows of a fit.
"""

# ruff: noqa: N803, N806 - X is scikit-learn's name

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import naive_bayes
from sklearn.utils._array_api import _find_matching_floating_dtype, get_namespace
from sklearn.utils.multiclass import _check_partial_fit_first_call
from sklearn.utils.validation import _check_sample_weight, validate_data

from manyhands.estimators.documentation import with_shared_sections
from manyhands.estimators.sums_fitting import OF_SUMS, FittedBySums, trained

Workers = int | Literal["all"] | None


class NaiveBayes(FittedBySums):
    """What the four have in common: every fit is one of all workers."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model to rows and labels.

        Parameters
        ----------
        X : array-like or, where there are such counts, sparse matrix of shape (n_samples, n_features)
            The rows. Bytes (uint8) are added up as they are.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            What each row counts.

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
            super().fit(X, y, sample_weight=sample_weight)  # type: ignore[misc]  # of scikit-learn's estimator
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Add more rows to those of the calls before; they count as if all had come at once.

        Parameters
        ----------
        X : array-like or, where there are such counts, sparse matrix of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            What each row counts.

        Returns
        -------
        self
            The estimator.
        """
        with self._all_or_none():
            super().partial_fit(X, y, classes, sample_weight)  # type: ignore[misc]  # of scikit-learn's estimator
        return self


@with_shared_sections
class GaussianNB(NaiveBayes, naive_bayes.GaussianNB):  # type: ignore[misc]  # scikit-learn has no types
    """Naive Bayes of normal distributions: `sklearn.naive_bayes.GaussianNB`, whose sums are made by many workers.

    Everything else is scikit-learn's own code. Means and variances are computed in double precision, whatever the rows
    are.

    Parameters
    ----------
    priors : array-like of shape (n_classes,), default=None
        The probabilities of classes; by default as in the rows.
    var_smoothing : float, default=1e-9
        This share of the largest variance of a feature is added to all variances.
    {workers}

    Attributes
    ----------
    class_count_ : ndarray of shape (n_classes,)
        Weight of each class.
    class_prior_ : ndarray of shape (n_classes,)
        Its probability.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    epsilon_ : float
        What is added to the variances.
    theta_, var_ : ndarray of shape (n_classes, n_features)
        Mean and variance of each feature in each class.
    {fitted}

    See Also
    --------
    BernoulliNB : For features that are there or not.
    CategoricalNB : For categories.
    MultinomialNB : For counts.

    Notes
    -----
    {bits}

    Arrays of another library than NumPy, with scikit-learn's ``array_api_dispatch``, are left to scikit-learn: there
    are no workers on their devices.

    Examples
    --------
    >>> from manyhands import GaussianNB
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = GaussianNB(n_workers=2).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {**naive_bayes.GaussianNB._parameter_constraints, **OF_SUMS}
    _sums_so_far = ("class_count_", "theta_", "var_")
    classes_: Any

    def __init__(
        self, *, priors: Any = None, var_smoothing: float = 1e-9, n_workers: Workers = None, team: str = "threads"
    ) -> None:
        super().__init__(priors=priors, var_smoothing=var_smoothing)
        self.n_workers = n_workers
        self.team = team

    def _partial_fit(
        self, X: Any, y: Any, classes: Any = None, _refit: bool = False, sample_weight: Any = None
    ) -> Self:
        """Add rows, to those of before or as the first ones."""
        if get_namespace(X)[1] and not isinstance(X, np.ndarray):
            self.n_workers_ = 1
            super()._partial_fit(X, y, classes, _refit, sample_weight)
            return self
        if _refit:
            self.classes_ = None
        first = _check_partial_fit_first_call(self, classes)
        X, y = validate_data(self, X, y, reset=first)
        dtype = _find_matching_floating_dtype(X, xp=np)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=dtype)
        if first:
            self._begin(X.shape[1], dtype)
        codes = self._codes_of(y)
        moments = trained(self, "gaussian-nb", X, codes, weights, classes=len(self.classes_)).moments
        whole = moments
        if weights is not None:  # theirs has no weights
            whole = trained(self, "gaussian-nb", X, np.zeros(len(codes), np.int32), classes=1).moments
        self.epsilon_ = self.var_smoothing * whole.whole_variances().max()
        self._merge(moments, weighted=weights is not None, before=0.0 if first else self.epsilon_)
        return self

    def _begin(self, features: int, dtype: Any) -> None:
        """Begin with nothing, and check the priors."""
        number = len(self.classes_)
        self.theta_, self.var_ = np.zeros((number, features), dtype), np.zeros((number, features), dtype)
        self.class_count_ = np.zeros(number, dtype)
        self.class_prior_ = np.zeros(number, dtype) if self.priors is None else np.asarray(self.priors, dtype)
        if self.priors is None:
            return
        if self.class_prior_.shape[0] != number:
            raise ValueError("Number of priors must match number of classes.")
        if not np.isclose(self.class_prior_.sum(), 1.0):
            raise ValueError("The sum of the priors should be 1.")
        if (self.class_prior_ < 0).any():
            raise ValueError("Priors must be non-negative.")

    def _codes_of(self, y: NDArray[Any]) -> NDArray[np.int32]:
        """Return the class number of each row."""
        found, numbers = np.unique(y, return_inverse=True)
        known = np.isin(found, self.classes_)
        if not known.all():
            raise ValueError(
                f"The target label(s) {found[~known]} in y do not exist in the initial classes {self.classes_}"
            )
        codes: NDArray[np.int32] = np.searchsorted(self.classes_, found).astype(np.int32)[numbers]
        return codes

    def _merge(self, moments: Any, *, weighted: bool, before: float) -> None:
        """Add what was found to what is known, with scikit-learn's formulas.

        ``before`` is the part of the variances that was added to them.
        """
        past, new = self.class_count_.astype(np.float64), moments.counts
        theta, var = self.theta_.astype(np.float64), self.var_.astype(np.float64) - before
        some = ~np.isclose(new, 0.0) if weighted else new > 0
        with np.errstate(divide="ignore", invalid="ignore"):  # where there is nothing
            variances = moments.squares / new[:, None]
            total = past + new
            mean = (moments.means * new[:, None] + theta * past[:, None]) / total[:, None]
            apart = (new * past / total)[:, None] * (theta - moments.means) ** 2
            joint = (past[:, None] * var + moments.squares + apart) / total[:, None]
        alone = (past == 0)[:, None]
        mean, joint = np.where(alone, moments.means, mean), np.where(alone, variances, joint)
        self.theta_[some], self.var_[...] = mean[some], np.where(some[:, None], joint, var) + self.epsilon_
        self.class_count_ += new
        if self.priors is None:
            self.class_prior_ = self.class_count_ / self.class_count_.sum()
