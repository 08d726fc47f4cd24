"""Means, intervals and paired differences; the one place where the project does statistics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes
    ----------
    mean : float
    low, high : float or None
        The interval by Student's t; None for a single value, which says nothing about its spread.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """Half the interval's length."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def interval(self) -> list[float] | None:
        """``[low, high]``, or None."""
        return None if self.low is None or self.high is None else [self.low, self.high]


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Return the mean of ``values`` and its two-sided interval, mean +- t(n - 1) s / sqrt(n).

    Parameters
    ----------
    values
        One or more.
    confidence
        Coverage of the interval.

    Raises
    ------
    ValueError
        If there is no value.
    """
    if not values:
        raise ValueError("the mean of no values is not defined")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(mean, None, None)
    from scipy.special import stdtrit  # the t quantile, without the slow import of scipy.stats

    quantile = float(stdtrit(len(values) - 1, 0.5 + confidence / 2))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Return the mean of ``values - reference``, pair by pair, with its interval.

    Pairing by seed removes what both have in common: the same start and the same order of examples.
    """
    return estimate([value - other for value, other in zip(values, reference, strict=True)])


def paired_ratio(reference: Sequence[float], values: Sequence[float]) -> float:
    """Return the median of ``reference / values``, pair by pair.

    The two of a pair were measured shortly after each other, so a machine that drifts changes both.
    """
    return statistics.median(other / value for value, other in zip(values, reference, strict=True))
