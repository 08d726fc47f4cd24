"""What scalings need to know of all rows, added up block by block: ends, means and deviations of every feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.data.scaling import Summary

_EXACT = 256
"""Rows of bytes whose sums of squares float32 holds exactly, in any order: 256 * 255 * 255 < 2**24."""
_ROWS = 4096


class Statistics:
    """Running statistics of rows of ``width`` features: of bytes exact, of floats in double precision.

    The squares of floats are added up around the mean of each block (Chan, Golub, LeVeque 1979), so that features far
    from zero lose nothing.
    """

    def __init__(self, width: int) -> None:
        self.rows = 0
        self.whole_bytes = True
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self._total, self._squares = np.zeros(width, np.int64), np.zeros(width, np.int64)
        self._mean, self._spread = np.zeros(width), np.zeros(width)

    def add(self, features: NDArray[Any]) -> None:
        """Add finite rows of shape (rows, features)."""
        if not len(features):
            return
        self.low = np.minimum(self.low, features.min(axis=0))
        self.high = np.maximum(self.high, features.max(axis=0))
        if features.dtype == np.uint8 and self.whole_bytes:
            self._add_bytes(features)
        else:
            self._to_floats()
            for begin in range(0, len(features), _ROWS):
                self._add_floats(features[begin : begin + _ROWS])

    def _add_bytes(self, features: NDArray[Any]) -> None:
        for begin in range(0, len(features), _EXACT):
            some = features[begin : begin + _EXACT].astype(np.float32)
            self._total += some.sum(axis=0).astype(np.int64)
            self._squares += np.square(some, out=some).sum(axis=0).astype(np.int64)
        self.rows += len(features)

    def _to_floats(self) -> None:
        """Go on in double precision, from what was exact so far."""
        if self.whole_bytes:
            self.whole_bytes = False
            self._mean, self._spread = self._moments_of_bytes() if self.rows else (self._mean, self._spread)

    def _moments_of_bytes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return means, and sums of squares around them, from exact sums."""
        total, squares = self._total.astype(object), self._squares.astype(object)
        spread = (self.rows * squares - total * total).astype(np.float64) / self.rows
        return self._total / self.rows, spread

    def _add_floats(self, features: NDArray[Any]) -> None:
        found = features.astype(np.float64)
        count, mean = len(found), found.mean(axis=0)
        found -= mean
        together, apart = self.rows + count, mean - self._mean
        self._spread += np.square(found, out=found).sum(axis=0) + apart * apart * (self.rows * count / together)
        self._mean = self._mean + apart * (count / together)
        self.rows = together

    def summary(self) -> Summary:
        """Return what a scaling depends on."""
        mean, spread = self._moments_of_bytes() if self.whole_bytes else (self._mean, self._spread)
        deviation = np.sqrt(np.maximum(spread, 0) / self.rows)
        return Summary(self.low, self.high, mean, deviation, self.whole_bytes)


def summary_to_json(found: Summary) -> dict[str, Any]:
    """Return a summary as plain data, every number with all its digits."""
    vectors = {name: getattr(found, name).tolist() for name in ("low", "high", "mean", "deviation")}
    return {**vectors, "whole_bytes": found.whole_bytes}


def summary_from_json(known: Mapping[str, Any]) -> Summary:
    """Return what :func:`summary_to_json` has described; ValueError or KeyError if it is none."""
    vectors = [np.array(known[name], np.float64) for name in ("low", "high", "mean", "deviation")]
    if len({vector.shape for vector in vectors}) != 1 or vectors[0].ndim != 1:
        raise ValueError("the statistics are not one number for each feature")
    low, high, mean, deviation = vectors
    return Summary(low, high, mean, deviation, bool(known["whole_bytes"]))


def check_block(features: NDArray[Any], path: Any, first_row: int) -> None:
    """Refuse rows that are not finite; the error names the first by its number in its part."""
    if features.dtype.kind != "f":
        return
    wrong = ~np.isfinite(features)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"row {first_row + row + 1}, feature {column + 1} is {features[row, column]}, not a finite number",
            path=path,
        )
