"""The request of a sweep, and the sessions that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from manyhands.core.checks import real, whole
from manyhands.core.choices import PYTORCH, SUMS
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.reports.format import layers, trained
from manyhands.studies.base.epochs import check_has_epochs
from manyhands.training.spec import RunSpec

DEFAULT_HIDDEN = ((50,), (65,), (75,), (85,), (100,))
DEFAULT_EPOCHS = (50, 65, 75, 85, 100)
"""As Todorov et al. 2021."""
DEFAULT_RUNS = 5

UNLAYERED = (*PYTORCH, *SUMS)
"""Learners without hidden layers that a sweep could go over."""
_MOST_RUNS = 10**6  # nobody has the time; and every run is listed before the first begins


@dataclass(frozen=True)
class SweepRequest:
    """What to sweep over.

    Attributes
    ----------
    hidden, epochs
        Every network (widths of its hidden layers) with every number of epochs. PyTorch's networks have layers of their
        own: there is one, with every number of epochs, and ``hidden`` must be None. A learner that is made of sums has
        no epochs either: there is one classifier, whose number of epochs is 0.
    runs
        Sessions for each, with seeds spec.seed .. spec.seed + runs - 1.
    splits
        If given, instead of ``runs``: so many random splits of the rows, each with a seed of its own.
    spec
        All other settings of a session; hidden layers, epochs, workers and team are replaced.
    s1, s2
        Weights of the impact factor, accuracy * s1 / (seconds * s2).
    min_accuracy
        If given, the best is the fastest classifier of at least this accuracy, 0..1, instead of the one with the
        largest impact factor.
    team, workers
        Who carries out sessions side by side, see `manyhands.studies.base.pool`.
    retime
        How many sessions of each setting are timed again, alone, after all; 0 for all of them, None for none.
    """

    hidden: tuple[tuple[int, ...], ...] | None = None
    epochs: tuple[int, ...] = DEFAULT_EPOCHS
    runs: int = DEFAULT_RUNS
    spec: RunSpec = field(default=RunSpec())
    splits: int | None = None
    s1: float = 1.0
    s2: float = 1.0
    min_accuracy: float | None = None
    team: str = "threads"
    workers: int | Literal["all"] | None = None
    retime: int | None = None

    @property
    def networks(self) -> tuple[tuple[int, ...], ...]:
        """The hidden layers of every network, those of Todorov et al. 2021 by default; ``()`` for one of PyTorch's."""
        if self.spec.learner in UNLAYERED:
            return ((),)
        return DEFAULT_HIDDEN if self.hidden is None else self.hidden

    @property
    def passes(self) -> tuple[int, ...]:
        """The numbers of epochs; ``(0,)`` for a learner that has none."""
        return (0,) if self.spec.needs.sums else self.epochs


def with_layers(spec: RunSpec, hidden: tuple[int, ...], **settings: Any) -> RunSpec:
    """Return a spec with the hidden layers of one of :attr:`SweepRequest.networks`, and other settings."""
    return spec.changed(**settings) if spec.learner in UNLAYERED else spec.changed(hidden=hidden, **settings)


@dataclass(frozen=True)
class Session:
    """One training of the sweep; ``network`` is what its network is called."""

    number: int
    network: str
    hidden: tuple[int, ...]
    epochs: int
    seed: int
    split: int | None

    @property
    def key(self) -> dict[str, Any]:
        """Its key in records and checkpoints."""
        return {"hidden": list(self.hidden), "epochs": self.epochs, "seed": self.seed, "split": self.split}

    def __str__(self) -> str:
        return f"{trained(self.network, self.epochs)}, seed {self.seed}"


def as_published(request: SweepRequest) -> SweepRequest:
    """Return a sweep as Todorov et al. 2021 did theirs, with MLPClassifiers; other networks are a SettingsError."""
    if request.spec.learner in UNLAYERED:
        learner = parameter("learner", request.spec.learner)
        raise SettingsError(f"{learner}: the paper has no such networks; leave it out, or do not sweep as published")
    return replace(request, spec=replace(request.spec, learner="published"))


def check(request: SweepRequest) -> None:
    """Raise SettingsError for what `resolve` does not see."""
    if request.hidden is not None or request.epochs != DEFAULT_EPOCHS:
        check_has_epochs(request.spec, "a sweep over networks")
    if request.hidden is not None and request.spec.learner in PYTORCH:
        raise SettingsError(
            f"{parameter('hidden')} is a setting of the learner mlp; the learner {request.spec.learner} has its own "
            f"layers, and a sweep goes over its {parameter('epochs')} only"
        )
    repeats = request.runs if request.splits is None else request.splits
    repeats = whole("the number of runs", repeats, most=_MOST_RUNS)
    if repeats < 1 or not request.networks or not request.epochs:
        raise SettingsError("a sweep needs at least one network, one number of epochs and one run")
    for name, weight in ((parameter("s1"), request.s1), (parameter("s2"), request.s2)):
        if not 1e-100 <= real(name, weight) <= 1e100:  # beyond, products overflow
            raise SettingsError(
                f"{name} weighs the impact factor: it must be a positive number from 1e-100 to 1e100, not {weight}"
            )
    least = request.min_accuracy
    if least is not None and not 0 < real(parameter("min_accuracy"), least) <= 1:
        raise SettingsError(
            f"{parameter('min_accuracy')} is an accuracy above 0 and up to 1, such as 0.93, not {least:g}"
        )
    if request.retime is not None and whole("the number of sessions to time again", request.retime) < 0:
        raise SettingsError(f"the number of sessions to time again must be 0 (all) or more, not {request.retime}")


def sessions_of(request: SweepRequest) -> Iterator[Session]:
    """Yield all sessions in the order of Table I."""
    number, repeats = 0, request.splits or request.runs
    for hidden in dict.fromkeys(request.networks):
        own = request.spec.learner in UNLAYERED
        network = request.spec.architecture if own else f"hidden {layers(hidden)}"
        for epochs in dict.fromkeys(request.passes):
            for seed in range(request.spec.seed, request.spec.seed + repeats):
                yield Session(number, network, hidden, epochs, seed, None if request.splits is None else seed)
                number += 1
