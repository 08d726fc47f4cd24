"""Strategy `easgd`: elastic averaging, each worker tied to a centre by a spring (Zhang, Choromanska & LeCun 2015).

    d = a (x_i - c);   x_i <- x_i - d;   c <- c + d        every H steps, by each worker at its own time

arXiv 1412.6651, the asynchronous variant, eq. 5 and 6. The centre c is one vector in shared memory, and no worker waits
for another, so no two runs are equal. The centre is the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from manyhands.core.grammar import fraction, number
from manyhands.core.learner import Model
from manyhands.core.lengths import Period
from manyhands.core.strategy import LocalRule, Needs, RoundContext
from manyhands.core.team import Team
from manyhands.core.types import Vector


@dataclass(frozen=True)
class EASGDState:
    """One vector ``centre`` for all workers."""

    centre: Vector


@dataclass(frozen=True)
class EASGD(LocalRule[EASGDState]):
    """Local steps, and exchanges with a centre after every period.

    ``strength`` is n a, the sum of the constants of all springs; 0.9 as in the paper.
    """

    every: Period = Period(10, "step")
    strength: float = 0.9

    @classmethod
    def parse(cls, every: str = "10", *, strength: str = "0.9") -> EASGD:
        """Read ``10,strength=0.9``."""
        return cls(every=Period.parse(every, "easgd"), strength=fraction(strength, "strength", "easgd", below=2))

    @property
    def name(self) -> str:
        """As ``"easgd:10"`` or ``"easgd:10,strength=0.5"``."""
        return f"easgd:{self.every}" + ("" if self.strength == 0.9 else f",strength={number(self.strength)}")

    @property
    def needs(self) -> Needs:
        """Shared memory."""
        return Needs(shared_memory=True)

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """Return the next multiple of the period, or the end."""
        return self.every.after(step, steps_per_epoch, total_steps)

    def begin_(self, team: Team, learner: Model) -> EASGDState:
        """Return a centre that all workers share."""
        return EASGDState(team.shared_vector(learner.parameters.copy()))

    def hold_round_(self, context: RoundContext[EASGDState]) -> None:
        """Pull this worker and the centre together; at the end, copy the centre."""
        parameters, centre, team = context.learner.parameters, context.state.centre, context.team
        with team.clock.phase("merge"):
            pull = parameters.dtype.type(self.strength / team.size) * (parameters - centre)
            parameters -= pull
            centre += pull  # part of another worker's pull at the same moment may be lost: that is accepted
        team.bytes_sent += parameters.nbytes
        if context.last:
            team.barrier()
            parameters[:] = centre
            if len(context.learner.buffers):
                team.mean_(context.learner.buffers, context.examples)
