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
from manyhands.estimators.base import STORED, BaseMLP
from manyhands.estimators.documentation import with_shared_sections
from manyhands.estimators.history import Score
from manyhands.estimators.labels import check_classes, check_probabilities
from manyhands.estimators.rows import Rows
from manyhands.runtime.memory import check_memory


@with_shared_sections
class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """A multilayer perceptron that classifies, with the conduct of `sklearn.neural_network.MLPClassifier`.

    All of its parameters mean the same, and it can stand in for it in pipelines and searches. Behind them are those of
    this package: workers that train together, and more activations and solvers.

    Two classes have one logistic output, more have a softmax; several labels per row have a logistic output each.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    {attributes}

    See Also
    --------
    MLPRegressor : The same for real numbers.
    from_sklearn : An estimator with the network of one of scikit-learn's.

    Notes
    -----
    {notes}

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
            check_classes(self, unique_labels(y))
        check_memory(8 * y.shape[0] * len(self.classes_), "an indicator of all rows' classes", "use fewer of either")
        return np.asarray(self._label_binarizer.transform(y).astype(bool))

    def _begin_incremental(self, y: Any, classes: Any) -> None:
        """Take note of all labels that will ever come, in the first call."""
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)

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
        """Return the network's outputs, which must be numbers."""
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = self._outputs(X)
        check_probabilities(outputs)
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
