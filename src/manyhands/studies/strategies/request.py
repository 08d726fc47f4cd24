"""The request of a study of strategies, and the cases that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from manyhands.core.choices import PYTORCH
from manyhands.core.errors import SettingsError
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.strategies import parse_strategy
from manyhands.studies.base.epochs import check_has_epochs
from manyhands.studies.base.tuning import check_seeds
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.training.spec import RunSpec

DEFAULT_STRATEGIES = (
    "gradient",
    "gradient:scale=sqrt",
    "gradient:scale=linear",
    "gradient:send=int8",
    "periodic:1epoch",
    "periodic:1epoch,state=mean",
    "periodic:1epoch,state=reset",
    "periodic:1epoch,send=float16",
    "periodic:1epoch,send=bfloat16",
    "periodic:1epoch,send=int8",
    "periodic:5epochs",
    "periodic:10",
    "post-local:16",
    "slowmo:1epoch",
    "diloco:1epoch",
    "swap:75%",
    "easgd:10",
    "hogwild",
    "minibatch:5epochs",
    "gradient@20% then periodic:1epoch",
    "one-shot",
    "one-shot:merge=mean",
    "one-shot:merge=validation",
    "one-shot:merge=fisher",
    "one-shot:merge=soup",
    "one-shot:merge=bootstrap",
    "one-shot:merge=rebasin",
    "one-shot:merge=ensemble",
    "one-shot:starts=own",
    "one-shot:starts=own,merge=rebasin",
    "one-shot:starts=own,merge=ensemble",
)
"""What is compared: every strategy, every merge, every option."""

DEFAULT_RATES = (0.001, 0.004, 0.012)
DEFAULT_WORKERS = (2, 8)
DEFAULT_SEEDS = 5
TUNING_SEEDS = 1


@dataclass(frozen=True)
class StrategiesRequest:
    """What to study.

    Attributes
    ----------
    strategies
        As text; None for :data:`DEFAULT_STRATEGIES`, but for PyTorch's learners those without the merge ``rebasin``,
        which is for layers of hidden units.
    workers
        Numbers of workers.
    rates
        Learning rates to choose from.
    spec
        All other settings of a run; strategy, workers and the learning rate are replaced.
    seeds
        Seeds spec.seed .. spec.seed + seeds - 1 are reported.
    tuning
        Runs per learning rate.
    margin
        Percentage points of accuracy that count as no difference.
    """

    strategies: tuple[str, ...] | None = None
    workers: tuple[int, ...] = DEFAULT_WORKERS
    rates: tuple[float, ...] = DEFAULT_RATES
    spec: RunSpec = field(default=RunSpec(schedule="linear:hold=50%"))
    seeds: int = DEFAULT_SEEDS
    tuning: int = TUNING_SEEDS
    margin: float = DEFAULT_MARGIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "workers", numbers_of_workers(self.workers))

    @property
    def compared(self) -> tuple[str, ...]:
        """The strategies that are given, or the default ones that the learner can follow."""
        if self.strategies is not None:
            return self.strategies
        layered = self.spec.learner not in PYTORCH
        return tuple(each for each in DEFAULT_STRATEGIES if layered or not parse_strategy(each).needs.permutes_units)


@dataclass(frozen=True)
class Case:
    """A strategy at one number of workers."""

    strategy: str
    workers: int

    def __str__(self) -> str:
        return f"{self.strategy} n={self.workers}"


def check(request: StrategiesRequest) -> None:
    """Raise SettingsError for what `resolve` does not see."""
    check_has_epochs(request.spec, "the study strategies")
    check_seeds(request.seeds, request.spec.seed, request.tuning)
    if not request.workers or not request.rates or min(request.workers) < 1:
        raise SettingsError("the study needs at least one number of workers from 1 on, and one learning rate")
    check_margin(request.margin)
    if any(replace(request.spec, strategy=each).automatic for each in request.compared):
        raise SettingsError("auto has a learning rate of its own, so there is none to choose: compare it instead")


def cases_of(request: StrategiesRequest) -> Iterator[Case]:
    """Yield the sequential reference, then every strategy at every number of workers."""
    yield Case("sequential", 1)
    for name in dict.fromkeys(parse_strategy(text).name for text in request.compared):
        if name != "sequential":
            yield from (Case(name, workers) for workers in dict.fromkeys(request.workers))
