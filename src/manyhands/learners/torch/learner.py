"""Learner of PyTorch modules: any of the user's own, trained step by step as every other learner."""

from __future__ import annotations

import contextlib
import copy
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from numpy.typing import NDArray
from torch import Tensor, nn

from manyhands.core.errors import DivergedError, SettingsError
from manyhands.core.learner import Learner, RunOutcome
from manyhands.core.parameters import parameter
from manyhands.core.samples import Control, Order, Samples
from manyhands.core.types import Vector
from manyhands.learners.torch.augment import Augmentation
from manyhands.learners.torch.batches import Batches
from manyhands.learners.torch.devices import chosen_device, chosen_precision
from manyhands.learners.torch.draws import Draws, seeded
from manyhands.learners.torch.forward import blocks_of, logits, probabilities
from manyhands.learners.torch.optimizers import FlatOptimizer, TorchOptimizer
from manyhands.learners.torch.probe import least_batch, probe
from manyhands.learners.torch.settings import TorchSettings
from manyhands.learners.torch.vectors import FlatTensors, FlatVector, averaged_buffers, other_tensors, trainable
from manyhands.runtime.allocator import keep_freed_memory

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes outputs of shape (rows, K) and class numbers of shape (rows,); returns the mean loss."""
_MODULE = "module."


class TorchLearner(Learner):
    r"""A PyTorch module with its optimizer; see `manyhands.core.learner.Learner` for what each method promises.

    Trained parameters are one contiguous float32 vector, of which the module's tensors are views; so are the
    optimizer's state, and the buffers that workers average (BatchNorm's statistics).

    Parameters
    ----------
    module : torch.nn.Module or callable
        The network: it takes a batch of shape (rows, \*sample_shape) and returns logits of shape (rows, K). A module
        is copied, and training starts from its parameters. A function without arguments makes one, and training
        starts from the random parameters that it makes (with PyTorch's generator seeded by the run).
    optimizer
        An optimizer, or its name.
    loss
        ``"cross_entropy"``, or a function of outputs and class numbers that returns the mean loss of a batch.
    settings
        Precision, device, augmentation, clipping.
    rank
        The worker it belongs to.
    seed
        Of all random numbers inside training.

    Raises
    ------
    SettingsError
        If the module cannot be trained in this way, with the parameter that is at fault.
    """

    def __init__(
        self,
        module: nn.Module | Callable[[], nn.Module],
        optimizer: str | TorchOptimizer = "adam",
        loss: str | Loss = "cross_entropy",
        *,
        settings: TorchSettings | None = None,
        rank: int = 0,
        seed: int = 0,
    ) -> None:
        keep_freed_memory()
        self.settings, self.rank, self.seed = settings or TorchSettings(), rank, seed
        self.device, self.dtype = chosen_device(self.settings.device), np.dtype(np.float32)
        self._autocast = chosen_precision(self.settings.precision, self.device) == "bfloat16"
        self._source, self._loss = module, _checked_loss(loss)
        self.module = _own(module, np.random.default_rng(0))
        trained = trainable(self.module)
        self.module.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        chosen = optimizer if isinstance(optimizer, TorchOptimizer) else TorchOptimizer(optimizer)
        self._optimizer = FlatOptimizer(chosen, self.module)
        self._parameters = FlatTensors(self._optimizer.ordered(trained), self.device)
        self._buffers = FlatTensors(averaged_buffers(self.module), self.device)
        self.size, self.buffers = len(self._parameters.vector), self._buffers.vector
        self._gradient = FlatVector(self.size, self.device)
        for place in self._parameters.places:
            place.tensor.grad = place.view(self._gradient.flat)
        self._steps = 0
        self._least_batch = least_batch(self.module)
        self.bind(self._parameters.vector)
        self._start = {name: block.clone() for name, block in self.module.state_dict().items()}
        self._draws = Draws(module, self.module, seed, rank, self.device)
        self._augment = Augmentation(self.settings.augment, seed, rank, self.device)
        self._batches: Batches | None = None

    @property
    def optimizer_state(self) -> Mapping[str, Vector]:
        """The optimizer's vectors, shape (size,) each, e.g. Adam's ``first_moment`` and ``second_moment``."""
        return {name: each.vector for name, each in self._optimizer.state.items()}

    @property
    def least_batch(self) -> int:
        """Two samples for statistics over a batch, else one."""
        return self._least_batch

    @property
    def random_start(self) -> bool:
        """Whether :meth:`initialize` draws parameters; not if the user has given a module, which has some."""
        return not isinstance(self._source, nn.Module)

    def bind(self, vector: Vector) -> None:
        """Use ``vector`` as parameters from now on."""
        if vector.shape != (self.size,) or vector.dtype != self.dtype or not vector.flags.c_contiguous:
            raise ValueError(f"the parameters are one contiguous float32 vector of {self.size}")
        self._parameters.bind(vector)
        self.parameters = vector
        self._optimizer.attach(self._parameters, self._gradient.flat, self.device)
        self._optimizer.count_from(self._steps)

    @property
    def steps_taken(self) -> int:
        """How many steps the optimizer has taken; strategies may set it."""
        return self._steps

    @steps_taken.setter
    def steps_taken(self, steps: int) -> None:
        self._steps = steps
        self._optimizer.count_from(steps)

    def initialize(self, rng: np.random.Generator) -> None:
        """Write the start into parameters and buffers, and clear the optimizer's state.

        A function makes another module, with random numbers from ``rng``; a module starts as it was given.
        """
        start = _own(self._source, rng).state_dict() if self.random_start else self._start
        self._load(start)
        for vector in self.optimizer_state.values():
            vector[:] = 0
        self.steps_taken = 0

    def prepare(self, samples: Samples) -> None:
        """Try the module on a few samples: what cannot be trained is refused here.

        Raises
        ------
        SettingsError
            If it does not take such samples, returns no logits for all classes, or needs larger batches.
        """
        self._draws.notice(lambda: probe(copy.deepcopy(self.module), Batches(samples, self.device)))

    def run(self, samples: Samples, order: Order, rates: NDArray[np.float64], control: Control) -> RunOutcome:  # type: ignore[override]
        """Take ``order.steps`` optimizer steps; see the protocol."""
        losses = np.zeros(order.steps)
        batches = self._batches_of(samples)
        with self._training():
            for step in range(order.steps):
                if control.stop[0]:
                    return RunOutcome(losses[:step])
                rows = order.rows[order.bounds[step] : order.bounds[step + 1]]
                if len(rows):  # else the worker waits for the next step
                    losses[step] = self._backward(batches, rows)
                    self._check_finite(losses[step], int(control.progress[0]) + 1)
                    self._step(float(rates[step]))
                control.progress[0] += 1
        return RunOutcome(losses)

    def gradient(self, samples: Samples, order: Order, out: Vector) -> float:
        """Write the mean gradient of the loss over one step's rows into ``out``; see the protocol."""
        with self._training():
            loss = self._backward(self._batches_of(samples), order.rows[order.bounds[0] : order.bounds[-1]])
        self._gradient.pull()
        out[:] = self._gradient.vector
        return loss

    def apply(self, gradient: Vector, rate: float, global_rows: int, workers: int = 1) -> float:
        """Take one optimizer step along ``gradient``; see the protocol."""
        self._gradient.vector[:] = gradient
        self._gradient.push()
        with self._training():
            self._step(rate)
        return 0.0

    def _backward(self, batches: Batches, rows: NDArray[np.int32]) -> float:
        """Compute the gradient of the mean loss of some rows; return that loss. No rows have none."""
        self._gradient.flat.zero_()
        if not len(rows):
            return 0.0
        # Merges look at samples one by one; a batch that is too small for statistics of its own takes those of before.
        self.module.train(len(rows) >= self.least_batch)
        inputs = self._augment(batches.inputs(rows), self._steps)
        with self._draws.at(self._steps):
            outputs = logits(self.module, inputs, bfloat16=self._autocast)
        loss = self._mean_loss(outputs, batches, rows)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _mean_loss(self, outputs: Tensor, batches: Batches, rows: NDArray[np.int32]) -> Tensor:
        labels, weights = batches.labels(rows), batches.weights(rows)
        if callable(self._loss):
            return self._loss(outputs, labels)
        if weights is None:
            return F.cross_entropy(outputs, labels)
        each = F.cross_entropy(outputs, labels, reduction="none")
        return (each * weights).sum() / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)

    def _step(self, rate: float) -> None:
        if self.settings.clip is not None:
            norm = float(torch.linalg.vector_norm(self._gradient.flat))
            if norm > self.settings.clip:
                self._gradient.flat.mul_(self.settings.clip / norm)
        self._optimizer.step(rate)
        self._steps += 1

    def _check_finite(self, loss: float, step: int) -> None:
        if not np.isfinite(loss):
            raise DivergedError(step, self.rank, loss)

    def outputs(self, samples: Samples) -> NDArray[Any]:
        """Return class probabilities of shape (rows, K): softmax of the module's logits in evaluation mode."""
        self._push()
        return probabilities(self.module, self._batches_of(samples), bfloat16=self._autocast)

    def predict_proba(self, samples: Samples) -> NDArray[Any]:
        """Return class probabilities of shape (rows, K)."""
        return self.outputs(samples)

    def side_by_side(self, members: NDArray[Any]) -> TorchLearner:
        """Return a learner whose logits are the mean of those of ``members``, shape (n, size)."""
        modules = []
        for vector in members:
            self._parameters.vector[:] = vector
            self._push()
            modules.append(copy.deepcopy(self.module))
        return TorchLearner(Ensemble(modules), loss=self._loss, settings=self.settings, rank=self.rank, seed=self.seed)

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return copies of all parameters and buffers: ``module.`` and their name in the module's ``state_dict``."""
        self._push()
        return blocks_of(self.module)

    def trained_module(self) -> nn.Module:
        """Return a copy of the module as it is now, in evaluation mode, with parameters of its own."""
        self._push()
        return copy.deepcopy(self.module).eval()

    def fingerprint(self) -> str:
        """Return what tells the module from what the same function makes after it was changed.

        That is what the module prints, and its parameters' names and shapes; what its methods do, nobody can compare.
        """
        shapes = [(name, list(block.shape)) for name, block in self.module.state_dict().items()]
        text = re.sub(r" at 0x[0-9a-f]+", "", f"{self.module!r} {shapes}")
        return f"checksum {zlib.crc32(text.encode()):08x}"

    def load_weights(self, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Write the blocks that :meth:`weights` returned into the module.

        Raises
        ------
        ValueError
            If names, shapes or dtypes are not those of the module.
        """
        own = {f"{_MODULE}{name}": block for name, block in self.module.state_dict().items()}
        if set(own) != set(blocks):
            name = min(set(own) ^ set(blocks))
            raise ValueError(f"{name} is {'missing' if name in own else 'no part of the module'}")
        for name, block in blocks.items():
            given, wanted = torch.from_numpy(np.array(block)), own[name]
            if given.shape != wanted.shape or given.dtype != wanted.dtype:
                raise ValueError(
                    f"{name} is {given.dtype} of shape {tuple(given.shape)}; the module has {wanted.dtype} of shape "
                    f"{tuple(wanted.shape)}"
                )
        self._load({name.removeprefix(_MODULE): torch.from_numpy(np.array(block)) for name, block in blocks.items()})

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of parameters, buffers, optimizer state, step count and what is neither of these."""
        others = {f"other.{name}": each.detach().cpu().numpy().copy() for name, each in self._others().items()}
        vectors = {name: vector.copy() for name, vector in self.optimizer_state.items()}
        return {
            "parameters": self.parameters.copy(),
            "buffers": self.buffers.copy(),
            "steps_taken": np.array([self.steps_taken], np.int64),
            **vectors,
            **others,
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`state` returned (into the bound vector, which stays bound)."""
        self.parameters[:], self.buffers[:] = state["parameters"], state["buffers"]
        for name, vector in self.optimizer_state.items():
            vector[:] = state[name]
        for name, each in self._others().items():
            each.copy_(torch.from_numpy(np.array(state[f"other.{name}"])))
        self.steps_taken = int(state["steps_taken"][0])

    def _others(self) -> dict[str, Tensor]:
        return {name: each.detach() for name, each in other_tensors(self.module).items()}

    def _load(self, blocks: Mapping[str, Tensor]) -> None:
        self.module.load_state_dict(blocks)
        self._pull()

    def _batches_of(self, samples: Samples) -> Batches:
        if self._batches is None or self._batches.samples is not samples:
            self._batches = Batches(samples, self.device)
        return self._batches

    @contextlib.contextmanager
    def _training(self) -> Iterator[None]:
        """Let a device have the vectors' numbers for the length of a block."""
        self._push()
        try:
            yield
        finally:
            self._pull()

    def _push(self) -> None:
        for each in self._vectors():
            each.push()

    def _pull(self) -> None:
        for each in self._vectors():
            each.pull()

    def _vectors(self) -> Iterator[FlatVector]:
        yield self._parameters
        yield self._buffers
        yield from self._optimizer.state.values()


class Ensemble(nn.Module):
    """Modules side by side, whose logits are averaged."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the mean of the members' logits."""
        return torch.stack([member(inputs) for member in self.members]).mean(dim=0)


def _own(source: nn.Module | Callable[[], nn.Module], rng: np.random.Generator) -> nn.Module:
    """Return a module that no other learner has: a copy of the user's, or one that the user's function makes."""
    if isinstance(source, nn.Module):
        return copy.deepcopy(source)
    with seeded(rng):
        made = source()
    if not isinstance(made, nn.Module):
        raise SettingsError(f"the function that makes the network returned {type(made).__name__}, no torch.nn.Module")
    return made


def _checked_loss(loss: str | Loss) -> str | Loss:
    if loss != "cross_entropy" and not callable(loss):
        raise SettingsError(
            f"{parameter('loss', loss)} is not known for PyTorch modules: cross_entropy, or a function of outputs and "
            "class numbers"
        )
    return loss
