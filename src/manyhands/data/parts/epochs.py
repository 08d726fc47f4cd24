"""The order in which a worker takes its share of a table in parts: blocks in windows, rows shuffled within a window.

It is a function of the seed, the epoch, the worker and the parts alone. A window is what is in memory besides the next
one, which is read meanwhile.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands.core.randomness import generator
from manyhands.data.parts.description import Piece

WINDOW_BYTES = 32 << 20
"""Of a window, about; two of them are in memory."""


@dataclass(frozen=True)
class Epoch:
    """One worker's epoch.

    Attributes
    ----------
    windows : list of list of Piece
        What is read together, in the order of reading.
    ends : ndarray of shape (windows,), int64
        How many of the epoch's rows have been used where each window ends.
    rows : ndarray of shape (rows of the share,), int32
        Places in the ring, in the order in which the rows are used.
    """

    windows: list[list[Piece]]
    ends: NDArray[np.int64]
    rows: NDArray[np.int32]


class WindowPlan:
    """How a share is read, epoch by epoch.

    Parameters
    ----------
    pieces
        The share.
    row_bytes
        Of one sample.
    batch
        The most rows that the worker uses in one step: they lie in two windows at most.
    seed, rank
        Of the run, and of the worker.
    shuffle
        If not, every epoch takes rows as they are stored.
    window_bytes
        About how large a window is.

    Attributes
    ----------
    count : int
        Windows of an epoch, an even number, so that every epoch begins in the ring's first half.
    room : int
        The most rows of a window: half of the ring.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        *,
        row_bytes: int,
        batch: int,
        seed: int,
        rank: int,
        shuffle: bool = True,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._pieces, self._seed, self._rank, self._shuffle = list(pieces), seed, rank, shuffle
        self._sizes = np.array([piece.rows for piece in pieces], np.int64)
        self.rows, largest = int(self._sizes.sum()), int(self._sizes.max(initial=1))
        wanted = -(-self.rows // max(window_bytes // row_bytes, 1))
        # A window has more rows than rows / count - largest: a batch is never in three.
        most = self.rows // (batch + largest)
        self.count = max(2, min(wanted + wanted % 2, most - most % 2))
        self.room = -(-self.rows // self.count) + largest

    def epoch(self, number: int) -> Epoch:
        """Return the order of an epoch."""
        order = np.arange(len(self._pieces))
        if self._shuffle:
            order = generator(self._seed, f"blocks of worker {self._rank}", number).permutation(len(self._pieces))
        so_far = np.cumsum(self._sizes[order])
        wanted = np.arange(1, self.count, dtype=np.int64) * self.rows // self.count
        cuts = np.concatenate([[0], np.searchsorted(so_far, wanted) + 1, [len(order)]])
        cuts = np.minimum(cuts, len(order))
        ends = np.concatenate([[0], so_far])[cuts[1:]]
        windows = [[self._pieces[each] for each in order[a:b]] for a, b in itertools.pairwise(cuts)]
        return Epoch(windows, ends, self._places(ends, number))

    def _places(self, ends: NDArray[np.int64], number: int) -> NDArray[np.int32]:
        """Return the places of the rows in the ring: window by window, shuffled within each."""
        places = np.empty(self.rows, np.int32)
        draws = generator(self._seed, f"rows of worker {self._rank}", number)
        begin = 0
        for window, end in enumerate(ends):
            first = window % 2 * self.room
            own = np.arange(first, first + end - begin, dtype=np.int32)
            places[begin:end] = draws.permutation(own) if self._shuffle else own
            begin = end
        return places
