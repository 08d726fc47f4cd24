"""What a watched training measures on the way, at the least cost for the training.

Rounds stay inside compiled code: everything is noted at the ends of epochs, which may come some at once. The accuracy
is measured a few times a second, in pauses; of the other ends of epochs the parameters are kept, and measured when the
training is over. What was noted is fetched by another thread.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manyhands.core.callbacks import EpochSummary, RunView, WorkerCallback
from manyhands.core.events import EpochEnded, Event, Granularity
from manyhands.core.learner import Model
from manyhands.core.samples import Samples
from manyhands.core.types import Vector
from manyhands.training.model import scores
from manyhands.training.worker_run import WorkerRun

EVERY_SECONDS = 0.4
"""How often the accuracy is measured and events are sent: as often as a page is drawn anew."""
_MOST_ROWS = 1000
"""Validation samples that are measured on: the curve of a moment needs no more."""
_MOST_KEPT, _MOST_BYTES = 150, 64 << 20


@dataclass(frozen=True)
class Place:
    """Where a training was: epochs, steps and rounds so far, and seconds of training."""

    epoch: float
    step: int
    rounds: int
    train_s: float


@dataclass
class Sheet:
    """What the workers of one run have noted, until it is fetched.

    Attributes
    ----------
    losses : list
        Rank, epoch, loss, and seconds of training at its end.
    lanes : list
        Rank, seconds of training, and the seconds until then of computing, of waiting and of rounds.
    points : list
        Epochs, rounds and seconds of training; loss and accuracy on validation samples.
    """

    losses: list[list[float]] = field(default_factory=list)
    lanes: list[list[float]] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> dict[str, list[list[float]]]:
        """Return what has been noted since the last time."""
        with self.lock:
            taken = {"losses": self.losses, "lanes": self.lanes, "points": self.points}
            self.losses, self.lanes, self.points = [], [], []
        return taken


class Live(WorkerCallback):
    """Notes losses, the workers' times, and the accuracy on validation samples.

    Parameters
    ----------
    held_out
        Validation samples.

    Attributes
    ----------
    sheet : Sheet
        What has been noted.
    """

    looks_back = True
    granularity: Granularity = "epoch"

    def __init__(self, held_out: Samples) -> None:
        self.sheet = Sheet()
        self._held_out = held_out.take(np.arange(min(held_out.rows, _MOST_ROWS)))
        self._kept: list[tuple[Place, Vector]] = []
        self._keeps_every, self._met, self._next_s, self._last_step = 1, 0, 0.0, -1
        self._measured: list[list[float]] = []

    def for_worker(self, run: RunView) -> WorkerCallback:
        """Return what is called for one worker."""
        return _OfWorker(self, run)

    def see(self, run: RunView, *, last: bool) -> None:
        """Measure, or keep for later, what all workers have in common, in a pause of the training; on rank 0."""
        if not run.synchronized:
            return
        with run.pause():
            if run.team.rank == 0 and self._last_step != run.step:
                self._last_step = run.step
                self._note(Place(run.epoch, run.step, run.rounds, run.train_s), run.model, last=last)

    def _note(self, place: Place, model: Model, *, last: bool) -> None:
        now = time.monotonic()
        if last or now >= self._next_s:
            self._measure(place, model)
            self._next_s = time.monotonic() + EVERY_SECONDS
        elif self._met % self._keeps_every == 0:
            self._kept.append((place, model.parameters.copy()))
            self._thin_out()
        self._met += 1

    def _thin_out(self) -> None:
        """Drop every second of the parameters that are kept, if they become many."""
        if len(self._kept) > _MOST_KEPT or len(self._kept) * self._kept[0][1].nbytes > _MOST_BYTES:
            self._kept, self._keeps_every = self._kept[::2], 2 * self._keeps_every

    def _measure(self, place: Place, model: Model) -> None:
        loss, accuracy = scores(model.predict_proba(self._held_out), self._held_out.labels)
        point = [place.epoch, place.rounds, _short(place.train_s), _short(loss), accuracy]
        self._measured.append(point)
        with self.sheet.lock:
            self.sheet.points.append(point)

    def curve(self, model: Model) -> list[list[float]]:
        """Return all points, measured now where the training was not to wait for it; as those of a `Sheet`."""
        own = model.parameters
        try:
            for place, parameters in self._kept:
                model.bind(parameters)
                self._measure(place, model)
        finally:
            model.bind(own)
        self._kept = []
        return sorted(self._measured)


class _OfWorker(WorkerCallback):
    """What one worker notes."""

    looks_back = True
    granularity: Granularity = "epoch"

    def __init__(self, live: Live, run: RunView) -> None:
        self._live, self._run, self._computed = live, run, -1.0

    def notify(self, event: Event) -> None:
        """Note the loss of an epoch."""
        if isinstance(event, EpochEnded):
            with self._live.sheet.lock:
                self._live.sheet.losses.append([event.rank, event.epoch, _short(event.loss), _short(event.train_s)])

    def after_epoch(self, run: RunView, epoch: EpochSummary) -> bool:
        """Note times and accuracy, and let the run go on."""
        self._note_times()
        self._live.see(run, last=epoch.last)
        return False

    def after_training(self, run: RunView) -> None:
        """Note what the last round has left."""
        self._computed = -1.0
        self._note_times()
        self._live.see(run, last=True)

    def _note_times(self) -> None:
        """Note this worker's times, once for all epochs of one call of the learner."""
        run: Any = self._run
        if not isinstance(run, WorkerRun) or run.clock.seconds["compute"] == self._computed:
            return
        clock = run.clock
        self._computed = clock.seconds["compute"]
        times = [self._computed, clock.seconds["communicate"], clock.seconds["merge"]]
        with self._live.sheet.lock:
            self._live.sheet.lanes.append([run.team.rank, *map(_short, (clock.elapsed(), *times))])


def _short(value: float) -> float:
    """Return a number with as many digits as a picture of it needs."""
    return float(f"{value:.6g}")
