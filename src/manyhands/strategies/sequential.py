"""Strategy `sequential`: one worker, no rounds. The reference that every other strategy is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from manyhands.core.strategy import Needs
from manyhands.strategies.base import DirectRule


@dataclass(frozen=True)
class Sequential(DirectRule):
    """Train on one worker, which has no one to merge with."""

    name = "sequential"

    @property
    def needs(self) -> Needs:
        """One worker."""
        return replace(super().needs, one_worker_only=True)

    @classmethod
    def parse(cls) -> Sequential:
        """Take no arguments."""
        return cls()
