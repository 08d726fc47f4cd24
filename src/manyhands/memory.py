"""Memory for vectors that compiled code reads with whole registers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_LINE = 64  # bytes of a cache line, and of the widest register


def aligned_zeros(size: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return a zero vector of shape (size,) that begins at a cache line.

    NumPy aligns to 16 bytes; then every wide load of a matrix may touch two cache lines, or none, by chance.
    """
    kind = np.dtype(dtype)
    raw = np.zeros(size * kind.itemsize + _LINE, np.uint8)
    begin = -raw.ctypes.data % _LINE
    return raw[begin : begin + size * kind.itemsize].view(kind)
