"""What users set about a multilayer perceptron and its optimizer. NumPy-free: the command line's help is made of it."""

from __future__ import annotations

import itertools
import struct
import sys
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from manyhands.core.checks import positive_real, real, shortened, whole
from manyhands.core.choices import ACTIVATIONS, DTYPES, LOSSES, OPTIMIZERS
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.settings import check_settings, setting, widths, widths_text
from manyhands.learners.mlp.initialization import parse_initialization
from manyhands.runtime.memory import check_memory


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
    "muon": Defaults(0.002, weight_decay=0.01),
}
ONE_VECTOR = ("sgd", "momentum", "nesterov", "lars")
"""Optimizers for which a network keeps one vector beside its parameters; for the others it keeps two."""
LAYERWISE = ("lamb", "lars")
"""Optimizers whose step of a parameter depends on all of its layer."""
_LIMITS = {
    "float32": (2.0**-126, (2 - 2.0**-23) * 2.0**127),
    "float64": (sys.float_info.min, sys.float_info.max),
}
"""The smallest normal and the largest number of each dtype."""
_NUMBERS = ("learning_rate", "l2", "momentum", "beta_1", "beta_2", "epsilon", "rho", "weight_decay", "dropout")


_STARTS = (
    "auto (scikit-learn's), zeros, ones, constant:C, uniform:A, normal:S, glorot_uniform, glorot_normal, he_uniform, "
    "he_normal, lecun_uniform, lecun_normal"
)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not a number") from None


def _of_optimizer(help: str, **known: Any) -> Any:
    """Return a setting whose default is the optimizer's own."""
    return setting(cast(float, None), f"{help} (default: the optimizer's own)", "network", read=_float, **known)


def _number(default: float, help: str, **known: Any) -> Any:
    """Return a setting that is a number."""
    return setting(default, help, "network", read=_float, **known)


@dataclass(frozen=True)
class MLPSettings:
    """What a user chooses about the network and its optimizer.

    Each field says what it is in its metadata (`manyhands.core.settings.Setting`). The hidden layer is that of Todorov
    et al. 2021; other defaults are scikit-learn's, or the optimizer's own (:data:`DEFAULTS`). ``l2`` is the strength of
    the penalty ``l2 / (2 B) * sum(W**2)``, B the global batch, without biases (scikit-learn's ``alpha``); ``dropout``
    leaves a hidden neuron out of a step with that chance, for each sample (Srivastava et al. 2014).

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    hidden: tuple[int, ...] = setting(
        (75,),
        "neurons of the hidden layer, or of several as in 128-64, or none",
        "network",
        metavar="W[-W...]",
        read=widths,
        write=widths_text,
    )
    activation: str = setting("relu", "function of the hidden layers", "network", metavar="A", choices=ACTIVATIONS)
    optimizer: str = setting("adam", "update rule", "network", metavar="O", choices=(*OPTIMIZERS, "muon"))
    learning_rate: float = _of_optimizer("step size", metavar="R")
    l2: float = _number(0.0001, "penalty on large weights", metavar="L")
    momentum: float = _number(0.9, "how much momentum, nesterov and lars keep of their last step", metavar="M")
    beta_1: float = _number(0.9, "decay of the mean gradient of adam, adamax, nadam, adamw and lamb", metavar="B")
    beta_2: float = _number(0.999, "decay of the squared gradient of adam, adamax, nadam, adamw and lamb", metavar="B")
    epsilon: float = _of_optimizer("keeps quotients of adaptive optimizers finite", metavar="E")
    rho: float = _of_optimizer("how much rmsprop and adadelta keep of their mean squares", metavar="R")
    weight_decay: float = _of_optimizer("decoupled decay of adamw, lamb and lars, without biases", metavar="D")
    loss: str = setting("cross_entropy", "what is minimized", "network", metavar="L", choices=LOSSES)
    weight_init: str = setting("auto", f"start of weights: {_STARTS}, orthogonal:G", "network", metavar="I")
    bias_init: str = setting("auto", "start of biases: the same, but orthogonal", "network", metavar="I")
    dropout: float = setting(0.0, "chance of a hidden neuron to be left out", "network", metavar="P", read=_float)
    dtype: str = setting("float32", "type of all numbers", "network", choices=DTYPES)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", _widths(self.hidden))
        check_settings(self)
        for name, value in DEFAULTS[self.optimizer]._asdict().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in _NUMBERS:
            object.__setattr__(self, name, real(parameter(name), getattr(self, name)))
        for name in ("weight_init", "bias_init"):
            object.__setattr__(self, name, parse_initialization(name, getattr(self, name)).name)
        self._check_numbers()

    def changed(self, **settings: Any) -> MLPSettings:
        """Return other settings; what the old optimizer chose by itself is the new one's to choose."""
        chosen = settings.get("optimizer", self.optimizer)
        if chosen != self.optimizer:
            own = DEFAULTS[self.optimizer]._asdict()
            settings = {name: None for name, value in own.items() if getattr(self, name) == value} | settings
        return replace(self, **settings)

    def _check_numbers(self) -> None:
        positive_real(parameter("learning_rate"), self.learning_rate)
        least, largest = _LIMITS[self.dtype]
        for name in ("l2", "weight_decay"):
            if not 0 <= getattr(self, name) <= largest:
                raise SettingsError(
                    f"{parameter(name)} must be 0 or larger and a finite {self.dtype} number, not {getattr(self, name)}"
                )
        for name in ("momentum", "beta_1", "beta_2", "rho", "dropout"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise SettingsError(f"{parameter(name)} must be at least 0 and below 1, not {value}")
            if name != "dropout" and _rounded(value, self.dtype) >= 1:
                raise SettingsError(f"{parameter(name)} must be below 1, and {value} is 1 as a {self.dtype} number")
        if not least <= self.epsilon <= largest:
            raise SettingsError(
                f"{parameter('epsilon')} must be above 0 and a {self.dtype} number from {least:.0e} on, "
                f"not {self.epsilon}"
            )


def _rounded(value: float, dtype: str) -> float:
    """Return the nearest number that a dtype has."""
    return float(struct.unpack("f", struct.pack("f", value))[0]) if dtype == "float32" else value


def wider(settings: MLPSettings, times: int) -> MLPSettings:
    """Return the settings of ``times`` such networks side by side."""
    return replace(settings, hidden=tuple(times * width for width in settings.hidden))


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


def check_room(settings: MLPSettings, features: int, outputs: int, workers: float = 1, rows: int = 1) -> None:
    """Check that networks fit into memory before any is made: parameters, optimizers, gradients and batches.

    There will be ``workers`` such networks in this machine's memory, or a part of one, each with a batch of ``rows``
    samples. If they do not fit, an OutOfMemoryError says what to make smaller.
    """
    widths = [features, *map(padded, [*settings.hidden, outputs])]
    layers = [(inputs + 1) * width for inputs, width in itertools.pairwise(widths)]
    parameters = sum((a + 1) * b for a, b in itertools.pairwise([features, *settings.hidden, outputs]))
    # Parameters and the optimizer's; the gradient of the largest layer; values and deltas of the batch.
    numbers = (2 + (settings.optimizer not in ONE_VECTOR)) * sum(layers) + max(layers) + 2 * rows * sum(widths)
    check_memory(
        int(workers * numbers) * (4 if settings.dtype == "float32" else 8),
        f"{f'{workers:g} workers, each with ' if workers > 1 else ''}a network of {_count(parameters)} parameters, its "
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
