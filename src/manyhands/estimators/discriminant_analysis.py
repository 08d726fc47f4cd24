"""scikit-learn's discriminant analysis, whose covariances are made by many workers.

They are subclasses: transformations and predictions are scikit-learn's own code. What is ours is the fit, which goes
over the rows as they are stored and needs no copy of them in double precision.
"""

# ruff: noqa: N803, N806 - X is scikit-learn's name

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn import discriminant_analysis as theirs
from sklearn.utils._array_api import get_namespace
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import validate_data

from manyhands.core.errors import SingularError
from manyhands.estimators.documentation import with_shared_sections
from manyhands.estimators.naive_bayes import Workers
from manyhands.estimators.sums_fitting import OF_SUMS, FittedBySums, trained
from manyhands.learners.sums.settings import SumsSettings

_STORED = [np.float64, np.float32, np.uint8]
"""What is summed as it is; anything else becomes the first of them."""


class _DiscriminantAnalysis(FittedBySums):
    """What both have in common."""

    covariance_estimator: Any
    priors: Any

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the model to rows and labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows. Bytes (uint8) are multiplied as they are.
        y : array-like of shape (n_samples,)
            Their labels.

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
            foreign = get_namespace(X)[1] and not isinstance(X, np.ndarray)
            if foreign or self.covariance_estimator is not None:
                self.n_workers_ = 1  # whoever estimates covariances in another way needs all rows
                super().fit(X, y)  # type: ignore[misc]
            else:
                self._fit(X, y)
        return self

    def _fit(self, X: Any, y: Any) -> None:
        """Fit by sums."""
        raise NotImplementedError


@with_shared_sections
class LinearDiscriminantAnalysis(_DiscriminantAnalysis, theirs.LinearDiscriminantAnalysis):  # type: ignore[misc]
    """Linear discriminants: `sklearn.discriminant_analysis.LinearDiscriminantAnalysis`, made of sums by many workers.

    Where scikit-learn takes the singular values of all rows, this one adds up products of features, and goes on from
    their sum, which is no larger for more rows.

    Parameters
    ----------
    solver : {"svd", "lsqr", "eigen"}, default="svd"
        What is solved, as in scikit-learn.
    shrinkage : "auto" or float, default=None
        With lsqr and eigen: how far covariances are shrunk.
    priors : array-like of shape (n_classes,), default=None
        The probabilities of classes; by default as in the rows.
    n_components : int, default=None
        Dimensions of :meth:`transform`.
    store_covariance : bool, default=False
        Whether svd keeps the covariance, too.
    tol : float, default=1e-4
        Singular values up to this one count as 0.
    covariance_estimator : estimator, default=None
        Estimates covariances instead; it is given all rows, by one worker.
    {workers}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    coef_, intercept_ : ndarray of shape (n_classes, n_features) and (n_classes,)
        The discriminants; a single one for two classes.
    covariance_ : ndarray of shape (n_features, n_features)
        Within classes; of svd, only if it is stored.
    explained_variance_ratio_ : ndarray of shape (n_components,)
        What share of the variance between classes each direction explains; not of lsqr.
    means_ : ndarray of shape (n_classes, n_features)
        Of classes.
    priors_ : ndarray of shape (n_classes,)
        Probabilities of classes.
    scalings_ : ndarray of shape (n_features, any)
        The directions; not of lsqr. Their signs are not determined.
    xbar_ : ndarray of shape (n_features,)
        The mean; of svd.
    {fitted}

    See Also
    --------
    QuadraticDiscriminantAnalysis : With a covariance for each class.

    Notes
    -----
    {bits}

    Arrays of another library than NumPy, with scikit-learn's ``array_api_dispatch``, are left to scikit-learn: there
    are no workers on their devices.

    Examples
    --------
    >>> from manyhands import LinearDiscriminantAnalysis
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LinearDiscriminantAnalysis(n_workers=2).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **theirs.LinearDiscriminantAnalysis._parameter_constraints,
        **OF_SUMS,
    }

    def __init__(
        self,
        solver: str = "svd",
        shrinkage: Any = None,
        priors: Any = None,
        n_components: int | None = None,
        store_covariance: bool = False,
        tol: float = 1e-4,
        covariance_estimator: Any = None,
        *,
        n_workers: Workers = None,
        team: str = "threads",
    ) -> None:
        super().__init__(solver, shrinkage, priors, n_components, store_covariance, tol, covariance_estimator)
        self.n_workers = n_workers
        self.team = team

    def _fit(self, X: Any, y: Any) -> None:
        X, y = validate_data(self, X, y, ensure_min_samples=2, dtype=_STORED)
        dtype = X.dtype if X.dtype == np.float32 else np.dtype(np.float64)
        self.classes_ = unique_labels(y)
        codes = np.searchsorted(self.classes_, y).astype(np.int32)
        if X.shape[0] == len(self.classes_):
            raise ValueError("The number of samples must be more than the number of classes.")
        self.priors_ = self._checked_priors(codes, dtype)
        self._max_components = self._dimensions(X.shape[1])
        if self.solver == "svd" and self.shrinkage is not None:
            raise NotImplementedError("shrinkage not supported with 'svd' solver.")
        settings = SumsSettings(
            lda_solver=self.solver,
            shrinkage=self.shrinkage,
            tol=float(self.tol),
            priors=None if self.priors is None else tuple(map(float, self.priors_)),
            class_covariances=bool(self.store_covariance and self.priors is not None),
        )
        learner = trained(self, "lda", X, codes, classes=len(self.classes_), settings=settings)
        self._take_over(learner, dtype)
        self._n_features_out = self._max_components

    def _checked_priors(self, codes: NDArray[np.int32], dtype: Any) -> NDArray[Any]:
        """Return the priors, which add up to 1."""
        if self.priors is None:
            return np.bincount(codes).astype(dtype) / float(len(codes))
        priors = np.asarray(self.priors, dtype)
        if (priors < 0).any():
            raise ValueError("priors must be non-negative")
        if abs(priors.sum() - 1.0) > 1e-5:
            warnings.warn("The priors do not sum to 1. Renormalizing", UserWarning, stacklevel=5)
            priors = priors / priors.sum()
        return priors

    def _dimensions(self, features: int) -> int:
        """Return the number of directions."""
        most = min(len(self.classes_) - 1, features)
        if self.n_components is None:
            return most
        if self.n_components > most:
            raise ValueError("n_components cannot be larger than min(n_features, n_classes - 1).")
        return int(self.n_components)

    def _take_over(self, learner: Any, dtype: Any) -> None:
        """Set the attributes as scikit-learn's solvers do."""
        solution, means = learner.solution, learner.means
        self.means_, coef = means.astype(dtype), solution.coef + solution.base
        if self.solver == "svd":
            self.xbar_ = solution.center.astype(dtype)
            intercept = solution.intercept - solution.center @ coef.T
        else:
            with np.errstate(divide="ignore"):
                intercept = -0.5 * np.einsum("kf,kf->k", means, coef) + np.log(learner.prior)
        if self.solver != "svd" or self.store_covariance:
            self.covariance_ = learner.covariances.within(learner.prior)
        if self.solver != "lsqr":
            self.scalings_ = solution.scalings.astype(dtype)
            self.explained_variance_ratio_ = solution.ratio[: self._max_components].astype(dtype)
        if len(self.classes_) == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        self.coef_, self.intercept_ = coef.astype(dtype), intercept.astype(dtype)


@with_shared_sections
class QuadraticDiscriminantAnalysis(_DiscriminantAnalysis, theirs.QuadraticDiscriminantAnalysis):  # type: ignore[misc]
    """Quadratic discriminants: `sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis`, made by many workers.

    Every class has a covariance of its own; products of features are added up, and each worker finds the main axes of
    some of the classes.

    Parameters
    ----------
    solver : {"svd", "eigen"}, default="svd"
        What is solved, as in scikit-learn.
    shrinkage : "auto" or float, default=None
        With eigen: how far covariances are shrunk.
    priors : array-like of shape (n_classes,), default=None
        The probabilities of classes; by default as in the rows.
    reg_param : float, default=0.0
        With svd: from 0 (covariances as they are) to 1 (unit matrices).
    store_covariance : bool, default=False
        Whether the covariances are kept.
    tol : float, default=1e-4
        Variances up to this one count as 0, and a class that has such ones is an error.
    covariance_estimator : estimator, default=None
        Estimates covariances instead; it is given all rows, by one worker.
    {workers}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    covariance_ : list of ndarray of shape (n_features, n_features)
        Of classes, if they are stored.
    means_ : ndarray of shape (n_classes, n_features)
        Of classes.
    priors_ : ndarray of shape (n_classes,)
        Probabilities of classes.
    rotations_ : list of ndarray of shape (n_features, n_features)
        Main axes of classes, as columns. Their signs are not determined.
    scalings_ : list of ndarray of shape (n_features,)
        The variances along them.
    {fitted}

    See Also
    --------
    LinearDiscriminantAnalysis : With one covariance for all classes.

    Notes
    -----
    {bits}

    Examples
    --------
    >>> from manyhands import QuadraticDiscriminantAnalysis
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = QuadraticDiscriminantAnalysis(n_workers=2).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **theirs.QuadraticDiscriminantAnalysis._parameter_constraints,
        **OF_SUMS,
    }

    def __init__(
        self,
        *,
        solver: str = "svd",
        shrinkage: Any = None,
        priors: Any = None,
        reg_param: float = 0.0,
        store_covariance: bool = False,
        tol: float = 1.0e-4,
        covariance_estimator: Any = None,
        n_workers: Workers = None,
        team: str = "threads",
    ) -> None:
        super().__init__(
            solver=solver,
            shrinkage=shrinkage,
            priors=priors,
            reg_param=reg_param,
            store_covariance=store_covariance,
            tol=tol,
            covariance_estimator=covariance_estimator,
        )
        self.n_workers = n_workers
        self.team = team

    def _fit(self, X: Any, y: Any) -> None:
        X, y = validate_data(self, X, y, dtype=_STORED)
        check_classification_targets(y)
        self.classes_, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:
            raise ValueError(f"The number of classes has to be greater than one. Got {len(self.classes_)} class.")
        self.priors_ = counts / float(len(y)) if self.priors is None else np.array(self.priors)
        if self.solver == "svd" and self.shrinkage is not None:
            raise NotImplementedError("shrinkage not supported with 'svd' solver.")
        if (counts == 1).any():
            alone = self.classes_[np.argmax(counts == 1)]
            raise ValueError(f"y has only 1 sample in class {alone}, covariance is ill defined.")
        settings = SumsSettings(
            qda_solver=self.solver,
            shrinkage=self.shrinkage,
            reg_param=float(self.reg_param),
            tol=float(self.tol),
            priors=None if self.priors is None else tuple(map(float, self.priors_)),
        )
        try:
            learner = trained(self, "qda", X, codes.astype(np.int32), classes=len(self.classes_), settings=settings)
        except SingularError as error:
            raise linalg.LinAlgError(self._as_they_say(error)) from error
        self.means_ = learner.means
        self.scalings_, self.rotations_ = list(learner.scalings), list(learner.rotations)
        if self.store_covariance:
            self.covariance_ = [
                (rotation * scaling) @ rotation.T
                for scaling, rotation in zip(self.scalings_, self.rotations_, strict=True)
            ]

    def _as_they_say(self, error: SingularError) -> str:
        """Return what scikit-learn says about a covariance that cannot be inverted."""
        label = self.classes_[error.label]
        if self.solver == "svd" and error.rows <= error.features:
            return (
                f"The covariance matrix of class {label} is not full rank. When using `solver='svd'` the number of "
                "samples in each class should be more than the number of features, but class "
                f"{label} has {error.rows} samples and {error.features} features. Try using `solver='eigen'` and "
                "setting the parameter `shrinkage` for regularization."
            )
        parameter = "shrinkage" if self.solver == "eigen" else "reg_param"
        return (
            f"The covariance matrix of class {label} is not full rank. Increase the value of `{parameter}` to reduce "
            "the collinearity."
        )
