"""Sums of floating-point numbers whose bits do not depend on the order: what n workers add up is what one adds up.

Every number is rounded to a multiple of a unit that all agree on, so that sums of such numbers are exact; the rests
are rounded to multiples of a smaller unit, and added apart (Demmel & Nguyen, "Fast reproducible floating-point
summation", ARITH 2013). Two such levels keep more than twice the bits of a double; what is lost after them is far
below the rounding of an ordinary sum. NumPy computes it, because compiled code may reorder sums.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LEVELS = 2
"""How many units there are; the first axis of what sums are added to."""


class Units:
    """The units for sums of at most ``terms`` numbers, none of which is larger than its ``bound``.

    Parameters
    ----------
    bound
        Of any shape that broadcasts to that of the numbers.
    terms
        How many numbers are added at most, by all workers together.
    """

    def __init__(self, bound: NDArray[np.float64] | float, terms: int) -> None:
        spare = max(int(terms), 1).bit_length() + 1
        bound = np.asarray(bound, np.float64)
        exponent = np.where(np.isfinite(bound), np.frexp(bound)[1], 1024)
        # x + 1.5 * 2**k - 1.5 * 2**k is x rounded to a multiple of 2**(k - 52).
        first = exponent.astype(np.int64) + spare
        with np.errstate(over="ignore", invalid="ignore"):
            steps = [np.ldexp(1.5, np.clip(first + level * (spare - 53), -1074, 1023)) for level in range(LEVELS)]
        self._steps = [np.where(first <= 1023, step, 0.0) for step in steps]  # too large: added as they are

    def parts(self, numbers: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """Yield what numbers have of each unit; these may be added up in any order by whatever adds."""
        rest = numbers
        for level, step in enumerate(self._steps):
            rounded = (rest + step) - step
            yield rounded
            if level + 1 < LEVELS:
                rest = rest - rounded

    def add(self, into: NDArray[np.float64], numbers: NDArray[np.float64]) -> None:
        """Add numbers to sums, shape (LEVELS, *shape)."""
        for level, part in enumerate(self.parts(numbers)):
            into[level] += part


def total(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of `Units.add` as ordinary numbers."""
    found: NDArray[np.float64] = sums[0] + sums[1]
    return found
