"""What strategies have in common: by default no rounds inside steps, and a round is the plain mean."""

from __future__ import annotations

from typing import ClassVar

from manyhands import merges
from manyhands.protocols import Learner, Sharding, Team, Vector


class LocalStrategy:
    """Workers train alone between rounds; subclasses say when a round is due."""

    sharding: ClassVar[Sharding] = "global"
    parallel: ClassVar[bool] = True
    plain: ClassVar[bool] = True
    passes: int = 1

    def talks_inside_step(self, step: int) -> bool:
        """No."""
        return False

    def merge_gradient_(self, team: Team, gradient: Vector, examples: int) -> None:
        """Never called, as no step talks."""
        raise AssertionError("a local strategy holds no rounds inside steps")

    def hold_round_(self, team: Team, learner: Learner, examples: int) -> None:
        """Replace parameters and buffers by their mean, weighted by the examples since the last round."""
        merges.mean_(team, learner, examples)
