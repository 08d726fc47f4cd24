"""Strategy `slowmo`: local SGD with a slow momentum between rounds (Wang et al. 2019, arXiv 1910.00643, algorithm 1).

    u <- b u + (x0 - mean(x)) / lr;   x <- x0 - a lr u

x0 are the parameters after the last round and lr the learning rate. With b = 0 and a = 1 this is local SGD.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from manyhands.core.grammar import fraction, number
from manyhands.core.lengths import Period
from manyhands.core.strategy import Needs, RoundContext
from manyhands.strategies.base import RoundOptions
from manyhands.strategies.outer import OuterRule, OuterState

_BETAS = ((16, 0.6), (8, 0.5), (4, 0.2))
"""The paper's choices of b, each with the least number of workers that it is for."""


@dataclass(frozen=True)
class SlowMo(OuterRule):
    """Local steps, and rounds with a slow momentum.

    Attributes
    ----------
    beta
        The momentum b; None: 0 for n < 4, 0.2 from 4, 0.5 from 8, 0.6 from 16 workers on.
    alpha
        The slow learning rate a.
    """

    beta: float | None = None
    alpha: float = 1.0

    @classmethod
    def parse(cls, every: str = "1epoch", *, options: RoundOptions, beta: str = "auto", alpha: str = "1") -> SlowMo:
        """Read ``1epoch,beta=0.5,alpha=1``."""
        momentum = None if beta == "auto" else fraction(beta, "beta", "slowmo", below=1)
        return cls(options, Period.parse(every, "slowmo"), momentum, fraction(alpha, "alpha", "slowmo", below=10))

    @property
    def name(self) -> str:
        """As ``"slowmo:1epoch"`` or ``"slowmo:1epoch,beta=0.5,alpha=0.9"``."""
        beta = "" if self.beta is None else f",beta={number(self.beta)}"
        alpha = "" if self.alpha == 1 else f",alpha={number(self.alpha)}"
        return f"slowmo:{self.every}{beta}{alpha}{self.options}"

    @property
    def needs(self) -> Needs:
        """What the options need; a single worker has a slow momentum, too, if the user has set one."""
        return replace(super().needs, acts_on_single_worker=bool(self.beta) or self.alpha != 1)

    def beta_for(self, workers: int) -> float:
        """Return the momentum b for this number of workers."""
        if self.beta is not None:
            return self.beta
        return next((beta for least, beta in _BETAS if workers >= least), 0.0)

    def outer_step_(self, context: RoundContext[OuterState]) -> None:
        """Take the step, from the mean."""
        beta, rate = self.beta_for(context.team.size), context.rate
        if beta == 0 and self.alpha == 1:
            return  # x0 - (x0 - mean) is the mean, but not to the last bit if it is computed
        if rate == 0:  # no step since the last round has changed anything, and 0 / 0 is no direction
            return
        parameters, x0, momentum = context.learner.parameters, context.state.reference, context.state.momentum
        dtype = parameters.dtype.type
        with context.team.clock.phase("merge"):
            momentum *= dtype(beta)
            momentum += (x0 - parameters) / dtype(rate)
            parameters[:] = x0 - dtype(self.alpha * rate) * momentum
