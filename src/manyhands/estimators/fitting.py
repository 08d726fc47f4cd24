"""One fit of any estimator: from checked rows to fitted attributes, in as many runs as the learning rate needs."""

from __future__ import annotations

import contextlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from manyhands.core.errors import DIVERGED, DataError, DivergedError, WorkerLost
from manyhands.core.learner import Model
from manyhands.core.randomness import generator
from manyhands.core.strategy import Strategy
from manyhands.data.dataset import Dataset
from manyhands.estimators.checkpointing import FitCheckpoints
from manyhands.estimators.history import History, HistoryCallback, network_of
from manyhands.estimators.layers import State, same_shapes
from manyhands.estimators.rows import Rows
from manyhands.estimators.workers import strategy_for, with_rows, workers_and_team
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.runtime.jit import compilations_said
from manyhands.teams.agreement import together
from manyhands.teams.job import broadcast_arrays, from_rank_0, leads
from manyhands.teams.registry import kind_of
from manyhands.training.plan import Plan
from manyhands.training.resolve import check_synchronized, resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_AT_ONCE = 2**31 - 1
"""Epochs of a run: as many as anyone waits for, so that ``max_iter`` may be any number, as with scikit-learn."""


@dataclass
class Optimizer:
    """What one call of ``partial_fit`` leaves to the next: the optimizer's kind and state, and the next epoch's rate.

    ``doubles`` says whether rows have needed double precision so far (`manyhands.estimators.rows.needs_doubles`).
    """

    kind: str
    learning_rate: float
    state: State
    doubles: bool = False


@dataclass
class Workers:
    """Who trains, and how they talk."""

    number: int
    team: str
    strategy: Strategy


@dataclass(frozen=True)
class Call:
    """What a fit is to do.

    Attributes
    ----------
    estimator
        Its parameters are checked.
    rows
        All samples.
    first
        Whether the fit starts a new network.
    incremental
        Whether it is a call of ``partial_fit``: one epoch.
    """

    estimator: Any
    rows: Rows
    first: bool
    incremental: bool


def carry_out(kind: Callable[[Call, int, int, str], Fit], call: Call) -> None:
    """Train an estimator and set its fitted attributes; ``kind`` is a kind of `Fit`."""
    estimator = call.estimator
    number, team = workers_and_team(estimator.n_workers, estimator.team)
    seed = _seed(estimator, team, call.first)
    with together(team):
        one = kind(call, seed, number, team)
        if kind_of(team).processes:
            one.plan(one.epochs)  # what it refuses, it refuses before the workers meet
    with together(team):
        one.train()
        one.store()
    one.remove_checkpoints()


def _seed(estimator: Any, team: str, first: bool) -> int:
    """Return the seed of everything random: ``random_state`` itself, or a draw that is kept as long as the model is."""
    given = estimator.random_state
    if isinstance(given, (int, np.integer)):
        return from_rank_0(team, int(given))
    if first or not hasattr(estimator, "_seed"):
        return from_rank_0(team, int(check_random_state(given).randint(2**31 - 1)))
    return int(estimator._seed)


def _batch(estimator: Any, rows: int) -> int:
    """Return the global batch."""
    if estimator.batch_size == "auto":
        return min(200, rows)
    if estimator.batch_size > rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
        )
    return min(int(estimator.batch_size), rows)


class Fit(ABC):
    """What a fit needs from beginning to end; its kinds know what is special about their networks.

    Making one does all that can fail before the workers meet.

    Parameters
    ----------
    call
        What is to be done.
    seed
        Of everything random.
    number, team
        The workers, as many as there can be.
    """

    doubles = False
    """Whether the rows need double precision."""
    settings: MLPSettings
    """The optimizer, and what else a learner has settings for."""
    learner: Model
    """Brings parameters from vectors into a network and back."""
    rate: float
    """The learning rate of the next run."""

    def __init__(self, call: Call, seed: int, number: int, team: str) -> None:
        self.estimator, self.seed, self.first, self.incremental = call.estimator, seed, call.first, call.incremental
        train, held = call.rows, None
        if self.estimator.early_stopping:
            stratified = self._stratified(train.targets)
            train, held = train.set_aside(self.estimator.validation_fraction, seed, stratified=stratified)
        self.batch = _batch(self.estimator, train.count)
        number, team = with_rows(number, team, self.batch)
        self.workers = Workers(number, team, strategy_for(self.estimator.strategy, team))
        self.dataset = self._dataset(train, held)
        self.mean_weight = _mean_weight(self.dataset.train.weights, "to train on")
        _mean_weight(None if held is None else held.weights, "set aside")
        self.score = None if held is None else self.estimator._score_of(held)
        self.epochs_before = 0 if self.first else int(getattr(self.estimator, "_epochs", 0))
        before: Optimizer | None = None if self.first else getattr(self.estimator, "_optimizer", None)
        self.state = self._begin(before)
        self.history = self._history_before()
        self.finished = False
        """Whether training has ended before the last epoch that was planned, or just then, for a reason."""
        self.interrupted = False
        """Whether the user has ended it."""
        self._checkpoints, self._runs = FitCheckpoints(None if self.incremental else self.estimator.checkpoint), 0

    @abstractmethod
    def _stratified(self, targets: NDArray[Any]) -> bool:
        """Return whether rows that are set aside have each class as often as the others."""

    @abstractmethod
    def _dataset(self, train: Rows, held: Rows | None) -> Dataset:
        """Return the data set."""

    @abstractmethod
    def _begin(self, before: Optimizer | None) -> State:
        """Set settings, learning rate and learner; return the state that training begins with.

        ``before`` is the optimizer as the last call has left it, if this one goes on with its network.
        """

    @abstractmethod
    def _spec(self) -> dict[str, Any]:
        """Return what is special about the next run: fields of `RunSpec`."""

    @abstractmethod
    def _store_network(self) -> None:
        """Set the estimator's attributes about the network, which is the learner's."""

    def _identity(self) -> dict[str, Any]:
        """Return what the next run depends on that neither its plan nor its history says, as plain data."""
        return {"n_workers": self.workers.number}

    def _after_run(self, epochs: int) -> None:  # noqa: B027 - most have nothing to do then
        """Get ready for another run after one of so many epochs."""

    def _without_improvement(self) -> str:
        """End, or find a way to go on; return what is said about it."""
        self.finished = True
        return "Stopping."

    @property
    def _may_converge(self) -> bool:
        """Whether training that takes all epochs has not come to its end."""
        return True

    def _history_before(self) -> History:
        """Return what earlier calls have come to, if this one goes on."""
        estimator, start = self.estimator, network_of(self.learner)
        if self.first:
            return History(best=start)
        loss, score = getattr(estimator, "best_loss_", None), getattr(estimator, "best_validation_score_", None)
        best = getattr(estimator, "_best", None)
        return History(
            best_loss=np.inf if loss is None else loss,
            best_score=-np.inf if score is None else score,
            failures=getattr(estimator, "_no_improvement_count", 0),
            best=best if score is not None and best is not None and same_shapes(best, start) else start,
        )

    def train(self) -> None:
        """Go through all epochs, in one run unless the way on is found when it has ended."""
        epochs = self.epochs
        while not self.finished and len(self.history.losses) < epochs:
            self._run(min(epochs - len(self.history.losses), _AT_ONCE))
            if not self.finished and self.history.failures > self.estimator.n_iter_no_change:
                self._lose_patience()
        if not self.incremental and not self.finished and self._may_converge:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the optimization hasn't converged "
                "yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    @property
    def epochs(self) -> int:
        """How many there are at most."""
        return 1 if self.incremental else int(self.estimator.max_iter)

    def plan(self, epochs: int) -> Plan:
        """Return the plan of the next run, of so many epochs at most."""
        workers = self.workers
        spec = RunSpec(
            strategy=workers.strategy,
            workers=workers.number,
            team=workers.team,
            network=replace(self.settings, learning_rate=self.rate),
            batch=self.batch,
            epochs=epochs,
            seed=self.seed,
            first_epoch=self.epochs_before + len(self.history.losses),
            shuffle=bool(self.estimator.shuffle),
            reliability=self._checkpoints.of_run(self._runs),
            **self._spec(),
        )
        plan = resolve(spec, self.dataset)
        if self.score is not None:
            check_synchronized(plan, "early_stopping")
        return plan

    def _run(self, epochs: int) -> None:
        """Train for so many epochs at most, from the present state."""
        workers, before = self.workers, len(self.history.losses)
        plan = self.plan(epochs)
        follower = self._follower()
        self._runs += 1
        own_starts = plan.strategy.needs.independent_init and self.first and not before
        say = compilations_said(print) if self._verbose else contextlib.nullcontext()
        try:
            start = None if own_starts else self.state
            with say:
                self.state = run(plan, self.dataset, callbacks=[follower], start=start).model.learner.state()
            broadcast_arrays(workers.team, self.state)
        except DivergedError as error:
            self._give_up(follower, epochs, error)
        except WorkerLost as error:
            if DIVERGED in error.reason:  # the same error in all processes
                raise ValueError(NOT_FINITE) from error
            raise
        except KeyboardInterrupt:
            self._keep(follower)
        self.history = self.history if self.finished else follower.history
        self._after_run(len(self.history.losses) - before)

    def _follower(self) -> HistoryCallback:
        """Return what follows the next run."""
        estimator, team = self.estimator, self.workers.team
        return HistoryCallback(
            replace(self.history, learner=None),
            tol=estimator.tol,
            patience=estimator.n_iter_no_change,
            score=self.score,
            verbose=self._verbose,
            processes=kind_of(team).processes is not None,
            identity=self._identity(),
        )

    @property
    def _verbose(self) -> bool:
        return bool(self.estimator.verbose) and leads(self.workers.team)

    def _lose_patience(self) -> None:
        """End, or go on in another way, and say why."""
        estimator = self.estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        epochs = f"{estimator.n_iter_no_change} consecutive epochs"
        message = f"{what} did not improve more than tol={estimator.tol:f} for {epochs}. {self._without_improvement()}"
        if self._verbose:
            print(message)

    def _give_up(self, follower: HistoryCallback, epochs: int, error: DivergedError) -> None:
        """After a loss that is no number: end with the best weights, if they are known."""
        if (
            not self.estimator.early_stopping or kind_of(self.workers.team).processes
        ):  # of processes, the others have ended
            raise ValueError(NOT_FINITE) from error
        done, self.history = len(follower.before.losses), follower.history
        if len(self.history.losses) < done + epochs:
            self.history.losses.append(float("nan"))
            self.history.scores.append(float("nan"))
        self.finished = True

    def _keep(self, follower: HistoryCallback) -> None:
        """After Ctrl-C: keep what there is."""
        if kind_of(self.workers.team).processes:
            raise KeyboardInterrupt  # no process knows how far the others are
        self.history = follower.history
        learner = self.history.learner
        if learner is not None:
            self.state = learner.state()
        elif self.workers.number == 1 and follower.begun is not None:
            self.state |= network_of(follower.begun)
        elif self.history.synchronized is not None:  # of the optimizer's vectors each worker may know a part only
            self.learner.initialize(generator(self.seed, "init"))
            self.state = {**self.learner.state(), **self.history.synchronized}
        self.finished = self.interrupted = True
        warnings.warn("Training interrupted by user.", stacklevel=6)

    def store(self) -> None:
        """Set the estimator's fitted attributes."""
        estimator, history = self.estimator, self.history
        if estimator.early_stopping:
            assert history.best is not None  # the start, if nothing better
            estimator._best = history.best
            self.state |= history.best
        if not np.isfinite(self.state["parameters"]).all():
            raise ValueError(NOT_FINITE)
        self.learner.load_state(self.state)
        self._store_network()
        estimator._optimizer = Optimizer(self.settings.optimizer, self.rate, self.state, self.doubles)
        estimator._seed, estimator.n_workers_ = self.seed, self.workers.number
        self._store_history()

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints, if the fit has ended by itself: there is nothing to go on with any more."""
        if not self.interrupted:
            self._checkpoints.remove(self._runs, self.workers.team)

    def _store_history(self) -> None:
        """Set the attributes about the course of the training."""
        estimator, history, first = self.estimator, self.history, self.first
        done = len(history.losses)
        estimator.n_iter_, estimator._epochs = done, self.epochs_before + done
        estimator.t_ = (0 if first else getattr(estimator, "t_", 0)) + self.dataset.rows * done
        before = [] if first else getattr(estimator, "loss_curve_", None) or []
        estimator.loss_curve_ = [*before, *history.losses]
        if done:
            estimator.loss_ = history.losses[-1]
        estimator._no_improvement_count = history.failures
        if estimator.early_stopping:
            before = [] if first else getattr(estimator, "validation_scores_", None) or []
            estimator.validation_scores_ = [*before, *history.scores]
            estimator.best_validation_score_, estimator.best_loss_ = history.best_score, None
        else:
            estimator.best_loss_ = history.best_loss
            estimator.validation_scores_ = estimator.best_validation_score_ = None


def _mean_weight(weights: NDArray[Any] | None, which: str) -> float:
    """Return the mean weight of rows, which must be one to divide by."""
    if weights is None:
        return 1.0
    if (weights < 0).any():
        raise DataError("a sample weight is below 0: there would be nothing to keep the loss from falling for ever")
    mean = float(weights.mean(dtype=np.float64))
    if not mean > 0:
        raise DataError(f"the sample weights of the rows {which} add up to nothing; give some rows a weight above 0")
    return mean
