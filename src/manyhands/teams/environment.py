"""Which job this process is a member of, if any, whoever has started it: torchrun, an MPI launcher, or this package.

Nothing here imports MPI or PyTorch.
"""

from __future__ import annotations

import os

from manyhands.teams import mpi_environment, spark_environment, torch_environment
from manyhands.teams.mpi_environment import Announcement

_RESTART_COUNTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")


def announced() -> Announcement | None:
    """Return what the launcher of this process's job says about it; None if there is none.

    If there are several, it is torchrun: under srun, it is the one that was started last.
    """
    return spark_environment.announced() or torch_environment.announced() or mpi_environment.announced()


def team_of_job() -> str | None:
    """Return the team that the processes of this one's job are; None outside of any."""
    if spark_environment.announced() is not None:
        return "spark"
    if torch_environment.announced() is not None:
        return "torch"
    return "mpi" if mpi_environment.in_job() else None


def in_job() -> bool:
    """Return whether this process is a member of a job."""
    return team_of_job() is not None


def restarts() -> int:
    """Return how often its launcher has started this job again: torchrun after a failure, Slurm after a requeue."""
    counts = [os.environ.get(name, "") for name in _RESTART_COUNTS]
    return max((int(count) for count in counts if count.isdecimal()), default=0)
