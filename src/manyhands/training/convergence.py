"""Accuracy and loss on rows that no training sees, measured while the training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from manyhands.core.callbacks import EpochSummary, RunView, WorkerCallback
from manyhands.core.errors import DivergedError
from manyhands.core.events import Granularity, Measured
from manyhands.core.samples import Samples
from manyhands.training.evaluation import scores_of


class Convergence(WorkerCallback):
    """Measures whenever all workers have the same parameters: after rounds between steps, and at epochs' ends.

    Parameters
    ----------
    held_out
        Returns the rows to measure on, in tables: one, or blocks that are read for it.

    Attributes
    ----------
    curve : list of dict
        On rank 0, what was measured (`manyhands.core.events.Measured`).
    """

    looks_back = True

    def __init__(self, held_out: Callable[[], Iterable[Samples]]) -> None:
        self.curve: list[dict[str, float]] = []
        self._held_out = held_out
        self._run: RunView | None = None
        self._last_step = 0

    def for_worker(self, run: RunView) -> Convergence:
        """Return this one, which belongs to one worker."""
        self._run = run
        return self

    @property
    def granularity(self) -> Granularity:  # type: ignore[override]
        """The ends of epochs where every step has a round: between steps there is nothing else to see."""
        return "epoch" if self._run is not None and self._run.syncs_gradients else "round"

    def state(self) -> dict[str, Any]:
        """Return what was measured so far."""
        return {"curve": [dict(point) for point in self.curve], "last_step": self._last_step}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self.curve[:], self._last_step = [dict(point) for point in state["curve"]], int(state["last_step"])

    def after_round(self, run: RunView) -> None:
        """Measure."""
        self._measure(run)

    def after_epoch(self, run: RunView, epoch: EpochSummary) -> bool:
        """Measure, and let the run go on."""
        self._measure(run)
        return False

    def after_training(self, run: RunView) -> None:
        """Measure what the last round has left."""
        self._measure(run)

    def _measure(self, run: RunView) -> None:
        """Measure on rank 0, unless that has been done after this step, in a pause of the training.

        Raises
        ------
        DivergedError
            If the loss is not finite.
        """
        if not run.synchronized or self._last_step == run.step:
            return
        self._last_step = run.step
        with run.pause():
            if run.team.rank == 0:
                with run.team.watchdog_paused():
                    loss, score = scores_of(run.model, self._held_out())
                if not math.isfinite(loss):
                    raise DivergedError(run.step, 0, loss)
                found = Measured(0, run.step, run.epoch, run.rounds, run.train_s, loss, score)
                self.curve.append({name: value for name, value in asdict(found).items() if name != "rank"})
                run.emit(found)
