"""What SlowMo and DiLoCo have in common: the mean of a round is a direction, along which an outer optimizer steps."""

from __future__ import annotations

from dataclasses import dataclass

from manyhands.core.errors import SettingsError
from manyhands.core.learner import Learner
from manyhands.core.lengths import Period
from manyhands.core.strategy import RoundContext
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.strategies.base import LocalStrategy


@dataclass(frozen=True)
class OuterStrategy(LocalStrategy):
    """Local steps, their mean, and an outer step from the last round's parameters x0; subclasses take the step.

    Attributes
    ----------
    every
        Length of the local stage.
    """

    every: Period = Period(1, "epoch")
    plain = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.options.starts == "own":
            raise SettingsError(f"every={self.every}: outer steps begin where all workers are alike: no starts=own")

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """At the next multiple of the period, or at the end."""
        return self.every.after(step, steps_per_epoch, total_steps)

    def begin_(self, team: Team, learner: Learner) -> dict[str, Vector]:
        """Remember x0, and a momentum of zero."""
        started = learner.parameters.copy()
        return {**super().begin_(team, learner), "x0": started, "momentum": started * 0}

    def _merge_(self, context: RoundContext) -> None:
        super()._merge_(context)
        with context.team.clock.phase("merge"):
            self.outer_step_(context)
        context.memory["x0"][:] = context.learner.parameters
        if "base" in context.memory:
            context.memory["base"][:] = context.learner.parameters

    def outer_step_(self, context: RoundContext) -> None:
        """Replace the parameters, which are the mean, by what the outer optimizer makes of them."""
        raise NotImplementedError
