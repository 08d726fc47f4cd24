"""Strategy `one-shot`: train apart to the end, then average once (Todorov et al. 2021, sec. III).

The least talk possible, at a price in accuracy: no worker ever learns from the others' shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manyhands.protocols import Sharding
from manyhands.strategies.base import LocalStrategy


@dataclass(frozen=True)
class OneShot(LocalStrategy):
    """One round, at the end, on fixed shares as in the paper."""

    sharding: ClassVar[Sharding] = "fixed"

    @property
    def name(self) -> str:
        """``"one-shot"``."""
        return "one-shot"

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """At the end."""
        return total_steps
