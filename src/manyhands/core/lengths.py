"""Lengths in the grammar of strategies and schedules: the time between two rounds, and the part of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from manyhands.core.errors import SettingsError
from manyhands.core.grammar import number

_PERIOD = re.compile(r"(\d{1,9})\s*(steps?|epochs?)?")
_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{1,20})?)\s*(%|epochs?)")


@dataclass(frozen=True)
class Period:
    """The time between two rounds: ``every`` steps or epochs, as ``unit`` says (``"step"`` or ``"epoch"``)."""

    every: int
    unit: str

    @classmethod
    def parse(cls, text: str, strategy: str) -> Period:
        """Read ``50``, ``50steps``, ``1epoch`` or ``2epochs``; anything else, or 0, is a SettingsError."""
        match = _PERIOD.fullmatch(text.strip())
        if match is None or int(match[1]) < 1:
            raise SettingsError(
                f"{strategy}:{text}: the time between two rounds is a whole number of steps or epochs from 1 on, "
                f"as in {strategy}:50 or {strategy}:1epoch"
            )
        return cls(int(match[1]), "epoch" if (match[2] or "").startswith("epoch") else "step")

    def __str__(self) -> str:
        return f"{self.every}{'epoch' if self.unit == 'epoch' else ''}"

    def after(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """Return the next multiple of the period after ``step``, or the end."""
        period = self.every * (steps_per_epoch if self.unit == "epoch" else 1)
        return min((step // period + 1) * period, total_steps)


@dataclass(frozen=True)
class Length:
    """A part of a run: an ``amount`` of percents or epochs, as ``unit`` says (``"%"`` or ``"epoch"``)."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str, where: str) -> Length:
        """Read ``20%``, ``15epochs`` or ``1.5epochs``; anything else, or more than 100 %, is a SettingsError."""
        match = _LENGTH.fullmatch(text.strip())
        if match is None or (match[2] == "%" and float(match[1]) > 100):
            raise SettingsError(f"{where}: {text!r} is not a part of a run; write it as 20% or 15epochs")
        return cls(float(match[1]), "%" if match[2] == "%" else "epoch")

    def __str__(self) -> str:
        plural = "s" if self.amount != 1 else ""
        return f"{number(self.amount)}{'%' if self.unit == '%' else 'epoch' + plural}"

    def epochs(self, total: int) -> float:
        """Return its length in epochs, for a run of ``total``."""
        return self.amount * total / 100 if self.unit == "%" else self.amount
