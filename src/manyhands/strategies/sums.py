"""Strategy `sums`: workers add up what they have found in their shares, so n workers have the model of one.

It is how learners that are made of sums are trained (`manyhands.core.learner.SumLearner`), and no other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from manyhands.core.learner import Model
from manyhands.core.strategy import LocalRule, Needs, RoundContext
from manyhands.core.team import Team


@dataclass(frozen=True)
class Sums(LocalRule[None]):
    """Nothing to merge: the passes of the learner have given all workers the same model."""

    name = "sums"

    @property
    def needs(self) -> Needs:
        """A learner that is made of sums."""
        return replace(super().needs, adds_statistics=True)

    @classmethod
    def parse(cls) -> Sums:
        """Take no arguments."""
        return cls()

    def begin_(self, team: Team, learner: Model) -> None:
        """Keep nothing."""

    def hold_round_(self, context: RoundContext[Any]) -> None:
        """Leave the models: they are the same."""
