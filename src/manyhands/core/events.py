"""What happens in a run, as plain data that can be written down and read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

Granularity = Literal["step", "round", "epoch", "end"]
"""How finely a run is followed; each value includes the coarser ones behind it."""


@dataclass(frozen=True)
class StepTaken:
    """A worker has taken an optimizer step.

    Attributes
    ----------
    rank, step
        Which worker, and the step's number from 1.
    loss
        Mean loss over the worker's part of the batch, before the step.
    """

    granularity: ClassVar[Granularity] = "step"
    rank: int
    step: int
    loss: float


@dataclass(frozen=True)
class RoundHeld:
    """The workers have held a round.

    Attributes
    ----------
    rank, number
        Which worker reports it, and the round's number from 1.
    step
        Steps taken so far.
    loss
        The worker's mean loss since the last round; every step has the same weight.
    """

    granularity: ClassVar[Granularity] = "round"
    rank: int
    number: int
    step: int
    loss: float


@dataclass(frozen=True)
class EpochEnded:
    """A worker has finished an epoch.

    Attributes
    ----------
    rank, epoch
        Which worker, and the epoch's number from 1.
    loss
        Mean loss over the worker's examples of this epoch, each taken before its step.
    step, rounds, bytes_sent
        The worker's steps, rounds and bytes sent so far, those inside compiled code included.
    train_s
        Seconds of training so far.
    """

    granularity: ClassVar[Granularity] = "epoch"
    rank: int
    epoch: int
    loss: float
    step: int
    rounds: int
    bytes_sent: int
    train_s: float


@dataclass(frozen=True)
class Measured:
    """The merged parameters were evaluated on rows that no training sees; reported by rank 0 alone.

    Attributes
    ----------
    rank
        0.
    step, round
        Steps taken, and rounds held, so far.
    epoch
        Epochs so far, parts of one included.
    train_s
        Seconds of training so far. The evaluation itself is not in them.
    loss
        Mean of -log(probability of the row's own class).
    accuracy
        Share of rows classified correctly.
    """

    granularity: ClassVar[Granularity] = "epoch"
    rank: int
    step: int
    epoch: float
    round: int
    train_s: float
    loss: float
    accuracy: float


Event = StepTaken | RoundHeld | EpochEnded | Measured
EVENTS: dict[str, type[Event]] = {"step": StepTaken, "round": RoundHeld, "epoch": EpochEnded, "measured": Measured}
"""Every event by the name it has in files."""


def as_record(event: Event) -> dict[str, Any]:
    """Return an event as plain data."""
    name = next(name for name, kind in EVENTS.items() if isinstance(event, kind))
    return {"event": name, **asdict(event)}


def from_record(record: Mapping[str, Any]) -> Event:
    """Return the event that :func:`as_record` has described."""
    values = dict(record)
    return EVENTS[values.pop("event")](**values)
