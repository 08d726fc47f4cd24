"""The job that this process belongs to, if any: which of its processes this is, and how they agree on values.

"Process" and "job" are meant for a team whose workers are processes. For every other team, the workers are all here,
and the functions that exchange something return at once. A job is joined only when that is needed for an answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from manyhands.core.errors import SettingsError, WorkerLost
from manyhands.core.parameters import parameter
from manyhands.core.words import count
from manyhands.teams import mpi_environment
from manyhands.teams.environment import announced, in_job, team_of_job
from manyhands.teams.membership import join
from manyhands.teams.registry import Launching, kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Result = TypeVar("Result")


def job_size() -> int | None:
    """Return the number of processes of the job that this one belongs to; None outside of any."""
    return join().size if in_job() else None


def is_member(team: str) -> bool:
    """Return whether this process is one worker of such a team, in a job that is running."""
    return kind_of(team).processes is not None and team == team_of_job()


def needs_job(team: str) -> bool:
    """Return whether a job must be started for a run by such a team."""
    return kind_of(team).processes is not None and team != team_of_job()


def leads(team: str) -> bool:
    """Return whether this process writes and prints results: rank 0 of a job does, and a process without a job."""
    return not is_member(team) or join().rank == 0


def is_first_process() -> bool:
    """Return whether the launcher calls this process the first, or there is none; no MPI is needed for that."""
    job = announced()
    return job is None or job.rank == 0


def check_size(size: int, workers: int | None) -> None:
    """Check that a job of ``size`` processes is what was asked for."""
    if workers not in (None, size):
        started = _launching()
        raise SettingsError(
            f"this {started.job} has {count(size, 'process')}, but {workers} workers were asked for; "
            f"start it with {started.command.format(workers)}, or leave the number of workers out"
        )


def check_can_start_jobs(team: str) -> None:
    """Check that this process may start jobs for such a team, which a member of a job may not."""
    if _processes_announced() > 1 or is_member(team):
        started = _launching()
        raise SettingsError(
            f"this command starts {started.job}s of its own, one for each number of workers: start it without "
            f"{started.launchers}"
        )


def check_started_once(team: str) -> None:
    """Check that no launcher has started several processes that would each run a whole team.

    The team solo is allowed: it is for what every process does by itself.
    """
    kind, number, started = kind_of(team), _processes_announced(), _launching()
    if number > 1 and not is_member(team) and kind.most_workers is None:
        raise SettingsError(
            f"{number} processes have been started (by {started.launchers}), and each of them would do the same with "
            f"the team {team}; add {parameter('team', str(team_of_job()))}, or start a single one without "
            f"{started.launchers}"
        )


def _launching() -> Launching:
    """Return how messages speak of the job that this process is in, and of an MPI job outside of any."""
    started = kind_of(team_of_job() or "mpi").processes
    assert started is not None
    return started


def _processes_announced() -> int:
    """Return how many processes a launcher says it has started with this one; 1 outside of any job."""
    job = announced()
    return 1 if job is None else job.size


def all_gather_texts(team: str, texts: list[str]) -> list[str]:
    """Return the texts of all workers, in rank order; ``texts`` are those of the workers in this process."""
    return join().all_gather_texts(texts[0]) if kind_of(team).processes else texts


def from_rank_0(team: str, number: int) -> int:
    """Return rank 0's number."""
    return int(all_gather_texts(team, [str(number)])[0])


def broadcast_arrays(team: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Replace the arrays of all processes by rank 0's, in place."""
    if kind_of(team).processes:
        for _, array in sorted(arrays.items()):
            join().broadcast_(array)


@contextlib.contextmanager
def hang_timeout(team: str, seconds: float | None) -> Iterator[None]:
    """Let this process lose patience with others of its job after so many seconds, for the length of a block.

    None: after those of MANYHANDS_HANG_TIMEOUT, or else after what follows from the measured steps.
    """
    watch = join().watch if kind_of(team).processes else None
    with contextlib.nullcontext() if watch is None else watch.patience_chosen(seconds):
        yield


def check_can_continue(team: str, workers: int) -> None:
    """Check that such a team can go on without lost workers; what is missing is a SettingsError."""
    kind, wanted = kind_of(team), parameter("on_loss", "continue")
    if workers == 1 and kind.processes is None:
        return
    if not kind.survives:
        raise SettingsError(
            f"{wanted} is for the teams threads and mpi: the processes of a {_launching_of(team).job} need all of "
            f"them; choose {parameter('on_loss', 'restart')}"
        )
    if is_member(team):
        _check_started_for_it(wanted)
    elif kind.processes is not None:
        from manyhands.teams.mpi_world import library

        mpi_environment.check_can_outlive(mpi_environment.find_mpiexec(library())[1])


def _check_started_for_it(wanted: str) -> None:
    """Check that the job of this process can go on without some of its processes."""
    if join().can_regroup:
        return
    if mpi_environment.outlives_processes():
        raise SettingsError(
            f"{wanted} is not possible after other code has begun MPI: let this program set mpi4py.rc.initialize = "
            "False before it imports mpi4py.MPI, so that training begins MPI"
        )
    raise SettingsError(
        f"{wanted} needs a job that outlives its processes: start it with mpiexec {mpi_environment.OUTLIVING} of Open "
        f"MPI 5, or choose {parameter('on_loss', 'restart')}"
    )


def _launching_of(team: str) -> Launching:
    """Return how messages speak of the jobs of such a team."""
    return kind_of(team).processes or _launching()


@contextlib.contextmanager
def surviving(team: str, on: bool) -> Iterator[None]:
    """Let the job go on without lost workers for the length of a block, if ``on``; `Team.regroup` does it.

    `check_can_continue` has checked before that it can. Threads need no such thing.
    """
    if not on or not kind_of(team).processes:
        yield
        return
    world = join()
    before, world.survives = world.survives, True
    try:
        yield
    finally:
        world.survives = before


def among_survivors(team: str, work: Callable[[], Result]) -> Result:
    """Return what all survivors have of a piece of work with collectives: done again if a worker is lost meanwhile.

    For the end of a run in a `surviving` block. Where no loss is to be survived, ``work`` is called once.
    """
    world = join() if kind_of(team).processes else None
    if world is None or not world.survives:
        return work()
    while True:
        try:
            result, well = work(), True
        except WorkerLost:
            well = False
        if world.agree(well):
            return result
        world.regroup()


def on_rank_0(team: str, work: Callable[[], None]) -> None:
    """Call ``work`` in rank 0 only; the other processes wait, and leave their cores to it."""
    if leads(team):
        work()
    if kind_of(team).processes:
        join().broadcast_text("", idle=True)
