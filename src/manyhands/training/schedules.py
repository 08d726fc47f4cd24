"""How the learning rate changes during a run: factors on the rate that the user sets, a function of the epoch alone.

Grammar: ``constant``, ``step:30epochs,factor=0.1``, ``cosine``, ``linear:hold=50%``, ``one-cycle:rise=30%``; all but
the last take ``warmup=5%``. A schedule knows nothing of workers and batches: every number of workers has the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands.core import grammar
from manyhands.core.lengths import Length

Epochs = NDArray[np.float64]
"""Positions in a run, in epochs from its beginning, shape (any,)."""


@dataclass(frozen=True)
class RateSchedule:
    """A constant rate after a warm-up, if there is one, in which it rises linearly; subclasses change it."""

    warmup: Length | None = None

    @property
    def name(self) -> str:
        """Canonical text: parsing it gives this schedule again."""
        return self._named("constant")

    def _named(self, kind: str, *arguments: str) -> str:
        given = [*arguments, *([] if self.warmup is None else [f"warmup={self.warmup}"])]
        return f"{kind}:{','.join(given)}" if given else kind

    def first_decay(self, epochs: int) -> int | None:
        """Return after how many epochs the rate first drops at once; None if it never does."""
        return None

    def factors(self, at: Epochs, epochs: int) -> NDArray[np.float64]:
        """Return what the learning rate is multiplied with at positions ``at`` of a run of ``epochs``."""
        rising = 0.0 if self.warmup is None else min(self.warmup.epochs(epochs), epochs)
        factors = self._after(np.maximum(at - rising, 0), epochs - rising, rising)
        # The very first step already moves: a rate of zero would waste it.
        risen = np.minimum((at + min(1.0, rising) * 1e-2) / max(rising, 1e-300), 1)
        return np.asarray(np.where(at < rising, factors * risen, factors))

    def _after(self, at: Epochs, epochs: float, rising: float) -> NDArray[np.float64]:
        """Return the factors at positions behind the warm-up."""
        return np.ones(len(at))


@dataclass(frozen=True)
class Step(RateSchedule):
    """The rate drops by a factor after every such length."""

    every: Length = Length(50, "%")
    factor: float = 0.1

    @property
    def name(self) -> str:
        """As ``"step:30epochs,factor=0.1"``."""
        return self._named("step", str(self.every), f"factor={grammar.number(self.factor)}")

    def first_decay(self, epochs: int) -> int | None:
        """Return the first drop."""
        first = max(1, round(self.every.epochs(epochs)))
        return first if first < epochs else None

    def _after(self, at: Epochs, epochs: float, rising: float) -> NDArray[np.float64]:
        every = max(1, round(self.every.epochs(round(epochs + rising))))
        return np.asarray(self.factor ** np.floor((at + rising) / every))


@dataclass(frozen=True)
class Cosine(RateSchedule):
    """The rate falls to a factor ``to`` along half a cosine, without restarts.

    Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5.
    """

    to: float = 0.0

    @property
    def name(self) -> str:
        """As ``"cosine"`` or ``"cosine:to=0.1,warmup=5%"``."""
        return self._named("cosine", *([f"to={grammar.number(self.to)}"] if self.to else []))

    def _after(self, at: Epochs, epochs: float, rising: float) -> NDArray[np.float64]:
        done = at / max(epochs, 1e-300)
        return np.asarray(self.to + (1 - self.to) * 0.5 * (1 + np.cos(np.pi * np.minimum(done, 1))))


@dataclass(frozen=True)
class Linear(RateSchedule):
    """The rate is held, then falls along a line to nothing (a trapezoid: Zhai et al. 2022, arXiv 2106.04560)."""

    hold: Length = Length(0, "%")

    @property
    def name(self) -> str:
        """As ``"linear"`` or ``"linear:hold=50%"``."""
        return self._named("linear", *([f"hold={self.hold}"] if self.hold.amount else []))

    def _after(self, at: Epochs, epochs: float, rising: float) -> NDArray[np.float64]:
        hold = min(self.hold.epochs(round(epochs + rising)), epochs)
        return np.asarray(1 - np.clip((at - hold) / max(epochs - hold, 1e-300), 0, 1))


_CYCLE_START, _CYCLE_END = 1 / 25, 1 / 25e4
"""PyTorch's OneCycleLR: where the cycle starts and ends, as factors."""


@dataclass(frozen=True)
class OneCycle(RateSchedule):
    """The rate rises from a 25th, and falls to almost nothing, along cosines (Smith & Topin 2018, arXiv 1708.07120)."""

    rise: Length = Length(30, "%")

    @property
    def name(self) -> str:
        """As ``"one-cycle:rise=30%"``."""
        return f"one-cycle:rise={self.rise}"

    def _after(self, at: Epochs, epochs: float, rising: float) -> NDArray[np.float64]:
        top = min(self.rise.epochs(round(epochs)), epochs)
        up = 0.5 * (1 - np.cos(np.pi * np.minimum(at / max(top, 1e-300), 1)))
        down = 0.5 * (1 + np.cos(np.pi * np.clip((at - top) / max(epochs - top, 1e-300), 0, 1)))
        falling = _CYCLE_END + (1 - _CYCLE_END) * down
        return np.asarray(np.where(at < top, _CYCLE_START + (1 - _CYCLE_START) * up, falling))


def _constant(*, warmup: str | None = None) -> RateSchedule:
    return RateSchedule(_warmup(warmup))


def _step(every: str = "50%", *, factor: str = "0.1", warmup: str | None = None) -> RateSchedule:
    return Step(_warmup(warmup), _length(every, "step"), _fraction(factor, "step:factor"))


def _cosine(*, to: str = "0", warmup: str | None = None) -> RateSchedule:
    return Cosine(_warmup(warmup), _fraction(to, "cosine:to"))


def _linear(*, hold: str = "0%", warmup: str | None = None) -> RateSchedule:
    length = _length(hold, "linear:hold")
    return Linear(_warmup(warmup), length if length.amount else Length(0, "%"))


def _one_cycle(*, rise: str = "30%") -> RateSchedule:
    return OneCycle(None, _length(rise, "one-cycle:rise"))


SCHEDULES: dict[str, Callable[..., RateSchedule]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
    "linear": _linear,
    "one-cycle": _one_cycle,
}
"""Every schedule by name; its maker takes what follows the colon."""

EXAMPLES = "constant, step:30epochs,factor=0.1, cosine, cosine:warmup=5%, linear:hold=50%, one-cycle"


def _length(text: str, where: str) -> Length:
    return Length.parse(text, f"schedule, {where}")


def _warmup(text: str | None) -> Length | None:
    return None if text is None else _length(text, "warmup")


def _fraction(text: str, where: str) -> float:
    return grammar.not_negative(text, f"schedule, {where}=", "to 1", fits=lambda value: value <= 1)


def parse_schedule(text: str) -> RateSchedule:
    """Return the schedule that ``text`` names.

    Examples
    --------
    >>> parse_schedule("cosine:warmup=5%").name
    'cosine:warmup=5%'

    Raises
    ------
    SettingsError
        If there is no such schedule, or the arguments do not fit.
    """
    name, values, keys = grammar.split(text, "schedule", SCHEDULES, EXAMPLES)
    return grammar.make(SCHEDULES[name], values, keys, f"schedule {text!r}", grammar.examples_of(name, EXAMPLES))
