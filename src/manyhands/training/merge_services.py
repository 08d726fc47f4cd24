"""What merges can ask for besides vectors: validation scores, Fisher information, a second training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DivergedError
from manyhands.core.learner import FitLearner, Learner, SumLearner
from manyhands.core.randomness import generator
from manyhands.core.samples import Control, Order, Samples
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.data.sampler import Sampler
from manyhands.training.model import scores
from manyhands.training.plan import Plan

_FISHER_ROWS = 1000


class RunServices:
    """The services of one worker's run; see `manyhands.core.strategy.MergeServices`.

    Attributes
    ----------
    epochs : int
        How many epochs the run has; fewer than planned if it ends early.
    ensemble : ndarray of shape (n, size) or None
        The parameters of all workers, if they are the run's result.
    """

    def __init__(
        self,
        plan: Plan,
        team: Team,
        learner: Learner | FitLearner | SumLearner,
        table: Samples,
        schedule: Sampler,
        control: Control,
        validation: Samples | None,
    ) -> None:
        self._plan, self._team, self._learner = plan, team, learner
        self._table, self._schedule, self._control = table, schedule, control
        self._validation = validation
        self._examples = 0
        self.epochs = plan.epochs
        self.ensemble: NDArray[Any] | None = None

    def pop_examples(self) -> int:
        """Return how many examples merges have used since the last call."""
        used, self._examples = self._examples, 0
        return used

    @property
    def _stepper(self) -> Learner:
        """The learner, for merges that train: plans have no others for learners that fit in one call."""
        assert not isinstance(self._learner, FitLearner | SumLearner)
        return self._learner

    def keep_ensemble(self, members: NDArray[Any]) -> None:
        """Make the networks with these parameters, shape (n, size), the run's result."""
        self.ensemble = members

    def validate(self) -> tuple[float, float]:
        """Return loss and accuracy of the learner's present parameters on the validation rows."""
        assert self._validation is not None  # the plan has been checked
        with self._team.clock.phase("merge"), self._team.watchdog_paused():
            return scores(self._learner.predict_proba(self._validation), self._validation.labels)

    def fisher(self) -> Vector:
        """Return the diagonal of the Fisher information, from up to 1,000 of this worker's rows.

        Mean over rows of the squared gradient of log p(y | x), with y drawn from the network's own probabilities, as in
        Matena & Raffel 2022, eq. 2.
        """
        learner, rng = self._stepper, generator(self._plan.seed, f"fisher of worker {self._team.rank}")
        rows = self._schedule.epoch(0).rows[:_FISHER_ROWS]
        out, squares = np.zeros_like(learner.parameters), np.zeros(learner.size)
        with self._team.clock.phase("merge"), self._team.watchdog_paused():
            table = self._table
            part = table.take(rows)
            chances = learner.predict_proba(part).astype(np.float64).cumsum(axis=1)
            drawn = (rng.random((len(rows), 1)) > chances / chances[:, -1:]).sum(axis=1).astype(np.int32)
            part = part.with_arrays({"labels": drawn})
            numbers = np.arange(len(rows), dtype=np.int32)
            for row in range(len(rows)):
                if self._control.stop[0]:
                    break
                one = Order(numbers[row : row + 1], np.array([0, 1]), np.ones(1, np.int32))
                learner.gradient(part, one, out)
                squares += out.astype(np.float64) ** 2
        self._examples += len(rows)
        return (squares / max(len(rows), 1)).astype(learner.dtype)

    def retrain(self, fraction: float) -> Vector:
        """Train once more from the run's start, on a part of this worker's rows; return those parameters."""
        learner, plan, stage = self._stepper, self._plan, self._plan.stages[-1]
        before = learner.state()
        learner.initialize(generator(plan.seed, "init"))
        # A draw without replacement: of the worker's share, or of all rows if the share changes from epoch to epoch.
        shuffled = generator(plan.seed, "second training").permutation(plan.rows)
        drawn = self._schedule.epoch(0).rows.astype(np.int64) if plan.sharding == "fixed" else shuffled
        kept = np.zeros(self._table.rows, np.bool_)
        kept[drawn[: max(1, round(fraction * len(drawn)))]] = True
        progress = Control(self._control.stop, np.zeros(1, np.int64))
        with self._team.clock.phase("compute"), self._team.watchdog_paused():
            for epoch in range(self.epochs):
                order = self._schedule.epoch(epoch)
                rows = order.rows[kept[order.rows]]
                steps = max(1, round(fraction * order.steps))
                bounds = np.arange(steps + 1, dtype=np.int64) * len(rows) // steps
                rates = plan.rates(stage, epoch * order.steps, (epoch + 1) * order.steps)
                at = np.arange(steps) * order.steps // steps
                sizes = np.full(steps, min(plan.batch, plan.rows), np.int32)
                learner.run(self._table, Order(rows, bounds, sizes), rates[at], progress)
                self._examples += len(rows)
        second = learner.parameters.copy()
        learner.load_state(before)
        if not np.isfinite(second).all():
            raise DivergedError(plan.total_steps, self._team.rank, float("nan"))
        return second
