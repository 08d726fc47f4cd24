"""What the training loop tells those who listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EpochEnded:
    """A worker has finished an epoch.

    Attributes
    ----------
    rank, epoch
        Which worker, and the epoch's number from 1.
    loss
        Mean loss over the worker's examples of this epoch, each taken before its step.
    """

    rank: int
    epoch: int
    loss: float


@dataclass(frozen=True)
class RoundHeld:
    """The workers have held a round.

    Attributes
    ----------
    rank, number
        Which worker says so, and the round's number from 1.
    step
        Steps taken so far.
    loss
        The worker's mean loss since the last round, each step counting alike.
    """

    rank: int
    number: int
    step: int
    loss: float


@dataclass(frozen=True)
class Measured:
    """The merged parameters were tried on rows that no training sees; told by rank 0 alone.

    Attributes
    ----------
    rank
        0.
    step, round
        Steps taken, and rounds held, so far.
    epoch
        Epochs so far, parts of one included.
    train_s
        Seconds of training so far. Measuring itself is not in them.
    loss
        Mean of -log(probability of the row's own class).
    accuracy
        Share of rows classified correctly.
    """

    rank: int
    step: int
    epoch: float
    round: int
    train_s: float
    loss: float
    accuracy: float


Event = EpochEnded | RoundHeld | Measured
EVENTS: dict[str, type[Event]] = {"epoch": EpochEnded, "round": RoundHeld, "measured": Measured}
"""Every event by the name it has in files."""


def as_record(event: Event) -> dict[str, Any]:
    """Return an event as plain data."""
    name = next(name for name, kind in EVENTS.items() if isinstance(event, kind))
    return {"event": name, **asdict(event)}


def from_record(record: Mapping[str, Any]) -> Event:
    """Return the event that :func:`as_record` has described."""
    values = dict(record)
    return EVENTS[values.pop("event")](**values)


Listener = Callable[[Event], None]
"""Called in the worker's thread, on its time: a listener that works long belongs elsewhere."""
