"""Steps and rounds of one worker in a stage: in few calls of a learner that holds rounds itself, else one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.callbacks import reaches
from manyhands.core.errors import DivergedError, ManyhandsError
from manyhands.core.learner import FitLearner, Rounds, RunOutcome, Snapshots, SumLearner
from manyhands.core.samples import Control, Order
from manyhands.core.strategy import GradientRule, LocalRule, RoundContext
from manyhands.core.types import Vector
from manyhands.data.sampler import Sampler
from manyhands.runtime.memory import aligned_zeros
from manyhands.training import verifying
from manyhands.training.merge_services import RunServices
from manyhands.training.plan import PlannedStage
from manyhands.training.stragglers import Pacer
from manyhands.training.tally import weights_of
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


class StoppedError(Exception):
    """The run was asked to stop; the caller that asked knows why."""


@dataclass
class Now:
    """The stage that the run is in, and what belongs to it."""

    stage: PlannedStage
    schedule: Sampler
    state: Any
    services: RunServices
    merged: Any
    """The learner that rounds merge: a whole one, where several workers hold a network together."""


@dataclass
class Part:
    """The epoch of which a part of the steps has been taken: its number, its order, and the losses so far."""

    epoch: int
    order: Order | None = None
    losses: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class Stepping:
    """What takes one worker through parts of a stage, looking at ``control`` between steps.

    Parameters
    ----------
    worker
        The worker's run.
    schedule_for
        Makes the order of the rows for a stage: batches may grow.
    control
        Whether it must stop, and how far it has come.
    """

    def __init__(self, worker: WorkerRun, schedule_for: Callable[[PlannedStage], Sampler], control: Control) -> None:
        self.worker, self.control, self._schedule_for = worker, control, schedule_for
        self.team, self.learner, self.plan = worker.team, worker.learner, worker.plan
        if not isinstance(worker.learner, FitLearner | SumLearner):
            self._stepper = worker.learner
        self.table, self.clock = worker.table, worker.clock
        self.pacer = Pacer(worker.clock, control, worker.plan)
        self._gradient: Vector = aligned_zeros(self.learner.size, self.learner.dtype)
        self._kept: NDArray[Any] = np.zeros((0, self.learner.size), self.learner.dtype)
        self._divided = False  # whether each worker knows its part of the optimizers' states only
        self._part = Part(-1)
        self._between_rounds = self.plan.reliability.verify  # whether no learner may hold rounds itself

    def _commit(self, epoch: int, step: int) -> None:
        """Note where all workers are, if they may have to come back to it: a subclass knows."""

    def _enter(self, stage: PlannedStage) -> None:
        """Make what belongs to a stage."""
        schedule, validation = self._schedule_for(stage), self.worker.validation
        # Merges other than the mean look at whole networks.
        merged = self.learner if isinstance(stage.rule, GradientRule) or stage.rule.fusable else self.learner.whole()
        services = RunServices(self.plan, self.team, merged, self.table, schedule, self.control, validation)
        state = stage.rule.begin_(self.team, merged)
        self._now = Now(stage, schedule, state, services, merged)
        self._part = Part(-1)
        self._rates_from, self._known_rates = 0, np.zeros(0)
        self.worker.begin_stage(stage, services)

    def _whole_epochs(self, epoch: int, count: int) -> int:
        """Go through one or several epochs, as many as can be held in one call; return how many."""
        if self._called_inside(count):
            count = 1
        meeting = None if self._called_inside(count) else self._meeting()
        if self.worker.granularity != "step" and (meeting is not None or not self._holds_rounds):
            self._epochs_in_one_call(epoch, count, meeting)
            return count
        self._part_of_epoch(epoch, 0, self._now.stage.steps_per_epoch)
        self._close_epoch(epoch, self._order_of(epoch), self._part.losses)
        return 1

    def _order_of(self, epoch: int) -> Order:
        """Return the order of an epoch of which parts are taken, drawn once."""
        part, schedule = self._part, self._now.schedule
        if part.epoch != epoch:
            part = self._part = Part(epoch, losses=np.zeros(self._now.stage.steps_per_epoch))
        if part.order is None:
            schedule.fetch(epoch)
            with self.clock.phase("compute"):
                part.order = schedule.epoch(epoch)
        return part.order

    def _reach(self, epoch: int, step: int) -> int:
        """Return up to which step of an epoch the rows are here; if the next one's are not, wait for them."""
        schedule = self._now.schedule
        if (until := schedule.reach(epoch, step)) > step:
            return until
        with self.team.watchdog_paused():  # a slow disk is no worker that hangs
            while (until := schedule.reach(epoch, step)) == step:
                if self.control.stop[0]:
                    raise StoppedError
        return until

    def _part_of_epoch(self, epoch: int, start: int, stop: int) -> int:
        """Take the steps start..stop-1 of an epoch, with the rounds in them; return ``stop``."""
        order = self._order_of(epoch).part(start, stop)
        calls = reaches(self.worker.granularity, "round")
        meeting = None if calls else self._meeting()
        if calls or start == stop or (meeting is None and self._holds_rounds):
            self._by_rounds(epoch, start, stop)
            return stop
        rounds, outcome = self._call(order, meeting)
        self._part.losses[start:stop] = outcome.losses
        self.worker.count(order, outcome.losses)
        self.worker.tally.rounds += outcome.rounds
        held = 0 if rounds is None else int(rounds.due.max(initial=0))
        if held:
            self._note_held(held, order, outcome.losses)
        return stop

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

    @property
    def _verifies(self) -> bool:
        """Whether the parameters are checked around rounds."""
        return self.plan.reliability.verify and not self._now.stage.rule.needs.shared_memory

    def _rates(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the learning rates of steps of the stage; an epoch's are computed at once, a long run's never all."""
        if start < self._rates_from or stop > self._rates_from + len(self._known_rates):
            end = min(max(stop, start + self._now.stage.steps_per_epoch), self._now.stage.steps)
            self._rates_from, self._known_rates = start, self.plan.rates(self._now.stage, start, end)
        return self._known_rates[start - self._rates_from : stop - self._rates_from]

    def _meeting(self) -> Any:
        """Return a way for the learner to hold the rounds itself, if learner, team and strategy allow it."""
        rule = self._now.stage.rule
        if self._between_rounds:
            return None
        if self.team.size == 1 or not self._stepper.holds_rounds or not rule.fusable or len(self.learner.buffers):
            return None
        if isinstance(rule, GradientRule):
            divisible = self._stepper.divisible  # else everyone needs the whole gradient
            return self.team.shared_reduction(self._gradient, self.learner.parameters) if divisible else None
        return self.team.shared_reduction(self.learner.parameters)

    def _epochs_in_one_call(self, first: int, count: int, meeting: Any) -> None:
        """Go through several epochs in one call of the learner, which holds all rounds itself."""
        worker = self.worker
        self._now.schedule.fetch(first)  # which is nothing, unless rows are elsewhere: then epochs come one by one
        before, called = worker.counts(), self.clock.elapsed()
        with self.clock.phase("compute"):
            order = self._now.schedule.epochs(first, count)
        looks_back = count > 1 and worker.looks_back
        kept = self._snapshots(count) if looks_back else None
        rounds, outcome = self._call(order, meeting, kept)
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

    def _call(self, order: Order, meeting: Any, kept: Snapshots | None = None) -> tuple[Rounds | None, RunOutcome]:
        """Let the learner take these steps, and hold the rounds in them itself; return these, and what it has done."""
        at = self.worker.step_in_stage
        rounds, due = None, 0
        if meeting is not None and self.worker.syncs_gradients:
            rounds, due = Rounds(meeting, np.zeros(0, np.int64), gradient=self._gradient), order.steps
            self._divided = True
        elif meeting is not None:
            rounds = Rounds(meeting, self._due(at, at + order.steps) - at, self.worker.since.examples)
            due = len(rounds.due)
        given: dict[str, Any] = {"rounds": rounds, "snapshots": kept}
        given = {name: value for name, value in given.items() if value is not None}  # some learners know neither
        rates = self._rates(at, at + order.steps)
        with self.clock.phase("compute"):
            outcome = self._stepper.run(self.table, order, rates, self.control, **given)
            self.team.record_fused_rounds(outcome.rounds, self.learner.parameters)
        if len(outcome.losses) < order.steps:
            raise StoppedError
        self._check_held(outcome.rounds, due)
        self.pacer.note(order.examples)
        return rounds, outcome

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

    def _by_rounds(self, epoch: int, start: int, stop: int) -> None:
        """Take the steps start..stop-1 of an epoch, from round to round."""
        stage, worker, part = self._now.stage, self.worker, self._part
        order, at = self._order_of(epoch), start
        while at < stop:
            due = stage.next_round(worker.step_in_stage)
            end = min(at + due - worker.step_in_stage, stop)
            if isinstance(stage.rule, GradientRule):
                for number in range(at, end):
                    part.losses[number] = self._synced_step(stage.rule, order.part(number, number + 1))
                    self._commit(epoch, number + 1)
            else:
                end = at + 1 if worker.granularity == "step" else end
                part.losses[at:end] = self._local_steps(order.part(at, end))
            at = end
            if worker.step_in_stage == due:
                self._round(last=due == stage.steps)
                self._commit(epoch, at)

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
        if self._verifies:
            verifying.check_finite(self.team, self._gradient, self.worker.rounds + 1, "gradients")
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
        if self._verifies:
            verifying.check_same(self.team, self.learner.parameters, self.worker.rounds)
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
        if self._verifies:
            verifying.check_finite(self.team, self.learner.parameters, worker.rounds + 1, "parameters")
        merged = self.learner if self._now.merged is self.learner else self.learner.whole(self._now.merged)
        rule.hold_round_(RoundContext(self.team, merged, examples, rate, last, self._now.state, services))
        if merged is not self.learner:
            self.learner.take_over(merged)
        if self.control.stop[0]:  # a merge that trains was stopped
            raise StoppedError
        worker.tally.examples += services.pop_examples()
        worker.tally.rounds += 1
        if self._verifies and services.ensemble is None:
            verifying.check_same(self.team, self.learner.parameters, worker.rounds)

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
