"""Strategy `one-shot`: train apart to the end, then merge once (Todorov et al. 2021, sec. III).

The least talk possible, at a price in accuracy: no worker ever learns from the others' shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manyhands.core.types import Sharding
from manyhands.strategies.base import LocalStrategy, RoundOptions


@dataclass(frozen=True)
class OneShot(LocalStrategy):
    """One round, at the end, on fixed shares as in the paper."""

    sharding: ClassVar[Sharding] = "fixed"
    once: ClassVar[bool] = True

    @classmethod
    def parse(cls, *, options: RoundOptions) -> OneShot:
        """Take nothing but what a round does."""
        return cls(options)

    @property
    def name(self) -> str:
        """As ``"one-shot"`` or ``"one-shot:merge=fisher"``."""
        options = str(self.options).removeprefix(",")
        return f"one-shot:{options}" if options else "one-shot"

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """At the end."""
        return total_steps
