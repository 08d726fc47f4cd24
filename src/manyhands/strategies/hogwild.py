"""Strategy `hogwild`: all workers change one vector, without locks and without waiting (Niu et al. 2011).

arXiv 1106.5730. There are no rounds: every step of anyone is at once everyone's. A worker's steps are those of its part
of the global batch, so n workers take n steps while one takes one; each is sqrt(n) times shorter
(``scale=linear``: n times, ``scale=none``: not at all). Optimizer state stays each worker's own. No two runs are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.learner import Learner
from manyhands.core.strategy import RoundContext
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.strategies.base import LocalStrategy
from manyhands.strategies.gradient import SCALES


@dataclass(frozen=True)
class Hogwild(LocalStrategy):
    """One vector for all.

    Attributes
    ----------
    scale
        How much shorter n workers' steps are: n times (``"linear"``), sqrt(n) times (``"sqrt"``) or not (``"none"``).
    """

    scale: str = "sqrt"
    shared_memory: ClassVar[bool] = True
    plain = False

    def __post_init__(self) -> None:
        self.check_plain_options()
        if self.scale not in SCALES:
            raise SettingsError(f"hogwild:scale={self.scale}: choose one of {', '.join(SCALES)}")

    @classmethod
    def parse(cls, *, scale: str = "sqrt") -> Hogwild:
        """Read ``scale=linear``.

        Raises
        ------
        SettingsError
            If there is no such scale.
        """
        return cls(scale=scale)

    @property
    def name(self) -> str:
        """As ``"hogwild"`` or ``"hogwild:scale=none"``."""
        return "hogwild" if self.scale == "sqrt" else f"hogwild:scale={self.scale}"

    def rate_factors(
        self, at: NDArray[np.int64], workers: int, growth: float, steps_per_epoch: int, steps: int
    ) -> NDArray[np.float64]:
        """One over the scale."""
        return np.full(len(at), 1 / SCALES[self.scale](workers))

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """At the end."""
        return total_steps

    def begin_(self, team: Team, learner: Learner) -> dict[str, Vector]:
        """Let everyone write to rank 0's vector."""
        own = learner.parameters
        learner.bind(team.shared_vector(own))
        return {"own": own}

    def hold_round_(self, context: RoundContext) -> None:
        """When all have ended, give everyone a vector of its own again."""
        learner, own = context.learner, context.memory["own"]
        context.team.barrier()
        own[:] = learner.parameters
        context.team.barrier()  # rank 0's own is the common one: nobody goes on before all have copied
        learner.bind(own)
        if len(learner.buffers):
            context.team.mean_(learner.buffers, context.examples)
