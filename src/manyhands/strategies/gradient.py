"""Strategy `gradient`: average the gradients inside every step (synchronous data-parallel SGD).

All workers take the same steps, so the result is the sequential one up to rounding, whatever n is.

With ``scale=linear`` every worker has a whole batch instead of a part of one: the global batch is n times the plan's,
there are n times fewer steps, and the learning rate is n times the schedule's (``scale=sqrt``: sqrt(n) times, as is
usual for Adam: Krizhevsky 2014, arXiv 1404.5997), after a linear warm-up over the first epochs (Goyal et al. 2017,
arXiv 1706.02677, sec. 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.learner import Model
from manyhands.core.lengths import Length
from manyhands.core.strategy import GradientRule
from manyhands.core.suggestions import choice_of
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.strategies import compression
from manyhands.strategies.base import SENDS
from manyhands.strategies.compression import Residuals

SCALES = {"none": lambda times: 1.0, "linear": float, "sqrt": math.sqrt}
"""What the learning rate is multiplied by, for a batch that is so many times as large."""
_WARM_UP = Length(5, "%")


@dataclass(frozen=True)
class Gradient(GradientRule["Residuals | None"]):
    """A round inside every step.

    Attributes
    ----------
    scale
        How the learning rate grows with the batch, one of :data:`SCALES`.
    warmup
        How long the learning rate rises to its scaled value, linearly.
    send
        How gradients are sent; see `manyhands.strategies.compression`.
    large_batch
        Whether the batch grows with n even if ``scale`` is ``"none"``; it does with every other scale.
    """

    scale: str = "none"
    warmup: Length = _WARM_UP
    send: str = "full"
    large_batch: bool = False

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise SettingsError(f"gradient:scale={self.scale}{choice_of(self.scale, SCALES)}")
        if self.send not in SENDS:
            raise SettingsError(f"gradient:send={self.send}{choice_of(self.send, SENDS)}")

    @classmethod
    def parse(cls, *, scale: str = "none", warmup: str | None = None, send: str = "full") -> Gradient:
        """Read ``scale=linear,warmup=5epochs,send=float16``, each of which may be left out."""
        if warmup is not None and scale == "none":
            raise SettingsError(
                "gradient:warmup=...: it goes with scale=linear or scale=sqrt; for others set a schedule"
            )
        return cls(scale, _WARM_UP if warmup is None else Length.parse(warmup, "gradient:warmup"), send)

    @property
    def name(self) -> str:
        """As ``"gradient"`` or ``"gradient:scale=linear,warmup=5%"``."""
        parts = [] if self.scale == "none" else [f"scale={self.scale}", f"warmup={self.warmup}"]
        parts += [] if self.send == "full" else [f"send={self.send}"]
        return f"gradient:{','.join(parts)}" if parts else "gradient"

    @property
    def fusable(self) -> bool:
        """Whether gradients are sent as they are."""
        return self.send == "full"

    def batch_factor(self, workers: int) -> int:
        """Return the number of workers for large batches, else 1."""
        return workers if self.large_batch or self.scale != "none" else 1

    def rate_factors(
        self, at: NDArray[np.int64], workers: int, growth: float, steps_per_epoch: int, steps: int
    ) -> NDArray[np.float64]:
        """Return factors that rise from 1 to the scale during the warm-up, and are the scale then."""
        scale = SCALES[self.scale](growth)
        rising = self.warmup.epochs(steps // steps_per_epoch) * steps_per_epoch
        done = np.minimum((at + 1) / max(rising, 1), 1)
        return np.asarray(1 + (scale - 1) * done)

    def begin_(self, team: Team, learner: Model) -> Residuals | None:
        """Return the residuals of compressed gradients; for full ones there is no state."""
        return compression.residuals_for(team, learner.parameters, self.send)

    def merge_gradient_(self, team: Team, gradient: Vector, examples: float, state: Residuals | None) -> None:
        """Average the gradients of all workers, weighted by their samples."""
        if state is None:
            team.mean_(gradient, examples)
        else:
            compression.mean_(team, gradient, examples, self.send, state)
