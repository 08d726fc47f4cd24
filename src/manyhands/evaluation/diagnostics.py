"""Mistakes and calibration of one classifier on one set of samples."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.data.dataset import Examples
from manyhands.data.labels import Label, encode
from manyhands.data.parts.loading import TestRows
from manyhands.evaluation.calibration import Bin, calibration_error, confidence, reliability
from manyhands.training.model import TrainedModel, scores


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class.

    Attributes
    ----------
    label : bool, int, float or str
        The class.
    rows : int
        The number of rows of this class (support).
    predicted : int
        The number of rows that were taken for this class.
    right : int
        The number of rows of this class that were taken for it.
    """

    label: Label
    rows: int
    predicted: int
    right: int

    @property
    def precision(self) -> float | None:
        """Share of the rows taken for this class that belong to it, 0..1; None if no row was."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of this class's rows that were taken for it, 0..1; None if it has no row."""
        return self.right / self.rows if self.rows else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of the two, 0..1: 2 right / (rows + predicted); None if both are None."""
        both = self.rows + self.predicted
        return 2 * self.right / both if both else None


@dataclass(frozen=True)
class Confusion:
    """Rows of one class that were taken for another.

    Attributes
    ----------
    truth, predicted : bool, int, float or str
        The two classes.
    rows : int
        The number of these rows.
    share : float
        Their share of all rows of the true class, 0..1.
    """

    truth: Label
    predicted: Label
    rows: int
    share: float


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The result of :func:`diagnose` for R rows and K classes.

    Attributes
    ----------
    labels : ndarray of shape (K,), bool, integer, floating or str
        Name of each class number.
    truth, predicted : ndarray of shape (R,), int32
        Class numbers of every row.
    probability : ndarray of shape (R,), floating
        The probability of the predicted class.
    accuracy : float
        Share of the rows classified correctly, 0..1.
    loss : float
        Mean of -log(probability of the true class).
    confidence : float
        Mean probability of the predicted class, 0..1.
    calibration_error : float
        See `manyhands.evaluation.calibration.calibration_error`, 0..1.
    bins : tuple of Bin
        The bins of the calibration error.
    confusion : ndarray of shape (K, K), int64
        The number of rows of each class (row of the matrix) that were taken for each (column).
    classes : tuple of ClassScores
        The scores of each class.
    """

    labels: NDArray[Any]
    truth: NDArray[np.int32]
    predicted: NDArray[np.int32]
    probability: NDArray[Any]
    accuracy: float
    loss: float
    confidence: float
    calibration_error: float
    bins: tuple[Bin, ...]
    confusion: NDArray[np.int64]
    classes: tuple[ClassScores, ...]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each row is classified correctly, shape (R,)."""
        found: NDArray[np.bool_] = self.truth == self.predicted
        return found

    @cached_property
    def mistakes(self) -> NDArray[np.int64]:
        """Numbers of the wrongly classified rows, those with the highest probability first."""
        wrong = np.flatnonzero(~self.correct)
        found: NDArray[np.int64] = wrong[np.argsort(-self.probability[wrong], kind="stable")]
        return found

    @property
    def means(self) -> dict[str, float | None]:
        """Precision, recall and F1, each the plain mean over the classes that have one."""
        return {name: _mean(getattr(each, name) for each in self.classes) for name in ("precision", "recall", "f1")}

    def confusions(self, most: int | None = None) -> list[Confusion]:
        """Return which classes were taken for which others, the ``most`` most frequent first."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        places = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)][:most]
        totals = self.confusion.sum(axis=1)
        return [
            Confusion(self.label(truth), self.label(predicted), int(wrong[truth, predicted]), share)
            for truth, predicted in zip(*np.unravel_index(places, wrong.shape), strict=True)
            for share in [float(wrong[truth, predicted] / totals[truth])]
        ]

    def label(self, number: int | np.integer[Any]) -> Label:
        """Return the name of a class number."""
        name: Label = self.labels[number].item()
        return name

    def record(self) -> dict[str, Any]:
        """Return the numbers as plain data, for JSON: all but those of single rows."""
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "confidence": self.confidence,
            "calibration_error": self.calibration_error,
            "calibration": [asdict(each) for each in self.bins],
            "means": self.means,
            "classes": [
                {**asdict(each), "precision": each.precision, "recall": each.recall, "f1": each.f1}
                for each in self.classes
            ],
            "confusion": self.confusion.tolist(),
        }


def diagnose(model: TrainedModel, examples: Examples | TestRows) -> Diagnosis:
    """Return the mistakes and the calibration of a model on some samples.

    Parameters
    ----------
    model
        Any trained one.
    examples
        Rows as they are stored, e.g. from `manyhands.data.catalog.load_test`; some classes may be missing. Those in
        parts are read block by block.

    Raises
    ------
    DataError
        If the features do not fit the model (columns with names may stand in any order), or a label is none of its
        classes.

    Examples
    --------
    >>> import manyhands
    >>> from manyhands.data.catalog import DataRequest, load_test
    >>> from manyhands.evaluation.diagnostics import diagnose
    >>> model = manyhands.train("digits", epochs=20).model
    >>> found = diagnose(model, load_test(DataRequest("digits")))
    >>> found.classes[8].recall > 0.5, found.confusion.sum()
    (True, np.int64(360))
    """
    tables = [examples] if isinstance(examples, Examples) else examples.blocks()
    found = [_predicted(model, table) for table in tables]
    probabilities, truth = (np.concatenate(each) if len(each) > 1 else each[0] for each in zip(*found, strict=True))
    predicted = probabilities.argmax(axis=1).astype(np.int32)
    count = len(model.classes)
    pairs = np.bincount(truth.astype(np.int64) * count + predicted, minlength=count * count)
    confusion = pairs.reshape(count, count).astype(np.int64)
    loss, accuracy = scores(probabilities, truth)
    return Diagnosis(
        labels=model.classes,
        truth=truth,
        predicted=predicted,
        probability=probabilities.max(axis=1),
        accuracy=accuracy,
        loss=loss,
        confidence=confidence(probabilities),
        calibration_error=calibration_error(probabilities, truth),
        bins=reliability(probabilities, truth),
        confusion=confusion,
        classes=tuple(
            ClassScores(model.classes[number].item(), *(int(each) for each in counts))
            for number, *counts in zip(
                range(count), confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal(), strict=True
            )
        ),
    )


def _predicted(model: TrainedModel, examples: Examples) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return the probabilities of all classes for some rows, and the classes that they have."""
    probabilities = model.predict_proba(examples)  # first: it checks that the features fit at all
    return probabilities, encode(examples.labels, model.classes, examples.source)


def evaluation(found: Diagnosis, model: str, against: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the record of an evaluation of a model (its name or file), and of its comparison with another one."""
    from manyhands.records.environment import describe_environment

    return {
        "schema": "manyhands.evaluate/1",
        "environment": describe_environment(),
        "model": model,
        "test_rows": len(found.truth),
        **found.record(),
        "against": against,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of those that exist; None if none does."""
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None
