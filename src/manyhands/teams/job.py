"""The job that this process belongs to, if any: which of its processes this is, and how they agree on values.

"Process" and "job" are meant for a team whose workers are processes. For every other team, the workers are all here,
and the functions that exchange something return at once. A job is joined only when that is needed for an answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.words import count
from manyhands.teams.environment import announced, in_job, team_of_job
from manyhands.teams.membership import join
from manyhands.teams.registry import Launching, kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def on_rank_0(team: str, work: Callable[[], None]) -> None:
    """Call ``work`` in rank 0 only; the other processes wait, and leave their cores to it."""
    if leads(team):
        work()
    if kind_of(team).processes:
        join().broadcast_text("", idle=True)
