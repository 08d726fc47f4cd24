"""Going back to the last moment that all workers have had in common, when some of them are lost.

A worker notes its state whenever a round has been held, and at the few other points that all of them pass. One that is
ahead of the others has passed some more of these points before it has to wait for them; so the last few are kept.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from manyhands.core.team import Team
from manyhands.training.checkpoints.state import State

_KEPT = 5
"""Between two collectives a worker passes the points after a round, an epoch, a stage and the beginning of the next."""


class Commits:
    """The last states of one worker, numbered alike on all workers."""

    def __init__(self) -> None:
        self._kept: deque[State] = deque(maxlen=_KEPT)
        self._number = 0

    def note(self, state: State) -> None:
        """Keep a state; all workers do so at the same points."""
        self._kept.append(state)
        self._number += 1

    def common(self, team: Team) -> int:
        """Return the number of the last point that all workers of the team have passed: a collective."""
        numbers = np.zeros(team.size)
        numbers[team.rank] = self._number
        team.sum_(numbers)
        return int(numbers.min())

    def back_to(self, number: int) -> State:
        """Forget what came after a point, and return the state there."""
        while self._number > number:
            self._kept.pop()
            self._number -= 1
        return self._kept[-1]


def incident(lost: list[tuple[int, str]], *, step: int, back_to: int, workers: int, seconds: float) -> dict[str, Any]:
    """Return what has happened to a run that goes on without some workers, as plain data.

    Parameters
    ----------
    lost
        Rank and what is known, of each worker that is gone.
    step, back_to
        Where this worker was, and the step after which the others go on.
    workers
        How many these are.
    seconds
        How long it took until they went on.
    """
    names = " and ".join(str(rank) for rank, _ in lost)
    reasons = "; ".join(dict.fromkeys(reason for _, reason in lost))
    again = max(step - back_to, 0)
    who = f"worker{'s' if len(lost) > 1 else ''} {names} of {workers + len(lost)}"
    repeated = f"steps {back_to + 1:,} to {step:,} were repeated" if again > 1 else f"step {step:,} was repeated"
    return {
        "kind": "lost",
        "ranks": [rank for rank, _ in lost],
        "reasons": [reason for _, reason in lost],
        "step": step,
        "back_to": back_to,
        "workers": workers,
        "seconds": seconds,
        "text": f"{who} lost, as seen after step {step:,} ({reasons}); "
        f"{workers} went on from step {back_to:,}" + (f": {repeated}" if again else ""),
    }
