"""Blocks of rows that do not depend on the number of workers: sums of blocks have the same bits for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import BLOCK_ROWS, Order

_SMALLEST, _BLOCKS = 32, 64
"""Rows of a block at least, and how many blocks there are of few rows: workers have whole ones."""


def blocks_of(rows: int, rank: int, size: int, labels: NDArray[np.int32] | None = None) -> Order:
    """Return the blocks of worker ``rank`` of ``size``: consecutive ones, with as many rows as the others' or nearly.

    Parameters
    ----------
    rows
        How many rows there are.
    rank, size
        The worker, and how many there are.
    labels
        Classes of all rows, shape (rows,), if all rows of a block are to be of one class.
    """
    length = max(_SMALLEST, min(BLOCK_ROWS, -(-rows // _BLOCKS)))
    if labels is None:
        order, ends = None, np.array([rows])
    else:
        order = np.argsort(labels, kind="stable").astype(np.int32)
        ends = np.cumsum(np.bincount(labels))
    starts = np.concatenate([[0], ends[:-1]])
    pieces = [np.arange(start, end, length) for start, end in zip(starts, ends, strict=True)]
    bounds = np.concatenate([*pieces, [rows]]).astype(np.int64)
    first, last = (int(np.searchsorted(bounds, part * rows / size)) for part in (rank, rank + 1))
    bounds = bounds[first : last + 1]
    begin, end = int(bounds[0]), int(bounds[-1])
    own = np.arange(begin, end, dtype=np.int32) if order is None else order[begin:end]
    return Order(own, bounds - begin, np.diff(bounds).astype(np.int32))
