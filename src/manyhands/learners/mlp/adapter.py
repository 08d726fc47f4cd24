"""The adapter between learner and kernels: it makes the kernels' arguments, and checks what compiled code does not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import ACTIVATIONS, LOSSES, OPTIMIZERS
from manyhands.core.errors import SettingsError
from manyhands.core.samples import Order, Samples
from manyhands.core.types import Vector
from manyhands.learners.mlp import kernel_args, tiles
from manyhands.learners.mlp.layout import Layout
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.runtime.memory import aligned_zeros


class KernelAdapter:
    """The arguments of the kernels for one learner, in the kernel variant that settings and samples need.

    Attributes
    ----------
    network, rule : kernel_args.Network, kernel_args.Rule
        The constants of network and optimizer.
    work : kernel_args.Work
        Memory for one batch; see :meth:`make_room`.
    latest : kernel_args.Batches
        The arguments that :meth:`batches` returned last; no rows before.
    """

    def __init__(self, settings: MLPSettings, layout: Layout, seed: int) -> None:
        self._settings, self._layout, self._seed = settings, layout, seed
        self._dtype: np.dtype[Any] = np.dtype(settings.dtype)
        self._features, self._outputs = int(layout.real_widths[0]), int(layout.real_widths[-1])
        self._always_full = _needs_full_variant(settings)
        self._capacity = 1
        self._samples: Samples | None = None
        self._checked: NDArray[np.int32] | None = None
        self._scaling: tuple[Vector, Vector, NDArray[np.float64] | None] = (*2 * (np.zeros(0, self._dtype),), None)
        self.rule = _make_rule(settings, self._dtype)
        self._choose_variant(self._always_full)

    def _choose_variant(self, full: bool) -> None:
        """Change to the basic or the full kernel variant; see `manyhands.learners.mlp.kernel_args`."""
        self._full, self.network = full, self._make_network(full)
        self.work = self.new_work(self._capacity)
        self._no_targets = np.zeros((0, self._outputs), self._dtype) if full else None
        self._no_weights = np.zeros(0, self._dtype) if full else None
        self._aims = (self._no_targets, self._no_weights)
        self.latest = self._no_rows()

    def _make_network(self, full: bool) -> kernel_args.Network:
        """Translate layout and settings into the kernels' constants."""
        settings, layout = self._settings, self._layout
        return kernel_args.Network(
            layout.widths,
            layout.real_widths,
            layout.weight_at,
            layout.bias_at,
            layout.first_unit,
            tiles.available() and self._dtype == np.float32,
            ACTIVATIONS.index(settings.activation),
            settings.activation == "relu" and not full,
            LOSSES.index(settings.loss),
            min(round(settings.dropout * 2**32), 2**32 - 1),
            self._dtype.type(1 / (1 - settings.dropout)),
            self._seed % 2**63,
        )

    def _no_rows(self) -> kernel_args.Batches:
        """Return batches for updates before the first gradient: no rows of bytes."""
        none, unscaled = np.zeros(0, np.int32), np.zeros(self._features, self._dtype)
        features = np.zeros((0, self._features), np.uint8)
        bounds = np.zeros(2, np.int64)
        return kernel_args.Batches(
            features, none, unscaled, unscaled, None, none, bounds, none, self._no_targets, self._no_weights, 0
        )

    def new_work(self, rows: int) -> kernel_args.Work:
        """Return new memory for a batch of ``rows`` samples."""
        starts = np.concatenate([[0], np.cumsum(rows * self._layout.widths)]).astype(np.int64)
        return kernel_args.Work(
            aligned_zeros(starts[-1], self._dtype),
            aligned_zeros(starts[-1], self._dtype),
            np.ascontiguousarray(starts[:-1]),
            np.zeros(self._features, np.uint8),
            np.zeros(self._features, np.int64),
            np.zeros(1, np.int64),
            np.arange(max(rows, self._layout.longest)),
            np.zeros(1),
            aligned_zeros(rows * self._packed_width(), self._dtype),
            aligned_zeros(starts[-1], self._dtype) if self._full else None,
        )

    def _packed_width(self) -> int:
        """Return how many numbers of each sample are copied for weight gradients."""
        widest = self._layout.widest
        return widest + tiles.HEIGHTS if widest > tiles.WIDEST else 0

    def make_room(self, rows: int) -> None:
        """Let the memory for a batch grow to ``rows`` samples, once, before the first step of a run."""
        if rows > self._capacity:
            self.work, self._capacity = self.new_work(rows), rows

    def batches(self, samples: Samples, order: Order) -> kernel_args.Batches:
        """Return samples and order as the kernels take them, after checking that they fit the network."""
        self._adopt(samples)
        if len(order.rows) and order.rows is not self._checked:
            if order.rows.view(np.uint32).max() >= samples.rows:  # as unsigned, negative numbers are huge
                raise IndexError(f"row numbers must lie in 0..{samples.rows - 1}")
            self._checked = order.rows
        given = order.rows, order.bounds, order.global_rows
        self.latest = kernel_args.Batches(
            samples.features, samples.labels, *self._scaling, *given, *self._aims, samples.first_row
        )
        return self.latest

    def _adopt(self, samples: Samples) -> None:
        """Check samples once, because compiled code does not, and keep their scaling as the kernel takes it."""
        if samples is self._samples:
            return
        _check_shapes(samples, self._features, self._outputs)
        full = self._always_full or samples.targets is not None or samples.weights is not None
        if full != self._full:
            self._choose_variant(full)
        self._samples, self._checked = samples, None
        self._scaling = self._scaling_of(samples)
        targets, weights = self._no_targets, self._no_weights
        self._aims = (self._in_dtype(samples.targets, targets), self._in_dtype(samples.weights, weights))

    def _scaling_of(self, samples: Samples) -> tuple[Vector, Vector, NDArray[np.float64] | None]:
        """Return scale, shift and center in the precision in which the kernel scales these samples' values."""
        if samples.features.dtype != np.uint8:
            return samples.scale, samples.shift, np.zeros(self._features) if samples.center is None else samples.center
        if samples.center is not None:
            raise SettingsError("bytes are scaled without a center; make them floating-point numbers first")
        return samples.scale.astype(self._dtype), samples.shift.astype(self._dtype), None

    def _in_dtype(self, values: NDArray[Any] | None, otherwise: NDArray[Any] | None) -> NDArray[Any] | None:
        return otherwise if values is None else np.ascontiguousarray(values, self._dtype)


def _check_shapes(samples: Samples, features: int, outputs: int) -> None:
    """Check that all arrays of the samples fit each other and the network."""
    if samples.features.ndim != 2 or samples.features.shape[1] != features:
        raise SettingsError(f"the network takes {features} features, the samples have shape {samples.features.shape}")
    if samples.labels.shape != (samples.rows,):
        raise SettingsError(f"{samples.rows} rows need as many labels, not {samples.labels.shape}")
    if samples.targets is None and samples.rows:
        if not 0 <= samples.labels.min() <= samples.labels.max() < outputs:
            raise SettingsError(f"labels must lie in 0..{outputs - 1}")
    elif samples.targets is not None and samples.targets.shape != (samples.rows, outputs):
        raise SettingsError(
            f"{samples.rows} rows and {outputs} outputs need targets of that shape, not {samples.targets.shape}"
        )
    if samples.weights is not None and samples.weights.shape != (samples.rows,):
        raise SettingsError(f"{samples.rows} rows need as many weights, not {samples.weights.shape}")


def _make_rule(settings: MLPSettings, dtype: np.dtype[Any]) -> kernel_args.Rule:
    """Translate the optimizer's settings into the kernels' constants."""
    momentum = 0.0 if settings.optimizer == "sgd" else settings.momentum
    constants = (
        settings.l2, momentum, settings.beta_1, settings.beta_2, settings.epsilon, settings.rho, settings.weight_decay,
    )  # fmt: skip
    return kernel_args.Rule(OPTIMIZERS.index(settings.optimizer), *(dtype.type(value) for value in constants))


def _needs_full_variant(settings: MLPSettings) -> bool:
    """Return whether the settings ask for what the basic kernel variant lacks."""
    basic = kernel_args.RELU, kernel_args.ADAM
    chosen = ACTIVATIONS.index(settings.activation), OPTIMIZERS.index(settings.optimizer)
    return any(one > most for one, most in zip(chosen, basic, strict=True)) or (
        settings.loss != "cross_entropy" or settings.dropout > 0
    )
