"""The request of a study of networks, and the networks that follow from it.

There are nine axes (:data:`AXES`), and three for PyTorch's networks, which have layers of their own. Those that are
given are crossed: every value with every value of the others. Or one is varied at a time, around the network of the
first values: 50 networks instead of millions, if none is given.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from manyhands.core.choices import ACTIVATIONS, LOSSES, OPTIMIZERS, PYTORCH
from manyhands.core.errors import SettingsError
from manyhands.core.extras import require
from manyhands.core.parameters import parameter
from manyhands.core.suggestions import choice_of
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.torch.settings import OF_PERCEPTRONS
from manyhands.records.statistics import DEFAULT_MARGIN
from manyhands.reports.format import layers
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.training.spec import DEFAULT_BATCH, RunSpec

TUNED, OWN, ALL = "tuned", "own", "all"
"""A learning rate chosen for the network, the optimizer's own rate, and a batch of all rows."""

AXES: dict[str, tuple[Any, ...]] = {
    "activation": ("relu", *(name for name in ACTIVATIONS if name != "relu")),
    "optimizer": ("adam", *(name for name in OPTIMIZERS if name != "adam")),
    "learning_rate": (TUNED, 0.00025, OWN, 0.004),
    "batch": (DEFAULT_BATCH, ALL, 50, 10, 1),
    "weight_init": ("auto", "he_normal", "lecun_normal", "orthogonal", "normal", "zeros", "ones"),
    "bias_init": ("auto", "zeros", "ones", "normal"),
    "loss": LOSSES,
    "dropout": (0.0, 0.2, 0.5),
    "hidden": ((75,), (), (25,), (150,), (128, 64)),
}
"""Every axis with its values in the default plan; the first of each is the base's."""

_BATCHES_OF_MODULES = (DEFAULT_BATCH, 50, 10)
"""Those of PyTorch's networks in the default plan: a batch of all rows would need too much memory, and BatchNorm cannot
take one row."""

_TOGETHER: tuple[dict[str, str], ...] = (
    {"weight_init": "zeros", "bias_init": "zeros"},
    {"weight_init": "ones", "bias_init": "zeros"},
    {"weight_init": "ones", "bias_init": "ones"},
)
"""Initializations of the default plan with which all neurons of a layer are the same."""

_WORDS: dict[str, str] = {
    "learning_rate": "rate ",
    "batch": "batch ",
    "weight_init": "weights ",
    "bias_init": "biases ",
    "dropout": "dropout ",
    "hidden": "hidden ",
}
"""Words before a value in the name of a network."""

DEFAULT_WORKERS = (1, 2, 4)
DEFAULT_STRATEGIES = ("periodic:1epoch", "one-shot")
DEFAULT_TARGETS = (0.85, 0.9, 0.92)
DEFAULT_LR_MULTIPLIERS = (0.25, 1.0, 4.0, 16.0)
DEFAULT_EPOCHS = 20
DEFAULT_SEEDS = 5
_LARGEST = 100_000


@dataclass(frozen=True)
class NetworksRequest:
    """What to study.

    Attributes
    ----------
    axes
        Values of each axis that is studied, by name (:func:`axes_of`); one that is not has its base's value. If none
        is, the default plan: all axes, one at a time. Learning rates are numbers, ``"own"`` (the optimizer's own) or
        ``"tuned"`` (chosen for each network on validation rows, with one worker); batches are numbers or ``"all"``.
    one_at_a_time
        Whether one axis is varied at a time, around the first value of each, instead of all with all.
    skip
        Whether networks that some number of workers cannot train are trained with the others, instead of an error. The
        default plan does so.
    workers, strategies
        Every network is trained by one worker, and with every strategy by each of these numbers above one.
    spec
        All other settings of a run, those of the network that are no axis among them.
    seeds
        Seeds spec.seed .. spec.seed + seeds - 1 are reported.
    lr_multipliers, tuning
        A tuned rate is the best of these multiples of the optimizer's own, over so many seeds.
    targets
        Accuracies, 0..1: after how many epochs and seconds is each reached? If there is none, nothing is measured on
        the way, which costs some time.
    margin
        Percentage points of accuracy that count as no difference.
    """

    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    one_at_a_time: bool = False
    skip: bool = False
    workers: tuple[int, ...] = DEFAULT_WORKERS
    strategies: tuple[str, ...] = DEFAULT_STRATEGIES
    spec: RunSpec = field(default=RunSpec(epochs=DEFAULT_EPOCHS))
    seeds: int = DEFAULT_SEEDS
    lr_multipliers: tuple[float, ...] = DEFAULT_LR_MULTIPLIERS
    tuning: int = 1
    targets: tuple[float, ...] = DEFAULT_TARGETS
    margin: float = DEFAULT_MARGIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "workers", numbers_of_workers(self.workers))

    @property
    def crossed(self) -> bool:
        """Whether all values are combined with all others."""
        return bool(self.axes) and not self.one_at_a_time

    @property
    def skips(self) -> bool:
        """Whether what is not possible is left out."""
        return self.skip or not self.axes


@dataclass(frozen=True)
class Network:
    """One network of the study, with its batch.

    Attributes
    ----------
    axis
        The axis that is varied, if one is at a time; empty for the base, and where axes are crossed.
    name
        Different from all others.
    settings
        Of the network; if its rate is tuned, with the optimizer's own.
    batch
        The global batch.
    tuned
        Whether the learning rate is to be chosen.
    layered
        Whether hidden layers and all that belongs to them are settings, unlike those of PyTorch's networks.
    """

    axis: str
    name: str
    settings: MLPSettings
    batch: int
    tuned: bool
    layered: bool = True

    def rates(self, multipliers: Sequence[float]) -> list[float]:
        """Return the learning rates to choose from: the only one, if there is no choice."""
        own = self.settings.learning_rate
        return [own * each for each in dict.fromkeys(multipliers)] if self.tuned else [own]

    def describe(self) -> dict[str, Any]:
        """Return it as plain data."""
        settings = {
            name: value for name, value in asdict(self.settings).items() if self.layered or name not in OF_PERCEPTRONS
        }
        if self.tuned:
            settings["learning_rate"] = TUNED
        return {"axis": self.axis, "name": self.name, "batch": self.batch, **settings}


def axes_of(learner: str) -> dict[str, tuple[Any, ...]]:
    """Return the axes of a learner's networks, with their values in the default plan.

    Raises
    ------
    MissingDependencyError
        If it needs PyTorch, which is not installed.
    """
    if learner not in PYTORCH:
        return AXES
    require("torch")
    from manyhands.learners.torch.optimizers import OPTIMIZERS as KNOWN

    optimizers = tuple(name for name in (*AXES["optimizer"], "muon") if name in KNOWN)
    return {"optimizer": optimizers, "learning_rate": AXES["learning_rate"], "batch": _BATCHES_OF_MODULES}


def networks_of(request: NetworksRequest, rows: int) -> list[Network]:
    """Return the different networks for so many training rows, in the order of the axes.

    Raises
    ------
    SettingsError
        If there is no such axis or value.
    MissingDependencyError
        If the learner needs PyTorch, which is not installed.
    """
    known = axes_of(request.spec.learner)
    usual = RunSpec()
    for name in AXES:
        source, plain = (request.spec, usual) if name == "batch" else (request.spec.network, usual.network)
        if getattr(source, name) != getattr(plain, name):
            raise SettingsError(f"{name} is an axis: give it as axes={{{name!r}: (value,)}}")
    for axis in request.axes:
        if axis not in AXES:
            raise SettingsError(f"there is no axis {axis!r}{choice_of(axis, known)}")
        if axis not in known:
            raise SettingsError(
                f"{parameter(axis)} is an axis of the learner mlp; the learner {request.spec.learner} has its own, and "
                f"its axes are {', '.join(map(parameter, known))}"
            )
        if not request.axes[axis]:
            raise SettingsError(f"the axis {axis} has no value")
    found: dict[tuple[MLPSettings, int, bool], Network] = {}
    for network in _crossed(request, rows) if request.crossed else _one_at_a_time(request, rows):
        found.setdefault((network.settings, network.batch, network.tuned), network)
    return list(found.values())


def _one_at_a_time(request: NetworksRequest, rows: int) -> Iterator[Network]:
    """Yield the base, and then every other value of every axis, one axis at a time."""
    usual = _possible(axes_of(request.spec.learner), rows)
    axes = request.axes or usual
    base = {axis: axes.get(axis, values)[0] for axis, values in usual.items()}
    yield _network("", "base", base, request, rows)
    for axis, values in axes.items():
        for value in values[1:]:
            yield _network(axis, _word(axis, value), {**base, axis: value}, request, rows)
        if axis == "weight_init" and not request.axes:
            for both in _TOGETHER:
                yield _network(axis, " ".join(itertools.starmap(_word, both.items())), {**base, **both}, request, rows)


def _possible(axes: Mapping[str, Sequence[Any]], rows: int) -> dict[str, Sequence[Any]]:
    """Return the default plan for so many rows: batches must not be larger."""
    batches = [min(DEFAULT_BATCH, rows), *(each for each in axes["batch"][1:] if each == ALL or each <= rows)]
    return {**axes, "batch": batches}


def _crossed(request: NetworksRequest, rows: int) -> Iterator[Network]:
    """Yield every combination of the values that are given."""
    base = {axis: values[0] for axis, values in _possible(axes_of(request.spec.learner), rows).items()}
    given = {axis: list(dict.fromkeys(request.axes[axis])) for axis in AXES if axis in request.axes}
    number = math.prod(map(len, given.values()))
    if number > _LARGEST:
        raise SettingsError(
            f"all values with all others are {number} networks: give fewer, or vary one axis at a time "
            f"({parameter('one_at_a_time')})"
        )
    named = [axis for axis, values in given.items() if len(values) > 1] or list(given)
    for values in itertools.product(*given.values()):
        chosen = dict(zip(given, values, strict=True))
        yield _network("", " ".join(_word(axis, chosen[axis]) for axis in named), {**base, **chosen}, request, rows)


def _network(axis: str, name: str, values: Mapping[str, Any], request: NetworksRequest, rows: int) -> Network:
    """Return the network of some values; whatever is not given has the optimizer's own default."""
    rate, batch = values["learning_rate"], values["batch"]
    if isinstance(rate, str) and rate not in (TUNED, OWN):
        raise SettingsError(f"unknown learning rate {rate!r}; give a number, own or tuned")
    if isinstance(batch, str) and batch != ALL:
        raise SettingsError(f"unknown batch {batch!r}; give a number or all")
    words = {axis: value for axis, value in values.items() if axis not in ("learning_rate", "batch")}
    if not isinstance(rate, str):
        words["learning_rate"] = rate
    settings = request.spec.network.changed(**words)
    whole = rows if batch == ALL else int(batch)
    return Network(axis, name, settings, whole, rate == TUNED, request.spec.learner not in PYTORCH)


def _word(axis: str, value: Any) -> str:
    """Return a value as it stands in the name of a network."""
    text = layers(value) if axis == "hidden" else f"{value:g}" if isinstance(value, float) else str(value)
    return f"{_WORDS.get(axis, '')}{text}"
