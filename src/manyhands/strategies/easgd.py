"""Strategy `easgd`: every worker is tied to a common centre by a spring (Zhang, Choromanska & LeCun 2015).

    d = a (x_i - c);   x_i <- x_i - d;   c <- c + d        every H steps, by each worker at its own time

arXiv 1412.6651, the asynchronous variant, eq. 5 and 6. The centre c is one vector in shared memory, and nobody waits
for anybody, so no two runs are alike. The centre is the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manyhands.core.grammar import fraction, number
from manyhands.core.learner import Learner
from manyhands.core.lengths import Period
from manyhands.core.strategy import RoundContext
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.strategies.base import LocalStrategy


@dataclass(frozen=True)
class EASGD(LocalStrategy):
    """Local steps, and exchanges with a centre.

    Attributes
    ----------
    every
        Steps between two exchanges.
    strength
        n a, the sum of all workers' springs; 0.9 as in the paper.
    """

    every: Period = Period(10, "step")
    strength: float = 0.9
    shared_memory: ClassVar[bool] = True
    plain = False

    def __post_init__(self) -> None:
        self.check_plain_options()

    @classmethod
    def parse(cls, every: str = "10", *, strength: str = "0.9") -> EASGD:
        """Read ``10,strength=0.9``.

        Raises
        ------
        SettingsError
            If a value cannot be.
        """
        return cls(every=Period.parse(every, "easgd"), strength=fraction(strength, "strength", "easgd", below=2))

    @property
    def name(self) -> str:
        """As ``"easgd:10"`` or ``"easgd:10,strength=0.5"``."""
        return f"easgd:{self.every}" + ("" if self.strength == 0.9 else f",strength={number(self.strength)}")

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """At the next multiple of the period, or at the end."""
        return self.every.after(step, steps_per_epoch, total_steps)

    def begin_(self, team: Team, learner: Learner) -> dict[str, Vector]:
        """Lay the centre open to all."""
        return {"centre": team.shared_vector(learner.parameters.copy())}

    def hold_round_(self, context: RoundContext) -> None:
        """Pull this worker and the centre together; at the end, become the centre."""
        parameters, centre, team = context.learner.parameters, context.memory["centre"], context.team
        with team.clock.phase("merge"):
            pull = parameters.dtype.type(self.strength / team.size) * (parameters - centre)
            parameters -= pull
            centre += pull  # a pull of someone else's at the same moment may be lost in part: that is accepted
        team.bytes_sent += parameters.nbytes
        if context.last:
            team.barrier()
            parameters[:] = centre
            if len(context.learner.buffers):
                team.mean_(context.learner.buffers, context.examples)
