"""The part of a vector that each worker of a team sums up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LINE = 64  # bytes: a cache line, so that two workers never write to the same one


def part_of(length: int, size: int, rank: int, itemsize: int = 4) -> slice:
    """Return the part of a vector of ``length`` elements (``itemsize`` bytes) that worker ``rank`` of ``size`` sums up.

    Parts are as equal as whole cache lines allow, and cover the vector without overlap; some may be empty.
    """
    grain = max(1, _LINE // itemsize)
    grains = -(-length // grain)
    begin, end = rank * grains // size * grain, (rank + 1) * grains // size * grain
    return slice(min(begin, length), min(end, length))


def bounds_of(length: int, size: int, itemsize: int = 4) -> NDArray[np.int64]:
    """Return where the parts of all ``size`` workers begin and end: shape (size + 1,); see `part_of`."""
    begins = [part_of(length, size, rank, itemsize).start for rank in range(size)]
    return np.array([*begins, length], np.int64)
