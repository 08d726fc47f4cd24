"""A run's state at the end of an epoch, in one file, from which workers that start anew go on bit for bit.

Every worker's own state is in it: between rounds their parameters differ, and so do the states of their optimizers.
Rank 0 writes the file, whole, to a place that whoever is rank 0 later can read.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import OutputError, SettingsError
from manyhands.core.team import Team
from manyhands.runtime.atomic_files import write_whole
from manyhands.teams.agreement import together
from manyhands.teams.job import all_gather_texts
from manyhands.training.plan import Plan
from manyhands.training.worker_run import WorkerRun

SECONDS = 5.0
_FACTS = "facts"


@dataclass(frozen=True)
class State:
    """What one worker needs to go on.

    Attributes
    ----------
    epoch
        The next one.
    facts
        Counts, as plain data.
    arrays
        Of the learner, and of the stage's rule (``rule.`` before their names).
    """

    epoch: int
    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class Resumable(Protocol):
    """A worker's loop, as far as a checkpoint needs it.

    Attributes
    ----------
    team, plan, worker
        The workers, the run, and this worker's counts.
    """

    team: Team
    plan: Plan
    worker: WorkerRun

    def state(self, epoch: int) -> State:
        """Return all that this worker needs to go on with epoch ``epoch``."""


class Checkpoint:
    """The file of a run, which is written now and then, and removed at the end.

    Parameters
    ----------
    path
        The file.
    identity
        What the file must belong to: settings and data of the run, as plain data.
    seconds
        The least time between two writings; None: `SECONDS`.
    """

    def __init__(self, path: Path, identity: Any, seconds: float | None = None) -> None:
        self._path, self._identity = path, json.loads(json.dumps(identity))
        self._seconds = SECONDS if seconds is None else seconds
        self._written = time.monotonic()

    def load(self, loop: Resumable) -> State | None:
        """Return this worker's state from the file, if there is one; called by all workers.

        Raises
        ------
        SettingsError
            If it is of another run, or damaged.
        OutputError
            If it cannot be read, or could not be written.
        """
        team = loop.team
        with together(loop.plan.team):
            if team.rank == 0 and not os.access(self._path.parent, os.W_OK):
                raise OutputError(f"{self._path}: there is no folder {self._path.parent} that can be written here")
            states = self._read(team.size) if team.rank == 0 else []
        found = json.loads(all_gather_texts(loop.plan.team, [json.dumps([_described(each) for each in states])])[0])
        if not found:
            return None
        mine = found[team.rank]
        arrays = {}
        for rank, described in enumerate(found):
            for name, (dtype, shape) in described["arrays"].items():
                array = states[rank].arrays[name] if states else np.empty(shape, np.dtype(dtype))
                content = np.ascontiguousarray(array)
                if content.size:
                    team.broadcast_(content.reshape(-1).view(np.uint8))
                if rank == team.rank:
                    arrays[name] = content
        return State(mine["epoch"], mine["facts"], arrays)

    def after_epoch(self, loop: Resumable, epoch: int) -> None:
        """Write the file, if it is time; called by all workers at the end of an epoch, before epoch ``epoch``."""
        due = np.array([time.monotonic() - self._written >= self._seconds], np.float64)
        loop.team.broadcast_(due)
        if not due[0]:
            return
        with loop.worker.pause():
            self._write(loop, loop.state(epoch))
        self._written = time.monotonic()

    def remove(self) -> None:
        """Remove the file: the run has ended well."""
        self._path.unlink(missing_ok=True)

    def _write(self, loop: Resumable, state: State) -> None:
        """Gather the states of all workers, and write them on rank 0."""
        team = loop.team
        described = [json.loads(text) for text in all_gather_texts(loop.plan.team, [json.dumps(_described(state))])]
        content: dict[str, Any] = {}
        for name, array in state.arrays.items():
            rows = team.gather(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
            if rows is not None:
                content |= {
                    f"{rank} {name}": row.view(array.dtype).reshape(array.shape) for rank, row in enumerate(rows)
                }
        with together(loop.plan.team):
            if team.rank == 0:
                facts = {"identity": self._identity, "workers": described}
                content[_FACTS] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
                file = io.BytesIO()
                np.savez(file, **content)
                write_whole(self._path, file.getvalue())

    def _read(self, size: int) -> list[State]:
        """Return the states of all workers; none if there is no file."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be read: {error.strerror or error}") from error
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                facts = json.loads(file[_FACTS].tobytes())
                if facts["identity"] != self._identity or len(facts["workers"]) != size:
                    raise SettingsError(
                        f"{self._path}: the checkpoint is of a run with other settings or data; remove it, or name "
                        "another file"
                    )
                return [
                    State(int(each["epoch"]), each["facts"], {name: file[f"{rank} {name}"] for name in each["arrays"]})
                    for rank, each in enumerate(facts["workers"])
                ]
        except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
            if isinstance(error, SettingsError):
                raise
            raise SettingsError(f"{self._path}: is no checkpoint, or damaged: remove it ({error})") from error


def _described(state: State) -> dict[str, Any]:
    arrays = {name: [array.dtype.str, array.shape] for name, array in state.arrays.items()}
    return {"epoch": state.epoch, "facts": state.facts, "arrays": arrays}


def arrays_in(state: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays of a rule's state, by the names of its fields; a rule writes them in place."""
    if not is_dataclass(state):
        return {}
    found = {each.name: getattr(state, each.name) for each in fields(state)}
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}


def restore(state: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays into those of a rule's state."""
    for name, array in arrays_in(state).items():
        array[...] = arrays[name]
