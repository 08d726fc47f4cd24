"""Strategy `minibatch`: draw a mini-batch, train several epochs on it, average (Alowaisheq & Dhami).

Their mappers draw a local mini-batch, pass over it five times, and average their models by Allreduce; then they draw
the next one. Here a worker's mini-batch is so small a part of its samples that E passes over it are the work of one
epoch: for ``minibatch:5epochs`` five passes over a fifth of them. So an epoch costs what it does with any strategy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from manyhands.core.errors import SettingsError
from manyhands.core.strategy import Needs
from manyhands.strategies.base import DirectRule, RoundOptions

_EPOCHS = re.compile(r"(\d{1,9})\s*(epochs?)?")


@dataclass(frozen=True)
class Minibatch(DirectRule):
    """One mini-batch per epoch, ``passes`` over it, and a round after each epoch."""

    passes: int = 5

    @classmethod
    def parse(cls, epochs: str = "5epochs", *, options: RoundOptions) -> Minibatch:
        """Read ``5epochs`` or ``5``."""
        match = _EPOCHS.fullmatch(epochs.strip())
        if match is None or int(match[1]) < 1:
            raise SettingsError(
                f"minibatch:{epochs}: the local epochs on a mini-batch are a whole number from 1 on, as in "
                "minibatch:5epochs"
            )
        return cls(options, int(match[1]))

    @property
    def name(self) -> str:
        """As ``"minibatch:5epochs"``."""
        return f"minibatch:{self.passes}epoch{'s' if self.passes > 1 else ''}{self.options}"

    @property
    def needs(self) -> Needs:
        """Fixed shards, several passes, and what the options need."""
        return replace(super().needs, fixed_shards=True, passes=self.passes)

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """Return the end of the epoch, when the mini-batch is used up."""
        return min((step // steps_per_epoch + 1) * steps_per_epoch, total_steps)
