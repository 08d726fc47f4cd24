"""One worker's run: what belongs to it, how far it has come, and the callbacks that are called about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.callbacks import Callback, EpochSummary, WorkerCallback, finest, reaches, send
from manyhands.core.events import EpochEnded, Event, Granularity, RoundHeld, StepTaken
from manyhands.core.learner import FitLearner, Learner, SumLearner
from manyhands.core.samples import Order, Samples
from manyhands.core.strategy import GradientRule
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.training.checkpoints.state import CALLBACK, under
from manyhands.training.clock import PhaseClock
from manyhands.training.merge_services import RunServices
from manyhands.training.plan import Plan, PlannedStage
from manyhands.training.tally import Tally, weights_of


@dataclass
class SinceRound:
    """What a worker has done since the last round: steps, examples, and the sum of the steps' losses."""

    steps: int = 0
    examples: int = 0
    loss: float = 0.0

    @property
    def mean_loss(self) -> float:
        """The mean loss of a step."""
        return self.loss / max(self.steps, 1)

    def add(self, order: Order, losses: NDArray[np.float64]) -> None:
        """Count the steps of ``order``."""
        self.steps += order.steps
        self.examples += order.examples
        self.loss += float(losses.sum())


class Counts(NamedTuple):
    """What a worker has done until some moment: steps, rounds, bytes sent, and seconds of training."""

    steps: int
    rounds: int
    bytes_sent: int
    train_s: float

    def between(self, later: Counts, part: float, steps: int, rounds: int) -> Counts:
        """Return the counts ``steps`` steps and ``rounds`` rounds later, when a ``part`` of the time has gone by."""
        sent = (later.bytes_sent - self.bytes_sent) * rounds // max(later.rounds - self.rounds, 1)
        seconds = self.train_s + part * (later.train_s - self.train_s)
        return Counts(self.steps + steps, self.rounds + rounds, self.bytes_sent + sent, seconds)


class WorkerRun:
    """One worker's run; for callbacks it is the `manyhands.core.callbacks.RunView`.

    Attributes
    ----------
    team : Team
        Those that have samples of their own, and average with this worker.
    whole : Team
        All workers: where the network is divided, ``team`` is a part of them.
    tally : Tally
        What has been done so far.
    since : SinceRound
        What has been done since the last round.
    stage : PlannedStage
        Where the run is.
    granularity : {"step", "round", "epoch", "end"}
        How finely callbacks want to be called in this stage.
    stopped : bool
        Whether a callback has ended the run.
    """

    stage: PlannedStage
    granularity: Granularity

    def __init__(
        self,
        team: Team,
        learner: Learner | FitLearner | SumLearner,
        plan: Plan,
        table: Samples,
        clock: PhaseClock,
        callbacks: Iterable[Callback] = (),
        validation: Samples | None = None,
        whole: Team | None = None,
    ) -> None:
        self.team, self.learner, self.plan = team, learner, plan
        self.whole = team if whole is None else whole
        self._speaks = self.plan.grid.place_of(self.whole.rank)[1] == 0
        self.table, self.validation, self.clock = table, validation, clock
        self.tally, self.since = Tally(), SinceRound()
        self.stopped = False
        self._paused_at: float | None = None
        self._callbacks = list(callbacks)
        self._last_round, self._sent_before = 0, team.bytes_sent

    def begin(self) -> None:
        """Let the callbacks know this worker: all workers have the same parameters, or starts of their own."""
        self._sent_before = self.team.bytes_sent
        self._callbacks = [
            each.for_worker(self) if isinstance(each, WorkerCallback) else each for each in self._callbacks
        ]

    def begin_stage(self, stage: PlannedStage, services: RunServices) -> None:
        """Go on to a stage: all workers are synchronized."""
        self.stage, self._services = stage, services
        self.granularity = finest(self._callbacks)
        self.note_synchronized()
        self.since = SinceRound()

    @property
    def may_run_ahead(self) -> bool:
        """Whether epochs may end without a call: callbacks receive their events, or look back at them, a moment later.

        Callbacks that look back at rounds may wait as long as these are held where epochs end.
        """
        others = [each for each in self._callbacks if not (isinstance(each, WorkerCallback) and each.looks_back)]
        return reaches("epoch", finest(others)) and not any(isinstance(each, WorkerCallback) for each in others)

    @property
    def looks_back(self) -> bool:
        """Whether a callback looks back at the parameters with which epochs have ended."""
        return any(each.looks_back for each in self._worker_callbacks)

    @property
    def model(self) -> Learner | FitLearner | SumLearner:
        """What has been learned: the learner itself, or the ensemble of all workers' networks."""
        members = self._services.ensemble
        if members is None or isinstance(self.learner, FitLearner | SumLearner):
            return self.learner
        return self.learner.side_by_side(members)

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.tally.steps

    @property
    def step_in_stage(self) -> int:
        """Steps taken in the present stage."""
        return self.tally.steps - self.stage.first_step

    @property
    def epoch(self) -> float:
        """Epochs so far, parts of one included."""
        return self.stage.first_epoch + self.step_in_stage / self.stage.steps_per_epoch

    @property
    def rounds(self) -> int:
        """Rounds held so far."""
        return self.tally.rounds

    @property
    def syncs_gradients(self) -> bool:
        """Whether every step holds a round between its gradient and its update."""
        return isinstance(self.stage.rule, GradientRule)

    @property
    def synchronized(self) -> bool:
        """Whether all workers have the same parameters."""
        return self.team.size == 1 or self.syncs_gradients or not self.changed_since_round

    @property
    def changed_since_round(self) -> bool:
        """Whether steps have been taken since the workers were last synchronized by a round."""
        return self._last_round < self.tally.steps

    def emit(self, event: Event) -> None:
        """Report an event to the callbacks that ask for such; those that hold one network have one voice."""
        if self._speaks:
            send(self._callbacks, event)

    @property
    def train_s(self) -> float:
        """Seconds of training so far; those of pauses are not in them."""
        return self.clock.elapsed() if self._paused_at is None else self._paused_at

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Let all workers wait for each other, and no clock but that of the evaluation run; a pause in a pause is none.

        Waiting for a slower worker at its beginning belongs to the training.
        """
        if self._paused_at is not None:
            yield
            return
        self.team.barrier()
        self._paused_at = self.clock.elapsed()
        with self.clock.apart("evaluate"):
            yield
            self.team.barrier()
        self._paused_at = None

    @contextmanager
    def looking_back(self) -> Iterator[None]:
        """Pause for callbacks that look back at several ends of epochs; see `look_back`."""
        own = self.learner.parameters
        with self.pause():
            yield
        self.learner.bind(own)

    def look_back(self, parameters: Vector, train_s: float) -> None:
        """Let callbacks see these parameters, and so many seconds of training."""
        self.learner.bind(parameters)
        self._paused_at = train_s

    def note_synchronized(self, steps_ago: int = 0) -> None:
        """Note that a round has given all workers the same parameters, so many steps ago."""
        self._last_round = self.tally.steps - steps_ago

    def count(self, order: Order, losses: NDArray[np.float64]) -> None:
        """Count the steps of ``order``."""
        self.since.add(order, losses)
        self.tally.steps += order.steps
        self.tally.examples += order.examples

    def counted(self) -> dict[str, Any]:
        """Return all counts and clocks as plain data, for a checkpoint."""
        return {
            "tally": asdict(self.tally),
            "since": asdict(self.since),
            "last_round": self._last_round,
            "seconds": dict(self.clock.seconds),
            "train_s": self.train_s,
            "bytes_sent": self.team.bytes_sent - self._sent_before,
            "stopped": self.stopped,
        }

    def take_over(self, counted: Mapping[str, Any], *, clocks: bool = True) -> None:
        """Take over what :meth:`counted` returned before the workers were started anew.

        ``clocks`` says whether time goes back, too.
        """
        self.tally, self.since = Tally(**counted["tally"]), SinceRound(**counted["since"])
        self._last_round, self.stopped = int(counted["last_round"]), bool(counted["stopped"])
        if not clocks:
            return
        self.team.bytes_sent = self._sent_before + int(counted["bytes_sent"])
        self.clock.continue_from(counted["seconds"], counted["train_s"])

    def callback_states(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the states of the callbacks that work here: plain data by a callback's name, and arrays by names."""
        facts: dict[str, Any] = {}
        arrays: dict[str, NDArray[Any]] = {}
        for name, callback in self._named():
            facts[name] = {}
            for key, value in callback.state().items():
                if isinstance(value, np.ndarray):
                    arrays[f"{CALLBACK}{name}.{key}"] = value.copy()
                else:
                    facts[name][key] = value
        return facts, arrays

    def load_callback_states(self, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Give the callbacks back what :meth:`callback_states` has returned; one that is new keeps its beginning."""
        for name, callback in self._named():
            if state := {**facts.get(name, {}), **under(f"{CALLBACK}{name}.", arrays)}:
                callback.load_state(state)

    def _named(self) -> Iterator[tuple[str, WorkerCallback]]:
        """Yield the callbacks that work here with names that tell those of one class apart."""
        met: dict[str, int] = {}
        for callback in self._worker_callbacks:
            name = type(callback).__name__
            met[name] = met.get(name, 0) + 1
            yield f"{name}{met[name]}", callback

    def report_step(self, loss: float) -> None:
        """Call the callbacks that want to be called after steps."""
        if self.granularity == "step":
            self.emit(StepTaken(self.team.rank, self.tally.steps, loss))

    def report_round(self, loss: float) -> None:
        """Call the callbacks that want to be called after rounds."""
        if not reaches(self.granularity, "round"):
            return
        self.emit(RoundHeld(self.team.rank, self.tally.rounds, self.tally.steps, loss))
        for callback in self._worker_callbacks:
            if reaches(callback.granularity, "round"):
                callback.after_round(self)

    def counts(self) -> Counts:
        """Return what the worker has done so far."""
        sent = self.team.bytes_sent - self._sent_before
        return Counts(self.tally.steps, self.tally.rounds, sent, self.clock.elapsed())

    def note_epoch(self, epoch: int, order: Order, losses: NDArray[np.float64], counts: Counts | None = None) -> None:
        """Note the epoch's mean loss, each step counting by its examples; ``counts`` are those at its end."""
        sizes = np.diff(order.bounds)
        loss = float(losses @ sizes / max(sizes.sum(), 1))
        self.tally.losses.append(loss)
        self.tally.examples_by_epoch.append(order.examples)
        if reaches(self.granularity, "epoch"):
            self.emit(EpochEnded(self.team.rank, epoch + 1, loss, *(counts or self.counts())))

    def close_epoch(self, epoch: int, order: Order, losses: NDArray[np.float64], counts: Counts | None = None) -> None:
        """Note the epoch, and let the callbacks decide whether it is the last."""
        self.note_epoch(epoch, order, losses, counts)
        callbacks = self._worker_callbacks
        if not callbacks:
            return
        last, weights = epoch + 1 == self.plan.epochs, self.table.weights
        sums = None if weights is None else weights_of(weights, order)
        loss = self.tally.losses[-1]
        summary = EpochSummary(loss, order.examples, last, losses, order.global_rows, sums)
        answers = [callback.after_epoch(self, summary) for callback in callbacks]
        self.stopped = any(answers) and not last

    def end(self) -> None:
        """Call the callbacks after the last round."""
        for callback in self._worker_callbacks:
            callback.after_training(self)

    @property
    def _worker_callbacks(self) -> list[WorkerCallback]:
        return [each for each in self._callbacks if isinstance(each, WorkerCallback)]
