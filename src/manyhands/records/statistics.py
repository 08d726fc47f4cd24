"""Means, intervals, paired differences, verdicts and tests; laws of speedup are in `manyhands.records.laws`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from manyhands.core.checks import real
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.randomness import generator
from manyhands.core.words import count

FEWEST_PAIRS, _MOST = 3, 100_000
"""Fewer pairs allow no verdict; more than so many are not recommended."""
DEFAULT_MARGIN = 0.25
"""The margin of equivalence: smaller differences, in percentage points of accuracy, count as none."""


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

    def times(self, factor: float) -> Estimate:
        """Return the estimate in another unit."""
        low, high = (None if bound is None else factor * bound for bound in (self.low, self.high))
        return Estimate(factor * self.mean, low, high)


def estimate(values: Sequence[float], confidence: float = 0.95, overlap: float = 0.0) -> Estimate:
    """Return the mean of ``values`` and its two-sided interval, mean +- t(n - 1) s sqrt(1 / n + overlap).

    Parameters
    ----------
    values
        One or more.
    confidence
        Coverage of the interval.
    overlap
        For values from random splits of the same rows, test rows over training rows: such values are correlated, and
        s / sqrt(n) would be far too small (Nadeau & Bengio 2003, the corrected resampled t test).

    Raises
    ------
    ValueError
        If there is no value.
    """
    if not values:
        raise ValueError("the mean of no values is not defined")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"a value is not a finite number: {list(values)}")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(mean, None, None)
    half = quantile_t(len(values) - 1, confidence) * statistics.stdev(values) * math.sqrt(1 / len(values) + overlap)
    return Estimate(mean, mean - half, mean + half)


def paired_difference(values: Sequence[float], reference: Sequence[float], overlap: float = 0.0) -> Estimate:
    """Return the mean of ``values - reference``, pair by pair, with its interval (``overlap``: see `estimate`).

    Pairing by seed removes what both have in common: the same start and the same order of examples.
    """
    return estimate([value - other for value, other in zip(values, reference, strict=True)], overlap=overlap)


def paired_ratio(reference: Sequence[float], values: Sequence[float]) -> float:
    """Return the median of ``reference / values``, pair by pair.

    The two of a pair were measured shortly after each other, so a machine that drifts changes both.
    """
    return statistics.median(other / value for value, other in zip(values, reference, strict=True))


def ratio_interval(
    reference: Sequence[float], values: Sequence[float], confidence: float = 0.95, resamples: int = 9999
) -> list[float] | None:
    """Return the interval of :func:`paired_ratio`: percentile bootstrap over the pairs (Efron 1979).

    The resampling has a fixed seed of its own: the same numbers give the same interval. With few pairs it is about as
    wide as all their ratios, and holds the true one less often than it says: by simulation in 75 % of the cases with
    3 pairs, 87 % with 4, 90 to 95 % from 5 on.

    Returns
    -------
    list of float or None
        ``[low, high]``; None for a single pair.
    """
    ratios = np.array([other / value for value, other in zip(values, reference, strict=True)])
    if len(ratios) < 2:
        return None
    drawn = generator(0, "bootstrap").choice(ratios, (resamples, len(ratios)))
    tails = np.quantile(np.median(drawn, axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return [float(tail) for tail in tails]


Word = Literal["same", "lower", "higher", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """What paired differences say about two methods.

    Attributes
    ----------
    word : {"same", "lower", "higher", "undecided"}
    margin : float
        Differences smaller than this count as none.
    more_seeds : int or None
        If undecided: about how many more pairs would decide; None if no number would, as with splits of too few rows.
    too_few : bool
        Whether there were too few pairs for any verdict; ``more_seeds`` is then how many are missing at least.
    """

    word: Word
    margin: float
    more_seeds: int | None = None
    too_few: bool = False

    def __str__(self) -> str:
        if self.word != "undecided":
            return "same accuracy" if self.word == "same" else self.word
        return f"undecided: {self.advice()}"

    def advice(self, unit: str = "seed") -> str:
        """Return what would settle an open question; ``unit`` is what a pair belongs to."""
        return advice_for(self.more_seeds, unit, too_few=self.too_few)


def verdict(differences: Sequence[float], margin: float, overlap: float = 0.0) -> Verdict:
    """Answer "is the accuracy the same?" from paired differences.

    ``same`` by two one-sided t tests (TOST, Schuirmann 1987) at 2.5 % each: the 95 % interval lies within
    ``-margin .. margin``. Else ``lower`` or ``higher`` if the interval lies on one side of zero, else ``undecided``. So
    a difference that is real but smaller than the margin is called the same. Chances of being wrong: at most 2.5 % for
    ``same`` if the true difference is the margin or more, and at most 2.5 % for each of the others if there is none.
    Two pairs are too few for any verdict: accuracies are counts, and two equal differences show no spread.

    Parameters
    ----------
    differences
        One per pair, e.g. accuracies in percentage points minus the sequential run's, by seed.
    margin
        In the same unit, above 0.
    overlap
        See `estimate`.

    Raises
    ------
    SettingsError
        If the margin is not a positive number.
    ValueError
        If there is no difference.
    """
    check_margin(margin)
    found = estimate(differences, overlap=overlap)
    if found.low is None or found.high is None or len(differences) < FEWEST_PAIRS:
        return Verdict("undecided", margin, FEWEST_PAIRS - len(differences), too_few=True)
    if -margin < found.low and found.high < margin:
        return Verdict("same", margin)
    if found.high < 0:
        return Verdict("lower", margin)
    if found.low > 0:
        return Verdict("higher", margin)
    return Verdict("undecided", margin, _more_needed(differences, found.mean, margin, overlap))


def advice_for(more: int | None, unit: str = "seed", *, too_few: bool) -> str:
    """Return what would settle an open question; see `Verdict`."""
    if too_few:
        return f"three {unit}s at least are needed for a verdict"
    if more is None:
        return "only more test samples would tell"
    return f"about {count(more, f'more {unit}')} would tell"


def coarse_margin(margin: float, rows: int) -> str | None:
    """Return a warning if a single test row is more than the margin of equivalence, in percentage points."""
    if not rows or 100 / rows <= margin:
        return None
    return (
        f"one of {count(rows, 'test sample')} is {100 / rows:.2f} points, more than the margin of {margin:g}, so that "
        f"'same' means little. Test on at least {math.ceil(100 / margin):,} samples, or choose a wider "
        f"{parameter('margin')}."
    )


def check_margin(margin: float) -> None:
    """Raise SettingsError if a margin is not a positive number."""
    if not 0 < real("the margin of equivalence", margin) < math.inf:
        raise SettingsError(f"the margin of equivalence must be a positive number of percentage points, not {margin}")


def _more_needed(differences: Sequence[float], mean: float, margin: float, overlap: float) -> int | None:
    """Return how many more pairs decide, should mean and spread stay as they are; None if no number does."""
    spread, have = statistics.stdev(differences), len(differences)
    reach = max(margin - abs(mean), abs(mean))  # the interval must become shorter than this to either side
    needed = have + 1
    while quantile_t(needed - 1) * spread * math.sqrt(1 / needed + overlap) >= reach:
        needed = max(needed + 1, math.ceil(needed * 1.01))
        if needed > _MOST:
            return None
    return needed - have


def quantile_t(freedom: int, confidence: float = 0.95) -> float:
    """Return Student's t for a two-sided interval."""
    from scipy.special import stdtrit  # without the slow import of scipy.stats

    return float(stdtrit(freedom, 0.5 + confidence / 2))


@dataclass(frozen=True)
class McNemar:
    """The comparison of two single models on the same rows.

    Attributes
    ----------
    only_first, only_second : int
        Numbers of rows that only one of them classifies correctly.
    p_value : float
        Probability of a difference at least as large, if both were equally good.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Test whether two single models are equally good (McNemar 1947; exact, by the binomial distribution).

    It says whether these two models differ, not whether the methods that made them do: for that, train with several
    seeds and ask :func:`verdict`.

    Parameters
    ----------
    first, second : ndarray of bool of shape (rows,)
        Whether each model classifies each test row correctly.
    """
    if first.shape != second.shape:
        raise ValueError(f"two models on different rows: {first.shape} and {second.shape}")
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    together = only_first + only_second
    return McNemar(only_first, only_second, float(binomtest(only_first, together).pvalue) if together else 1.0)
