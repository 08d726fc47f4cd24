"""Strategy `gradient`: average the gradients inside every step (synchronous data-parallel SGD).

All workers take the same steps, so the result is the sequential one up to rounding, whatever n is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manyhands.protocols import Learner, Sharding, Team, Vector


@dataclass(frozen=True)
class Gradient:
    """A round inside every step."""

    sharding: ClassVar[Sharding] = "global"
    parallel: ClassVar[bool] = True
    plain: ClassVar[bool] = True
    passes: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """``"gradient"``."""
        return "gradient"

    def talks_inside_step(self, step: int) -> bool:
        """Yes."""
        return True

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """At the end; the parameters are alike already."""
        return total_steps

    def merge_gradient_(self, team: Team, gradient: Vector, examples: int) -> None:
        """Average, each worker's gradient in proportion to the rows it is the mean of."""
        team.mean_(gradient, examples)

    def hold_round_(self, team: Team, learner: Learner, examples: int) -> None:
        """Average the buffers alone: they come from local batches, unlike the parameters."""
        if len(learner.buffers):
            team.mean_(learner.buffers, examples)
