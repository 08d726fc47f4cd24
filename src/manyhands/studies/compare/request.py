"""The request of a comparison, and the plans that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from manyhands.core.checks import real, whole
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.strategy import Strategy
from manyhands.data.dataset import Dataset
from manyhands.data.resplit import head
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.spec import DEFAULT_BATCH, RunSpec

DEFAULT_STRATEGIES = ("sequential", "one-shot", "periodic:1epoch", "gradient")
DEFAULT_SEEDS = 5
_MOST_REPEATS = 10**6  # nobody has the time; and every run is planned before the first begins
DEFAULT_WORKERS = (1, 2, 4, 6)  # as Todorov et al. 2021


@dataclass(frozen=True)
class CompareRequest:
    """What to compare.

    Attributes
    ----------
    strategies
        As text, see `manyhands.strategies`; the sequential reference runs in any case. By default
        :data:`DEFAULT_STRATEGIES`, of a learner that is made of sums the only one that it has.
    workers
        Numbers of workers; ``"all"`` is one on each usable core, here and in other studies.
    spec
        All other settings of a run; strategy and workers are replaced. Its seed is the first one.
    seeds
        Seeds spec.seed .. spec.seed + seeds - 1.
    splits
        If given, instead of ``seeds``: so many random training/test splits, each with a seed of its own (Alowaisheq &
        Dhami).
    target
        If given: also how long it takes to reach this accuracy, 0..1.
    margin
        Percentage points of accuracy that count as no difference.
    scaled
        Whether n workers train on n times the rows of one (Gustafson 1988). The data set then has the rows of the
        largest n.

    If ``auto`` is among the strategies, everything else has the batch, the learning rate and the schedule that it
    chooses for one worker. So the sequential reference has been tuned with the same effort; other strategies at n > 1,
    with one worker's rate, have not.
    """

    strategies: tuple[str, ...] = ()
    workers: tuple[int, ...] = DEFAULT_WORKERS
    spec: RunSpec = field(default=RunSpec())
    seeds: int = DEFAULT_SEEDS
    splits: int | None = None
    target: float | None = None
    margin: float = DEFAULT_MARGIN
    scaled: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "workers", numbers_of_workers(self.workers))
        object.__setattr__(self, "strategies", self._strategies())

    def _strategies(self) -> tuple[str, ...]:
        """Return the strategies, the default ones if none is given; sums leave ``auto`` nothing to choose."""
        if not self.spec.needs.sums:
            return self.strategies or DEFAULT_STRATEGIES
        given = self.strategies or ("sequential", "sums")
        return tuple("sums" if replace(self.spec, strategy=each).automatic else each for each in given)


def check(dataset: Dataset, request: CompareRequest) -> None:
    """Raise SettingsError for what `resolve` does not see."""
    name = "seeds" if request.splits is None else "splits"
    whole(parameter(name), getattr(request, name), least=1, most=_MOST_REPEATS)
    if not request.workers:
        raise SettingsError("give at least one number of workers")
    for workers in request.workers:
        whole(parameter("workers"), workers, least=1)
    check_margin(request.margin)
    if request.splits is not None and dataset.validation is not None:
        raise SettingsError(
            f"random splits have no validation rows: give {parameter('seeds')} to merges that need them"
        )
    if request.target is not None and not 0 < real(parameter("target"), request.target) <= 1:
        raise SettingsError(f"the target is an accuracy above 0 and up to 1, such as 0.93, not {request.target:g}")
    if request.scaled and dataset.rows < max(request.workers):
        raise SettingsError(
            f"{dataset.rows} training rows are too few to give each of {max(request.workers)} workers one"
        )


def plans_of(dataset: Dataset, request: CompareRequest) -> Iterator[Plan]:
    """Yield every run, seed by seed, the sequential one first: so compared runs are measured close together."""
    specs = [replace(request.spec, strategy=each) for each in request.strategies]
    strategies: list[str | Strategy] = [each.parsed.strategy or "auto" for each in specs]
    parallel = [each for each in dict.fromkeys(strategies) if isinstance(each, str) or not each.needs.one_worker_only]
    cases: list[tuple[str | Strategy, int]] = [("sequential", 1)]
    cases += [(strategy, workers) for strategy in parallel for workers in dict.fromkeys(request.workers)]
    each = dataset.rows // max(request.workers)
    parts = {workers: head(dataset, each * workers) if request.scaled else dataset for _, workers in cases}
    spec = replace(request.spec, convergence=request.spec.convergence or request.target is not None)
    if request.scaled and spec.batch is None and not (spec.needs.one_call or spec.needs.sums):
        spec = replace(spec, batch=min(DEFAULT_BATCH, each))  # one for all, however many rows they have
    tuned = tuned_by_auto(parts[1], spec) if "auto" in strategies else spec
    for seed in range(spec.seed, spec.seed + (request.splits or request.seeds)):
        for strategy, workers in cases:
            case = replace(spec if strategy == "auto" else tuned, strategy=strategy, workers=workers, seed=seed)
            case = replace(case, grid=None) if workers == 1 else case  # there is nothing to divide
            yield resolve(replace(case, partition=None) if strategy == "sequential" else case, parts[workers])


def tuned_by_auto(dataset: Dataset, spec: RunSpec) -> RunSpec:
    """Return a spec with what `auto` chooses for one worker."""
    plan = resolve(replace(spec, strategy="auto", workers=1, stop=None, partition=None, grid=None), dataset)
    return replace(spec, network=plan.network, batch=plan.batch, schedule=plan.schedule)
