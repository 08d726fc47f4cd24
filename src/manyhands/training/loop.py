"""The one training loop: ask the strategy, let the learner run, hold the round, tell the listeners."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DivergedError, ManyhandsError
from manyhands.core.learner import FitLearner, Learner, Rounds
from manyhands.core.samples import Control, Order, Samples
from manyhands.core.strategy import GradientRule, LocalRule, RoundContext
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.data.sampler import BatchSampler
from manyhands.runtime.memory import aligned_zeros
from manyhands.strategies.base import average_state_
from manyhands.training import stopping
from manyhands.training.clock import PhaseClock
from manyhands.training.events import EpochEnded, Event, Listener, Measured, RoundHeld
from manyhands.training.merge_services import RunServices
from manyhands.training.model import scores
from manyhands.training.plan import Plan, PlannedStage

_ROWS_AT_ONCE = 1 << 17
"""Rows of several epochs that are ordered ahead and trained on in one call: a megabyte of numbers."""


_TINY = 1e-300
"""What rows without weight count for in a round, as in the kernel: enough to divide by."""

_STEPS_AVERAGED = 1 << 20
"""Of how many steps, at most, a round's mean learning rate is: enough to know it, whatever the run."""


class StoppedError(Exception):
    """The run was told to stop; whoever told it knows why."""


@dataclass
class Tally:
    """What one worker has done.

    Attributes
    ----------
    steps, rounds, examples
        Counts so far.
    losses
        Mean loss of each epoch over this worker's examples.
    examples_by_epoch
        How many these were.
    curve
        On rank 0, what was measured on the way (`manyhands.training.events.Measured`).
    """

    steps: int = 0
    rounds: int = 0
    examples: int = 0
    losses: list[float] = field(default_factory=list)
    examples_by_epoch: list[int] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)


@dataclass
class _Now:
    """The stage that the run is in, and what belongs to it."""

    stage: PlannedStage
    schedule: BatchSampler
    state: Any
    services: RunServices


class Loop:
    """One worker's way through all epochs.

    Parameters
    ----------
    team, learner
        Who talks and who learns.
    plan
        Strategies, epochs, learning rates.
    table
        Training rows; the schedules say which are this worker's.
    schedule_for
        Makes the order of the rows for a stage: batches may grow.
    control
        Looked at between steps.
    clock
        Charged with what happens here.
    listeners
        Told about epochs, rounds and measurements.
    held_out
        If given, rows to measure accuracy and loss on along the way.
    validation
        Rows that merges may look at.

    Attributes
    ----------
    tally : Tally
        What has been done so far.
    """

    def __init__(
        self,
        team: Team,
        learner: Learner | FitLearner,
        plan: Plan,
        table: Samples,
        schedule_for: Callable[[PlannedStage], BatchSampler],
        control: Control,
        clock: PhaseClock,
        listeners: Sequence[Listener] = (),
        held_out: Samples | None = None,
        validation: Samples | None = None,
    ) -> None:
        self.team, self.learner, self.plan = team, learner, plan
        if not isinstance(learner, FitLearner):
            self._stepper = learner
        self.table, self.held_out, self.validation = table, held_out, validation
        self.control, self.clock, self.listeners = control, clock, listeners
        self.tally = Tally()
        self._schedule_for = schedule_for
        self._gradient: Vector = aligned_zeros(learner.size, learner.dtype)
        self._examples_since_round = 0
        self._last_round = self._last_measured = 0
        self._loss_since_round, self._steps_since_round = 0.0, 0
        self._stop: stopping.Watcher | None = None
        self._stopped = False
        self._local = False  # whether the optimizers' states may differ
        self._divided = False  # whether each worker knows its part of them only

    def run(self) -> Tally:
        """Train; afterwards all workers hold the same, merged parameters.

        Raises
        ------
        StoppedError
            If ``control.stop`` was set.
        DivergedError, WorkerLost
            From the learner and the team.
        """
        if self.plan.stop is not None:
            self._stop = self.plan.stop.watch(self.learner.parameters)
        for stage in self.plan.stages:
            self._begin(stage)
            if isinstance(self.learner, FitLearner):
                self._fit(self.learner)
            else:
                self._go_through_stage()
            if self._stopped:
                break
        return self.tally

    @property
    def model(self) -> Learner | FitLearner:
        """What has been learned: the learner itself, or the ensemble of all workers' networks."""
        members = self._now.services.ensemble
        return self.learner if members is None else self._stepper.side_by_side(members)

    def _begin(self, stage: PlannedStage) -> None:
        """Get ready for a stage: all workers are alike."""
        schedule = self._schedule_for(stage)
        services = RunServices(self.plan, self.team, self.learner, self.table, schedule, self.control, self.validation)
        syncs_gradients = isinstance(stage.rule, GradientRule)
        if self._local and syncs_gradients:
            # Workers that apply the same gradient stay alike only if their optimizers are.
            average_state_(self.team, self.learner)
        self._local = not syncs_gradients
        state = stage.rule.begin_(self.team, self.learner)
        self._now = _Now(stage, schedule, state, services)
        self._rates_from, self._known_rates = 0, np.zeros(0)
        self._last_round, self._examples_since_round = self.tally.steps, 0
        self._loss_since_round, self._steps_since_round = 0.0, 0

    def _go_through_stage(self) -> None:
        """Train through all epochs of the stage, or until the stopping rule ends the run."""
        stage = self._now.stage
        if self._meeting() is None and self._holds_rounds:
            for epoch in range(stage.first_epoch, stage.first_epoch + stage.epochs):
                with self.clock.phase("compute"):
                    order = self._now.schedule.epoch(epoch)
                self._close_epoch(epoch, order, self._epoch(order))
                if self._stopped:
                    return
            return
        # As few calls as possible: after every one, workers queue for the interpreter's lock.
        watched = self.listeners or self.held_out is not None or self._stop is not None
        at_once = 1 if watched else max(1, _ROWS_AT_ONCE // self.plan.rows)
        for first in range(0, stage.epochs, at_once):
            self._stretch(stage.first_epoch + first, min(at_once, stage.epochs - first))
            if self._stopped:
                break
        if self._divided:
            self._complete_optimizers()

    def _complete_optimizers(self) -> None:
        """Give everyone the parts of the optimizers' vectors that others have worked on.

        It counts as no bytes sent: only workers that share memory divide this work.
        """
        sent = self.team.bytes_sent
        for vector in self.learner.optimizer_state.values():
            self.team.all_gather_(vector)
        self.team.bytes_sent, self._divided = sent, False

    @property
    def _holds_rounds(self) -> bool:
        """Whether rounds change anything."""
        return self.team.size > 1 or self._now.stage.rule.needs.acts_on_single_worker

    def _in_stage(self, step: int) -> int:
        """Return a step's number, counted from the beginning of the stage."""
        return step - self._now.stage.first_step

    def _rates(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the learning rates of steps of the stage; an epoch's are computed at once, a long run's never all."""
        if start < self._rates_from or stop > self._rates_from + len(self._known_rates):
            end = min(max(stop, start + self._now.stage.steps_per_epoch), self._now.stage.steps)
            self._rates_from, self._known_rates = start, self.plan.rates(self._now.stage, start, end)
        return self._known_rates[start - self._rates_from : stop - self._rates_from]

    def _fit(self, learner: FitLearner) -> None:
        """Let the learner train from beginning to end, and hold the round at the end."""
        order, rates = self._now.schedule.epoch(0), self.plan.rates(self._now.stage)
        with self.clock.phase("compute"):
            losses = learner.fit(self.table, order, rates, self.control).losses
        if self.control.stop[0]:
            raise StoppedError
        for epoch in range(len(losses) // order.steps):
            self._count(order, losses[epoch * order.steps : (epoch + 1) * order.steps])
            self._note_epoch(epoch, order, losses[epoch * order.steps : (epoch + 1) * order.steps])
        # Who stops earlier counts no less: the mean is over the workers, in proportion to their shares.
        self._examples_since_round = order.examples
        self._round(last=True)
        self._measure_if_alike()

    def _meeting(self) -> Any:
        """Return a way for the learner to hold the rounds itself, if learner, team and strategy allow it.

        Not if somebody listens: listeners want to be told between rounds. Nor if something is to be measured, or
        decided, after rounds in the middle of epochs.
        """
        rule, stage = self._now.stage.rule, self._now.stage
        simple = rule.fusable and not len(self.learner.buffers) and not self.listeners
        if self.team.size == 1 or not self._stepper.holds_rounds or not simple:
            return None
        if self.held_out is not None and (self._due(0, stage.steps) % stage.steps_per_epoch).any():
            return None
        if isinstance(rule, GradientRule):
            divisible = self._stepper.divisible  # else everyone needs the whole gradient
            return self.team.shared_reduction(self._gradient, self.learner.parameters) if divisible else None
        return self.team.shared_reduction(self.learner.parameters)

    def _stretch(self, first: int, count: int) -> None:
        """Go through several epochs in one call of the learner, rounds included."""
        now, step = self._now, self.tally.steps
        began = time.perf_counter()
        meeting = self._meeting()  # anew: others may have met over another vector since
        order = now.schedule.epochs(first, count)
        at = self._in_stage(step)
        rounds, due, vector = None, 0, self._gradient
        if meeting is not None and isinstance(now.stage.rule, GradientRule):
            rounds, due = Rounds(meeting, np.zeros(0, np.int64), gradient=self._gradient), order.steps
            self._divided = True
        elif meeting is not None:
            rounds = Rounds(meeting, self._due(at, at + order.steps) - at, self._examples_since_round)
            due, vector = len(rounds.due), self.learner.parameters
        given = () if rounds is None else (rounds,)
        outcome = self._stepper.run(self.table, order, self._rates(at, at + order.steps), self.control, *given)
        losses = outcome.losses
        if len(losses) < order.steps:
            raise StoppedError
        self._check_held(outcome.rounds, due)
        self._count(order, losses)
        self.tally.rounds += outcome.rounds
        if rounds is not None and len(rounds.due):
            self._examples_since_round = int(order.bounds[-1] - order.bounds[rounds.due[-1]])
            self._last_round = step + int(rounds.due[-1])
        self.clock.add("compute", time.perf_counter() - began - self.team.record_fused_rounds(outcome.rounds, vector))
        per_epoch = now.stage.steps_per_epoch
        for number in range(count):
            part = order.part(number * per_epoch, (number + 1) * per_epoch)
            self._close_epoch(first + number, part, losses[number * per_epoch : (number + 1) * per_epoch])

    def _check_held(self, rounds: int, due: int) -> None:
        """Check that the learner has held the rounds that it was given."""
        if rounds != due:
            raise ManyhandsError(
                f"the learner {type(self.learner).__name__} was given {due} rounds and reports that it has held "
                f"{rounds}: Learner.run must hold them all, or the learner must not declare holds_rounds"
            )

    def _due(self, step: int, end: int) -> NDArray[np.int64]:
        """Return the steps of the stage after which rounds are due, behind ``step`` and up to ``end``."""
        stage, steps = self._now.stage, []
        while (step := stage.next_round(step)) <= end:
            steps.append(step)
            if step == stage.steps:
                break
        return np.array(steps, np.int64)

    def _epoch(self, order: Order) -> NDArray[np.float64]:
        """Go through one epoch, from round to round; return the loss of each step."""
        stage = self._now.stage
        losses = np.zeros(order.steps)
        at = 0
        while at < order.steps:
            step = self._in_stage(self.tally.steps)
            due = stage.next_round(step)
            end = min(at + due - step, order.steps)
            if isinstance(stage.rule, GradientRule):
                for number in range(at, end):
                    losses[number] = self._synced_step(stage.rule, order.part(number, number + 1))
            else:
                losses[at:end] = self._local_steps(order.part(at, end))
            at = end
            if self._in_stage(self.tally.steps) == due:
                self._round(last=due == stage.steps)
                self._measure_if_alike()
        return losses

    def _local_steps(self, order: Order) -> NDArray[np.float64]:
        """Let the learner run alone."""
        at = self._in_stage(self.tally.steps)
        with self.clock.phase("compute"):
            losses = self._stepper.run(self.table, order, self._rates(at, at + order.steps), self.control).losses
        if len(losses) < order.steps:
            raise StoppedError
        self._count(order, losses)
        return losses

    def _synced_step(self, rule: GradientRule[Any], order: Order) -> float:
        """Take one step with a round between its gradient and its update."""
        if self.control.stop[0]:
            raise StoppedError
        at = self._in_stage(self.tally.steps)
        rate = float(self._rates(at, at + 1)[0])
        with self.clock.phase("compute"):
            loss = self._stepper.gradient(self.table, order, self._gradient)
        self._check_finite(loss)
        counts: float = order.examples
        if self.table.weights is not None and order.examples:  # the least there is to divide by, if they have none
            counts = max(float(weights_of(self.table.weights, order)[0]), _TINY)
        rule.merge_gradient_(self.team, self._gradient, counts, self._now.state)
        with self.clock.phase("compute"):
            loss += self._stepper.apply(self._gradient, rate, int(order.global_rows[0]), self.team.size)
        self._check_finite(loss)
        self.control.progress[0] += 1
        self._count(order, np.array([loss]))
        if self.team.size > 1:
            self.tally.rounds += 1
            self._tell(RoundHeld(self.team.rank, self.tally.rounds, self.tally.steps, loss))
        return loss

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(self.tally.steps + 1, self.team.rank, loss)

    def _count(self, order: Order, losses: NDArray[np.float64]) -> None:
        self._loss_since_round += float(losses.sum())
        self._steps_since_round += order.steps
        self.tally.steps += order.steps
        self.tally.examples += order.examples
        self._examples_since_round += order.examples

    def _round(self, *, last: bool) -> None:
        """Hold the round that is due, unless the workers are alike already."""
        rule = self._now.stage.rule
        if isinstance(rule, LocalRule) and self._holds_rounds:
            self._merge(rule, last=last)
        elif self.team.size > 1 and len(self.learner.buffers):  # they come from local batches, unlike the parameters
            self.team.mean_(self.learner.buffers, self._examples_since_round)
        self._loss_since_round, self._steps_since_round = 0.0, 0
        self._examples_since_round = 0
        if last or not rule.needs.shared_memory:  # workers that do not wait for the others differ until the end
            self._last_round = self.tally.steps

    def _merge(self, rule: LocalRule[Any], *, last: bool) -> None:
        """Let the rule hold its round."""
        at, services = self._in_stage(self.tally.steps), self._now.services
        since = min(max(self._steps_since_round, 1), _STEPS_AVERAGED)
        rate, examples = float(self._rates(at - since, at).mean()), self._examples_since_round
        rule.hold_round_(RoundContext(self.team, self.learner, examples, rate, last, self._now.state, services))
        if self.control.stop[0]:  # a merge that trains was stopped
            raise StoppedError
        self.tally.examples += services.pop_examples()
        self.tally.rounds += 1
        loss = self._loss_since_round / max(self._steps_since_round, 1)
        self._tell(RoundHeld(self.team.rank, self.tally.rounds, self.tally.steps, loss))

    @property
    def _alike(self) -> bool:
        """Whether all workers have the same parameters."""
        return (
            self.team.size == 1
            or isinstance(self._now.stage.rule, GradientRule)
            or self._last_round == self.tally.steps
        )

    def _measure_if_alike(self) -> None:
        """Measure on rows that no training sees, if somebody wants to know and all workers hold the same parameters.

        No clock but the evaluation's goes on meanwhile, on any worker: the others wait for rank 0.
        """
        step = self.tally.steps
        if self.held_out is None or not self._alike or self._last_measured == step:
            return
        self._last_measured = step
        self.team.barrier()  # waiting for a slower worker belongs to the training
        seconds = self.clock.elapsed()
        with self.clock.apart("evaluate"):
            if self.team.rank == 0:
                with self.team.watchdog_paused():
                    loss, score = scores(self.model.predict_proba(self.held_out), self.held_out.labels)
                if not math.isfinite(loss):
                    raise DivergedError(step, 0, loss)
                stage = self._now.stage
                epoch = stage.first_epoch + self._in_stage(step) / stage.steps_per_epoch
                found = Measured(0, step, epoch, self.tally.rounds, seconds, loss, score)
                self.tally.curve.append({name: value for name, value in asdict(found).items() if name != "rank"})
                self._tell(found)
            self.team.barrier()

    def _close_epoch(self, epoch: int, order: Order, losses: NDArray[np.float64]) -> None:
        """Note the epoch, ask whether it shall be the last, and measure after it."""
        self._note_epoch(epoch, order, losses)
        if self._stop is not None:
            last, weights = epoch + 1 == self.plan.epochs, self.table.weights
            counts = None if weights is None else weights_of(weights, order)
            known = self.tally.losses[-1], order.examples, self._alike, self.validation, last
            seen = stopping.Epoch(self.team, self.learner, *known, losses, order.global_rows, counts)
            self._stopped = self._stop.ended(seen) and not last
        if self._stopped:
            self._end_early()
        self._measure_if_alike()

    def _end_early(self) -> None:
        """Hold the last round now, unless it has just been held."""
        shared_memory = self._now.stage.rule.needs.shared_memory
        if self._last_round < self.tally.steps or shared_memory or len(self.learner.buffers):
            self._now.services.epochs = len(self.tally.losses)
            self._round(last=True)

    def _note_epoch(self, epoch: int, order: Order, losses: NDArray[np.float64]) -> None:
        """Note the epoch's mean loss, each step counting by its examples."""
        sizes = np.diff(order.bounds)
        loss = float(losses @ sizes / max(sizes.sum(), 1))
        self.tally.losses.append(loss)
        self.tally.examples_by_epoch.append(order.examples)
        self._tell(EpochEnded(self.team.rank, epoch + 1, loss))

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def weights_of(weights: NDArray[Any], order: Order) -> NDArray[np.float64]:
    """Return the sum of the weights of the rows of each step, shape (steps,)."""
    first = order.bounds[0]
    sums = np.zeros(order.examples + 1)
    np.cumsum(weights[order.rows[first : order.bounds[-1]]], out=sums[1:], dtype=np.float64)
    return np.diff(sums[order.bounds - first])


def joint_losses(tallies: Sequence[Tally]) -> list[float]:
    """Return the mean loss of each epoch over all workers' examples."""
    together = []
    for epoch in range(max(len(tally.losses) for tally in tallies)):
        there = [tally for tally in tallies if epoch < len(tally.losses)]  # a learner may have stopped early
        losses = np.array([tally.losses[epoch] for tally in there])
        weights = np.array([tally.examples_by_epoch[epoch] for tally in there], np.float64)
        together.append(float((losses * weights).sum() / weights.sum()))
    return together
