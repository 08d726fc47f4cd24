"""What a comparison goes over: its request, and the plans that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from manyhands.core.checks import real, whole
from manyhands.core.errors import SettingsError
from manyhands.core.strategy import Strategy
from manyhands.core.types import Sharding
from manyhands.data.dataset import Dataset
from manyhands.data.resplit import head
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.strategies import parse_strategy
from manyhands.training.placement import Placement
from manyhands.training.plan import DEFAULT_BATCH, Plan, is_automatic, make_plan
from manyhands.training.run import network_settings

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
        As text, see `manyhands.strategies`; the sequential reference runs in any case.
    workers
        Numbers of workers.
    team, learner, network, batch, epochs, sharding
        See `manyhands.training.plan.make_plan`.
    seeds, seed
        Seeds seed .. seed + seeds - 1.
    splits
        If given, instead of ``seeds``: so many random training/test splits, each with a seed of its own (Alowaisheq &
        Dhami).
    convergence
        Whether accuracy and loss on the test rows are measured on the way.
    target
        If given: also how long it takes to reach this accuracy, 0..1.
    margin
        Percentage points of accuracy that count as no difference.
    scaled
        Whether n workers train on n times the rows of one (Gustafson 1988). The data set then has the rows of the
        largest n.
    schedule, stop, shares
        As text, see `manyhands.training.plan.make_plan`.
    placement
        Where the workers run.

    If ``auto`` is among the strategies, everything else has the batch, the learning rate and the schedule that it
    chooses for one worker. So the sequential reference has been tuned with the same effort; other strategies at n > 1,
    with one worker's rate, have not.
    """

    strategies: tuple[str, ...] = DEFAULT_STRATEGIES
    workers: tuple[int, ...] = DEFAULT_WORKERS
    team: str = "threads"
    learner: str = "mlp"
    network: MLPSettings = field(default_factory=network_settings)
    batch: int | None = None
    epochs: int = 75
    sharding: Sharding | None = None
    seeds: int = DEFAULT_SEEDS
    seed: int = 0
    splits: int | None = None
    convergence: bool = False
    target: float | None = None
    margin: float = DEFAULT_MARGIN
    scaled: bool = False
    schedule: str | None = None
    stop: str | None = None
    shares: str | None = None
    placement: Placement = Placement()


def check(dataset: Dataset, request: CompareRequest) -> None:
    """Check what `make_plan` does not see.

    Raises
    ------
    SettingsError
        If it cannot work.
    """
    name, repeats = ("--seeds", request.seeds) if request.splits is None else ("--splits", request.splits)
    whole(name, repeats, least=1, most=_MOST_REPEATS)
    whole("the seed", request.seed, most=None)
    if not request.workers:
        raise SettingsError("give at least one number of workers")
    for workers in request.workers:
        whole("the number of workers", workers, least=1)
    check_margin(request.margin)
    if request.splits is not None and dataset.validation is not None:
        raise SettingsError("random splits have no validation rows: use --seeds with merges that look at them")
    if request.target is not None and not 0 < real("the target", request.target) <= 1:
        raise SettingsError(f"the target is an accuracy above 0 and up to 1, such as 0.93, not {request.target:g}")
    if request.scaled and dataset.rows < max(request.workers):
        raise SettingsError(
            f"{dataset.rows} training rows are too few to give each of {max(request.workers)} workers one"
        )


def plans_of(dataset: Dataset, request: CompareRequest) -> Iterator[Plan]:
    """Yield every run, seed by seed: first the sequential one, so that what is compared was measured close together."""
    automatic = any(is_automatic(each) for each in request.strategies)
    strategies = ["auto" if is_automatic(each) else parse_strategy(each) for each in request.strategies]
    parallel = [each for each in dict.fromkeys(strategies) if isinstance(each, str) or not each.needs.one_worker_only]
    cases: list[tuple[str | Strategy, int]] = [("sequential", 1)]
    cases += [(strategy, workers) for strategy in parallel for workers in dict.fromkeys(request.workers)]
    each = dataset.rows // max(request.workers)
    batch = request.batch
    if request.scaled and batch is None and request.learner != "published":
        batch = min(DEFAULT_BATCH, each)  # one for all, however many rows they have
    parts = {workers: head(dataset, each * workers) if request.scaled else dataset for _, workers in cases}
    tuned = _tuned(parts[1], request, batch) if automatic else {}
    for seed in range(request.seed, request.seed + (request.splits or request.seeds)):
        for strategy, workers in cases:
            chosen: dict[str, Any] = {"settings": request.network, "batch": batch, "schedule": request.schedule}
            yield make_plan(
                parts[workers],
                strategy=strategy,
                workers=workers,
                team=request.team,
                learner=request.learner,
                epochs=request.epochs,
                sharding=request.sharding,
                seed=seed,
                convergence=request.convergence or request.target is not None,
                stop=request.stop,
                placement=request.placement,
                shares=None if strategy == "sequential" else request.shares,
                **(chosen if strategy == "auto" else chosen | tuned),
            )


def _tuned(dataset: Dataset, request: CompareRequest, batch: int | None) -> dict[str, Any]:
    """Return what `auto` chooses for one worker."""
    plan = make_plan(
        dataset,
        strategy="auto",
        workers=1,
        settings=request.network,
        batch=batch,
        epochs=request.epochs,
        schedule=request.schedule,
        learner=request.learner,
    )
    return {"settings": plan.settings, "batch": plan.batch, "schedule": plan.schedule}
