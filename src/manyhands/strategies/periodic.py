"""Strategy `periodic`: local steps, and a merge after every period.

Known as local SGD (Stich 2019, arXiv 1805.09767) or model averaging every few mini-batches (Su & Chen 2015,
arXiv 1507.01239): x <- mean(x) every H steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from manyhands.core.lengths import Period
from manyhands.strategies.base import DirectRule, RoundOptions


@dataclass(frozen=True)
class Periodic(DirectRule):
    """A round after every period, and one at the end."""

    every: Period = Period(1, "epoch")

    @classmethod
    def parse(cls, every: str, *, options: RoundOptions) -> Periodic:
        """Read ``50``, ``50steps``, ``1epoch`` or ``2epochs``."""
        return cls(options, Period.parse(every, "periodic"))

    @property
    def name(self) -> str:
        """As ``"periodic:1epoch"`` or ``"periodic:50,send=int8"``."""
        return f"periodic:{self.every}{self.options}"

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """Return the next multiple of the period, or the end."""
        return self.every.after(step, steps_per_epoch, total_steps)
