"""Learner `published`: scikit-learn's MLPClassifier, driven as Todorov et al. 2021 (sec. III) drive it.

Every worker trains a classifier of its own on its shard from beginning to end: batches of 200 samples of its shard, the
classifier's own order and its own stopping rule, from the same random weights (one random_state). The workers then
average the classifiers' weights, in one vector. Whatever the paper leaves open is scikit-learn's default.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from manyhands.core.errors import DataError, DivergedError, SettingsError
from manyhands.core.learner import FitLearner, RunOutcome
from manyhands.core.samples import Control, Order, Samples
from manyhands.core.types import Vector
from manyhands.learners.mlp.settings import MLPSettings, check_room
from manyhands.runtime.memory import aligned_zeros


class _StoppedError(Exception):
    """Ends a fit when the run is stopped."""


class _Counted(MLPClassifier):  # type: ignore[misc]
    """A classifier with a callback after every epoch: scikit-learn has none, but counts epochs in `n_iter_`."""

    epoch_done: Callable[[int], None]

    @property
    def n_iter_(self) -> int:
        """Epochs so far."""
        return int(self.__dict__["n_iter_"])

    @n_iter_.setter
    def n_iter_(self, epochs: int) -> None:
        self.__dict__["n_iter_"] = epochs
        self.epoch_done(epochs)


def their_names(chosen: MLPSettings) -> dict[str, Any]:
    """Return the settings of a network that MLPClassifier has, too, by the names that it has for them."""
    return {
        "hidden_layer_sizes": chosen.hidden,
        "activation": chosen.activation,
        "solver": "adam" if chosen.optimizer == "adam" else "sgd",
        "alpha": chosen.l2,
        "learning_rate_init": chosen.learning_rate,
        "momentum": 0.0 if chosen.optimizer == "sgd" else chosen.momentum,
        "nesterovs_momentum": chosen.optimizer == "nesterov",
        "beta_1": chosen.beta_1,
        "beta_2": chosen.beta_2,
        "epsilon": chosen.epsilon,
    }


class Published(FitLearner):
    """The learner; see `manyhands.core.learner.FitLearner`.

    Settings have the names that they share with MLPClassifier, ``seed`` is the random_state, and ``rank`` is the worker
    it belongs to, for messages. Fewer than 2 classes, or no features, are a SettingsError.
    """

    layered = True

    def __init__(self, settings: MLPSettings, features: int, classes: int, *, rank: int = 0, seed: int = 0) -> None:
        if features < 1 or classes < 2:
            raise SettingsError(
                f"a classifier needs at least 1 feature and 2 classes; the data have {features} and {classes}"
            )
        _check_known(settings)
        check_room(settings, features, classes)
        self.settings, self.features, self.classes = settings, features, classes
        self.rank, self.seed = rank, seed
        self.dtype: np.dtype[Any] = np.dtype(settings.dtype)
        # scikit-learn has a single output for two classes.
        self._widths = (features, *settings.hidden, classes if classes > 2 else 1)
        self.size = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(self._widths))
        self.buffers: Vector = np.zeros(0, self.dtype)
        self.steps_taken = 0
        self.parameters = aligned_zeros(self.size, self.dtype)

    def bind(self, vector: Vector) -> None:
        """Use ``vector`` as parameters from now on."""
        if vector.shape != (self.size,) or vector.dtype != self.dtype:
            raise ValueError(f"the parameters are one {self.dtype} vector of {self.size}")
        self.parameters = vector

    def initialize(self, rng: np.random.Generator) -> None:
        """Set zeros: the classifier draws its own start, from a random_state that is the same for all workers."""
        self.parameters[:] = 0
        self.steps_taken = 0

    def prepare(self, table: Samples) -> None:
        """Do nothing: there is nothing to compile."""

    def fit(self, table: Samples, order: Order, rates: NDArray[np.float64], control: Control) -> RunOutcome:
        """Fit a classifier on the samples that ``order`` names, in the table's order.

        The classifier shuffles them by itself, and may stop early by its own rule. The loss of a step is that of its
        epoch. A share without all classes is a DataError: the workers' networks would differ.
        """
        rows = np.sort(order.rows)
        labels = table.labels[rows]
        present = np.unique(labels)
        if len(present) < self.classes:
            raise DataError(
                f"the share of worker {self.rank} has {len(present)} of {self.classes} classes; each classifier needs "
                "all: use fewer workers or more rows"
            )
        steps = -(-len(rows) // self._batch(len(rows)))
        classifier = self._classifier(len(rates) // steps)
        classifier.epoch_done = self._supervise(classifier, steps, control)
        try:
            with np.errstate(all="ignore"):  # overflows are detected below
                classifier.fit(self._inputs(table.take(rows)), labels)
        except _StoppedError:
            return RunOutcome(np.zeros(0))
        except ValueError as error:
            if "non-finite" in str(error):
                raise DivergedError(int(control.progress[0]), self.rank, float("nan")) from error
            raise
        if not np.isfinite(classifier.loss_):  # the last epoch's, which no callback has checked
            raise DivergedError(int(control.progress[0]), self.rank, float(classifier.loss_))
        self._take_over(classifier)
        self.steps_taken += classifier.n_iter_ * steps
        return RunOutcome(np.repeat(np.array(classifier.loss_curve_, np.float64), steps))

    def _supervise(self, classifier: _Counted, steps: int, control: Control) -> Callable[[int], None]:
        """Return the callback for epochs of ``steps`` steps."""
        before, epochs = int(control.progress[0]), classifier.max_iter

        def epoch_done(number: int) -> None:
            control.progress[0] = before + number * steps
            if control.stop[0]:
                raise _StoppedError
            loss = float(getattr(classifier, "loss_", 0.0))  # of the epoch before: this one's comes later
            if number > 1 and not np.isfinite(loss):
                raise DivergedError(before + (number - 1) * steps, self.rank, loss)
            if number == epochs:
                # The run is meant to use all epochs, so that is no reason for scikit-learn's ConvergenceWarning.
                # Filters of warnings belong to the whole process, not to one of several threads.
                classifier.max_iter = epochs + 1

        return epoch_done

    def _batch(self, rows: int) -> int:
        """Return scikit-learn's default batch."""
        return min(200, rows)

    def _inputs(self, table: Samples) -> NDArray[Any]:
        return table.inputs().astype(self.dtype, copy=False)

    def _classifier(self, epochs: int) -> _Counted:
        return _Counted(**their_names(self.settings), max_iter=epochs, random_state=self.seed)

    def _take_over(self, classifier: MLPClassifier) -> None:
        """Write the classifier's weights into the vector."""
        for (weights, biases), theirs, other in zip(
            self._layers(), classifier.coefs_, classifier.intercepts_, strict=True
        ):
            weights[:], biases[:] = theirs, other

    def _layers(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Return views of every layer: W of shape (inputs, outputs) and b of shape (outputs,)."""
        layers, at = [], 0
        for inputs, outputs in itertools.pairwise(self._widths):
            middle, end = at + inputs * outputs, at + (inputs + 1) * outputs
            layers.append((self.parameters[at:middle].reshape(inputs, outputs), self.parameters[middle:end]))
            at = end
        return layers

    def predict_proba(self, table: Samples) -> NDArray[Any]:
        """Return class probabilities of shape (rows, K), by scikit-learn's own forward pass."""
        classifier = self._classifier(1)
        classifier.epoch_done = lambda _number: None
        layers = self._layers()
        # A step on nothing makes the classifier know its shapes and classes; then it gets the weights.
        start = np.zeros((self.classes, self.features), self.dtype)
        classifier.partial_fit(start, np.arange(self.classes), classes=np.arange(self.classes))
        classifier.coefs_ = [weights for weights, _ in layers]
        classifier.intercepts_ = [biases for _, biases in layers]
        return np.asarray(classifier.predict_proba(self._inputs(table)), dtype=self.dtype)

    def outputs(self, table: Samples) -> NDArray[Any]:
        """Return class probabilities: the classifier's outputs."""
        return self.predict_proba(table)

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return copies of all layers, named as by the learner `mlp`, which can continue from them.

        scikit-learn's single output z for two classes is the same as two outputs -z/2 and z/2.
        """
        blocks: dict[str, NDArray[Any]] = {}
        for number, (weights, biases) in enumerate(self._layers()):
            last = number == len(self._widths) - 2
            halves = np.array([-0.5, 0.5], self.dtype)
            split = last and self.classes == 2
            blocks[f"weights.{number}"] = weights * halves if split else weights.copy()
            blocks[f"biases.{number}"] = biases * halves if split else biases.copy()
        return blocks

    def load_weights(self, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`weights` returned; a missing or wrong block is a ValueError."""
        for number, (weights, biases) in enumerate(self._layers()):
            for kind, view in (("weights", weights), ("biases", biases)):
                block = blocks.get(f"{kind}.{number}")
                if block is not None and self.classes == 2 and number == len(self._widths) - 2:
                    block = block[..., 1:] - block[..., :1]
                if block is None or block.shape != view.shape:
                    raise ValueError(f"{kind}.{number} is missing or has the wrong shape")
                view[...] = block


def _check_known(settings: MLPSettings) -> None:
    """Check that scikit-learn's MLPClassifier has what the settings ask for."""
    known = {"activation": ("identity", "logistic", "tanh", "relu"), "loss": ("cross_entropy",), "dropout": (0.0,)}
    known |= {"optimizer": ("sgd", "momentum", "nesterov", "adam"), "weight_init": ("auto",), "bias_init": ("auto",)}
    for name, values in known.items():
        if getattr(settings, name) not in values:
            raise SettingsError(
                f"the learner published is scikit-learn's MLPClassifier, which has no {name} "
                f"{getattr(settings, name)!r}; choose {' or '.join(map(str, values))}, or the learner mlp"
            )
