"""The one training loop: ask the strategy, let the learner run, hold the round, tell the listeners."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from manyhands.data.order import Schedule
from manyhands.errors import DivergedError
from manyhands.memory import aligned_zeros
from manyhands.protocols import Control, Learner, Order, Table, Team, Vector
from manyhands.training.clock import PhaseClock
from manyhands.training.events import EpochEnded, Event, Listener, RoundHeld
from manyhands.training.plan import Plan


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
    """

    steps: int = 0
    rounds: int = 0
    examples: int = 0
    losses: list[float] = field(default_factory=list)
    examples_by_epoch: list[int] = field(default_factory=list)


class Loop:
    """One worker's way through all epochs.

    Parameters
    ----------
    team, learner
        Who talks and who learns.
    plan
        Strategy, epochs, learning rate.
    table
        Training rows; the schedule says which are this worker's.
    schedule
        The order of the rows.
    control
        Looked at between steps.
    clock
        Charged with what happens here.
    listeners
        Told about epochs and rounds.
    """

    def __init__(
        self,
        team: Team,
        learner: Learner,
        plan: Plan,
        table: Table,
        schedule: Schedule,
        control: Control,
        clock: PhaseClock,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.team, self.learner, self.plan = team, learner, plan
        self.table, self.schedule = table, schedule
        self.control, self.clock, self.listeners = control, clock, listeners
        self.rates: NDArray[np.float64] = np.full(plan.steps_per_epoch, plan.settings.learning_rate)
        self.tally = Tally()
        self._gradient: Vector = aligned_zeros(learner.size, learner.dtype)
        self._examples_since_round = 0

    def run(self) -> Tally:
        """Train; afterwards all workers hold the same, merged parameters.

        Raises
        ------
        StoppedError
            If ``control.stop`` was set.
        DivergedError, WorkerLost
            From the learner and the team.
        """
        for epoch in range(self.plan.epochs):
            with self.clock.phase("compute"):
                order = self.schedule.epoch(epoch)
            losses = self._epoch(order)
            self._close_epoch(epoch, order, losses)
        return self.tally

    def _epoch(self, order: Order) -> NDArray[np.float64]:
        """Go through one epoch, from round to round; return the loss of each step."""
        strategy = self.plan.strategy
        losses = np.zeros(order.steps)
        at = 0
        while at < order.steps:
            step = self.tally.steps
            due = strategy.next_round(step, self.plan.steps_per_epoch, self.plan.total_steps)
            end = min(at + due - step, order.steps)
            if strategy.talks_inside_step(step):
                for number in range(at, end):
                    losses[number] = self._talking_step(order.part(number, number + 1), number)
            else:
                losses[at:end] = self._local_steps(order.part(at, end), at, end)
            at = end
            if self.tally.steps == due:
                self._round()
        return losses

    def _local_steps(self, order: Order, at: int, end: int) -> NDArray[np.float64]:
        """Let the learner run alone."""
        with self.clock.phase("compute"):
            losses = self.learner.run(self.table, order, self.rates[at:end], self.control)
        if len(losses) < order.steps:
            raise StoppedError
        self._count(order)
        return losses

    def _talking_step(self, order: Order, number: int) -> float:
        """Take one step with a round between its gradient and its update."""
        if self.control.stop[0]:
            raise StoppedError
        with self.clock.phase("compute"):
            loss = self.learner.gradient(self.table, order, self._gradient)
        if not math.isfinite(loss):
            raise DivergedError(self.tally.steps + 1, self.team.rank, loss)
        self.plan.strategy.merge_gradient_(self.team, self._gradient, order.examples)
        with self.clock.phase("compute"):
            loss += self.learner.apply(self._gradient, self.rates[number], int(order.global_rows[0]))
        self.control.progress[0] += 1
        self._count(order)
        self.tally.rounds += self.team.size > 1
        return loss

    def _count(self, order: Order) -> None:
        self.tally.steps += order.steps
        self.tally.examples += order.examples
        self._examples_since_round += order.examples

    def _round(self) -> None:
        """Hold the round that is due, unless the workers are alike already."""
        if self.team.size > 1:
            self.plan.strategy.hold_round_(self.team, self.learner, self._examples_since_round)
            if not self.plan.strategy.talks_inside_step(self.tally.steps - 1):
                self.tally.rounds += 1
                self._tell(RoundHeld(self.team.rank, self.tally.rounds, self.tally.steps))
        self._examples_since_round = 0

    def _close_epoch(self, epoch: int, order: Order, losses: NDArray[np.float64]) -> None:
        """Note the epoch's mean loss, each step counting by its examples."""
        sizes = np.diff(order.bounds)
        loss = float(losses @ sizes / max(sizes.sum(), 1))
        self.tally.losses.append(loss)
        self.tally.examples_by_epoch.append(order.examples)
        self._tell(EpochEnded(self.team.rank, epoch + 1, loss))

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def joint_losses(tallies: Sequence[Tally]) -> list[float]:
    """Return the mean loss of each epoch over all workers' examples."""
    losses = np.array([tally.losses for tally in tallies])
    weights = np.array([tally.examples_by_epoch for tally in tallies], dtype=np.float64)
    return [float(value) for value in (losses * weights).sum(axis=0) / weights.sum(axis=0)]
