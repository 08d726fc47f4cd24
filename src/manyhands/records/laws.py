"""Three laws of speedup by number of workers, fitted to measured speedups.

- Amdahl (1967): a part f of the work is serial, S(n) = 1 / (f + (1 - f) / n).
- The Universal Scalability Law (Gunther 1993): workers also wait for each other (contention s) and keep each other
  informed (coherency k), S(n) = n / (1 + s (n - 1) + k n (n - 1)). With k > 0 there is a best number of workers.
- Gustafson (1988): the data grow with n, and so does the work, S(n) = n - f (n - 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9
"""A coherency smaller than this is the rounding of its fit."""


@dataclass(frozen=True)
class Amdahl:
    """Amdahl's law.

    Attributes
    ----------
    serial_fraction : float
        f, 0..1: the part of the sequential time that more workers do not shorten. No speedup exceeds 1 / f.
    """

    serial_fraction: float

    def speedup(self, workers: float) -> float:
        """Return S(n)."""
        return 1 / (self.serial_fraction + (1 - self.serial_fraction) / workers)


@dataclass(frozen=True)
class Scalability:
    """The Universal Scalability Law.

    Attributes
    ----------
    contention : float
        s, 0 or more: the price of waiting.
    coherency : float
        k, 0 or more: the price of keeping each other informed, which grows with every pair of workers.
    """

    contention: float
    coherency: float

    def speedup(self, workers: float) -> float:
        """Return S(n)."""
        n = workers
        return n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))

    @property
    def best_workers(self) -> float | None:
        """The n of the largest S(n), sqrt((1 - s) / k); None if S never falls."""
        if self.coherency <= 0:
            return None if self.contention < 1 else 1.0
        return max(1.0, math.sqrt(max(0.0, 1 - self.contention) / self.coherency))

    @property
    def peak_speedup(self) -> float | None:
        """S at the best n; None if S never falls."""
        return None if self.best_workers is None else self.speedup(self.best_workers)


@dataclass(frozen=True)
class Gustafson:
    """Gustafson's law.

    Attributes
    ----------
    serial_fraction : float
        f, 0..1: the part of the PARALLEL time that is serial.
    """

    serial_fraction: float

    def speedup(self, workers: float) -> float:
        """Return the scaled S(n)."""
        return workers - self.serial_fraction * (workers - 1)


def fit_amdahl(workers: Sequence[int], speedups: Sequence[float]) -> Amdahl | None:
    """Fit f to measured speedups by least squares of 1 / S, in which the law is a straight line.

    Points with one worker are left out; without any other, there is no law (None).
    """
    n, s = _points(workers, speedups)
    if not len(n):
        return None
    # 1/S = 1/n + f (1 - 1/n)
    weight = 1 - 1 / n
    return Amdahl(float(np.clip((1 / s - 1 / n) @ weight / (weight @ weight), 0, 1)))


def fit_scalability(workers: Sequence[int], speedups: Sequence[float]) -> Scalability | None:
    """Fit contention and coherency, both 0 or more, by least squares of n / S - 1, which is linear in both.

    It takes two different numbers of workers above one; else there is no law (None).
    """
    from scipy.optimize import nnls

    n, s = _points(workers, speedups)
    if len(set(n)) < 2:
        return None
    columns = np.stack([n - 1, n * (n - 1)], axis=1)
    (contention, coherency), _ = nnls(columns, n / s - 1)
    return Scalability(float(contention), float(coherency) if coherency > _ROUNDING else 0.0)


def fit_gustafson(workers: Sequence[int], scaled: Sequence[float]) -> Gustafson | None:
    """Fit f to measured scaled speedups by least squares; None without a point with two or more workers."""
    n, s = _points(workers, scaled)
    if not len(n):
        return None
    weight = n - 1
    return Gustafson(float(np.clip((n - s) @ weight / (weight @ weight), 0, 1)))


def _points(workers: Sequence[int], speedups: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points with more than one worker."""
    pairs = [(n, s) for n, s in zip(workers, speedups, strict=True) if n > 1]
    return np.array([n for n, _ in pairs], np.float64), np.array([s for _, s in pairs], np.float64)
