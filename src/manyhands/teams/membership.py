"""Joining the job that this process is a member of, whatever carries its messages; only then that is imported."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, cast

from manyhands.teams.environment import team_of_job

if TYPE_CHECKING:
    from manyhands.teams.world import World

_WORLDS = {
    "spark": "manyhands.teams.socket_world",
    "torch": "manyhands.teams.torch_world",
    "mpi": "manyhands.teams.mpi_world",
}
"""By team: the module that joins its jobs."""


def join(*, calm: float | None = None, guard: bool = True) -> World:
    """Return this process's place in its job (an MPI job of one outside of any).

    ``calm`` is the patience with a worker that is not training, in seconds; a minute unless given. ``guard`` says
    whether to watch the processes while the job starts, because no one else does. A SettingsError says what is missing
    or does not fit.
    """
    module = importlib.import_module(_WORLDS[team_of_job() or "mpi"])
    return cast("World", module.join(calm=calm, guard=guard))


def joined() -> World | None:
    """Return this process's place in its job if it has joined it; nothing is imported for the question."""
    modules = (sys.modules.get(name) for name in _WORLDS.values())
    return next((world for module in modules if module is not None and (world := module.joined())), None)
