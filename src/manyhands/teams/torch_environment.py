"""Which job of torch.distributed this process belongs to, as torchrun, or a job of our own, says in its variables.

Nothing here imports PyTorch: the command line asks these questions before it knows whether it is needed at all.
"""

from __future__ import annotations

import os
from pathlib import Path

from manyhands.teams.mpi_environment import Announcement, outside_of_jobs

STORE = "MANYHANDS_TORCH_STORE"
"""Variable with the path of the file through which the processes of a job of our own find each other."""
_TORCHRUN = "TORCHELASTIC_RUN_ID"


def announced() -> Announcement | None:
    """Return what is said about this process; None if it is in no such job."""
    if STORE not in os.environ and _TORCHRUN not in os.environ:
        return None
    try:
        return Announcement(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "torchrun")
    except (KeyError, ValueError):
        return None


def local_rank() -> int:
    """Return this process's number among those of the job on its machine."""
    return int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))


def node() -> str:
    """Return which of torchrun's agents has started this process; a machine's name need not be unique."""
    return os.environ.get("GROUP_RANK", "")


def attempt() -> str:
    """Return how often torchrun has started the job again; its store keeps what earlier processes have left in it."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


def has_owner() -> bool:
    """Return whether the job is one of our own, whose owner watches its processes."""
    return STORE in os.environ


def is_on_one_machine() -> bool:
    """Return whether all processes of the job are on this machine."""
    return has_owner() or os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]


def job_environment(rank: int, size: int, store: Path) -> dict[str, str]:
    """Return the environment for process ``rank`` of a job on this machine that meets in the file ``store``."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, STORE: store}
    return outside_of_jobs() | {name: str(value) for name, value in place.items()}
