"""Strategy `auto`: which strategy, batch, learning rate and schedule, for so many workers and so much data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from manyhands.learners.mlp.network import MLPSettings
from manyhands.protocols import Strategy
from manyhands.strategies import parse_strategy
from manyhands.training.schedules import RateSchedule


@dataclass(frozen=True)
class Asked:
    """What a user has asked for, and what is left to choose.

    Attributes
    ----------
    settings
        The network; its learning rate is multiplied.
    batch, schedule
        None if they are to be chosen.
    """

    settings: MLPSettings
    batch: int | None
    schedule: RateSchedule | None


def choose(asked: Asked, workers: int, rows: int, epochs: int, classes: int) -> tuple[Strategy, Asked]:
    """Return the strategy, and everything else resolved."""
    return parse_strategy("periodic:1epoch" if workers > 1 else "sequential"), replace(asked)
