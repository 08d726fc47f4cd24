"""Team `threads`: workers are threads of this process and share its memory.

Nothing is copied or scattered: all workers read one table, and in a round each worker sums its own part of everyone's
vector and writes it back into all of them, so that the mean is computed in parallel and once.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import WorkerLost
from manyhands.protocols import Clock, Phase, Vector
from manyhands.teams import synchronization
from manyhands.teams.parts import part_of


@dataclass
class Meeting:
    """What the threads of one team share.

    Attributes
    ----------
    size
        Number of workers.
    cells
        See `synchronization`.
    vectors
        The vector each worker has brought to the present collective.
    weights
        And its weight.
    """

    size: int
    cells: NDArray[np.int64] = field(default_factory=synchronization.new_cells)
    vectors: list[Vector] = field(init=False)
    weights: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.vectors = [np.zeros(0)] * self.size
        self.weights = np.zeros(self.size)

    def call_off(self, rank: int) -> None:
        """Tell everyone who waits, now or later, that worker ``rank`` will not come."""
        self.cells[synchronization.LOST] = rank + 1


class ThreadTeam:
    """One worker's view of a team of threads.

    Parameters
    ----------
    meeting
        Shared by all.
    rank
        This worker.
    clock
        This worker's.
    """

    def __init__(self, meeting: Meeting, rank: int, clock: Clock) -> None:
        self.meeting = meeting
        self.rank = rank
        self.size = meeting.size
        self.clock = clock
        self.bytes_sent = 0
        self._sums = np.zeros(synchronization.BLOCK)

    def mean_(self, vector: Vector, weight: float = 1.0) -> None:
        """Replace ``vector`` on all workers by the weighted mean."""
        self._reduce(vector, weight, normalize=True)

    def sum_(self, vector: Vector) -> None:
        """Replace ``vector`` on all workers by the sum."""
        self._reduce(vector, 1.0, normalize=False)

    def _reduce(self, vector: Vector, weight: float, *, normalize: bool) -> None:
        """Meet, combine this worker's part for everyone, meet again."""
        self._meet(vector, weight)
        weights = self.meeting.weights / self.meeting.weights.sum() if normalize else self.meeting.weights.copy()
        self._combine(vector, weights, everyone=True)
        self.barrier()

    def broadcast_(self, vector: Vector, root: int = 0) -> None:
        """Copy the vector of ``root``."""
        self._meet(vector, offered=vector.nbytes if self.rank == root else 0)
        if self.rank != root:
            vector[:] = self.meeting.vectors[root]
        self.barrier()

    def reduce_scatter_(self, vector: Vector) -> slice:
        """Sum into this worker's part."""
        self._meet(vector)
        # No second array is needed: each element is read and written by one worker only.
        mine = self._combine(vector, self.meeting.weights.copy(), everyone=False)
        self.barrier()
        return mine

    def all_gather_(self, vector: Vector) -> None:
        """Copy everyone's part."""
        self._meet(vector)
        for rank, source in enumerate(self.meeting.vectors):
            if rank != self.rank:
                part = part_of(len(vector), self.size, rank)
                vector[part] = source[part]
        self.barrier()

    def gather(self, vector: Vector) -> NDArray[Any] | None:
        """Copy all vectors on rank 0."""
        self._meet(vector)
        rows = np.stack(self.meeting.vectors) if self.rank == 0 else None
        self.barrier()
        return rows

    def barrier(self) -> None:
        """Wait for all; charged as communication."""
        with self.clock.phase("communicate"):
            lost = synchronization.wait(self.meeting.cells, self.size)
        if lost:
            raise WorkerLost(int(lost) - 1)

    def _meet(self, vector: Vector, weight: float = 1.0, offered: int | None = None) -> None:
        """Bring a vector to the meeting and wait until all have; ``offered`` bytes of it are read by others."""
        self.meeting.vectors[self.rank] = vector
        self.meeting.weights[self.rank] = weight
        self.bytes_sent += vector.nbytes if offered is None else offered
        self.barrier()

    def _combine(self, vector: Vector, weights: NDArray[np.float64], *, everyone: bool) -> slice:
        """Compute this worker's part of the weighted sum; return its place."""
        mine = part_of(len(vector), self.size, self.rank)
        with self.clock.phase("merge"):
            addresses = np.array([other.ctypes.data for other in self.meeting.vectors], np.uintp)
            synchronization.combine(addresses, weights, vector, mine.start, mine.stop, self._sums, everyone)
        return mine


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the collectives for vectors of ``dtype``."""
    clock = _NoClock()
    ThreadTeam(Meeting(1), 0, clock).mean_(np.zeros(1, dtype))


class _NoClock:
    """Measures nothing."""

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Return a context that does nothing."""
        return nullcontext()
