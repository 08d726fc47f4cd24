"""Strategy `minibatch`: draw a mini-batch, train several epochs on it, average (Alowaisheq & Dhami).

Their mappers draw a local mini-batch, go through it five times, and average their models by Allreduce; then they draw
the next one. Here a worker's mini-batch is such a part of its rows that going through it E times is the work of one
epoch: a fifth of them, five times, for ``minibatch:5epochs``. So epochs cost the same as those of any other strategy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from manyhands.core.errors import SettingsError
from manyhands.core.types import Sharding
from manyhands.strategies.base import LocalStrategy, RoundOptions

_EPOCHS = re.compile(r"(\d{1,9})\s*(epochs?)?")


@dataclass(frozen=True)
class Minibatch(LocalStrategy):
    """A mini-batch per epoch, gone through several times; a round after each.

    Attributes
    ----------
    passes
        How often a worker goes through its mini-batch, at least 1.
    """

    passes: int = 5
    sharding: ClassVar[Sharding] = "fixed"

    @classmethod
    def parse(cls, epochs: str = "5epochs", *, options: RoundOptions) -> Minibatch:
        """Read ``5epochs`` or ``5``.

        Raises
        ------
        SettingsError
            If it is neither, or 0.
        """
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

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """When the mini-batch is used up: after as many steps as an epoch has."""
        return min((step // steps_per_epoch + 1) * steps_per_epoch, total_steps)
