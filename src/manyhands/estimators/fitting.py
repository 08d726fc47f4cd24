"""One fit: from checked rows to fitted attributes, in as many runs as the learning rate needs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from manyhands.core.errors import DIVERGED, DataError, DivergedError, WorkerLost
from manyhands.core.learner import Model
from manyhands.core.randomness import generator
from manyhands.core.strategy import Strategy
from manyhands.data.dataset import Dataset
from manyhands.estimators.history import History, HistoryCallback
from manyhands.estimators.layers import State, blocks_of, holds, same_shapes, start_as_theirs
from manyhands.estimators.rows import Rows, make_dataset, needs_doubles
from manyhands.estimators.solver import SGD_FAMILY, InverseScaling, settings_of
from manyhands.estimators.workers import strategy_for, with_rows, workers_and_team
from manyhands.learners import make_learner
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
_SLOWEST = 1e-6
"""Where scikit-learn stops dividing an adaptive learning rate."""


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
class _Workers:
    """Who trains, and how they talk."""

    number: int
    team: str
    strategy: Strategy


def fit(estimator: Any, rows: Rows, hidden: tuple[int, ...], dtype: Any, *, first: bool, incremental: bool) -> None:
    """Train an estimator, whose parameters are checked, and set its fitted attributes.

    Parameters
    ----------
    rows
        All samples.
    hidden
        Widths of the hidden layers.
    dtype
        Of ``coefs_`` and ``intercepts_``.
    first
        Whether the fit starts a new network.
    incremental
        Whether it is a call of ``partial_fit``: one epoch.
    """
    number, team = workers_and_team(estimator.n_workers, estimator.team)
    seed = _seed(estimator, team, first)
    with together(team):
        one = _prepare(estimator, rows, hidden, seed, (number, team), first=first, incremental=incremental)
    with together(team):
        one.train()
        one.store(dtype)


def _prepare(
    estimator: Any,
    rows: Rows,
    hidden: tuple[int, ...],
    seed: int,
    crew: tuple[int, str],
    *,
    first: bool,
    incremental: bool,
) -> _Fit:
    """Do all that can fail before the workers meet."""
    number, team = crew
    train, held = rows, None
    if estimator.early_stopping:
        # As theirs: several columns are classes that exclude each other, or labels; neither is stratified.
        stratified = is_classifier(estimator) and rows.targets.shape[1] == 1
        train, held = rows.set_aside(estimator.validation_fraction, seed, stratified=stratified)
    batch = _batch(estimator, train.count)
    number, team = with_rows(number, team, batch)
    workers = _Workers(number, team, strategy_for(estimator.strategy, team))
    softmax = estimator._loss_of_learner == "cross_entropy"
    before = None if first else getattr(estimator, "_optimizer", None)
    doubles = (before is not None and before.doubles) or needs_doubles(rows)
    dataset = make_dataset(train, held, "float64" if doubles else estimator.dtype, classes=softmax)
    one = _Fit(estimator, dataset, workers, hidden, seed, batch, first=first, incremental=incremental, doubles=doubles)
    one.score = None if held is None else estimator._score_of(held)
    if kind_of(team).processes:
        one.plan(one.epochs)  # what it refuses, it refuses before the workers meet
    return one


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


class _Fit:
    """What a fit needs from beginning to end."""

    def __init__(
        self,
        estimator: Any,
        dataset: Dataset,
        workers: _Workers,
        hidden: tuple[int, ...],
        seed: int,
        batch: int,
        *,
        first: bool,
        incremental: bool,
        doubles: bool,
    ) -> None:
        self.estimator, self.dataset, self.workers, self.doubles = estimator, dataset, workers, doubles
        self.seed, self.batch, self.first, self.incremental = seed, batch, first, incremental
        self.epochs_before = 0 if first else int(getattr(estimator, "_epochs", 0))
        kept = getattr(estimator, "_optimizer", None) if incremental and not first else None
        self.rate = float(estimator.learning_rate_init) if kept is None else kept.learning_rate
        mean = _mean_weight(dataset.train.weights, "to train on")
        _mean_weight(None if dataset.validation is None else dataset.validation.weights, "set aside")
        self.settings = settings_of(estimator, hidden, estimator._loss_of_learner, self.rate, mean)
        if doubles:
            self.settings = replace(self.settings, dtype="float64")
        self.learner = self._make_learner()
        self.state = self._begin(kept)
        self.history = self._history_before()
        self.score: Any = None
        self.finished = False
        """Whether training has ended before the last epoch that was planned, or just then, for a reason."""

    def _make_learner(self) -> Model:
        """Return a learner to bring parameters from vectors into layers and back."""
        targets = self.dataset.train.targets
        outputs = len(self.dataset.classes) if targets is None else targets.shape[1]
        return make_learner("mlp", self.settings, self.dataset.features, outputs, seed=self.seed)

    def _begin(self, kept: Optimizer | None) -> State:
        """Return the state that training begins with."""
        learner, estimator = self.learner, self.estimator
        learner.initialize(generator(self.seed, "init"))
        if self.first:
            if (estimator.weight_init, estimator.bias_init) == ("auto", "auto"):
                learner.load_weights(start_as_theirs(learner.weights(), estimator.activation, self.seed))
            return learner.state()
        fresh = learner.state()
        before: Optimizer | None = getattr(estimator, "_optimizer", None)
        fits = before is not None and before.kind == self.settings.optimizer and same_shapes(before.state, fresh)
        if before is not None and fits:
            learner.load_state(before.state)
        if not fits or not holds(learner, estimator.coefs_, estimator.intercepts_):
            learner.load_weights(blocks_of(estimator.coefs_, estimator.intercepts_))
        state = learner.state()
        return state if kept is not None else {**fresh, "parameters": state["parameters"]}

    def _history_before(self) -> History:
        """Return what earlier calls have come to, if this one goes on."""
        estimator, parameters = self.estimator, self.state["parameters"]
        if self.first:
            return History(best=parameters)
        loss, score = getattr(estimator, "best_loss_", None), getattr(estimator, "best_validation_score_", None)
        best = getattr(estimator, "_best", None)
        return History(
            best_loss=np.inf if loss is None else loss,
            best_score=-np.inf if score is None else score,
            failures=getattr(estimator, "_no_improvement_count", 0),
            best=best if score is not None and best is not None and len(best) == len(parameters) else parameters,
        )

    def train(self) -> None:
        """Go through all epochs, in one run unless the learning rate is adaptive."""
        epochs = self.epochs
        while not self.finished and len(self.history.losses) < epochs:
            self._run(min(epochs - len(self.history.losses), _AT_ONCE))
            if not self.finished and self.history.failures > self.estimator.n_iter_no_change:
                self._lose_patience()
        if not self.incremental and not self.finished:
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

    def plan(self, epochs: int, schedule: InverseScaling | None = None) -> Plan:
        """Return the plan of the next run, of so many epochs at most."""
        workers = self.workers
        spec = RunSpec(
            strategy=workers.strategy,
            workers=workers.number,
            team=workers.team,
            network=replace(self.settings, learning_rate=self.rate),
            batch=self.batch,
            epochs=epochs,
            sharding=self.estimator.sharding,
            seed=self.seed,
            schedule=schedule,
            first_epoch=self.epochs_before + len(self.history.losses),
            shuffle=bool(self.estimator.shuffle),
        )
        plan = resolve(spec, self.dataset)
        if self.score is not None:
            check_synchronized(plan, "early_stopping")
        return plan

    def _run(self, epochs: int) -> None:
        """Train for so many epochs at most, from the present state."""
        workers, before = self.workers, len(self.history.losses)
        follower = self._follower()
        schedule = self._schedule()
        plan = self.plan(epochs, schedule)
        own_starts = plan.strategy.needs.independent_init and self.first and not before
        try:
            start = None if own_starts else self.state
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
        if schedule is not None:
            self.rate = schedule.rate_after(len(self.history.losses) - before)

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
        )

    @property
    def _verbose(self) -> bool:
        return bool(self.estimator.verbose) and leads(self.workers.team)

    def _schedule(self) -> InverseScaling | None:
        """Return how the learning rate changes within the next run, if it does."""
        estimator = self.estimator
        if estimator.solver not in SGD_FAMILY or estimator.learning_rate != "invscaling":
            return None
        rows = self.dataset.rows
        seen = 0 if self.first else getattr(estimator, "t_", 0)
        done = len(self.history.losses)
        return InverseScaling(
            power=float(estimator.power_t),
            seen=seen + done * rows,
            rows=rows,
            first=self.rate,
            initial=float(estimator.learning_rate_init),
        )

    def _lose_patience(self) -> None:
        """End, or go on at a lower rate, and say why."""
        estimator = self.estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        epochs = f"{estimator.n_iter_no_change} consecutive epochs"
        message = f"{what} did not improve more than tol={estimator.tol:f} for {epochs}."
        if estimator.solver not in SGD_FAMILY or estimator.learning_rate != "adaptive":
            self.finished, message = True, f"{message} Stopping."
        elif self.rate <= _SLOWEST:
            self.finished, message = True, f"{message} Learning rate too small. Stopping."
        else:
            self.rate /= 5.0
            self.history.failures = 0
            message = f"{message} Setting learning rate to {self.rate:f}"
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
            self.state["parameters"] = follower.begun.copy()
        elif self.history.synchronized is not None:  # of the optimizer's vectors each worker may know a part only
            self.learner.initialize(generator(self.seed, "init"))
            self.state = {**self.learner.state(), "parameters": self.history.synchronized}
        self.finished = True
        warnings.warn("Training interrupted by user.", stacklevel=6)

    def store(self, dtype: Any) -> None:
        """Set the estimator's fitted attributes."""
        estimator, history = self.estimator, self.history
        if estimator.early_stopping:
            assert history.best is not None  # the start, if nothing better
            estimator._best = self.state["parameters"] = history.best
        self.learner.load_state(self.state)
        blocks = self.learner.weights()
        if not all(np.isfinite(block).all() for block in blocks.values()):
            raise ValueError(NOT_FINITE)
        layers = range(len(blocks) // 2)
        estimator.coefs_ = [blocks[f"weights.{layer}"].astype(dtype, copy=False) for layer in layers]
        estimator.intercepts_ = [blocks[f"biases.{layer}"].astype(dtype, copy=False) for layer in layers]
        estimator._optimizer = Optimizer(self.settings.optimizer, self.rate, self.state, self.doubles)
        estimator._seed, estimator.n_workers_ = self.seed, self.workers.number
        estimator.n_layers_, estimator.n_outputs_ = len(layers) + 1, len(estimator.intercepts_[-1])
        estimator.out_activation_ = estimator._out_activation
        self._store_history()

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
