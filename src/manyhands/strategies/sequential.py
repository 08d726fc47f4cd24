"""Strategy `sequential`: one worker, no rounds. The reference that every other strategy is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manyhands.strategies.base import LocalStrategy


@dataclass(frozen=True)
class Sequential(LocalStrategy):
    """Train on one worker."""

    parallel: ClassVar[bool] = False

    @classmethod
    def parse(cls) -> Sequential:
        """Take no arguments."""
        return cls()

    @property
    def name(self) -> str:
        """``"sequential"``."""
        return "sequential"

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """At the end, where a team of one has nothing to merge."""
        return total_steps
