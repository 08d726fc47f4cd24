"""What one worker needs to go on, and how the states of all workers come together and go apart again.

Every worker has a state of its own: between rounds their parameters differ, and so do the states of their optimizers.
What all have in common is kept once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.team import Team

RULE, CALLBACK = "rule.", "callback."
"""Before the names of arrays that belong to the stage's rule, and to a callback, by its name."""
LOSSES = "losses"
"""The losses of the steps so far of an epoch that has not ended."""
PARAMETERS = "parameters"


@dataclass(frozen=True)
class State:
    """What one worker needs to go on.

    Attributes
    ----------
    epoch, step
        The epoch to go on with, and how many of its steps have been taken.
    facts
        Counts, as plain data.
    arrays
        Of the learner; of the stage's rule and of callbacks (see `RULE` and `CALLBACK`); losses.
    common
        Names of the arrays that are the same on all workers.
    """

    epoch: int
    step: int
    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    common: frozenset[str] = frozenset()

    @property
    def synchronized(self) -> bool:
        """Whether all workers have the same parameters."""
        return PARAMETERS in self.common

    def described(self) -> dict[str, Any]:
        """Return everything but the values of the arrays, as plain data."""
        arrays = {name: [array.dtype.str, list(array.shape)] for name, array in self.arrays.items()}
        return {
            "epoch": self.epoch,
            "step": self.step,
            "facts": self.facts,
            "arrays": arrays,
            "common": sorted(self.common),
        }

    @classmethod
    def of(cls, described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> State:
        """Return the state that was described, with these arrays."""
        own = {name: arrays[name] for name in described["arrays"]}
        common = frozenset(described["common"])
        return cls(int(described["epoch"]), int(described["step"]), dict(described["facts"]), own, common)


def arrays_in(state: Any, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Return the arrays of a rule's state, and of the states in it, by the names of their fields."""
    if not is_dataclass(state):
        return {}
    found: dict[str, NDArray[Any]] = {}
    for each in fields(state):
        value = getattr(state, each.name)
        if isinstance(value, np.ndarray):
            found[f"{prefix}{each.name}"] = value
        else:
            found |= arrays_in(value, f"{prefix}{each.name}.")
    return found


def restore(state: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays into those of a rule's state; of one that has another length now, nothing can be kept."""
    for name, array in arrays_in(state).items():
        if array.shape == arrays[name].shape:
            array[...] = arrays[name]


def under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def gather(team: Team, state: State) -> list[State] | None:
    """Return the states of all workers on rank 0; None elsewhere."""
    texts = gather_texts(team, json.dumps(state.described()))
    described = None if texts is None else [json.loads(text) for text in texts]
    found: list[dict[str, NDArray[Any]]] = [{} for _ in range(team.size)]
    for name in sorted(state.arrays):
        array = np.ascontiguousarray(state.arrays[name])
        if name in state.common:
            for each in found:
                each[name] = array
            continue
        rows = _gather_bytes(team, array.reshape(-1).view(np.uint8))
        if rows is not None and described is not None:
            for rank, row in enumerate(rows):
                dtype, shape = described[rank]["arrays"][name]
                found[rank][name] = row.view(np.dtype(dtype)).reshape(shape)
    if described is None:
        return None
    return [State.of(each, arrays) for each, arrays in zip(described, found, strict=True)]


def scatter(team: Team, states: Sequence[State] | None, place: int) -> State:
    """Give every worker its state of those that rank 0 has: the one of number ``place``."""
    described = json.loads(broadcast_text(team, json.dumps([each.described() for each in states or ()])))
    mine: dict[str, NDArray[Any]] = {}
    for rank, each in enumerate(described):
        for name, (dtype, shape) in each["arrays"].items():
            if name in each["common"] and rank:
                continue  # it has come with the first worker's
            array = np.ascontiguousarray(states[rank].arrays[name]) if states else np.empty(shape, np.dtype(dtype))
            if array.size:
                team.broadcast_(array.reshape(-1).view(np.uint8))
            if rank == place or name in each["common"]:
                mine[name] = array.reshape(shape)
    return State.of(described[place], mine)


def joined(states: Sequence[State]) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Return the states of all workers as plain data, and all arrays by one name each."""
    arrays = {
        f"{'all' if name in state.common else rank} {name}": array
        for rank, state in enumerate(states)
        for name, array in state.arrays.items()
    }
    return [state.described() for state in states], arrays


def parted(described: Sequence[Mapping[str, Any]], arrays: Mapping[str, NDArray[Any]]) -> list[State]:
    """Return the states that :func:`joined` has put together."""
    return [
        State.of(each, {name: arrays[f"{'all' if name in each['common'] else rank} {name}"] for name in each["arrays"]})
        for rank, each in enumerate(described)
    ]


def for_other_team(states: Sequence[State], workers: int) -> list[State]:
    """Return states for another number of workers, made of those of workers that have the same parameters.

    Optimizer state, buffers and rounding errors that are still to be sent are the means of all workers' own.
    """
    first = states[0]
    arrays = {name: _mean([state.arrays[name] for state in states]) for name in first.arrays}
    return [State(first.epoch, first.step, first.facts, dict(arrays), first.common) for _ in range(workers)]


def _mean(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the mean of floats of one shape, and the largest of whole numbers."""
    first = arrays[0]
    if any(array.shape != first.shape for array in arrays) or all(array is first for array in arrays):
        return first
    if first.dtype.kind != "f":
        return np.asarray(np.max(arrays, axis=0))
    return np.asarray(np.mean(arrays, axis=0, dtype=np.float64)).astype(first.dtype)


def gather_texts(team: Team, text: str) -> list[str] | None:
    """Return the texts of all workers on rank 0, whatever kind of team they are; None elsewhere."""
    rows = _gather_bytes(team, np.frombuffer(text.encode(), np.uint8).copy())
    return None if rows is None else [row.tobytes().decode() for row in rows]


def broadcast_text(team: Team, text: str) -> str:
    """Return rank 0's text on all workers, whatever kind of team they are."""
    content = np.frombuffer(text.encode(), np.uint8).copy()
    length = np.array([len(content)], np.float64)
    team.broadcast_(length)
    if team.rank:
        content = np.zeros(int(length[0]), np.uint8)
    team.broadcast_(content)
    return content.tobytes().decode()


def _gather_bytes(team: Team, content: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]] | None:
    """Return all workers' bytes, which may be of different lengths, on rank 0; None elsewhere."""
    lengths = np.zeros(team.size)
    lengths[team.rank] = len(content)
    team.sum_(lengths)
    padded = content
    if len(content) < lengths.max():
        padded = np.zeros(int(lengths.max()), np.uint8)
        padded[: len(content)] = content
    rows = team.gather(padded)
    return None if rows is None else (row[: int(length)] for row, length in zip(rows, lengths, strict=True))
