"""How many workers a fit has, which team and which strategy: what its place allows."""

from __future__ import annotations

import multiprocessing
import os
import warnings

from joblib.parallel import get_active_backend  # type: ignore[import-untyped]

from manyhands.core.errors import SettingsError
from manyhands.core.strategy import Strategy
from manyhands.core.words import count
from manyhands.runtime.affinity import crowd, usable_cores
from manyhands.strategies import parse_strategy
from manyhands.teams.job import is_member, job_size
from manyhands.teams.registry import CHOICES, SOLO, Launching, kind_of


def workers_and_team(n_workers: int | str | None, team: str) -> tuple[int, str]:
    """Return the number of workers that this process may have, and the team they make.

    ``n_workers`` is None for one (in an MPI job: for all of its processes), or -1 or ``"all"`` for one on each usable
    core. MPI workers that no job has are a SettingsError.
    """
    n_workers = -1 if isinstance(n_workers, str) else n_workers
    if (launching := kind_of(team).processes) is not None:
        return _in_job(n_workers, team, launching)
    number = 1 if n_workers is None else usable_cores() if n_workers == -1 else int(n_workers)
    limit = _threads_of_joblib()
    if limit is not None:
        number = min(number, limit)
    return number, team if number > 1 else SOLO


def check_place(team: str) -> None:
    """Check that a fit by all processes of an MPI job is not asked for inside a worker of joblib.

    A process that joblib has started is not part of the job, and joblib's threads would all communicate at once.
    """
    if team in CHOICES and is_member(team) and _threads_of_joblib() is not None:
        raise SettingsError(
            f"team={team!r} cannot train inside a worker of joblib: set n_jobs=None, and all processes of the MPI job "
            "train each network together, or team='threads'"
        )


def with_rows(number: int, team: str, batch: int, what: str = "batches of ") -> tuple[int, str]:
    """Return as many of the workers as can share a batch; warn if these are fewer, or too many for the cores.

    In an MPI job nobody can stand aside, and the plan refuses. ``what`` is what has so many rows.
    """
    if not kind_of(team).processes and number > batch:
        warnings.warn(f"{number} workers cannot share {what}{count(batch, 'row')}: {batch} train", stacklevel=2)
        number, team = batch, team if batch > 1 else SOLO
    said = None if team == SOLO or kind_of(team).processes else crowd(number)
    if said is not None:
        warnings.warn(said, stacklevel=2)
    return number, team


def _in_job(n_workers: int | None, team: str, launching: Launching) -> tuple[int, str]:
    """Return size and team of the job that this process is in."""
    size = job_size() if is_member(team) else None
    if size is None:
        if n_workers in (None, 1):
            return 1, SOLO
        raise SettingsError(
            f"team={team!r} with n_workers={n_workers} needs a program that {launching.launchers} has started, and "
            f"this one was not; start it with "
            f"{launching.command.format(n_workers if n_workers != -1 else usable_cores())}, or use team='threads'"
        )
    if n_workers not in (None, -1, size):
        raise SettingsError(
            f"this {launching.job} has {count(size, 'process')}, not {n_workers}; start it with "
            f"{launching.command.format(n_workers)}, or leave n_workers out"
        )
    return size, team if size > 1 else SOLO


def _threads_of_joblib() -> int | None:
    """Return how many threads a fit may use inside a worker of joblib; None outside of any.

    joblib divides the cores among its processes and sets their part in the variables that BLAS and OpenMP read.
    Its threads, and whatever it nests, get one each.
    """
    backend, _ = get_active_backend()
    level = backend.nesting_level or 0
    if not level:
        return None
    if level == 1 and multiprocessing.current_process().name.startswith("LokyProcess"):
        threads = os.environ.get("OMP_NUM_THREADS", "")
        return max(int(threads), 1) if threads.isdecimal() else 1
    return 1


def _automatic(team: str) -> str:
    """Return the strategy ``"auto"`` for a team.

    Threads average gradients: the result of one worker up to rounding. Processes would wait for messages too often.
    """
    if team == SOLO:
        return "sequential"
    return "periodic:1epoch" if kind_of(team).processes else "gradient"


def strategy_for(strategy: str | Strategy, team: str) -> Strategy:
    """Return the strategy that an estimator's parameter means; one that a fit cannot follow is a SettingsError."""
    chosen = strategy
    if isinstance(chosen, str):
        chosen = parse_strategy(_automatic(team) if chosen.strip() == "auto" else chosen)
    if chosen.needs.builds_ensemble:
        raise SettingsError(
            f"strategy {chosen.name}: its result is a wider network than the one asked for; choose another merge"
        )
    if chosen.needs.uses_validation:
        raise SettingsError(
            f"strategy {chosen.name}: its merge evaluates on validation rows, which a fit does not have; choose "
            "another, such as merge=mean"
        )
    if chosen.needs.revisits_rows:
        raise SettingsError(
            f"strategy {chosen.name}: its merge computes on training rows again, which a fit does not do; choose "
            "another, such as merge=mean"
        )
    return chosen
