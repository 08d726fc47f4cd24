"""Strategy `gradient`: average the gradients inside every step (synchronous data-parallel SGD).

All workers take the same steps, so the result is the sequential one up to rounding, whatever n is.

With ``scale=linear`` every worker has a batch of its own instead of a part of one: the global batch is n times the
plan's, there are n times fewer steps, and the learning rate is n times the schedule's (``scale=sqrt``: sqrt(n) times,
as is usual for Adam: Krizhevsky 2014, arXiv 1404.5997), ramped up from 1 over the first epochs (Goyal et al. 2017,
arXiv 1706.02677, sec. 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.learner import Learner
from manyhands.core.lengths import Length
from manyhands.core.parameters import parameter
from manyhands.core.strategy import RoundContext, Stage
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.strategies import compression
from manyhands.strategies.base import SENDS, OneStage

SCALES = {"none": lambda times: 1.0, "linear": float, "sqrt": math.sqrt}
"""What the learning rate is multiplied with when the batch is so many times as large."""
_WARM_UP = Length(5, "%")


@dataclass(frozen=True)
class Gradient(OneStage):
    """A round inside every step.

    Attributes
    ----------
    scale
        One of :data:`SCALES`; unless it is ``"none"``, the batch grows with n.
    warmup
        How long the rate rises to its scaled value, linearly.
    send
        What gradients are sent as; see `manyhands.strategies.compression`.
    """

    scale: str = "none"
    warmup: Length = _WARM_UP
    send: str = "full"
    talks_inside_steps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise SettingsError(f"gradient:scale={self.scale}: choose one of {', '.join(SCALES)}")
        if self.send not in SENDS:
            raise SettingsError(f"gradient:send={self.send}: choose one of {', '.join(SENDS)}")

    @classmethod
    def parse(cls, *, scale: str = "none", warmup: str | None = None, send: str = "full") -> Gradient:
        """Read ``scale=linear,warmup=5epochs,send=float16``, each of which may be left out.

        Raises
        ------
        SettingsError
            If a value cannot be.
        """
        if warmup is not None and scale == "none":
            raise SettingsError(
                f"gradient:warmup=...: it goes with scale=linear or scale=sqrt; for others use {parameter('schedule')}"
            )
        return cls(scale, _WARM_UP if warmup is None else Length.parse(warmup, "gradient:warmup"), send)

    @property
    def name(self) -> str:
        """As ``"gradient"`` or ``"gradient:scale=linear,warmup=5%"``."""
        parts = [] if self.scale == "none" else [f"scale={self.scale}", f"warmup={self.warmup}"]
        parts += [] if self.send == "full" else [f"send={self.send}"]
        return f"gradient:{','.join(parts)}" if parts else "gradient"

    @property
    def plain(self) -> bool:
        """Whether gradients are sent as they are."""
        return self.send == "full"

    def stages(self, epochs: int, workers: int, first_decay: int | None) -> tuple[Stage, ...]:
        """One, whose batch may grow with the number of workers."""
        return (Stage(self, epochs, 1 if self.scale == "none" else workers),)

    def rate_factors(
        self, at: NDArray[np.int64], workers: int, growth: float, steps_per_epoch: int, steps: int
    ) -> NDArray[np.float64]:
        """From 1 up to the scale, step by step, then the scale."""
        scale = SCALES[self.scale](growth)
        rising = self.warmup.epochs(steps // steps_per_epoch) * steps_per_epoch
        done = np.minimum((at + 1) / max(rising, 1), 1)
        return np.asarray(1 + (scale - 1) * done)

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """At the end; the parameters are alike already."""
        return total_steps

    def begin_(self, team: Team, learner: Learner) -> dict[str, Vector]:
        """Nothing: rounding errors come later."""
        return {}

    def merge_gradient_(self, team: Team, gradient: Vector, examples: float, memory: dict[str, Vector]) -> None:
        """Average, each worker's gradient in proportion to the rows it is the mean of."""
        if self.send == "full":
            team.mean_(gradient, examples)
        else:
            compression.mean_(team, gradient, examples, self.send, memory)

    def hold_round_(self, context: RoundContext) -> None:
        """Average the buffers alone: they come from local batches, unlike the parameters."""
        if len(context.learner.buffers):
            context.team.mean_(context.learner.buffers, context.examples)
