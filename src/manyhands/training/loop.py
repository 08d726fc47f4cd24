"""The one training loop: ask the strategy, let the learner run, hold the round, call the callbacks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.callbacks import reaches
from manyhands.core.errors import DivergedError, ManyhandsError
from manyhands.core.learner import FitLearner, Rounds, Snapshots
from manyhands.core.samples import Control, Order
from manyhands.core.strategy import GradientRule, LocalRule, RoundContext
from manyhands.core.types import Vector
from manyhands.data.sampler import Sampler
from manyhands.runtime.memory import aligned_zeros
from manyhands.strategies.base import average_state_
from manyhands.training.checkpoint import Checkpoint, State, arrays_in, restore
from manyhands.training.merge_services import RunServices
from manyhands.training.plan import PlannedStage
from manyhands.training.stragglers import Pacer
from manyhands.training.tally import Tally, weights_of
from manyhands.training.worker_run import Counts, SinceRound, WorkerRun

_ROWS_AT_ONCE = 1 << 17
"""Rows of several epochs that are ordered ahead and trained on in one call: a megabyte of numbers."""

_PRODUCTS_AT_ONCE = 1 << 33
"""Rows times parameters in one call if callbacks wait for the ends of epochs: some tenths of a second."""

_BYTES_KEPT = 1 << 26
"""Bytes of parameters that are kept in one call for callbacks that look back at the ends of epochs."""

_TINY = 1e-300
"""What rows without weight count for in a round, as in the kernel: enough to divide by."""

_STEPS_AVERAGED = 1 << 20
"""Of how many steps, at most, a round's mean learning rate is: enough to know it, whatever the run."""


_RULE = "rule."
"""Before the names of a rule's arrays in a checkpoint."""


class StoppedError(Exception):
    """The run was asked to stop; the caller that asked knows why."""


@dataclass
class _Now:
    """The stage that the run is in, and what belongs to it."""

    stage: PlannedStage
    schedule: Sampler
    state: Any
    services: RunServices


class Loop:
    """Takes one worker through all epochs, looking at ``control`` between steps.

    ``schedule_for`` makes the order of the rows for a stage: batches may grow.
    """

    def __init__(
        self,
        worker: WorkerRun,
        schedule_for: Callable[[PlannedStage], Sampler],
        control: Control,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.worker, self.control = worker, control
        self.team, self.learner, self.plan = worker.team, worker.learner, worker.plan
        if not isinstance(worker.learner, FitLearner):
            self._stepper = worker.learner
        self.table, self.clock = worker.table, worker.clock
        self.pacer = Pacer(worker.clock, control, worker.plan)
        self._schedule_for, self._checkpoint = schedule_for, checkpoint
        self._resumed: State | None = None
        self._gradient: Vector = aligned_zeros(self.learner.size, self.learner.dtype)
        self._kept: NDArray[Any] = np.zeros((0, self.learner.size), self.learner.dtype)
        self._local = False  # whether the optimizers' states may differ
        self._divided = False  # whether each worker knows its part of them only

    def run(self) -> Tally:
        """Train; afterwards all workers hold the same, merged parameters.

        StoppedError if ``control.stop`` was set; DivergedError and WorkerLost come from learner and team.
        """
        self.worker.begin()
        done = self._resume()
        self.pacer.begin()
        for stage in self.plan.stages:
            if stage.first_epoch + stage.epochs <= done:
                continue
            self._begin(stage)
            if done > stage.first_epoch:
                self._restore_stage()
            if isinstance(self.learner, FitLearner):
                self._fit(self.learner)
            else:
                self._go_through_stage(max(stage.first_epoch, done))
            if self.worker.stopped:
                break
        self.worker.end()
        if self._checkpoint is not None and self.team.rank == 0:
            self._checkpoint.remove()
        return self.worker.tally

    def state(self, epoch: int) -> State:
        """Return all that this worker needs to go on with epoch ``epoch``, if it is at the end of the one before."""
        facts = {**self.worker.counted(), "local": self._local}
        rule = {f"{_RULE}{name}": array for name, array in arrays_in(self._now.state).items()}
        return State(epoch, facts, {**self.learner.state(), **rule})

    def _resume(self) -> int:
        """Take over what a checkpoint says, if there is one; return the epoch to go on with."""
        self._resumed = None if self._checkpoint is None else self._checkpoint.load(self)
        if self._resumed is None:
            return 0
        arrays, facts = self._resumed.arrays, self._resumed.facts
        self.learner.load_state({name: array for name, array in arrays.items() if not name.startswith(_RULE)})
        self.worker.take_over(facts)
        self._local = bool(facts["local"])
        self.control.progress[0] = self.worker.tally.steps
        return self._resumed.epoch

    def _restore_stage(self) -> None:
        """Restore what belongs to the stage in which the checkpoint was written."""
        assert self._resumed is not None
        arrays = self._resumed.arrays
        own = {name.removeprefix(_RULE): array for name, array in arrays.items() if name.startswith(_RULE)}
        restore(self._now.state, own)
        self.worker.take_over(self._resumed.facts)

    def _begin(self, stage: PlannedStage) -> None:
        """Get ready for a stage: all workers are synchronized."""
        schedule, validation = self._schedule_for(stage), self.worker.validation
        services = RunServices(self.plan, self.team, self.learner, self.table, schedule, self.control, validation)
        syncs_gradients = isinstance(stage.rule, GradientRule)
        if self._local and syncs_gradients:
            # Workers that apply the same gradient stay synchronized only if their optimizers are.
            average_state_(self.team, self.learner)
        self._local = not syncs_gradients
        state = stage.rule.begin_(self.team, self.learner)
        self._now = _Now(stage, schedule, state, services)
        self._rates_from, self._known_rates = 0, np.zeros(0)
        self.worker.begin_stage(stage, services)

    def _go_through_stage(self, epoch: int) -> None:
        """Train through all epochs of the stage, from this one on, or until a callback ends the run."""
        stage, worker = self._now.stage, self.worker
        # As few calls as possible: after every one, workers queue for the interpreter's lock.
        at_once = self._epochs_at_once()
        end = stage.first_epoch + stage.epochs
        while epoch < end and not worker.stopped:
            count = min(at_once, end - epoch)
            if self._called_inside(count):
                count = 1
            meeting = None if self._called_inside(count) else self._meeting()
            if worker.granularity == "step" or (self._holds_rounds and meeting is None):
                count = 1
                self._epoch_by_rounds(epoch)
            else:
                self._epochs_in_one_call(epoch, count, meeting)
            epoch += count
            if self._checkpoint is not None and epoch < self.plan.epochs:
                self._checkpoint.after_epoch(self, epoch)
        if self._divided:
            self._complete_optimizers()

    def _epochs_at_once(self) -> int:
        """Return how many epochs one call of the learner may hold."""
        worker, most = self.worker, max(1, _ROWS_AT_ONCE // self.plan.rows)
        if worker.granularity == "end":
            return most
        if not worker.may_run_ahead or (worker.looks_back and not self._stepper.keeps_snapshots):
            return 1
        most = min(most, max(1, _PRODUCTS_AT_ONCE // (self.plan.rows * self.learner.size)))
        return min(most, max(1, _BYTES_KEPT // self.learner.parameters.nbytes)) if worker.looks_back else most

    def _called_inside(self, epochs: int) -> bool:
        """Return whether a callback is to be called within one of the next epochs, not just at their ends."""
        if not reaches(self.worker.granularity, "round"):
            return False
        at, per_epoch = self.worker.step_in_stage, self._now.stage.steps_per_epoch
        return self.worker.syncs_gradients or bool((self._due(at, at + epochs * per_epoch) % per_epoch).any())

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
        self.pacer.note(len(losses) // order.steps * order.examples)
        for epoch in range(len(losses) // order.steps):
            part = losses[epoch * order.steps : (epoch + 1) * order.steps]
            self.worker.count(order, part)
            self.worker.note_epoch(epoch, order, part)
        # Who stops earlier counts no less: the mean is over the workers, in proportion to their shares.
        self.worker.since.examples = order.examples
        self._round(last=True)

    def _meeting(self) -> Any:
        """Return a way for the learner to hold the rounds itself, if learner, team and strategy allow it."""
        rule = self._now.stage.rule
        if self.team.size == 1 or not self._stepper.holds_rounds or not rule.fusable or len(self.learner.buffers):
            return None
        if isinstance(rule, GradientRule):
            divisible = self._stepper.divisible  # else everyone needs the whole gradient
            return self.team.shared_reduction(self._gradient, self.learner.parameters) if divisible else None
        return self.team.shared_reduction(self.learner.parameters)

    def _epochs_in_one_call(self, first: int, count: int, meeting: Any) -> None:
        """Go through several epochs in one call of the learner, which holds all rounds itself."""
        worker, at = self.worker, self.worker.step_in_stage
        self._now.schedule.fetch(first)  # which is nothing, unless rows are elsewhere: then epochs come one by one
        began, before = time.perf_counter(), worker.counts()
        order = self._now.schedule.epochs(first, count)
        rounds, due = None, 0
        if meeting is not None and worker.syncs_gradients:
            rounds, due = Rounds(meeting, np.zeros(0, np.int64), gradient=self._gradient), order.steps
            self._divided = True
        elif meeting is not None:
            rounds = Rounds(meeting, self._due(at, at + order.steps) - at, worker.since.examples)
            due = len(rounds.due)
        looks_back = count > 1 and worker.looks_back
        kept, called = self._snapshots(count) if looks_back else None, self.clock.elapsed()
        given: dict[str, Any] = {"rounds": rounds, "snapshots": kept}
        given = {name: value for name, value in given.items() if value is not None}  # some learners know neither
        outcome = self._stepper.run(self.table, order, self._rates(at, at + order.steps), self.control, **given)
        if len(outcome.losses) < order.steps:
            raise StoppedError
        self._check_held(outcome.rounds, due)
        seconds = self.team.record_fused_rounds(outcome.rounds, self.learner.parameters)
        self.clock.add("compute", time.perf_counter() - began - seconds)
        self.pacer.note(order.examples)
        after = worker.counts()._replace(rounds=before.rounds + outcome.rounds)
        per_epoch = self._now.stage.steps_per_epoch
        ends = [
            before.between(
                after, (number + 1) / count, (number + 1) * per_epoch, _held_by((number + 1) * per_epoch, rounds)
            )
            for number in range(count)
        ]
        if kept is not None:
            ends = [
                end._replace(train_s=called + 1e-9 * int(at)) for end, at in zip(ends, kept.nanoseconds, strict=True)
            ]
        with worker.looking_back() if looks_back else nullcontext():
            self._close_epochs(first, order, outcome.losses, ends, rounds, kept)

    def _snapshots(self, epochs: int) -> Snapshots | None:
        """Return where rank 0 keeps its parameters at the ends of several epochs."""
        if self.team.rank:
            return None
        if len(self._kept) < epochs:
            self._kept = aligned_zeros(epochs * self.learner.size, self.learner.dtype).reshape(epochs, -1)
        due = np.arange(1, epochs + 1, dtype=np.int64) * self._now.stage.steps_per_epoch
        return Snapshots(due, self._kept[:epochs], np.zeros(epochs, np.int64))

    def _close_epochs(
        self,
        first: int,
        order: Order,
        losses: NDArray[np.float64],
        ends: list[Counts],
        rounds: Rounds | None,
        kept: Snapshots | None,
    ) -> None:
        """Close the epochs of one call, one by one, so that callbacks see the run as it was at each end."""
        worker, per_epoch = self.worker, self._now.stage.steps_per_epoch
        for number, counts in enumerate(ends):
            start, stop = number * per_epoch, (number + 1) * per_epoch
            part, of_epoch = order.part(start, stop), losses[start:stop]
            worker.count(part, of_epoch)
            worker.tally.rounds = counts.rounds
            if kept is not None:
                worker.look_back(kept.kept[number], counts.train_s)
            held = 0 if rounds is None else int(rounds.due[: _held_by(stop, rounds)].max(initial=0))
            if held > start:
                self._note_held(held - start, part, of_epoch)
            self._close_epoch(first + number, part, of_epoch, counts)

    def _check_held(self, rounds: int, due: int) -> None:
        """Check that the learner has held the rounds that it was given."""
        if rounds != due:
            raise ManyhandsError(
                f"the learner {type(self.learner).__name__} was given {due} rounds and reports that it has held "
                f"{rounds}: Learner.run must hold them all, or the learner must not declare holds_rounds"
            )

    def _note_held(self, due: int, order: Order, losses: NDArray[np.float64]) -> None:
        """Note that the learner's last round was after the first ``due`` steps of ``order``."""
        self.worker.note_synchronized(order.steps - due)
        self.worker.report_round(self.worker.since.mean_loss)  # if rounds are asked for, this was the only one
        self.worker.since = SinceRound()
        self.worker.since.add(order.part(due, order.steps), losses[due:])

    def _due(self, step: int, end: int) -> NDArray[np.int64]:
        """Return the steps of the stage after which rounds are due, behind ``step`` and up to ``end``."""
        stage, steps = self._now.stage, []
        while (step := stage.next_round(step)) <= end:
            steps.append(step)
            if step == stage.steps:
                break
        return np.array(steps, np.int64)

    def _epoch_by_rounds(self, epoch: int) -> None:
        """Go through one epoch, from round to round."""
        stage, worker = self._now.stage, self.worker
        self._now.schedule.fetch(epoch)
        with self.clock.phase("compute"):
            order = self._now.schedule.epoch(epoch)
        losses = np.zeros(order.steps)
        at = 0
        while at < order.steps:
            due = stage.next_round(worker.step_in_stage)
            end = min(at + due - worker.step_in_stage, order.steps)
            if isinstance(stage.rule, GradientRule):
                for number in range(at, end):
                    losses[number] = self._synced_step(stage.rule, order.part(number, number + 1))
            else:
                end = at + 1 if worker.granularity == "step" else end
                losses[at:end] = self._local_steps(order.part(at, end))
            at = end
            if worker.step_in_stage == due:
                self._round(last=due == stage.steps)
        self._close_epoch(epoch, order, losses)

    def _local_steps(self, order: Order) -> NDArray[np.float64]:
        """Let the learner run alone."""
        at = self.worker.step_in_stage
        with self.clock.phase("compute"):
            losses = self._stepper.run(self.table, order, self._rates(at, at + order.steps), self.control).losses
        if len(losses) < order.steps:
            raise StoppedError
        self.pacer.note(order.examples)
        self.worker.count(order, losses)
        self.worker.report_step(float(losses[-1]))
        return losses

    def _synced_step(self, rule: GradientRule[Any], order: Order) -> float:
        """Take one step with a round between its gradient and its update."""
        if self.control.stop[0]:
            raise StoppedError
        at = self.worker.step_in_stage
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
        self.pacer.note(order.examples)
        self.worker.count(order, np.array([loss]))
        if self.team.size > 1:
            self.worker.tally.rounds += 1
            self.worker.report_round(loss)
        self.worker.report_step(loss)
        return loss

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(self.worker.step + 1, self.team.rank, loss)

    def _round(self, *, last: bool) -> None:
        """Hold the round that is due, if it changes anything."""
        rule, worker = self._now.stage.rule, self.worker
        merges = isinstance(rule, LocalRule) and self._holds_rounds
        if isinstance(rule, LocalRule) and merges:
            self._merge(rule, last=last)
        elif self.team.size > 1 and len(self.learner.buffers):  # they come from local batches, unlike the parameters
            self.team.mean_(self.learner.buffers, worker.since.examples)
        if last or not rule.needs.shared_memory:  # workers that do not wait for the others differ until the end
            worker.note_synchronized()
        if merges:
            worker.report_round(worker.since.mean_loss)
        worker.since = SinceRound()

    def _merge(self, rule: LocalRule[Any], *, last: bool) -> None:
        """Let the rule hold its round."""
        worker, services = self.worker, self._now.services
        at, steps = worker.step_in_stage, min(max(worker.since.steps, 1), _STEPS_AVERAGED)
        rate, examples = float(self._rates(at - steps, at).mean()), worker.since.examples
        rule.hold_round_(RoundContext(self.team, self.learner, examples, rate, last, self._now.state, services))
        if self.control.stop[0]:  # a merge that trains was stopped
            raise StoppedError
        worker.tally.examples += services.pop_examples()
        worker.tally.rounds += 1

    def _close_epoch(self, epoch: int, order: Order, losses: NDArray[np.float64], counts: Counts | None = None) -> None:
        """Close the epoch; if it ends the run, hold the last round, unless it has just been held."""
        self.worker.close_epoch(epoch, order, losses, counts)
        shared_memory = self._now.stage.rule.needs.shared_memory
        due = self.worker.changed_since_round or shared_memory or len(self.learner.buffers)
        if self.worker.stopped and due:
            self._now.services.epochs = len(self.worker.tally.losses)
            self._round(last=True)


def _held_by(step: int, rounds: Rounds | None) -> int:
    """Return how many rounds a learner holds itself in the first ``step`` steps of a call."""
    if rounds is None:
        return 0
    return step if rounds.gradient is not None else int(np.searchsorted(rounds.due, step, side="right"))
