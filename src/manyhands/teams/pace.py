"""How fast a worker takes its steps: what that says about the patience with one that stands still."""

from __future__ import annotations

from collections.abc import Callable

from manyhands.core.samples import Control

SHORTEST_SECONDS = 4.0
_STEPS, _STRETCHES = 100, 20
"""A worker may stand still for this many mean steps, or this many times its longest step or call so far."""


class Pace:
    """How fast a worker moves on, as its `Control.progress` shows, and since when it has not."""

    def __init__(self, control: Control, waiting: Callable[[], bool], now: float) -> None:
        self._control, self._waiting = control, waiting
        self.steps = int(control.progress[0])
        self._first = self.steps
        self._began = self._moved = now
        self._longest = 0.0

    def look(self, now: float) -> None:
        """Note whether it has moved. Waiting for others is not standing still."""
        steps = int(self._control.progress[0])
        if steps != self.steps or self._waiting():
            if self.steps > self._first:  # the first step may have to touch all memory for the first time
                self._longest = max(self._longest, now - self._moved)
            self.steps, self._moved = steps, now

    def patience(self) -> float | None:
        """Return how long it may stand still, from the steps so far; None before there are any."""
        taken = self.steps - self._first
        if taken < 1:
            return None
        step = (self._moved - self._began) / taken
        return max(SHORTEST_SECONDS, _STEPS * step, _STRETCHES * self._longest)

    def still(self, now: float) -> float:
        """Return for how many seconds it has been standing still."""
        return now - self._moved
