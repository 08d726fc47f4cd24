"""Strategy `hogwild`: all workers update one vector, without locks and without waiting (Niu et al. 2011).

arXiv 1106.5730. There are no rounds: all workers see every step at once. A worker's step is that of its part of the
global batch, so n workers take n steps where a single one would take one; each is sqrt(n) times shorter
(``scale=linear``: n times, ``scale=none``: not at all). Every worker keeps its own optimizer state. No two runs are
equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.learner import Model
from manyhands.core.strategy import LocalRule, Needs, RoundContext
from manyhands.core.suggestions import choice_of
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.strategies.gradient import SCALES


@dataclass(frozen=True)
class HogwildState:
    """The worker's own vector, which it has again at the end."""

    own: Vector


@dataclass(frozen=True)
class Hogwild(LocalRule[HogwildState]):
    """Local steps of all workers on one vector.

    Attributes
    ----------
    scale
        How much shorter the steps of n workers are: n times (``"linear"``), sqrt(n) times (``"sqrt"``) or not
        (``"none"``).
    """

    scale: str = "sqrt"

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise SettingsError(f"hogwild:scale={self.scale}{choice_of(self.scale, SCALES)}")

    @classmethod
    def parse(cls, *, scale: str = "sqrt") -> Hogwild:
        """Read ``scale=linear``."""
        return cls(scale=scale)

    @property
    def name(self) -> str:
        """As ``"hogwild"`` or ``"hogwild:scale=none"``."""
        return "hogwild" if self.scale == "sqrt" else f"hogwild:scale={self.scale}"

    @property
    def needs(self) -> Needs:
        """Shared memory."""
        return Needs(shared_memory=True)

    def rate_factors(
        self, at: NDArray[np.int64], workers: int, growth: float, steps_per_epoch: int, steps: int
    ) -> NDArray[np.float64]:
        """Return one over the scale."""
        return np.full(len(at), 1 / SCALES[self.scale](workers))

    def begin_(self, team: Team, learner: Model) -> HogwildState:
        """Bind all learners to rank 0's vector."""
        own = learner.parameters
        learner.bind(team.shared_vector(own))
        return HogwildState(own)

    def hold_round_(self, context: RoundContext[HogwildState]) -> None:
        """Copy the common vector into each worker's own when all steps have ended."""
        learner, own = context.learner, context.state.own
        context.team.barrier()
        own[:] = learner.parameters
        context.team.barrier()  # the common vector is rank 0's own: no worker continues before all have copied it
        learner.bind(own)
        if len(learner.buffers):
            context.team.mean_(learner.buffers, context.examples)
