"""Team `threads`: workers are threads of this process and share its memory.

Nothing is copied or scattered: all workers read one table, and in a round each worker sums its own part of everyone's
vector and writes it back into all of them, so that the mean is computed in parallel and once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import WorkerLost
from manyhands.core.samples import Control
from manyhands.core.team import Clock, Team
from manyhands.core.types import Phase, Vector
from manyhands.runtime import shared_reduce
from manyhands.runtime.partition import bounds_of, part_of
from manyhands.teams.crew import Crew
from manyhands.teams.failures import describe
from manyhands.teams.sent import Sent
from manyhands.teams.solo import Solo
from manyhands.teams.survivors import Survivors


class ThreadGroup:
    """What the threads of one team share.

    Attributes
    ----------
    cells
        See `manyhands.runtime.shared_reduce`.
    vectors, addresses, weights
        The vector that each worker has brought to the present collective, where it begins, and its weight.
    targets, partials
        Where each worker's parameters begin, if others write parts of them, and sums that all add up; see
        `manyhands.runtime.shared_reduce.SharedReduction`.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.cells = shared_reduce.new_barrier_state(size)
        self.vectors: list[Vector] = [np.zeros(0)] * size
        self.addresses, self.targets = np.zeros(size, np.uintp), np.zeros(size, np.uintp)
        self.weights, self.partials = np.zeros(size), np.zeros(size)
        self._parts: dict[tuple[int, ...], ThreadGroup] = {}
        self._dividing = threading.Lock()

    def call_off(self, rank: int) -> None:
        """Show all workers that wait, now or later, that worker ``rank`` will not come."""
        with self._dividing:
            self.cells[shared_reduce.LOST] = rank + 1
            for part in self._parts.values():
                part.call_off(rank)

    def part(self, ranks: Sequence[int]) -> ThreadGroup:
        """Return what some of these threads share, the same for all of them."""
        with self._dividing:
            found = self._parts.setdefault(tuple(ranks), ThreadGroup(len(ranks)))
            if self.cells[shared_reduce.LOST]:
                found.call_off(int(self.cells[shared_reduce.LOST]) - 1)
            return found


class ThreadTeam(Team):
    """The view that worker ``rank`` has of a team of threads; the ``survivors`` are those that go on after losses."""

    def __init__(
        self,
        group: ThreadGroup,
        rank: int,
        clock: Clock,
        survivors: Survivors | None = None,
        sent: Sent | None = None,
    ) -> None:
        self.clock = clock
        self._sent = Sent() if sent is None else sent
        self._survivors = survivors
        self.enter(group, rank)

    def enter(self, group: ThreadGroup, rank: int) -> None:
        """Become worker ``rank`` of a group."""
        self.group, self.rank, self.size = group, rank, group.size
        # Scratch memory for rounds; the part it computes depends on the vector.
        self._reduction = shared_reduce.no_peers()._replace(
            cells=group.cells,
            addresses=group.addresses,
            weights=group.weights,
            targets=group.targets,
            partials=group.partials,
            rank=rank,
        )

    @property
    def bytes_sent(self) -> int:
        """Bytes that this worker has offered to others, those of parts and of the whole alike."""
        return self._sent.bytes

    @bytes_sent.setter
    def bytes_sent(self, count: int) -> None:
        self._sent.bytes = count

    def part(self, ranks: Sequence[int]) -> Team:
        """Return the team of some of these threads."""
        if len(ranks) == 1:
            return Solo(self.clock)
        return ThreadTeam(self.group.part(ranks), list(ranks).index(self.rank), self.clock, sent=self._sent)

    def regroup(self) -> list[tuple[int, str]]:
        """Meet all survivors in a new group."""
        if self._survivors is None:
            return super().regroup()
        with self.clock.phase("communicate"):
            return self._survivors.regroup(self)

    def agree(self, well: bool = True) -> bool:
        """Ask all survivors."""
        if self._survivors is None:
            return super().agree(well)
        with self.clock.phase("communicate"):
            return self._survivors.agree(self, well)

    def shared_reduction(self, vector: Vector, target: Vector | None = None) -> shared_reduce.SharedReduction:
        """Return what a kernel needs to average ``vector`` in rounds of its own; see `record_fused_rounds`."""
        self._bring(vector)
        self.group.targets[self.rank] = (vector if target is None else target).ctypes.data
        return self._reduction._replace(bounds=bounds_of(len(vector), self.size, vector.itemsize))

    def record_fused_rounds(self, rounds: int, vector: Vector) -> float:
        """Add bytes and seconds of rounds that a kernel has held to the counts; return the seconds."""
        self.bytes_sent += rounds * vector.nbytes
        waited, combined = (1e-9 * float(value) for value in self._reduction.nanoseconds)
        self._reduction.nanoseconds[:] = 0
        self.clock.add("communicate", waited)
        self.clock.add("merge", combined)
        return waited + combined

    def mean_(self, vector: Vector, weight: float = 1.0) -> None:
        """Replace ``vector`` on all workers by the weighted mean."""
        self._reduce(vector, weight, normalize=True)

    def sum_(self, vector: Vector) -> None:
        """Replace ``vector`` on all workers by the sum."""
        self._reduce(vector, 1.0, normalize=False)

    def _reduce(self, vector: Vector, weight: float, *, normalize: bool) -> None:
        """Compute this worker's part of the weighted sum, for all workers."""
        reduction = self.shared_reduction(vector)
        self.group.weights[self.rank] = weight
        lost = shared_reduce.reduce(reduction, normalize, vector)
        if lost:
            raise WorkerLost(lost - 1)
        self.record_fused_rounds(1, vector)

    def broadcast_(self, vector: Vector, root: int = 0) -> None:
        """Copy the vector of ``root``."""
        self._bring_and_wait(vector, offered=vector.nbytes if self.rank == root else 0)
        if self.rank != root:
            vector[:] = self.group.vectors[root]
        self.barrier()

    def all_gather_(self, vector: Vector) -> None:
        """Copy everyone's part."""
        self._bring_and_wait(vector)
        for rank, source in enumerate(self.group.vectors):
            if rank != self.rank:
                part = part_of(len(vector), self.size, rank, vector.itemsize)
                vector[part] = source[part]
        self.barrier()

    def exchange(self, vector: Vector) -> tuple[slice, NDArray[Any]]:
        """Copy everyone's elements of this worker's part."""
        self._bring_and_wait(vector)
        part = part_of(len(vector), self.size, self.rank, vector.itemsize)
        rows = np.stack([each[part] for each in self.group.vectors])
        self.barrier()
        return part, rows

    def shared_vector(self, vector: Vector) -> Vector:
        """Return rank 0's vector itself."""
        self._bring_and_wait(vector, offered=0)
        shared = self.group.vectors[0]
        self.barrier()
        return shared

    def gather(self, vector: Vector) -> NDArray[Any] | None:
        """Copy all vectors on rank 0."""
        self._bring_and_wait(vector)
        rows = np.stack(self.group.vectors) if self.rank == 0 else None
        self.barrier()
        return rows

    def barrier(self) -> None:
        """Wait for all; charged as communication."""
        with self.clock.phase("communicate"):
            lost = shared_reduce.wait(self.group.cells, self.size)
        if lost:
            raise WorkerLost(int(lost) - 1)

    def _bring_and_wait(self, vector: Vector, offered: int | None = None) -> None:
        """Bring a vector to the meeting and wait until all have; others read ``offered`` bytes of it."""
        self._bring(vector)
        self.bytes_sent += vector.nbytes if offered is None else offered
        self.barrier()

    def _bring(self, vector: Vector) -> None:
        """Make a vector visible to the others; the same one as last time costs nothing."""
        if self.group.vectors[self.rank] is not vector:
            self.group.vectors[self.rank] = vector
            self.group.addresses[self.rank] = vector.ctypes.data


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the collectives for vectors of ``dtype``."""
    clock = _NoClock()
    ThreadTeam(ThreadGroup(1), 0, clock).mean_(np.zeros(1, dtype))


class _NoClock:
    """Measures nothing."""

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Return a context that does nothing."""
        return nullcontext()

    def add(self, name: Phase, seconds: float) -> None:
        """Forget it."""


class ThreadCrew(Crew):
    """All workers of a team of threads, one for each clock."""

    def __init__(self, clocks: Sequence[Clock]) -> None:
        self._survivors = survivors = Survivors(ThreadGroup)
        super().__init__([ThreadTeam(survivors.group, 0, clock, survivors) for clock in clocks])
        survivors.begin(self.teams)

    def call_off(self, rank: int, error: BaseException) -> None:
        """Show it to the workers that wait in a round, or for each other."""
        self._survivors.call_off(rank)

    def let_go(self, team: Team, error: BaseException) -> bool:
        """Show it to the workers that wait in a round: they go on without that one."""
        self._survivors.let_go(team, describe(error))
        return True


def make_crew(clocks: Sequence[Clock], controls: Sequence[Control]) -> Crew:
    """Return all workers."""
    return ThreadCrew(clocks)
