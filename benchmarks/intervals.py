"""Medians of paired ratios, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Rounds = Mapping[int, float]
"""A number for each round that was run."""


@dataclass(frozen=True)
class Median:
    """A median with its 95 % interval, from ``n`` rounds."""

    value: float
    low: float
    high: float
    n: int

    def text(self, digits: int = 2) -> str:
        """Return it for a table."""
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def median(values: Rounds) -> Median:
    """Return the median; the interval is the percentile bootstrap's."""
    numbers = np.array(list(values.values()))
    samples = np.random.default_rng(0).choice(numbers, (10_000, len(numbers)))
    low, high = np.quantile(np.median(samples, axis=1), [0.025, 0.975])
    return Median(float(np.median(numbers)), float(low), float(high), len(numbers))


def paired(combine: Callable[..., float], *several: Rounds) -> dict[int, float]:
    """Combine numbers of the same round, in the rounds that all have."""
    common = set.intersection(*(set(one) for one in several))
    return {number: combine(*(one[number] for one in several)) for number in sorted(common)}


def ratio(above: Rounds, below: Rounds) -> dict[int, float]:
    """Return the paired ratios."""
    return paired(lambda a, b: a / b, above, below)
