"""What SlowMo and DiLoCo have in common: the mean of a round is a direction, along which an outer optimizer steps."""

from __future__ import annotations

from dataclasses import dataclass

from manyhands.core.errors import SettingsError
from manyhands.core.learner import Model
from manyhands.core.lengths import Period
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.strategies import compression
from manyhands.strategies.base import MergeRule, RoundState


@dataclass(frozen=True)
class OuterState(RoundState):
    """State of the outer optimizer: its momentum, and the reference where its steps begin, x0 in the formulas."""

    momentum: Vector


@dataclass(frozen=True)
class OuterRule(MergeRule[OuterState]):
    """Local steps, their merge after every period, and an outer step from the last round's parameters.

    Subclasses take the step.
    """

    every: Period = Period(1, "epoch")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.options.starts == "own":
            raise SettingsError(f"every={self.every}: outer steps begin at common parameters: no starts=own")

    @property
    def fusable(self) -> bool:
        """False: a round is more than a mean."""
        return False

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """Return the next multiple of the period, or the end."""
        return self.every.after(step, steps_per_epoch, total_steps)

    def begin_(self, team: Team, learner: Model) -> OuterState:
        """Return the reference, and a momentum of zero."""
        start = learner.parameters.copy()
        return OuterState(start, compression.residuals_for(team, start, self.options.send), start * 0)
