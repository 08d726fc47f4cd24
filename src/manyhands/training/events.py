"""What the training loop tells those who listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


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
    """

    rank: int
    number: int
    step: int


Event = EpochEnded | RoundHeld
Listener = Callable[[Event], None]
"""Called in the worker's thread, on its time: a listener that works long belongs elsewhere."""
