"""Workers that compute far more slowly than the others: noticed while a run goes on, and in its result.

What counts is the time that a worker computes for a sample, without waiting for others, so that neither unequal shares
nor rounds make a worker look slow. All workers note it about themselves and nobody asks for it: the cells of
`manyhands.core.samples.Control` are in shared memory, or travel with the weights of rounds.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import Control
from manyhands.runtime.affinity import usable_cores
from manyhands.training.clock import PhaseClock
from manyhands.training.plan import Plan

SLOW_TIMES = 2.0
"""From how many times the median of the others' time for a sample on a worker is reported."""
LEAST_SECONDS = 1.0
"""How long a worker must have computed to be judged: the first moments are those of memory that is touched anew."""
WINDOW_SECONDS = 5.0
"""Workers are judged over about this time, too, and not only from the beginning on: one may become slow."""
_MOST_MARKS = 128
_LOGGER = logging.getLogger("manyhands")

Paces = NDArray[np.int64]
"""Of each worker: nanoseconds of computing and samples used, shape (workers, 2)."""


@dataclass(frozen=True)
class Straggler:
    """A worker that is far slower than the others.

    Attributes
    ----------
    rank : int
        Which worker.
    times : float
        How many times as much time as the median of the others it needs for a sample.
    seconds_per_sample, others : float
        Its time of computing for a sample, and that median.
    between : sequence of float or None
        From which second of training to which, if not from its beginning to its end.
    """

    rank: int
    times: float
    seconds_per_sample: float
    others: float
    between: Sequence[float] | None = None

    def text(self, verb: str) -> str:
        """Return it as a sentence without a full stop."""
        when = "" if self.between is None else " from {:.0f} s to {:.0f} s of the training".format(*self.between)
        return (
            f"worker {self.rank} {verb} {self.times:.1f} times as slow as the others' median{when}: "
            f"{_length(self.seconds_per_sample)} of computing for a sample, against {_length(self.others)}"
        )


def _length(seconds: float) -> str:
    """Return a time as text, with three digits and a unit."""
    factor, unit = next(
        ((1 / least, unit) for least, unit in ((1, "s"), (1e-3, "ms")) if seconds >= least), (1e6, "us")
    )
    return f"{factor * seconds:.3g} {unit}"


def limit_of(plan: Plan) -> float:
    """Return from how many times the others' median a worker is slow.

    Workers that are kept on cores of which some have more of them than others are slower by that, and no stragglers.
    """
    cores = usable_cores() if plan.pin else plan.workers
    if plan.workers <= cores:
        return SLOW_TIMES
    return SLOW_TIMES * math.ceil(plan.workers / cores) / (plan.workers // cores)


def slow_ones(done: Paces, limit: float, between: Sequence[float] | None = None) -> list[Straggler]:
    """Return the workers that are too slow, by what each of them has done in some time."""
    known = (done > 0).all(axis=1)
    rates = np.where(known, 1e-9 * done[:, 0] / np.maximum(done[:, 1], 1), np.nan)
    found = []
    for rank in np.flatnonzero(known & (done[:, 0] >= 1e9 * LEAST_SECONDS)):
        rest = np.delete(rates, rank)[np.delete(known, rank)]
        if len(rest) and rates[rank] >= limit * (median := float(np.median(rest))):
            found.append(Straggler(int(rank), float(rates[rank]) / median, float(rates[rank]), median, between))
    return found


class Pacer:
    """Notes what one worker has done: for those that watch, and every few seconds for the result."""

    def __init__(self, clock: PhaseClock, control: Control, plan: Plan) -> None:
        self._clock, self._cells, self._limit = clock, control.pace, limit_of(plan)
        self._begin_s, self._began_at, self._samples = 0.0, 0.0, 0
        self._marks: list[list[int]] = [[0, 0]]
        self._every, self._next = WINDOW_SECONDS, WINDOW_SECONDS

    def begin(self) -> None:
        """Begin now: what a checkpoint says about the time before is not counted."""
        self._begin_s = self._clock.seconds["compute"]
        self._began_at = self._clock.elapsed()
        self._next = self._began_at + self._every
        self._cells[:] = 0

    def note(self, samples: int) -> None:
        """Note that so many samples more have been used, in the time that the clock has just been told."""
        self._samples += samples
        self._cells[1] = self._samples
        self._cells[0] = int(1e9 * (self._clock.seconds["compute"] - self._begin_s))
        if self._clock.elapsed() >= self._next:
            self._mark()

    def report(self) -> dict[str, Any]:
        """Return everything as plain data, for `stragglers_in`."""
        marks = {"marks": self._marks, "every": self._every, "from": self._began_at}
        return {"done": self._cells.tolist(), "limit": self._limit, **marks}

    def _mark(self) -> None:
        """Mark how far it has come; of a long run, every second mark is dropped again and again."""
        while self._next <= self._clock.elapsed():  # a call of the learner may last longer than some marks
            self._marks.append(self._cells.tolist())
            if len(self._marks) > _MOST_MARKS:
                self._marks, self._every = self._marks[::2], 2 * self._every
            self._next += self._every


def stragglers_in(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return who was too slow in a whole run or, failing that, in some part of it, from the reports of all `Pacer`."""
    limit, begin = reports[0]["limit"], reports[0]["from"]
    whole = slow_ones(np.array([report["done"] for report in reports], np.int64), limit)
    every = max(report["every"] for report in reports)
    marks = [np.array(report["marks"], np.int64)[:: round(every / report["every"])] for report in reports]
    parts: dict[int, Straggler] = {}
    for number in range(min(map(len, marks)) - 1):
        done = np.stack([each[number + 1] - each[number] for each in marks])
        for each in slow_ones(done, limit, [begin + number * every, begin + (number + 1) * every]):
            parts[each.rank] = max(parts.get(each.rank, each), each, key=lambda part: part.times)
    return [vars(each) for _, each in sorted((parts | {each.rank: each for each in whole}).items())]


class StragglerWatch:
    """Says, once for each worker, that it is too slow, while the run goes on."""

    def __init__(self, paces: Callable[[], Paces], limit: float) -> None:
        self._paces, self._limit = paces, limit
        self._marks = [np.zeros_like(paces())] * 2
        self._marked_at = time.monotonic()
        self._suspected: set[int] = set()
        self._said: set[int] = set()

    def look(self) -> None:
        """Look at all workers; to be called a few times a second."""
        now, paces = time.monotonic(), self._paces()
        found = {each.rank: each for since in (0, self._marks[0]) for each in slow_ones(paces - since, self._limit)}
        # A second look is needed, for a first one may have come between a worker's notes of its samples and its time.
        for rank in sorted((found.keys() & self._suspected) - self._said):
            self._said.add(rank)
            _LOGGER.warning("%s; see what else runs on its core or machine", found[rank].text("is"))
        self._suspected = set(found)
        if now - self._marked_at >= WINDOW_SECONDS:
            self._marks, self._marked_at = [self._marks[1], paces], now


def watch_over(controls: Sequence[Control], plan: Plan) -> StragglerWatch:
    """Return the watch over the workers that have these cells."""
    return StragglerWatch(lambda: np.array([control.pace for control in controls]), limit_of(plan))
