"""Strategy `one-shot`: every worker trains independently to the end, then one merge (Todorov et al. 2021, sec. III).

It communicates the least, at a price in accuracy: no worker ever learns from the others' shards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from manyhands.core.strategy import Needs
from manyhands.strategies.base import DirectRule, RoundOptions


@dataclass(frozen=True)
class OneShot(DirectRule):
    """One round, at the end, on fixed shards as in the paper."""

    once: ClassVar[bool] = True

    @classmethod
    def parse(cls, *, options: RoundOptions) -> OneShot:
        """Take nothing but the options of the round."""
        return cls(options)

    @property
    def name(self) -> str:
        """As ``"one-shot"`` or ``"one-shot:merge=fisher"``."""
        options = str(self.options).removeprefix(",")
        return f"one-shot:{options}" if options else "one-shot"

    @property
    def needs(self) -> Needs:
        """Fixed shards, and what the options need."""
        return replace(super().needs, fixed_shards=True)
