"""The shape of a multilayer perceptron: its settings, and where its layers lie in the flat vector."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np

from manyhands.core.checks import real, shortened, whole
from manyhands.core.errors import SettingsError
from manyhands.learners.mlp.initialization import parse_initialization
from manyhands.runtime.memory import check_memory

ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu",
    "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "softsign",
)  # fmt: skip
"""In the order of the codes in `kernel_args`."""
LOSSES = ("cross_entropy", "binary_cross_entropy", "squared_error", "poisson")
"""Of softmax, logistic, linear and exponential outputs; in the order of the codes in `kernel_args`."""
DTYPES = ("float32", "float64")


class Defaults(NamedTuple):
    """What an optimizer takes for what the user leaves out: PyTorch's values where it has one."""

    learning_rate: float
    epsilon: float = 1e-8
    rho: float = 0.9
    weight_decay: float = 0.0


DEFAULTS = {
    "sgd": Defaults(0.1),
    "momentum": Defaults(0.01),
    "nesterov": Defaults(0.01),
    "adam": Defaults(0.001),
    "adagrad": Defaults(0.01, epsilon=1e-10),
    "rmsprop": Defaults(0.001, rho=0.99),
    "adadelta": Defaults(1.0, epsilon=1e-6),
    "adamax": Defaults(0.002),
    "nadam": Defaults(0.002),
    "adamw": Defaults(0.001, weight_decay=0.01),
    "lamb": Defaults(0.01, epsilon=1e-6, weight_decay=0.01),
    "lars": Defaults(0.5, weight_decay=1e-4),
}
OPTIMIZERS = tuple(DEFAULTS)
"""In the order of the codes in `kernel_args`."""
_ONE_VECTOR = ("sgd", "momentum", "nesterov", "lars")
"""Optimizers for which a network keeps one vector beside its parameters; for the others it keeps two."""
_NUMBERS = ("learning_rate", "l2", "momentum", "beta_1", "beta_2", "epsilon", "rho", "weight_decay", "dropout")
_TOLD = {"learning_rate": "the learning rate"}


@dataclass(frozen=True)
class MLPSettings:
    """What a user chooses about the network and its optimizer; the defaults are scikit-learn's.

    Attributes
    ----------
    hidden
        Widths of the hidden layers, input side first; empty for softmax regression.
    activation
        One of :data:`ACTIVATIONS`, for all hidden layers.
    optimizer
        One of :data:`OPTIMIZERS`.
    learning_rate
        Step size (scikit-learn: ``learning_rate_init``); by default the optimizer's own (:data:`DEFAULTS`).
    l2
        Strength of the penalty ``l2 / (2 B) * sum(W**2)``, B the global batch, biases excluded (``alpha``).
    momentum
        For momentum, nesterov and lars.
    beta_1, beta_2
        For Adam and its relatives (adamax, nadam, adamw, lamb).
    epsilon
        Keeps quotients finite; by default the optimizer's own.
    rho
        How much rmsprop and adadelta keep of their mean squares; by default the optimizer's own.
    weight_decay
        Decoupled decay of adamw, lamb and lars, biases excluded; by default the optimizer's own.
    loss
        One of :data:`LOSSES`.
    weight_init, bias_init
        How weights and biases start, see `manyhands.learners.mlp.initialization`; ``"auto"`` is scikit-learn's way.
    dropout
        The chance of a hidden neuron to be left out of a step, for each example (Srivastava et al. 2014).
    dtype
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    hidden: tuple[int, ...] = (100,)
    activation: str = "relu"
    optimizer: str = "adam"
    learning_rate: float = cast(float, None)
    l2: float = 0.0001
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = cast(float, None)
    rho: float = cast(float, None)
    weight_decay: float = cast(float, None)
    loss: str = "cross_entropy"
    weight_init: str = "auto"
    bias_init: str = "auto"
    dropout: float = 0.0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", _widths(self.hidden))
        _one_of("activation", self.activation, ACTIVATIONS)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("loss", self.loss, LOSSES)
        _one_of("dtype", self.dtype, DTYPES)
        for name, value in DEFAULTS[self.optimizer]._asdict().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in _NUMBERS:
            object.__setattr__(self, name, real(_TOLD.get(name, name), getattr(self, name)))
        for name in ("weight_init", "bias_init"):
            object.__setattr__(self, name, parse_initialization(name, getattr(self, name)).name)
        self._check_numbers()

    def _check_numbers(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise SettingsError(f"the learning rate must be a number above 0, not {self.learning_rate}")
        largest = float(np.finfo(self.dtype).max)
        for name in ("l2", "weight_decay"):
            if not 0 <= getattr(self, name) <= largest:
                raise SettingsError(
                    f"{name} must be 0 or larger and a finite {self.dtype} number, not {getattr(self, name)}"
                )
        for name in ("momentum", "beta_1", "beta_2", "rho", "dropout"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise SettingsError(f"{name} must be at least 0 and below 1, not {value}")
            if name != "dropout" and np.dtype(self.dtype).type(value) >= 1:
                raise SettingsError(f"{name} must be below 1, and {value} is 1 as a {self.dtype} number")
        if not float(np.finfo(self.dtype).tiny) <= self.epsilon <= largest:
            raise SettingsError(
                f"epsilon must be above 0 and a {self.dtype} number from {np.finfo(self.dtype).tiny:.0e} on, "
                f"not {self.epsilon}"
            )


def wider(settings: MLPSettings, times: int) -> MLPSettings:
    """Return the settings of ``times`` such networks side by side."""
    return replace(settings, hidden=tuple(times * width for width in settings.hidden))


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(f"unknown {name} {shortened(value)}; choose one of {', '.join(choices)}")


def _widths(given: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers, which may come as any sequence, or array, of whole numbers."""
    try:
        each = None if isinstance(given, str | bytes | dict | set | frozenset) else list(given)
    except TypeError:
        each = None
    if each is None:
        raise SettingsError(f"hidden must be the widths of the hidden layers, such as (75,), not {shortened(given)}")
    widths = tuple(whole("the width of a hidden layer", width) for width in each)
    if any(width < 1 for width in widths):
        raise SettingsError(f"hidden layers need at least one neuron each, not {list(widths)}")
    return widths


def check_room(settings: MLPSettings, features: int, outputs: int, workers: int = 1, rows: int = 1) -> None:
    """Check that networks fit into memory, before any is made: parameters, optimizers, gradients, and a batch.

    Parameters
    ----------
    settings, features, outputs
        The network.
    workers
        How many of them there will be in this machine's memory.
    rows
        Of the batch of each.

    Raises
    ------
    OutOfMemoryError
        If they do not.
    """
    widths = [features, *map(padded, [*settings.hidden, outputs])]
    layers = [(inputs + 1) * width for inputs, width in itertools.pairwise(widths)]
    parameters = sum((a + 1) * b for a, b in itertools.pairwise([features, *settings.hidden, outputs]))
    # Parameters and the optimizer's; the gradient of the largest layer; values and deltas of the batch.
    numbers = (2 + (settings.optimizer not in _ONE_VECTOR)) * sum(layers) + max(layers) + 2 * rows * sum(widths)
    check_memory(
        workers * numbers * np.dtype(settings.dtype).itemsize,
        f"{f'{workers} workers, each with ' if workers > 1 else ''}a network of {_count(parameters)} parameters, its "
        f"optimizer and a batch of {rows} row{'s' if rows > 1 else ''}",
        f"make the hidden layers smaller{', the workers fewer' if workers > 1 else ''} or the batch smaller",
    )


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**15 else shortened(number)


def padded(width: int) -> int:
    """Return the stored width of a layer of ``width`` neurons: the next multiple of 16, but none of 256 from 1,024 on.

    Matrix products like whole registers: OpenBLAS runs 784 x 75 at 140 GFLOP/s and 784 x 80 at 190, and our own tiles
    (`manyhands.learners.mlp.tiles`) take nothing else. Rows that are whole kilobytes long meet in a few sets of the
    caches and drive each other out: at width 1,024 the tiles run at half their speed. On every CPU alike, so that
    vectors fit each other.
    """
    stored = -(-width // 16) * 16
    return stored + 16 if stored % 256 == 0 and stored >= 1024 else stored
