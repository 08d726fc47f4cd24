"""The kinds of teams, as data: code that depends on how workers communicate looks here and compares no names.

Nothing here imports NumPy or a team: the command line asks these questions too.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from manyhands.core.errors import SettingsError
from manyhands.core.suggestions import choice_of

if TYPE_CHECKING:
    import numpy as np

    from manyhands.core.samples import Control
    from manyhands.core.team import Clock
    from manyhands.teams.crew import Crew


class TeamModule(Protocol):
    """What the module of a kind of team must have."""

    def make_crew(self, clocks: Sequence[Clock], controls: Sequence[Control]) -> Crew:
        """Return this process's workers of a team with one clock and one control for each worker."""

    def warm_up(self, dtype: np.dtype[Any]) -> None:
        """Compile the collectives for vectors of ``dtype``."""


@dataclass(frozen=True)
class Launching:
    """How messages speak of a job whose processes are the workers of a team.

    Attributes
    ----------
    job
        What such a job is called.
    launchers
        The programs with which users start it.
    command
        The beginning of a command that starts ``{}`` processes.
    """

    job: str
    launchers: str
    command: str


@dataclass(frozen=True)
class TeamKind:
    """One kind of team.

    Attributes
    ----------
    name
        What users call it.
    module
        Where it is implemented, see :class:`TeamModule`; imported when a team of this kind starts.
    processes
        How the workers are started, if every worker is a process of its own: by the user, or for the run. None: they
        are started by the process that trains.
    shared_memory
        Whether the workers share memory.
    most_workers
        The largest number of workers; None for any.
    survives
        Whether the workers can go on without those that are lost.
    divides
        Whether some workers can be a team of their own, as those that hold one network together.
    reads
        Who brings the rows to the workers, if not this package; None: this one.
    """

    name: str
    module: str
    processes: Launching | None
    shared_memory: bool
    most_workers: int | None = None
    survives: bool = False
    divides: bool = False
    reads: str | None = None

    def load(self) -> TeamModule:
        """Import the module that implements it."""
        return cast("TeamModule", importlib.import_module(self.module))


_MPI = Launching("MPI job", "mpiexec or srun", "mpiexec -n {}")
_TORCH = Launching("torch job", "torchrun", "torchrun --nproc-per-node {}")
_SPARK = Launching("Spark job", "Spark", "manyhands train --team spark --workers {}")
KINDS = (
    TeamKind("solo", "manyhands.teams.solo", processes=None, shared_memory=True, most_workers=1, divides=True),
    TeamKind("threads", "manyhands.teams.threads", processes=None, shared_memory=True, survives=True, divides=True),
    TeamKind("mpi", "manyhands.teams.processes", processes=_MPI, shared_memory=False, survives=True, divides=True),
    TeamKind("torch", "manyhands.teams.processes", processes=_TORCH, shared_memory=False),
    TeamKind("spark", "manyhands.teams.processes", processes=_SPARK, shared_memory=False, reads="Spark"),
)
SOLO = KINDS[0].name
"""The team of every run that has one worker and starts no processes."""
CHOICES = tuple(kind.name for kind in KINDS if kind.most_workers is None)
"""The teams that a user chooses from."""


def find(name: object) -> TeamKind | None:
    """Return the kind of team of that name; None if there is none."""
    return next((kind for kind in KINDS if isinstance(name, str) and kind.name == name), None)


def kind_of(name: str) -> TeamKind:
    """Return the kind of team of that name; an unknown one is a SettingsError."""
    kind = find(name)
    if kind is None:
        raise SettingsError(f"unknown team {name!r}{choice_of(name, [kind.name for kind in KINDS])}")
    return kind


def check_team(name: str, size: int) -> TeamKind:
    """Check that there is a team ``name`` for ``size`` workers, and return its kind."""
    kind = kind_of(name)
    if not 1 <= size <= (kind.most_workers or size):
        raise SettingsError(f"a team {name!r} of {size} workers is not possible")
    return kind
