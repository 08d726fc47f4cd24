"""What is special about fits of multilayer perceptrons: scikit-learn's start, precision, and rates that change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray
from sklearn.base import is_classifier

from manyhands.core.learner import Model
from manyhands.core.randomness import generator
from manyhands.data.dataset import Dataset
from manyhands.estimators.fitting import Call, Fit, Optimizer
from manyhands.estimators.layers import State, blocks_of, holds, same_shapes, start_as_theirs
from manyhands.estimators.rows import Rows, make_dataset, needs_doubles
from manyhands.estimators.solver import SGD_FAMILY, InverseScaling, settings_of
from manyhands.learners import make_learner

_SLOWEST = 1e-6
"""Where scikit-learn stops dividing an adaptive learning rate."""


class MLPFit(Fit):
    """A fit of `MLPClassifier` or `MLPRegressor`.

    Parameters
    ----------
    hidden
        Widths of the hidden layers.
    shown
        The dtype of ``coefs_`` and ``intercepts_``.
    call, seed, number, team
        See `Fit`.
    """

    def __init__(self, hidden: tuple[int, ...], shown: Any, call: Call, seed: int, number: int, team: str) -> None:
        self._hidden, self._shown = hidden, shown
        before: Optimizer | None = None if call.first else getattr(call.estimator, "_optimizer", None)
        self.doubles = (before is not None and before.doubles) or needs_doubles(call.rows)
        super().__init__(call, seed, number, team)

    def _stratified(self, targets: NDArray[Any]) -> bool:
        """As theirs: several columns are classes that exclude each other, or labels; neither is stratified."""
        return bool(is_classifier(self.estimator)) and targets.shape[1] == 1

    def _dataset(self, train: Rows, held: Rows | None) -> Dataset:
        """Return the data set, in double precision where that is needed."""
        classes = train.targets.shape[1] if self.estimator._loss_of_learner == "cross_entropy" else 0
        return make_dataset(train, held, "float64" if self.doubles else self.estimator.dtype, classes=classes)

    def _begin(self, before: Optimizer | None) -> State:
        """Return the state that training begins with."""
        kept = before if self.incremental else None
        self.rate = float(self.estimator.learning_rate_init) if kept is None else kept.learning_rate
        loss = self.estimator._loss_of_learner
        self.settings = settings_of(self.estimator, self._hidden, loss, self.rate, self.mean_weight)
        if self.doubles:
            self.settings = replace(self.settings, dtype="float64")
        self.learner = self._make_learner()
        self.learner.initialize(generator(self.seed, "init"))
        return self._new_start() if self.first else self._start_from(before, fresh=kept is None)

    def _make_learner(self) -> Model:
        targets = self.dataset.train.targets
        outputs = len(self.dataset.classes) if targets is None else targets.shape[1]
        return make_learner("mlp", self.settings, self.dataset.features, outputs, seed=self.seed)

    def _new_start(self) -> State:
        """Return the start of a new network."""
        learner, estimator = self.learner, self.estimator
        if (estimator.weight_init, estimator.bias_init) == ("auto", "auto"):
            learner.load_weights(start_as_theirs(learner.weights(), estimator.activation, self.seed))
        return learner.state()

    def _start_from(self, before: Optimizer | None, *, fresh: bool) -> State:
        """Return the estimator's network, with a ``fresh`` optimizer or the one of before."""
        learner, estimator, start = self.learner, self.estimator, self.learner.state()
        fits = before is not None and before.kind == self.settings.optimizer and same_shapes(before.state, start)
        if before is not None and fits:
            learner.load_state(before.state)
        if not fits or not holds(learner, estimator.coefs_, estimator.intercepts_):
            learner.load_weights(blocks_of(estimator.coefs_, estimator.intercepts_))
        state = learner.state()
        return {**start, "parameters": state["parameters"]} if fresh or before is None else state

    def _spec(self) -> dict[str, Any]:
        """Return sharding and schedule."""
        self._planned = self._schedule()
        return {"sharding": self.estimator.sharding, "schedule": self._planned}

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

    def _identity(self) -> dict[str, Any]:
        """Return what the schedule depends on, too, if there is one."""
        planned = self._planned
        changes = {} if planned is None else {"power_t": planned.power, "t_": planned.seen}
        return {**super()._identity(), **changes}

    def _after_run(self, epochs: int) -> None:
        """Begin the next run with the rate to which the schedule has come."""
        if self._planned is not None:
            self.rate = self._planned.rate_after(epochs)

    def _without_improvement(self) -> str:
        """End, or go on at a lower rate."""
        estimator = self.estimator
        if estimator.solver not in SGD_FAMILY or estimator.learning_rate != "adaptive":
            return super()._without_improvement()
        if self.rate <= _SLOWEST:
            return f"Learning rate too small. {super()._without_improvement()}"
        self.rate /= 5.0
        self.history.failures = 0
        return f"Setting learning rate to {self.rate:f}"

    def _store_network(self) -> None:
        """Set weights and biases by layer."""
        estimator, blocks = self.estimator, self.learner.weights()
        layers = range(len(blocks) // 2)
        estimator.coefs_ = [blocks[f"weights.{layer}"].astype(self._shown, copy=False) for layer in layers]
        estimator.intercepts_ = [blocks[f"biases.{layer}"].astype(self._shown, copy=False) for layer in layers]
        estimator.n_layers_, estimator.n_outputs_ = len(layers) + 1, len(estimator.intercepts_[-1])
        estimator.out_activation_ = estimator._out_activation
