"""The one training loop: ask the strategy, let the learner run, hold the round, call the callbacks."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from manyhands.core.errors import WorkerLost
from manyhands.core.learner import FitLearner, SumLearner
from manyhands.core.samples import Control
from manyhands.core.strategy import GradientRule
from manyhands.data.sampler import Sampler
from manyhands.strategies.base import average_state_
from manyhands.teams.registry import kind_of
from manyhands.training.checkpoints.keeper import Keeper
from manyhands.training.checkpoints.state import CALLBACK, LOSSES, PARAMETERS, RULE, State, arrays_in, restore, under
from manyhands.training.passes import Passes
from manyhands.training.plan import PlannedStage
from manyhands.training.recovery import Commits, incident
from manyhands.training.stepping import Part, Stepping, StoppedError
from manyhands.training.tally import Tally
from manyhands.training.worker_run import WorkerRun


class Loop(Stepping):
    """Takes one worker through all epochs, looking at ``control`` between steps.

    ``schedule_for`` makes the order of the rows for a stage: batches may grow.
    """

    def __init__(
        self,
        worker: WorkerRun,
        schedule_for: Callable[[PlannedStage], Sampler],
        control: Control,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(worker, schedule_for, control)
        self._keeper = Keeper(None, self.plan.team, control) if keeper is None else keeper
        self._local = False  # whether the optimizers' states may differ
        self._commits = Commits() if self.plan.reliability.continues and self.team.size > 1 else None
        self._between_rounds |= self._commits is not None
        self.incidents: list[dict[str, Any]] = []

    def run(self) -> Tally:
        """Train; afterwards all workers hold the same, merged parameters.

        StoppedError if ``control.stop`` was set, Suspended if the run was asked to end by itself; DivergedError and
        WorkerLost come from learner and team.
        """
        self.worker.begin()
        try:
            state = self._keeper.load(self.worker)
            self.pacer.begin()
            while True:
                try:
                    self._train(state)
                    self.worker.end()
                    self._check_all_there()
                    return self.worker.tally
                except (WorkerLost, StoppedError) as error:
                    state = self._recovered(error)
        finally:
            self._keeper.close()

    def _train(self, state: State | None) -> None:
        """Go through all stages, or those that are left."""
        epoch, step = 0, 0
        if state is not None:
            epoch, step = state.epoch, state.step
            self._take_over(state)
            if self.worker.stopped:
                return
        for stage in self.plan.stages:
            if stage.first_epoch + stage.epochs <= epoch:
                continue
            amid = state is not None and (epoch > stage.first_epoch or step > 0)
            self._enter(stage) if amid else self._begin(stage)
            if state is not None and amid:
                self._take_over_stage(state)
            state = None
            if isinstance(self.learner, SumLearner):
                self._pass_through(self.learner)
            elif isinstance(self.learner, FitLearner):
                self._fit(self.learner)
            else:
                self._go_through_stage(max(stage.first_epoch, epoch), step)
            step = 0
            if self.worker.stopped:
                break

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

    def _pass_through(self, learner: SumLearner) -> None:
        """Let the learner go through its passes; afterwards all workers have the same model."""
        passes = Passes(self.worker, learner, self._now.schedule, self.control, self._reach)
        if not passes.run():
            raise StoppedError
        self.pacer.note(self.worker.tally.examples)
        self.worker.note_synchronized()

    def state(self, epoch: int, step: int) -> State:
        """Return all that this worker needs to go on after so many steps of epoch ``epoch``."""
        if self._divided:
            self._complete_optimizers()
        facts = {**self.worker.counted(), "local": self._local}
        facts["callbacks"], arrays = self.worker.callback_states()
        arrays |= {f"{RULE}{name}": array.copy() for name, array in arrays_in(self._now.state).items()}
        arrays |= {LOSSES: self._part.losses[:step].copy(), **self.learner.state()}
        return State(epoch, step, facts, arrays, self._common())

    def _common(self) -> frozenset[str]:
        """Return the names of the arrays that are the same on all workers now."""
        if self._now.stage.rule.needs.shared_memory or not self.worker.synchronized:
            return frozenset()
        gradients = self.worker.syncs_gradients and self.team.size > 1
        return frozenset({PARAMETERS, *(self.learner.optimizer_state if gradients else ())})

    def _take_over(self, state: State) -> None:
        """Take over what belongs to the learner, the counts and the callbacks; the stage comes later."""
        others = (LOSSES, *(name for name in state.arrays if name.startswith((RULE, CALLBACK))))
        self.learner.load_state({name: array for name, array in state.arrays.items() if name not in others})
        self._take_over_counts(state)
        self._local = bool(state.facts["local"])
        self.control.progress[0] = self.worker.tally.steps
        self.worker.load_callback_states(state.facts["callbacks"], state.arrays)

    def _take_over_stage(self, state: State) -> None:
        """Take over what belongs to the stage in which the state was noted, and the counts that its beginning reset."""
        restore(self._now.state, under(RULE, state.arrays))
        self._take_over_counts(state)
        self._part = Part(state.epoch, losses=np.zeros(self._now.stage.steps_per_epoch))
        self._part.losses[: state.step] = state.arrays[LOSSES]

    def _take_over_counts(self, state: State) -> None:
        """Take over the counts; where workers go on without others, time goes on, too."""
        self.worker.take_over(state.facts, clocks=self._commits is None or not self.incidents)

    def _recovered(self, error: WorkerLost | StoppedError) -> State:
        """Go on without the workers that are lost, and return the last state that all others have had.

        The error itself is raised if they are not to go on, or cannot.
        """
        own_end = self.control.stop[0] and kind_of(self.plan.team).processes is None
        if self._commits is None or own_end:
            raise error
        began, step, lost = time.perf_counter(), self.worker.step, []
        while True:
            lost += self.team.regroup()
            with contextlib.suppress(WorkerLost):  # one more, meanwhile
                number = self._commits.common(self.team)
                if self.team.agree():  # else some may know the number, and others not
                    break
        state = self._commits.back_to(number)
        back_to, seconds = int(state.facts["tally"]["steps"]), time.perf_counter() - began
        self.incidents.append(incident(lost, step=step, back_to=back_to, workers=self.team.size, seconds=seconds))
        if self.team.rank == 0:
            logging.getLogger("manyhands").warning("%s", self.incidents[-1]["text"])
        self._divided = False
        self._keeper.look_at(back_to)  # some may have agreed on another step, and some not
        return state

    def _check_all_there(self) -> None:
        """Raise WorkerLost if a worker was lost at the very end: others may still need this one then."""
        if self._commits is not None and not self.team.agree():
            raise WorkerLost(self.team.rank, "was not the only one at the end of the training")

    def _commit(self, epoch: int, step: int) -> None:
        """Note where all workers are, if they may have to come back to it: what lost ones did since a round is lost."""
        if self._commits is not None and self.worker.synchronized:
            self._commits.note(self.state(epoch, step))

    def _begin(self, stage: PlannedStage) -> None:
        """Get ready for a stage: all workers are synchronized."""
        syncs_gradients = isinstance(stage.rule, GradientRule)
        if self._local and syncs_gradients:
            # Workers that apply the same gradient stay synchronized only if their optimizers are.
            average_state_(self.team, self.learner)
        self._local = not syncs_gradients
        self._enter(stage)
        self._commit(stage.first_epoch, 0)

    def _go_through_stage(self, epoch: int, step: int) -> None:
        """Train through the rest of the stage, from this step of this epoch on, or until a callback ends the run."""
        stage, worker, keeper = self._now.stage, self.worker, self._keeper
        # As few calls as possible: after every one, workers queue for the interpreter's lock.
        at_once = self._epochs_at_once()
        end, per_epoch = stage.first_epoch + stage.epochs, stage.steps_per_epoch
        while epoch < end and not worker.stopped:
            if worker.step >= keeper.until:
                keeper.look(worker, functools.partial(self.state, epoch, step))
            ahead = keeper.until - worker.step
            if step == 0 and ahead >= per_epoch and not self._now.schedule.streamed:
                epoch += self._whole_epochs(epoch, min(at_once, end - epoch, ahead // per_epoch))
            else:
                step = self._part_of_epoch(epoch, step, min(step + ahead, self._reach(epoch, step)))
                if step == per_epoch:
                    self._close_epoch(epoch, self._order_of(epoch), self._part.losses)
                    epoch, step = epoch + 1, 0
            if step == 0:
                self._commit(epoch, 0)
        if self._divided:
            self._complete_optimizers()
