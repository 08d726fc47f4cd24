"""What is special about fits of a PyTorch module: where it comes from, and what goes on from one call to the next."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.randomness import generator
from manyhands.data.dataset import Dataset
from manyhands.estimators.fitting import Call, Fit, Optimizer
from manyhands.estimators.layers import State
from manyhands.estimators.rows import Rows, make_dataset
from manyhands.learners import make_learner
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.torch.settings import TorchSettings


class TorchFit(Fit):
    """A fit of `TorchClassifier`."""

    def __init__(self, call: Call, seed: int, number: int, team: str) -> None:
        chosen = call.estimator
        self._torch = TorchSettings(
            precision=chosen.precision,
            device=chosen.device,
            augment=chosen.augment,
            clip=chosen.clip,
            loss_function=chosen.loss_function,
            parameter_groups=chosen.parameter_groups,
        )
        self._module = module_for(chosen.module, call.rows.sample_shape, len(chosen.classes_))
        super().__init__(call, seed, number, team)

    def _stratified(self, targets: NDArray[Any]) -> bool:
        """As `MLPClassifier`: two classes are."""
        return len(self.estimator.classes_) == 2

    def _dataset(self, train: Rows, held: Rows | None) -> Dataset:
        """Return the data set in single precision, bytes as they are."""
        return make_dataset(train, held, "float32", classes=len(self.estimator.classes_))

    def _begin(self, before: Optimizer | None) -> State:
        """Return the state that training begins with."""
        chosen, dataset = self.estimator, self.dataset
        self.rate = float(chosen.learning_rate)
        self.settings = MLPSettings(
            optimizer=chosen.optimizer,
            learning_rate=self.rate,
            momentum=float(chosen.momentum),
            weight_decay=chosen.weight_decay,
        )
        self.learner = learner = make_learner(
            *("torch", self.settings, dataset.features, len(dataset.classes)),
            seed=self.seed,
            sample_shape=dataset.train.sample_shape,
            torch=self._torch,
            module=self._module,
        )
        learner.prepare(dataset.train)
        self._check_outputs()
        learner.initialize(generator(self.seed, "init"))
        if not self.first:
            from manyhands.learners.torch.forward import blocks_of

            learner.load_weights(blocks_of(chosen.module_))
        return self._with_optimizer(learner.state(), before if self.incremental else None)

    def _check_outputs(self) -> None:
        """Check that the module has an output for each class, and no more."""
        outputs = self.learner.outputs(self.dataset.train.take(slice(1))).shape[1]
        if outputs != len(self.dataset.classes):
            raise SettingsError(
                f"the module returns {outputs} logits for a row, and there are {len(self.dataset.classes)} classes; "
                "give module a function with the argument n_classes, which makes one that fits"
            )

    def _with_optimizer(self, state: State, kept: Optimizer | None) -> State:
        """Return a state with the vectors and the step count of the optimizer that the last call has left, if any."""
        names = (*self.learner.optimizer_state, "steps_taken")
        fits = kept is not None and kept.kind == self.settings.optimizer
        if kept is None or not fits or any(kept.state[name].shape != state[name].shape for name in names):
            return state
        return {**state, **{name: kept.state[name] for name in names}}

    def _spec(self) -> dict[str, Any]:
        """Return module, settings and schedule."""
        return {"module": self._module, "torch": self._torch, "schedule": self.estimator.schedule}

    def _identity(self) -> dict[str, Any]:
        """Return what the module is made of, too: its layers, and what they take."""
        layers = self.learner.fingerprint()  # type: ignore[attr-defined]  # of a TorchLearner
        return {**super()._identity(), "layers": layers, "sample_shape": list(self.dataset.train.sample_shape)}

    @property
    def _may_converge(self) -> bool:
        """Not if all epochs were planned: by a schedule, or because the rule cannot end training before."""
        return self.estimator.schedule is None and self.estimator.n_iter_no_change < self.epochs

    def _store_network(self) -> None:
        """Set the module."""
        self.estimator.module_ = self.learner.trained_module()  # type: ignore[attr-defined]  # of a TorchLearner


def module_for(given: Any, shape: tuple[int, ...], classes: int) -> Any:
    """Return the user's module, or the user's function with what it asks for by name."""
    from torch import nn

    if isinstance(given, nn.Module):
        return given
    known = {"n_features": math.prod(shape), "n_classes": classes, "sample_shape": shape}
    wanted = {name: value for name, value in known.items() if name in _arguments_of(given)}
    return partial(given, **wanted) if wanted else given


def _arguments_of(function: Callable[..., Any]) -> set[str]:
    """Return the names of arguments that can be given by name."""
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    try:
        signature = inspect.signature(function)
    except ValueError:  # of a few functions that are not written in Python, nothing is known
        return set()
    return {each.name for each in signature.parameters.values() if each.kind in kinds}
