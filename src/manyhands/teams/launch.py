"""Starting this process's workers of a team, and ending all of them when one fails or the user says so."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control
from manyhands.core.team import Clock, Team
from manyhands.runtime import signals
from manyhands.runtime.affinity import pin
from manyhands.teams.mpi_environment import announced
from manyhands.teams.solo import Solo

if TYPE_CHECKING:
    from manyhands.teams.threads import ThreadGroup

TEAMS = ("solo", "threads", "mpi")

Result = TypeVar("Result")
Work = Callable[[Team], Result]
Tick = Callable[[], None]

_TICK_SECONDS = 0.2


def check_team(name: str, size: int) -> None:
    """Check that there is a team ``name`` for ``size`` workers.

    Raises
    ------
    SettingsError
        If the team is unknown or cannot have that size.
    """
    if name not in TEAMS:
        raise SettingsError(f"unknown team {name!r}; choose one of {', '.join(TEAMS)}")
    if size < 1 or (name == "solo" and size != 1):
        raise SettingsError(f"a team {name!r} of {size} workers is not possible")


def prepare(name: str, size: int, dtypes: Sequence[np.dtype[Any]], compile_learner: Callable[[], None]) -> None:
    """Compile what a run needs, so that no later clock sees it: the learner, and rounds on vectors of ``dtypes``.

    In an MPI job rank 0 does it first; the others then find it done.
    """

    def compile_all() -> None:
        compile_learner()
        if size > 1 and alone(name):
            from manyhands.teams import threads

            for dtype in dtypes:
                threads.warm_up(dtype)
        elif size > 1:
            from manyhands.teams import mpi

            for dtype in dtypes:
                mpi.warm_up(dtype)

    with signals.insisted():
        if alone(name):
            compile_all()
            return
        from manyhands.teams.agreement import together

        first = job_rank() == 0
        with together(name):
            if first:
                compile_all()
        with together(name):
            if not first:
                compile_all()


def alone(name: str) -> bool:
    """Tell whether this process has all workers of a team ``name`` in it, or is itself one of them."""
    return name != "mpi"


def in_job() -> bool:
    """Tell whether this process is a member of an MPI job, by what launchers tell or by what MPI knows."""
    if announced() is not None:
        return True
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized() and mpi.COMM_WORLD.Get_size() > 1


def job_size() -> int | None:
    """Return the number of processes of the MPI job that this one belongs to; None outside of any.

    Raises
    ------
    SettingsError
        If launcher and library are not of the same MPI.
    """
    if not in_job():
        return None
    from manyhands.teams.mpi_world import join

    return join().size


def job_rank() -> int:
    """Return this process's rank in the MPI job it belongs to; 0 outside of any.

    Raises
    ------
    SettingsError
        As `job_size`.
    """
    if not in_job():
        return 0
    from manyhands.teams.mpi_world import join

    return join().rank


def processes_announced() -> int:
    """Return how many processes a launcher says it has started with this one; 1 outside of any job."""
    told = announced()
    return 1 if told is None else told.size


def check_alone(team: str) -> None:
    """Check that this process may start jobs of its own, which a member of an MPI job may not.

    Raises
    ------
    SettingsError
        If it is one.
    """
    if processes_announced() > 1 or (team == "mpi" and in_job()):
        raise SettingsError(
            "this command starts MPI jobs of its own, one for each number of workers: start it without mpiexec or srun"
        )


def share(name: str, texts: list[str]) -> list[str]:
    """Give every process of a team the texts of all its workers, in rank order.

    Parameters
    ----------
    name
        The team.
    texts
        Those of the workers in this process.
    """
    if alone(name):
        return texts
    from manyhands.teams.mpi_world import join

    return join().share(texts[0])


def launch(
    name: str,
    clocks: Sequence[Clock],
    controls: Sequence[Control],
    work: Work[Result],
    tick: Tick | None = None,
    *,
    pinned: bool = False,
) -> list[Result]:
    """Run ``work(team)`` once per worker, all at the same time; return the results of this process, in rank order.

    Threads all belong to this process; of an MPI job, it is one worker itself. Even a single worker gets a thread of
    its own: the main thread stays free to receive Ctrl-C while compiled code runs for minutes.

    Parameters
    ----------
    name
        One of :data:`TEAMS`.
    clocks, controls
        One per worker, of all workers; their number is the team's size. ``stop`` is set for this process's workers when
        one of them fails, or on Ctrl-C. It is never shared with other processes, which would take the failure for
        their own.
    work
        What every worker does.
    tick
        Called about five times a second in the calling thread while the workers run.
    pinned
        Whether every worker is kept on one core.

    Raises
    ------
    Exception
        The first error any worker raised, after all have ended.
    WorkerLost
        If a worker in another process is gone.
    KeyboardInterrupt
        On Ctrl-C, after all have ended.
    """
    size = len(clocks)
    check_team(name, size)
    crew = _make_crew(name, clocks, controls)
    stops = [controls[team.rank].stop for team in crew.teams]
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    failing = threading.Lock()

    def worker(team: Team) -> None:
        try:
            if pinned:
                pin(crew.place_of(team))
            results[team.rank] = work(team)
        except BaseException as error:
            with failing:
                errors.append(error)
                if len(errors) == 1:  # the cause; what follows are the failures it causes
                    _set(stops)
                    crew.call_off(team.rank, error)

    threads = [
        threading.Thread(target=worker, args=(team,), name=f"manyhands-worker-{team.rank}", daemon=True)
        for team in crew.teams
    ]
    try:
        begin(threads)
        _wait(threads, tick, crew.check)
    except BaseException as error:
        _set(stops)
        crew.call_off(crew.teams[0].rank, error)
        for thread in threads:
            if thread.ident is not None:
                thread.join(crew.join_seconds)
        raise
    crew.dismiss()
    if errors:
        raise errors[0]
    return [results[rank] for rank in sorted(results)]


def begin(threads: Sequence[threading.Thread]) -> None:
    """Let all threads begin.

    Raises
    ------
    SettingsError
        If the system refuses one.
    """
    for number, thread in enumerate(threads):
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            raise SettingsError(
                f"only {number} of {len(threads)} workers could begin, as this system lets a process have no more "
                f"threads (ulimit -u, ulimit -v, or pids.max of its cgroup): use at most {max(number // 2, 1)} workers"
            ) from error


def _set(cells: Sequence[NDArray[np.int64]]) -> None:
    for cell in cells:
        cell[0] = 1


class _Crew(Protocol):
    """The workers of this process, and the ways to end those who depend on them."""

    @property
    def teams(self) -> Sequence[Team]:
        """Every worker's view."""
        ...

    @property
    def join_seconds(self) -> float | None:
        """How long to wait for a worker's end after a failure; None: until it comes."""
        ...

    def place_of(self, team: Team) -> int:
        """Return a worker's number among all workers on this machine."""
        ...

    def call_off(self, rank: int, error: BaseException) -> None:
        """Tell the others that a worker has failed, and why."""
        ...

    def check(self) -> None:
        """Raise WorkerLost if one elsewhere is lost, and those here do not end by themselves."""
        ...

    def dismiss(self) -> None:
        """Take note that all here have ended; raise WorkerLost if the reason lies elsewhere."""
        ...


class _CrewOfThreads:
    """All workers of a team whose workers are threads of this process (or one thread)."""

    join_seconds = None

    def __init__(self, clocks: Sequence[Clock]) -> None:
        self.teams: list[Team] = [Solo(clocks[0])]
        self._room: ThreadGroup | None = None
        if len(clocks) > 1:
            from manyhands.teams.threads import ThreadGroup, ThreadTeam  # compiled code: only when it is needed

            room = ThreadGroup(len(clocks))
            self.teams, self._room = [ThreadTeam(room, rank, clock) for rank, clock in enumerate(clocks)], room

    def place_of(self, team: Team) -> int:
        """Return its rank: all are here."""
        return team.rank

    def call_off(self, rank: int, _error: BaseException) -> None:
        """Tell those who wait in a round."""
        if self._room is not None:
            self._room.call_off(rank)

    def check(self) -> None:
        """There is nobody elsewhere."""

    def dismiss(self) -> None:
        """There is nobody elsewhere."""


def _make_crew(name: str, clocks: Sequence[Clock], controls: Sequence[Control]) -> _Crew:
    """Return this process's workers."""
    if name != "mpi":
        return _CrewOfThreads(clocks)
    from manyhands.teams.mpi import make_crew

    return make_crew(clocks, controls)


def _wait(threads: Sequence[threading.Thread], tick: Tick | None, check: Callable[[], None]) -> None:
    """Wait for all threads, ticking meanwhile."""
    for thread in threads:
        while thread.is_alive():
            thread.join(_TICK_SECONDS)
            signals.check()
            check()
            if tick is not None:
                tick()
