"""The time between two checkpoints, in a module without NumPy: the command line's help is made of settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from manyhands.core.errors import SettingsError

_CADENCE = re.compile(r"(\d{1,9}(?:\.\d{1,20})?)\s*(s|seconds?|min|minutes?|h|hours?|epochs?|rounds?)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Cadence:
    """The time between two checkpoints: so many seconds, epochs or rounds, as ``unit`` says."""

    every: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Cadence:
        """Read ``5epochs``, ``60s``, ``10min``, ``1h`` or ``100rounds``; anything else is a SettingsError."""
        match = _CADENCE.fullmatch(text.strip())
        if match is None or not float(match[1]) > 0:
            raise SettingsError(f"{text!r} is no time between two checkpoints: write 5epochs, 60s, 10min or 100rounds")
        amount, unit = float(match[1]), match[2]
        if unit[0] not in "er":
            return cls(amount * _SECONDS[unit[0]], "second")
        if amount != int(amount):
            raise SettingsError(f"{text!r}: checkpoints come after whole numbers of {unit.rstrip('s')}s")
        return cls(int(amount), "epoch" if unit.startswith("epoch") else "round")

    def __str__(self) -> str:
        words = "s" if self.unit == "second" else f"{self.unit}{'s' if self.every != 1 else ''}"
        return f"{self.every:.12g}{words}"
