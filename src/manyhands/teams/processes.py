"""Teams `mpi` and `torch`: workers are processes of a job, on one machine or many, and communicate by messages.

A round is a reduce-scatter and an all-gather: every worker receives its part of all vectors, sums it in rank order with
the same compiled code as the threads, and sends it to all. Each vector crosses the wire about twice, whatever n is, and
the bits are those of any other team. Vectors travel as buffers, never as pickles.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError, WorkerLost
from manyhands.core.samples import Control
from manyhands.core.team import Clock, Team
from manyhands.core.types import Vector
from manyhands.runtime import shared_reduce
from manyhands.runtime.partition import part_of
from manyhands.teams.crew import Crew
from manyhands.teams.job import check_size
from manyhands.teams.membership import join
from manyhands.teams.sent import Sent
from manyhands.teams.solo import Solo
from manyhands.teams.world import Bytes, World, as_bytes

_JOIN_SECONDS = 1.5
"""How long a worker may take to see that it shall stop, before it is given up."""


class ProcessTeam(Team):
    """One worker's view of a team of processes; see `manyhands.core.team.Team`."""

    def __init__(self, world: World, clock: Clock, pace: NDArray[np.int64], whole: ProcessTeam | None = None) -> None:
        self.world, self._whole = world, whole
        self.rank, self.size = world.rank, world.size
        self.clock = clock
        self._sent: Sent = Sent() if whole is None else whole._sent
        self.waiting = False
        """Whether it is waiting for the others right now."""
        self.elsewhere = False
        """Whether it is doing something else than training."""
        self._weights = np.zeros(self.size)
        self._pace, self._told = pace, np.zeros((self.size, 1 + len(pace)))
        self._reduction = shared_reduce.no_peers()
        self._brought: Vector | None = None

    @property
    def bytes_sent(self) -> int:
        """Bytes that this worker has offered to others, those of parts and of the whole alike."""
        return self._sent.bytes

    @bytes_sent.setter
    def bytes_sent(self, count: int) -> None:
        self._sent.bytes = count

    def part(self, ranks: Sequence[int]) -> Team:
        """Return the team of some of these processes."""
        world = self.world.part(ranks)
        return Solo(self.clock) if world.size == 1 else ProcessTeam(world, self.clock, self._pace, self)

    def all_gather_pieces_(self, content: Bytes, counts: Sequence[int]) -> None:
        """Send the own piece where it lies."""
        with self._talking():
            self.world.wait(self.world.start_all_gather(content, counts))
        self.bytes_sent += counts[self.rank]

    @contextlib.contextmanager
    def watchdog_paused(self) -> Iterator[None]:
        """Let the watch know that this worker takes no steps meanwhile."""
        team = self if self._whole is None else self._whole
        before, team.elsewhere = team.elsewhere, True
        try:
            yield
        finally:
            team.elsewhere = before

    @property
    def paces(self) -> NDArray[Any]:
        """Every worker's `Control.pace` as of the last round with weights, beside which they travel."""
        return self._told[:, 1:]

    def mean_(self, vector: Vector, weight: float = 1.0) -> None:
        """Replace ``vector`` on all workers by the weighted mean."""
        self._reduce(vector, weight, normalize=True)
        self.all_gather_(vector)
        self.bytes_sent -= vector.nbytes  # one round, not two

    def sum_(self, vector: Vector) -> None:
        """Replace ``vector`` on all workers by the sum."""
        self._reduce(vector, 1.0, normalize=False)
        self.all_gather_(vector)
        self.bytes_sent -= vector.nbytes

    def _reduce(self, vector: Vector, weight: float, *, normalize: bool) -> None:
        """Receive everyone's vector in this worker's part, and combine them there."""
        self._bring(vector)
        self._told[self.rank] = weight, *self._pace
        with self._talking():
            self.world.wait(
                self.world.start_all_gather(as_bytes(self._told), [self._told[0].nbytes] * self.size),
                self.world.start_exchange(vector.view(np.uint8), self._counts, as_bytes(self._room)),
            )
        self._weights[:] = self._told[:, 0]
        with self.clock.phase("merge"):
            shared_reduce.combine_here(self._reduction, normalize, vector[self._mine])
        self.bytes_sent += vector.nbytes

    def _bring(self, vector: Vector) -> None:
        """Make room for the others' parts of such a vector; the same one as last time costs nothing."""
        if self._brought is vector:
            return
        self._mine, self._counts = self._parts(vector)
        length = self._mine.stop - self._mine.start
        self._room = np.zeros((self.size, length), vector.dtype)
        pieces = [*self._room[: self.rank], vector[self._mine], *self._room[self.rank + 1 :]]
        addresses = np.array([piece.ctypes.data for piece in pieces], np.uintp)
        self._reduction = self._reduction._replace(
            addresses=addresses, weights=self._weights, rank=0, bounds=np.array([0, length], np.int64)
        )
        self._brought = vector

    def _parts(self, vector: Vector) -> tuple[slice, list[int]]:
        """Return this worker's part of a vector, and the bytes of everyone's."""
        parts = [part_of(len(vector), self.size, rank, vector.itemsize) for rank in range(self.size)]
        return parts[self.rank], [(part.stop - part.start) * vector.itemsize for part in parts]

    def broadcast_(self, vector: Vector, root: int = 0) -> None:
        """Copy the vector of ``root``."""
        with self._talking():
            self.world.broadcast_(vector, root)
        self.bytes_sent += vector.nbytes if self.rank == root else 0

    def all_gather_(self, vector: Vector) -> None:
        """Copy everyone's part."""
        self._bring(vector)
        with self._talking():
            self.world.wait(self.world.start_all_gather(vector.view(np.uint8), self._counts))
        self.bytes_sent += vector.nbytes

    def regroup(self) -> list[tuple[int, str]]:
        """Go on in the job of the survivors."""
        with self._talking():
            lost = self.world.regroup()
        self.rank, self.size = self.world.rank, self.world.size
        self._weights, self._brought = np.zeros(self.size), None
        self._told = np.zeros((self.size, 1 + len(self._pace)))
        return lost

    def agree(self, well: bool = True) -> bool:
        """Ask all survivors."""
        with self._talking():
            return self.world.agree(well)

    def exchange(self, vector: Vector) -> tuple[slice, NDArray[Any]]:
        """Receive everyone's elements of this worker's part."""
        mine, counts = self._parts(vector)  # in bytes: nothing that carries them need know what the elements are
        content = np.ascontiguousarray(vector)
        rows = np.empty((self.size, mine.stop - mine.start), vector.dtype)
        with self._talking():
            self.world.wait(self.world.start_exchange(content.view(np.uint8), counts, as_bytes(rows)))
        rows[self.rank] = content[mine]
        self.bytes_sent += vector.nbytes
        return mine, rows

    def all_to_all(self, sent: Bytes, counts: Sequence[int], received: Bytes, expected: Sequence[int]) -> None:
        """Send ``counts[r]`` consecutive bytes to each rank r, and receive ``expected[r]`` from it."""
        with self._talking():
            self.world.wait(self.world.start_all_to_all(sent, counts, received, expected))
        self.bytes_sent += sum(counts) - counts[self.rank]

    def shared_vector(self, vector: Vector) -> Vector:
        """Refuse: every process has its own memory."""
        raise SettingsError("workers that are processes have no memory in common; use the team threads")

    def gather(self, vector: Vector) -> NDArray[Any] | None:
        """Copy all vectors on rank 0."""
        with self._talking():
            rows = self.world.gather(vector)
        self.bytes_sent += vector.nbytes
        return rows

    def barrier(self) -> None:
        """Wait for all; charged as communication."""
        with self._talking():
            self.world.barrier()

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Charge communication, and let the watch know that this worker depends on others now."""
        team = self if self._whole is None else self._whole  # the watch looks at the whole one
        team.waiting = True
        try:
            with self.clock.phase("communicate"):
                yield
        finally:
            team.waiting = False


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the arithmetic of rounds for vectors of ``dtype``."""
    vector = np.zeros(1, dtype)
    reduction = shared_reduce.no_peers()._replace(addresses=np.array([vector.ctypes.data], np.uintp))
    shared_reduce.combine_here(reduction, True, vector[:0])


class ProcessCrew(Crew):
    """The one worker of this process, and the ways to end the job when it, or another one, is gone."""

    join_seconds: float = _JOIN_SECONDS

    def __init__(self, world: World, clock: Clock, controls: Sequence[Control]) -> None:
        self._world, self._cause, self._lost_since = world, False, 0.0
        self._controls, control = controls, controls[world.rank]
        if world.watch is None:
            super().__init__([Solo(clock)])
            return
        team = ProcessTeam(world, clock, control.pace)
        super().__init__([team])
        self._team = team
        world.watch.follow(control, lambda: team.waiting or team.elsewhere)

    def place_of(self, team: Team) -> int:
        """Return the process's number among those on its machine."""
        return self._world.place

    def call_off(self, rank: int, error: BaseException) -> None:
        """Notify the others that this worker has failed, and why."""
        if isinstance(error, KeyboardInterrupt):
            self._cause = self._world.call_off(self._world.rank, "was interrupted")
        elif not isinstance(error, WorkerLost):
            self._cause = self._world.call_off(self._world.rank, f"failed: {str(error) or type(error).__name__}")
            if self._cause:
                error.add_note(f"(on worker {self._world.rank} of {self._world.job} of {self._world.size})")

    def let_go(self, team: Team, error: BaseException) -> bool:
        """End this process by itself, if the others go on without it."""
        if not isinstance(error, WorkerLost):
            words = f"failed and leaves the others to it: {type(error).__name__}: {error}"
            self._world.let_go(f"failed: {str(error) or type(error).__name__}", words)
        return False

    def check(self) -> None:
        """Raise WorkerLost if a worker is lost and the one here, whose ``stop`` is set, does not end or regroup.

        Of the workers elsewhere, note what is known of their pace, as long as all are there.
        """
        watch = self._world.watch
        if watch is not None and self._world.size == len(self._controls):
            for rank, (control, pace) in enumerate(zip(self._controls, self._team.paces, strict=True)):
                if rank != self._world.rank:
                    control.pace[:] = pace
        if watch is None or watch.lost is None:
            self._lost_since = 0.0
            return
        self._lost_since = self._lost_since or time.monotonic()
        goes_on = self._world.survives and not watch.final
        if time.monotonic() - self._lost_since > (watch.grace if goes_on else self.join_seconds):
            self._world.check()

    def dismiss(self) -> None:
        """Watch the worker's steps no longer; raise WorkerLost if it has ended because another one was lost."""
        if self._world.watch is not None:
            self._world.watch.unfollow()
            if not self._cause and not (self._world.survives and not self._world.watch.final):
                self._world.check()


def make_crew(clocks: Sequence[Clock], controls: Sequence[Control]) -> Crew:
    """Return this process's one worker; a job that has another size than there are clocks is a SettingsError."""
    world = join()
    check_size(world.size, len(clocks))
    return ProcessCrew(world, clocks[world.rank], controls)
