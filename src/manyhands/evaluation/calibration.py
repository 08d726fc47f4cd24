"""Confidence of a classifier, and how far it agrees with the accuracy."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, SettingsError

DEFAULT_BINS = 15
"""The number of bins in Guo et al. 2017."""
_ROUNDING = 1e-5
"""The largest rounding error of a probability that a float32 softmax gives."""


@dataclass(frozen=True)
class Bin:
    """The rows whose predicted class has a probability above ``low`` and up to ``high``.

    Attributes
    ----------
    low, high : float
        Ends of the bin; the first takes in its lower end, too.
    rows : int
        The number of rows in the bin.
    confidence, accuracy : float or None
        Mean probability of the predicted class, and share classified correctly, 0..1; None without rows.
    """

    low: float
    high: float
    rows: int
    confidence: float | None
    accuracy: float | None


def confidence(probabilities: NDArray[Any]) -> float:
    """Return the mean probability of the predicted class, 0..1, for the ``probabilities`` of `calibration_error`."""
    return float(_highest(probabilities).mean())


def calibration_error(probabilities: NDArray[Any], labels: NDArray[Any], bins: int = DEFAULT_BINS) -> float:
    """Return the expected calibration error, 0..1: how far confidence and accuracy lie apart.

    Rows are put into bins of equal width by the probability p of their predicted class, and
    ECE = sum over bins of (rows in it / all rows) * abs(accuracy in it - mean p in it): equation 3 of Guo, Pleiss, Sun
    & Weinberger, On Calibration of Modern Neural Networks, ICML 2017.

    Parameters
    ----------
    probabilities : ndarray of shape (rows, K), floating
        The probability of every class, for each row.
    labels : ndarray of shape (rows,), integer
        The number of each row's true class, 0..K-1.
    bins
        The number of bins, at least 1.

    Raises
    ------
    DataError
        If there are no rows, values are no probabilities, or labels do not fit them.
    SettingsError
        If ``bins`` is no whole number from 1 on.
    """
    found = reliability(probabilities, labels, bins)
    rows = sum(each.rows for each in found)
    gaps = (
        each.rows * abs(each.accuracy - each.confidence)
        for each in found
        if each.accuracy is not None and each.confidence is not None
    )
    return float(sum(gaps) / rows)


def reliability(probabilities: NDArray[Any], labels: NDArray[Any], bins: int = DEFAULT_BINS) -> tuple[Bin, ...]:
    """Return the bins of :func:`calibration_error`, whose arguments and errors it shares: a reliability diagram."""
    try:
        count = operator.index(bins)
    except TypeError:
        count = 0
    if count < 1:
        raise SettingsError(f"the number of bins must be a whole number from 1 on, not {bins!r}")
    highest = _highest(probabilities)
    labels = np.asarray(labels)
    if labels.shape != highest.shape or labels.dtype.kind not in "iu":
        raise DataError(
            f"there are {len(highest)} rows of probabilities, but labels of shape {labels.shape} ({labels.dtype}); "
            "give one class number for each row"
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise DataError(
            f"class numbers go from 0 to {probabilities.shape[1] - 1}, not {labels.min()} to {labels.max()}"
        )
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, count + 1)
    places = np.searchsorted(edges[1:-1], highest, side="left")  # a bin ends with its upper edge: (low, high]
    rows = np.bincount(places, minlength=count)
    sure = np.bincount(places, weights=highest, minlength=count)
    correct = np.bincount(places, weights=right, minlength=count)
    return tuple(
        Bin(
            float(edges[place]),
            float(edges[place + 1]),
            int(number),
            float(sure[place] / number) if number else None,
            float(correct[place] / number) if number else None,
        )
        for place, number in enumerate(rows)
    )


def _highest(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability of each row's predicted class in double precision, and check that all are some."""
    if probabilities.ndim != 2 or probabilities.size == 0 or probabilities.dtype.kind != "f":
        raise DataError(
            f"probabilities need the shape (rows, classes), with a row at least; these have {probabilities.shape} "
            f"({probabilities.dtype})"
        )
    if not (probabilities.min() >= -_ROUNDING and probabilities.max() <= 1 + _ROUNDING):  # nor if one is NaN
        raise DataError("probabilities lie between 0 and 1, and these do not all")
    highest: NDArray[np.float64] = probabilities.max(axis=1).astype(np.float64).clip(0, 1)
    return highest


def best_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the temperature T that makes softmax(logits / T) most probable: section 4.2 of Guo et al. 2017.

    Parameters
    ----------
    logits : ndarray of shape (rows, K), floating
        Outputs of a network before softmax, for samples that it was not trained with, nor will be tested with.
    labels : ndarray of shape (rows,), integer
        The number of each row's true class, 0..K-1.

    Raises
    ------
    DataError
        If there are no rows, or labels do not fit them.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    values, numbers = np.asarray(logits, np.float64), np.asarray(labels)
    if values.ndim != 2 or len(values) == 0 or numbers.shape != values.shape[:1] or numbers.dtype.kind not in "iu":
        raise DataError(f"there are logits of shape {values.shape} and labels of shape {numbers.shape}")
    if numbers.min() < 0 or numbers.max() >= values.shape[1]:
        raise DataError(f"class numbers go from 0 to {values.shape[1] - 1}")
    true = values[np.arange(len(values)), numbers]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(values * scale, axis=1) - true * scale))

    found = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
