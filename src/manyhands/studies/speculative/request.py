"""The request of a study of speculative back-propagation, and the cases that follow from it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from manyhands.core.checks import real, whole
from manyhands.core.choices import PYTORCH
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.words import count
from manyhands.data.dataset import Dataset
from manyhands.learners.torch.settings import TorchSettings
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.studies.base.workers import number_of_workers
from manyhands.studies.compare.request import tuned_by_auto
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec

DEFAULT_THRESHOLDS = (0.0, 0.1, 0.25, 0.5, 1.0)
DEFAULT_LANES = (2,)
DEFAULT_SEEDS = 5
DEFAULT_WORKERS = 2
DEFAULT_STRATEGY = "auto"
DEFAULT_LEARNER = "cnn-fast"
SEQUENTIAL = "sequential"
_MOST_LANES, _MOST_SEEDS = 64, 10**6
_OWN = ("speculative", "lanes", "lane_plan", "weight_prediction")
"""Settings of speculation that the study varies itself."""
_KEPT = ("gate", "speculation_warmup", "micro_batches")
"""Settings of speculation that cases have from the spec: all with lanes, micro-batches those with T=0 alone."""

Kind = Literal["sequential", "balanced", "pipelined", "plain", "predicted", "workers", "ordinary"]


@dataclass(frozen=True)
class SpeculativeRequest:
    """What to study.

    Attributes
    ----------
    thresholds
        Thresholds of the balanced lanes, 0 (nothing is speculated) to 1 (everything is).
    lanes
        Numbers of lanes, from 2 on.
    spec
        All other settings of a run, of a PyTorch learner; its seed is the first one.
    seeds
        Seeds spec.seed .. spec.seed + seeds - 1.
    margin
        Percentage points of accuracy that count as no difference.
    strategy
        How the data-parallel workers synchronize. With ``auto``, every case has the batch, the learning rate and the
        schedule that it chooses for one worker.
    workers
        How many of them there are.
    """

    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS
    lanes: tuple[int, ...] = DEFAULT_LANES
    spec: RunSpec = field(default=RunSpec(learner=DEFAULT_LEARNER))
    seeds: int = DEFAULT_SEEDS
    margin: float = DEFAULT_MARGIN
    strategy: str = DEFAULT_STRATEGY
    workers: int = DEFAULT_WORKERS

    def __post_init__(self) -> None:
        object.__setattr__(self, "workers", number_of_workers(self.workers))


@dataclass(frozen=True)
class Case:
    """One way to train.

    Attributes
    ----------
    name
        What tables and figures call it.
    kind
        ``sequential``: the reference, one lane and no speculation. ``balanced``: lanes share weight gradients.
        ``pipelined``: balanced, with micro-batches instead of speculation, which the reference has, too.
        ``plain``: one lane goes forward and one back. ``predicted``: balanced, with predicted weights. ``workers``:
        data-parallel workers. ``ordinary``: the ordinary learner, by autograd.
    threshold
        That of speculation; None for the ordinary learner.
    lanes, workers
        How many there are.
    """

    name: str
    kind: Kind
    threshold: float | None = None
    lanes: int = 1
    workers: int = 1

    def describe(self) -> dict[str, Any]:
        """Return the case as the JSON file has it."""
        return asdict(self)

    def torch(self, settings: TorchSettings) -> TorchSettings:
        """Return PyTorch's settings of the case: all in single precision."""
        precision = "float32" if settings.precision == "auto" else settings.precision
        usual = {name: getattr(TorchSettings(), name) for name in (*_OWN, *_KEPT)}
        if self.threshold is None:
            return settings.changed(**{**usual, "precision": precision})
        return settings.changed(
            precision=precision,
            speculative=self.threshold,
            micro_batches=settings.micro_batches if self.threshold == 0 else 1,
            lanes=self.lanes,
            lane_plan="plain" if self.kind == "plain" else "balanced",
            weight_prediction=self.kind == "predicted",
        )


def check(request: SpeculativeRequest) -> None:
    """Raise SettingsError for what `resolve` does not see."""
    if request.spec.learner not in PYTORCH:
        raise SettingsError(
            f"speculation is for PyTorch's learners, not for {request.spec.learner}: use "
            f"{parameter('learner', DEFAULT_LEARNER)}"
        )
    _check_cases(request)
    whole(parameter("seeds"), request.seeds, least=1, most=_MOST_SEEDS)
    check_margin(request.margin)
    _check_left_to_the_study(request.spec)


def _check_cases(request: SpeculativeRequest) -> None:
    """Check what the cases differ in."""
    if not request.thresholds or not all(0 <= real("a threshold", each) <= 1 for each in request.thresholds):
        raise SettingsError("the study needs at least one threshold, each from 0 to 1")
    if not request.lanes:
        raise SettingsError("give at least one number of lanes")
    for lanes in request.lanes:
        whole(parameter("lanes"), lanes, least=2, most=_MOST_LANES)
    whole(parameter("workers"), request.workers, least=2)
    parallel = replace(request.spec, strategy=request.strategy)
    if parallel.parsed.strategy is not None and parallel.parsed.strategy.needs.one_worker_only:
        raise SettingsError(
            f"{request.workers} workers need a strategy of several workers, and not {request.strategy}: use "
            f"{parameter('strategy', DEFAULT_STRATEGY)}"
        )


def _check_left_to_the_study(spec: RunSpec) -> None:
    """Refuse settings with which the cases would not differ, or not be alike, in what they are to."""
    usual = TorchSettings()
    for name in _OWN:
        value = getattr(spec.torch, name)
        if value != getattr(usual, name):
            raise SettingsError(f"the study tries all of it by itself: leave {parameter(name, value)} out")
    if spec.stop is not None:
        raise SettingsError(f"all cases have the same epochs: leave {parameter('stop')} out")
    if spec.pin:
        raise SettingsError(f"lanes need cores of their own: leave {parameter('pin', True)} out")
    if spec.team != "threads":
        raise SettingsError(
            f"lanes are threads of this process, and so are the workers: use {parameter('team', 'threads')}"
        )


def cases_of(request: SpeculativeRequest) -> Iterator[Case]:
    """Yield all cases of a round, the reference first."""
    yield Case(SEQUENTIAL, "sequential", 0.0)
    thresholds, lanes = dict.fromkeys(request.thresholds), tuple(dict.fromkeys(request.lanes))
    parts = request.spec.torch.micro_batches
    for threshold, number in itertools.product(thresholds, lanes):
        if parts > 1 and threshold == 0:
            yield Case(f"T=0, {number} lanes, {count(parts, 'micro-batch')}", "pipelined", 0.0, number)
        else:
            yield Case(f"T={threshold:g}, {number} lanes", "balanced", float(threshold), number)
    yield Case("T=1, 2 plain lanes", "plain", 1.0, 2)
    yield from (Case(f"T=1, {each} lanes, predicted", "predicted", 1.0, each) for each in lanes)
    yield Case(f"{request.workers} workers", "workers", workers=request.workers)
    yield Case("autograd", "ordinary")


def plan_of(case: Case, seed: int, request: SpeculativeRequest, dataset: Dataset) -> Plan:
    """Return the run of a case with a seed, in which everything is decided."""
    parallel = replace(_shared(request, dataset), workers=case.workers, seed=seed)
    strategy = request.strategy if case.kind == "workers" else "sequential"
    return resolve(replace(parallel, strategy=strategy, torch=case.torch(request.spec.torch)), dataset)


def _shared(request: SpeculativeRequest, dataset: Dataset) -> RunSpec:
    """Return what all cases have in common: what ``auto`` chooses for one worker, if the workers have it chosen."""
    ordinary = Case("", "ordinary").torch(request.spec.torch)
    spec = replace(request.spec, strategy=request.strategy, convergence=True, torch=ordinary)
    return tuned_by_auto(dataset, spec) if spec.automatic else spec
