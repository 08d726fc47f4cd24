"""Strategy `diloco`: local steps, and Nesterov's momentum between rounds (Douillard et al. 2023, arXiv 2311.08105).

    D = x0 - mean(x);   m <- mu m + D;   x <- x0 - rate (D + mu m)

Every worker keeps its own state of the inner optimizer. A single worker takes outer steps, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from manyhands.core.grammar import fraction, number
from manyhands.core.lengths import Period
from manyhands.core.strategy import Needs, RoundContext
from manyhands.strategies.base import RoundOptions
from manyhands.strategies.outer import OuterRule, OuterState


@dataclass(frozen=True)
class DiLoCo(OuterRule):
    """Local steps, and rounds with an outer Nesterov step: ``rate`` is its learning rate, ``momentum`` its mu."""

    rate: float = 0.7
    momentum: float = 0.9

    @classmethod
    def parse(cls, every: str = "1epoch", *, options: RoundOptions, rate: str = "0.7", momentum: str = "0.9") -> DiLoCo:
        """Read ``500,rate=0.7,momentum=0.9``."""
        outer = fraction(rate, "rate", "diloco", below=10), fraction(momentum, "momentum", "diloco", below=1)
        return cls(options, Period.parse(every, "diloco"), *outer)

    @property
    def name(self) -> str:
        """As ``"diloco:1epoch"`` or ``"diloco:500,rate=1,momentum=0.5"``."""
        rate = "" if self.rate == 0.7 else f",rate={number(self.rate)}"
        momentum = "" if self.momentum == 0.9 else f",momentum={number(self.momentum)}"
        return f"diloco:{self.every}{rate}{momentum}{self.options}"

    @property
    def needs(self) -> Needs:
        """What the options need; a single worker takes outer steps, too."""
        return replace(super().needs, acts_on_single_worker=True)

    def outer_step_(self, context: RoundContext[OuterState]) -> None:
        """Take the step, from the mean."""
        parameters, x0, momentum = context.learner.parameters, context.state.reference, context.state.momentum
        dtype = parameters.dtype.type
        with context.team.clock.phase("merge"):
            moved = x0 - parameters
            momentum *= dtype(self.momentum)
            momentum += moved
            parameters[:] = x0 - dtype(self.rate) * (moved + dtype(self.momentum) * momentum)
