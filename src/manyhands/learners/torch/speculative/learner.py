"""Speculative back-propagation (Park & Suh 2020): backward beside forward, from what is stored for the same labels.

The order of the samples is aligned by label (`manyhands.data.aligned`): position i of every batch has the same label,
so what is stored for the labels of a batch is the outcome of the last batch that had them, as it lies in memory.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.samples import Control, Order, Samples
from manyhands.core.types import Vector
from manyhands.learners.torch.batches import Batches
from manyhands.learners.torch.learner import TorchLearner
from manyhands.learners.torch.optimizers import TorchOptimizer
from manyhands.learners.torch.settings import TorchSettings
from manyhands.learners.torch.speculative import memory
from manyhands.learners.torch.speculative.facts import Facts
from manyhands.learners.torch.speculative.gate import Outcome, distances, together
from manyhands.learners.torch.speculative.lanes import Backward, Lane, Lanes
from manyhands.learners.torch.speculative.layers import Rectifier, layers_of, multiply_adds
from manyhands.learners.torch.speculative.prediction import Prediction


class SpeculativeLearner(TorchLearner):
    """A feed-forward stack whose backward passes begin before their forward passes have ended.

    While a lane goes forward with a batch, others go back from the outcome that is stored for the same labels, with the
    present weights. Samples whose outcome is farther from the stored one than the threshold are misses: their part is
    taken out of the gradient again, and computed from what has just been found.

    Parameters
    ----------
    module, optimizer, settings, rank, seed
        See `TorchLearner`. The module is an ``nn.Sequential`` of layers that
        `manyhands.learners.torch.speculative.layers` knows; ``settings.speculative`` is the threshold.

    Raises
    ------
    SettingsError
        If the module cannot be taken apart, or a setting does not go with this learner.

    References
    ----------
    Park & Suh, "Speculative Backpropagation for CNN Parallel Training", IEEE Access 8, 2020.
    """

    def __init__(
        self,
        module: nn.Module | Callable[[], nn.Module],
        optimizer: str | TorchOptimizer = "adam",
        *,
        settings: TorchSettings,
        rank: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(module, optimizer, settings=settings, rank=rank, seed=seed)
        self._threshold = 1.0 if settings.speculative is None else settings.speculative
        self._layers = layers_of(self.module)
        self._check_gate()
        self._prediction = Prediction(self._parameters, self._layers) if settings.weight_prediction else None
        self._lanes = Lanes(settings.lanes, balanced=settings.lane_plan == "balanced")
        self._forget()

    def _check_gate(self) -> None:
        together = next((layer.name for layer in self._layers if not layer.per_sample), None)
        if together is not None and self.settings.gate != "batch" and 0 < self._threshold < 1:
            raise SettingsError(
                f"{together} computes with all samples of a batch, so none can be taken out of its gradient: use "
                f"{parameter('gate', 'batch')}, or {parameter('speculative', 1)}"
            )
        if together is not None and self.settings.micro_batches > 1:
            raise SettingsError(
                f"{together} computes with all samples of a batch: leave {parameter('micro_batches')} out"
            )
        if self.settings.gate == "layer" and not any(isinstance(layer, Rectifier) for layer in self._layers):
            raise SettingsError(
                f"the module has no ReLU layer whose masks could differ: use {parameter('gate', 'sample')}"
            )

    def _forget(self) -> None:
        """Begin anew: nothing is stored."""
        self._stored: dict[bytes, Outcome] = {}
        self._table: Samples | None = None
        if self._prediction is not None:
            self._prediction.forget()
        self._warm_steps = 0
        lanes = self._lanes
        self.facts = Facts(
            lanes=lanes.count,
            balanced=lanes.balanced,
            speculates=self._threshold > 0,
            micro_batches=self.settings.micro_batches,
        )

    def initialize(self, rng: np.random.Generator) -> None:
        """Write the start into parameters and buffers; nothing is stored from before."""
        super().initialize(rng)
        self._forget()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of all arrays needed to continue bit for bit, those of stored batches among them."""
        update = {} if self._prediction is None else {"update": self._prediction.update.numpy().copy()}
        return {**super().state(), **memory.packed(self._stored, self.facts), **update}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`state` returned."""
        super().load_state(state)
        self._stored = memory.unpacked(state, self.facts)
        if self._prediction is not None:
            self._prediction.update.copy_(torch.from_numpy(np.array(state["update"])))

    def report(self) -> dict[str, Any]:
        """Return hits, misses, distances, times and the last step's time line; see `Facts`."""
        return {"speculation": self.facts.to_json()}

    def run(self, samples: Samples, order: Order, rates: NDArray[np.float64], control: Control) -> Any:  # type: ignore[override]
        """Take ``order.steps`` optimizer steps; see the protocol."""
        self._note_warm_up(samples, order)
        return super().run(samples, order, rates, control)

    def gradient(self, samples: Samples, order: Order, out: Vector) -> float:
        """Write the mean gradient of the loss over one step's rows into ``out``; see the protocol."""
        self._note_warm_up(samples, order)
        return super().gradient(samples, order, out)

    def _note_warm_up(self, samples: Samples, order: Order) -> None:
        """Learn from the first training order which samples are trained on, and how many steps speculate on nothing."""
        if self._table is None and order.steps:
            self._table = samples
            self.facts.steps_per_epoch = -(-samples.rows // int(order.global_rows[0]))
            self._warm_steps = math.ceil(self.settings.speculation_warmup * self.facts.steps_per_epoch)
            inputs = Batches(samples, self.device).inputs(np.zeros(1, np.int32))
            self.facts.multiply_adds = multiply_adds(layers_of(copy.deepcopy(self.module)), inputs)

    def _backward(self, batches: Batches, rows: NDArray[np.int32]) -> float:
        """Compute the gradient of some rows, speculatively if outcomes are stored for their labels."""
        if not len(rows) or batches.samples is not self._table:  # merges look at other samples
            return super()._backward(batches, rows)
        with torch.no_grad():
            self.facts.begin_step()
            if self._prediction is not None:
                self._prediction.predict()
            inputs, labels = self._augment(batches.inputs(rows), self._steps), batches.labels(rows)
            key = labels.numpy().tobytes()
            stored = self._stored.get(key) if self._may_speculate else None
            found = self._outcomes(inputs, labels, stored)
            hits = 0 if stored is None else self._correct(stored, found[0])
            self.facts.count(len(rows), hits, seen=stored is not None)
            if self._threshold > 0:
                self._store(key, found[0])
            return float(torch.cat([each.losses for each in found]).mean())

    def _step(self, rate: float) -> None:
        if self._prediction is None:
            super()._step(rate)
            return
        self._prediction.note()
        super()._step(rate)
        self._prediction.learn()

    @property
    def _may_speculate(self) -> bool:
        return self._threshold > 0 and self._steps >= self._warm_steps

    def _store(self, key: bytes, found: Outcome) -> None:
        """Keep an outcome; those of batches of another size will not be needed again."""
        if any(len(each) != len(key) for each in self._stored):
            self._stored = {}
        self._stored[key] = found

    def _outcomes(self, inputs: Tensor, labels: Tensor, stored: Outcome | None) -> list[Outcome]:
        """Go forward, and at the same time back: from what is stored, or else from the micro-batches that are done."""
        backward, found, rows = self._backward_passes(), list[Outcome](), len(inputs)
        parts = 1 if stored is not None else min(self.settings.micro_batches, rows)

        def forward(lane: Lane) -> None:
            with self._draws.at(self._steps):
                for some, their in zip(inputs.tensor_split(parts), labels.tensor_split(parts), strict=True):
                    found.append(self._forward(some, their, lane))
                    if stored is None:
                        backward.add(found[-1].saved, found[-1].gradient(rows))
                    if self._lanes.count == 1:
                        backward.catch_up(lane)

        if stored is not None:
            backward.add(stored.saved, stored.gradient())
        self._share(backward, forward)
        return found

    def _forward(self, inputs: Tensor, labels: Tensor, lane: Lane) -> Outcome:
        saved = []
        for layer in self._layers:
            with lane.span("forward", layer.name):
                inputs, kept = layer.forward(inputs)
            saved.append(kept)
        return Outcome.of(saved, inputs, labels)

    def _backward_passes(self, *, add: bool = False) -> Backward:
        return Backward(self._layers, add=add, shared=self._lanes.balanced and self._lanes.count > 1)

    def _back(self, gradient: Tensor, outcome: Outcome, *, add: bool = False) -> None:
        backward = self._backward_passes(add=add)
        backward.add(outcome.saved, gradient)
        self._share(backward)

    def _share(self, backward: Backward, forward: Callable[[Lane], None] | None = None) -> None:
        begin = time.perf_counter()
        lanes = self._lanes.share(backward, forward)
        self.facts.count_work(lanes, time.perf_counter() - begin)

    def _correct(self, stored: Outcome, found: Outcome) -> int:
        """Put right what was speculated for samples that are too far from the stored ones; return how many are not."""
        far = distances(self.settings.gate, self._layers, stored, found)
        self.facts.count_distances(far.numpy())
        missed = far > self._threshold
        misses, rows = int(missed.sum()), len(far)
        if misses == rows:
            self._back(found.gradient(), found)
        elif misses:
            wrong = missed.nonzero().squeeze(1)
            self._exchange(wrong, stored, found, rows)
        return rows - misses

    def _exchange(self, wrong: Tensor, stored: Outcome, found: Outcome, rows: int) -> None:
        """Replace the parts of some samples in the gradient, in the cheaper of two ways."""
        if 2 * len(wrong) <= rows:  # take the speculative parts out, and add the true ones, in one backward pass
            both = together(self._layers, [(stored, wrong), (found, wrong)])
            gradient = both.gradient(rows)
            gradient[: len(wrong)].neg_()
            self._back(gradient, both, add=True)
            return
        right = torch.ones(rows, dtype=torch.bool)
        right[wrong] = False
        mixed = together(self._layers, [(stored, right.nonzero().squeeze(1)), (found, wrong)])
        self._back(mixed.gradient(rows), mixed)
