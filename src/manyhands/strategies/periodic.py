"""Strategy `periodic`: local steps, and every so often the mean of the parameters.

Known as local SGD (Stich 2019) or model averaging every few mini-batches (Su & Chen 2015, arXiv 1507.01239).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from manyhands.errors import SettingsError
from manyhands.strategies.base import LocalStrategy

_PERIOD = re.compile(r"(\d{1,9})\s*(steps?|epochs?)?")


@dataclass(frozen=True)
class Periodic(LocalStrategy):
    """A round every ``every`` steps or epochs, and one at the end.

    Attributes
    ----------
    every
        Length of the local phase, at least 1.
    unit
        ``"step"`` or ``"epoch"``.
    """

    every: int
    unit: str

    @classmethod
    def parse(cls, every: str) -> Periodic:
        """Read ``50``, ``50steps``, ``1epoch`` or ``2epochs``.

        Raises
        ------
        SettingsError
            If it is none of these, or 0.
        """
        match = _PERIOD.fullmatch(every.strip())
        if match is None or int(match[1]) < 1:
            raise SettingsError(
                f"periodic:{every}: the time between rounds is a whole number of steps or epochs from 1 on, "
                "as in periodic:50 or periodic:1epoch"
            )
        return cls(int(match[1]), "epoch" if (match[2] or "").startswith("epoch") else "step")

    @property
    def name(self) -> str:
        """As ``"periodic:50"`` or ``"periodic:1epoch"``."""
        return f"periodic:{self.every}{'epoch' if self.unit == 'epoch' else ''}"

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """At the next multiple of the period, or at the end."""
        period = self.every * (steps_per_epoch if self.unit == "epoch" else 1)
        return min((step // period + 1) * period, total_steps)
