"""Learner `mlp`: a multilayer perceptron with compiled, GIL-free training steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DivergedError, SettingsError, WorkerLost
from manyhands.core.learner import Learner, Rounds, RunOutcome, Snapshots
from manyhands.core.samples import Control, Order, Samples
from manyhands.core.types import Vector
from manyhands.learners.mlp import kernel_args, kernels
from manyhands.learners.mlp.adapter import KernelAdapter
from manyhands.learners.mlp.layout import Layout, initialize
from manyhands.learners.mlp.optimizers import MOMENTUM_DECAY
from manyhands.learners.mlp.settings import LAYERWISE, MLPSettings, check_room, wider
from manyhands.runtime.jit import gc_paused
from manyhands.runtime.memory import aligned_zeros
from manyhands.runtime.partition import bounds_of
from manyhands.runtime.shared_reduce import SharedReduction, no_peers

PREDICTION_ROWS = 256
"""Samples whose outputs are computed at once."""
_NOTHING = 1e-30
"""What changes no bit of 1 when it is taken away."""
_VELOCITY, _SQUARES = {"first": "velocity"}, {"second": "squares"}
_ADAM = {"first": "first_moment", "second": "second_moment"}
_STATE: dict[str, dict[str, str]] = {
    "sgd": {},
    "momentum": _VELOCITY,
    "nesterov": _VELOCITY,
    "lars": _VELOCITY,
    "adam": _ADAM,
    "nadam": _ADAM,
    "adamw": _ADAM,
    "lamb": _ADAM,
    "adagrad": _SQUARES,
    "rmsprop": _SQUARES,
    "adadelta": {"first": "squared_updates", "second": "squares"},
    "adamax": {"first": "first_moment", "second": "largest"},
}
"""What the optimizers call the kernel's vectors."""


class MLP(Learner):
    """The learner; see `manyhands.core.learner.Learner` for what each method promises.

    Parameters
    ----------
    settings
        Network and optimizer.
    features, classes
        Numbers of inputs and outputs K: classes, at least 2, or with other losses than cross-entropy at least 1 output.
    rank
        The worker it belongs to, for messages.
    seed
        Of the dropout.
    layout
        Where the layers lie in the vectors, if not one after the other as a whole.

    Raises
    ------
    SettingsError
        If there are too few outputs, or no features.
    OutOfMemoryError
        If the network does not fit into memory.
    """

    holds_rounds = keeps_snapshots = layered = True

    def __init__(
        self,
        settings: MLPSettings,
        features: int,
        classes: int,
        *,
        rank: int = 0,
        seed: int = 0,
        layout: Layout | None = None,
    ) -> None:
        if features < 1 or classes < (2 if settings.loss == "cross_entropy" else 1):
            raise SettingsError(
                f"a classifier needs at least 1 feature and 2 classes; the data have {features} and {classes}"
            )
        if layout is None:
            check_room(settings, features, classes)
        self.settings = settings
        self.rank, self.seed = rank, seed
        self.classes = classes
        self.features = features
        self.dtype: np.dtype[Any] = np.dtype(settings.dtype)
        self.layout = Layout(features, settings.hidden, classes) if layout is None else layout
        self.size = self.layout.size
        self.buffers: Vector = np.zeros(0, self.dtype)
        self.steps_taken = 0
        self._adapter = KernelAdapter(settings, self.layout, seed)
        self._scratch = aligned_zeros(self.layout.largest, self.dtype)
        self._first = aligned_zeros(self.size, self.dtype)
        # Most optimizers have one vector or two; the kernel never reads the others.
        self._second = aligned_zeros(self.size if "second" in _STATE[settings.optimizer] else 0, self.dtype)
        self._constants = np.zeros(kernel_args.CONSTANTS, self.dtype)
        self._no_peers = no_peers()._replace(bounds=np.array([0, self.size]))
        self._no_outputs = np.zeros((0, classes), self.dtype)
        self._no_copies, self._no_places = np.zeros((0, self.size), self.dtype), np.zeros(0, np.int64)
        self.bind(aligned_zeros(self.size, self.dtype))

    @property
    def optimizer_state(self) -> Mapping[str, Vector]:
        """The optimizer's vectors, shape (size,) each, e.g. Adam's ``first_moment`` and ``second_moment``."""
        return {name: getattr(self, f"_{place}") for place, name in _STATE[self.settings.optimizer].items()}

    @property
    def divisible(self) -> bool:
        """Whether the optimizer may take its step part by part; LAMB and LARS look at whole layers."""
        return self.settings.optimizer not in LAYERWISE

    def bind(self, vector: Vector) -> None:
        """Use ``vector`` as parameters from now on."""
        if vector.shape != (self.size,) or vector.dtype != self.dtype or not vector.flags.c_contiguous:
            raise ValueError(
                f"the parameters are one contiguous {self.dtype} vector of {self.size}, "
                f"not {vector.dtype} of shape {vector.shape}"
            )
        self.parameters = vector

    def initialize(self, rng: np.random.Generator) -> None:
        """Write a random start into the parameters and clear the optimizer's state."""
        initialize(self.parameters, self.layout, self.settings, rng)
        self._first[:] = 0
        self._second[:] = 0
        self.steps_taken = 0

    def prepare(self, samples: Samples) -> None:
        """Compile the kernel for these samples' dtype by predicting one row."""
        with gc_paused():
            self.predict_proba(samples.take(slice(1)))

    def run(
        self,
        samples: Samples,
        order: Order,
        rates: NDArray[np.float64],
        control: Control,
        rounds: Rounds | None = None,
        snapshots: Snapshots | None = None,
    ) -> RunOutcome:
        """Take ``order.steps`` steps, and hold ``rounds``, without Python in between; see the protocol."""
        batches = self._adapter.batches(samples, order)
        self._adapter.make_room(int(np.diff(order.bounds).max(initial=1)))
        before = int(control.progress[0])
        course = self._course(kernel_args.LOCAL, order.steps, rates)._replace(
            stop=control.stop, progress=control.progress
        )
        gradient, meeting, held = self._scratch, self._no_peers, 0
        if rounds is not None:
            meeting, held = rounds.meeting, len(rounds.due)
            course = course._replace(due=rounds.due, seen=np.array([rounds.seen]))
            if rounds.gradient is not None:
                gradient, held = rounds.gradient, order.steps
                course.parts[0] = kernel_args.GRADIENT | kernel_args.ROUND | kernel_args.UPDATE
        if snapshots is not None:
            course = course._replace(kept_at=snapshots.due, kept=snapshots.kept, kept_after=snapshots.nanoseconds)
        done = self._go(gradient, batches, course, meeting)
        if done < 0:
            raise WorkerLost(-done - 1)
        losses: NDArray[np.float64] = course.losses[:done]
        if done and not np.isfinite(losses[-1]):
            raise DivergedError(before + done, self.rank, float(losses[-1]))
        return RunOutcome(losses, held)

    def gradient(self, samples: Samples, order: Order, out: Vector) -> float:
        """Write the mean gradient of the data loss over one step's rows into ``out``; see the protocol."""
        batches = self._adapter.batches(samples, order)
        self._adapter.make_room(order.examples)
        course = self._course(kernel_args.GRADIENT, 1, np.zeros(1))
        self._go(out, batches, course, self._no_peers)
        return float(course.losses[0])

    def apply(self, gradient: Vector, rate: float, global_rows: int, workers: int = 1) -> float:
        """Take one optimizer step along ``gradient``; see the protocol."""
        batches = self._adapter.latest._replace(
            bounds=np.zeros(2, np.int64), global_rows=np.array([global_rows], np.int32)
        )
        course = self._course(kernel_args.UPDATE, 1, np.full(1, rate))
        parts = bounds_of(self.size, workers if self.divisible else 1, self.dtype.itemsize)
        self._go(gradient, batches, course, self._no_peers._replace(bounds=parts))
        return float(course.losses[0])

    def predict_proba(self, samples: Samples) -> NDArray[Any]:
        """Return class probabilities of shape (rows, K).

        Outputs of other losses than cross-entropy are cut off below 0 and made to add up to 1, as one-against-all
        classifiers do; where all of them are 0, every class is as likely.
        """
        out = self.outputs(samples)
        if self.settings.loss == "cross_entropy":
            return out
        np.maximum(out, 0, out=out)
        total = out.sum(axis=1, keepdims=True)
        nothing = total <= 0  # what is no number stays none
        return np.where(nothing, self.dtype.type(1 / self.classes), out / np.where(nothing, 1, total))

    def outputs(self, samples: Samples) -> NDArray[Any]:
        """Return the outputs, shape (rows, K): after softmax, or what else belongs to the loss."""
        capacity = min(PREDICTION_ROWS, max(samples.rows, 1))
        order = self._in_pieces(samples.rows, capacity)
        batches = self._adapter.batches(samples, order)
        out = np.empty((samples.rows, self.classes), self.dtype)
        course = self._course(kernel_args.PREDICTION, order.steps, np.zeros(0))
        # In memory of its own: several threads may ask one model.
        self._go(self._scratch, batches, course, self._no_peers, out, self._adapter.new_work(capacity))
        return out

    @staticmethod
    def _in_pieces(rows: int, capacity: int) -> Order:
        """Return the order that has all rows once, so many at a time."""
        bounds = np.minimum(np.arange(0, rows + capacity, capacity), rows)
        return Order(np.arange(rows, dtype=np.int32), bounds, np.diff(bounds).astype(np.int32))

    def _course(self, parts: int, steps: int, rates: NDArray[np.float64]) -> kernel_args.Course:
        """Return a course that nobody stops and that holds no rounds."""
        return kernel_args.Course(
            parts=np.array([parts]),
            rates=rates,
            steps_taken=np.array([self.steps_taken]),
            constants=self._constants,
            momenta=np.array([self._momenta()]),
            losses=np.zeros(steps),
            stop=np.zeros(1, np.int64),
            progress=np.zeros(1, np.int64),
            due=np.zeros(0, np.int64),
            seen=np.zeros(1, np.int64),
            kept_at=self._no_places,
            kept=self._no_copies,
            kept_after=self._no_places,
        )

    def _momenta(self) -> float:
        """Return the product of NAdam's momenta in all steps so far (Dozat 2016), with the kernel's bits."""
        product, beta = 1.0, float(self._adapter.rule.beta_1)
        if self.settings.optimizer != "nadam":
            return product
        for step in range(1, self.steps_taken + 1):
            product *= beta * (1.0 - 0.5 * 0.96 ** (step * MOMENTUM_DECAY))
            if product < _NOTHING:
                return 0.0
        return product

    def _go(
        self,
        gradient: Vector,
        batches: kernel_args.Batches,
        course: kernel_args.Course,
        meeting: SharedReduction,
        out: NDArray[Any] | None = None,
        work: kernel_args.Work | None = None,
    ) -> int:
        """Call the kernel; return what it returns."""
        vectors = kernel_args.Vectors(self.parameters, gradient, self._first, self._second)
        outputs = self._no_outputs if out is None else out
        room = self._adapter.work if work is None else work
        done = kernels.run(vectors, self._adapter.network, self._adapter.rule, room, batches, course, meeting, outputs)
        self.steps_taken = int(course.steps_taken[0])
        return int(done)

    def side_by_side(self, members: NDArray[Any]) -> MLP:
        """Return one wider network that answers with the mean of the members' logits; see the protocol."""
        count = len(members)
        wide = MLP(wider(self.settings, count), self.features, self.classes, rank=self.rank)
        last = self.layout.layers - 1
        for number, vector in enumerate(members):
            for layer in range(self.layout.layers):
                weights, biases = self.layout.weights(vector, layer), self.layout.biases(vector, layer)
                rows = slice(None) if layer == 0 else _place(number, len(weights))
                columns = slice(None) if layer == last else _place(number, len(biases))
                part = 1 / count if layer == last else 1.0
                wide.layout.weights(wide.parameters, layer)[rows, columns] += part * weights
                wide.layout.biases(wide.parameters, layer)[columns] += part * biases
        return wide

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return copies of all layers' blocks without padding, named ``weights.0``, ``biases.0``, ..."""
        blocks: dict[str, NDArray[Any]] = {}
        for layer in range(self.layout.layers):
            blocks[f"weights.{layer}"] = self.layout.weights(self.parameters, layer).copy()
            blocks[f"biases.{layer}"] = self.layout.biases(self.parameters, layer).copy()
        return blocks

    def load_weights(self, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Write layers as returned by :meth:`weights`; padding becomes zero, a wrong block is a ValueError."""
        self.parameters[:] = 0
        for layer in range(self.layout.layers):
            for kind, view in (
                ("weights", self.layout.weights(self.parameters, layer)),
                ("biases", self.layout.biases(self.parameters, layer)),
            ):
                name = f"{kind}.{layer}"
                if name not in blocks:
                    raise ValueError(f"there is no block {name!r}")
                if blocks[name].shape != view.shape:
                    raise ValueError(f"{name!r} has shape {blocks[name].shape}, the network needs {view.shape}")
                view[:] = blocks[name]


def _place(number: int, width: int) -> slice:
    """Return where the units of member ``number`` stand among those of all."""
    return slice(number * width, (number + 1) * width)
