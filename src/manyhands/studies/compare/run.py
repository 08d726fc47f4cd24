"""The comparison: every strategy at every number of workers against the sequential run, seed by seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from manyhands.core.checks import real, whole
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.settings import takes_settings
from manyhands.core.strategy import Strategy
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset
from manyhands.data.resplit import head, resplit
from manyhands.records.environment import describe_environment
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.runtime.memory import memory_errors_explained
from manyhands.studies.compare.results import Comparison, run_record
from manyhands.teams.job import check_can_start_jobs
from manyhands.training.api import warn_if_oversubscribed_here
from manyhands.training.loggers import RunLog, no_log
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import Runner
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
        As text, see `manyhands.strategies`; the sequential reference runs in any case.
    workers
        Numbers of workers.
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

    strategies: tuple[str, ...] = DEFAULT_STRATEGIES
    workers: tuple[int, ...] = DEFAULT_WORKERS
    spec: RunSpec = field(default=RunSpec())
    seeds: int = DEFAULT_SEEDS
    splits: int | None = None
    target: float | None = None
    margin: float = DEFAULT_MARGIN
    scaled: bool = False


StudyProgress = Callable[[Plan, int], None]
"""Told, a few times a second, the running plan and its steps done."""


class CompareStudy:
    """A comparison as it goes on: what is finished is in :attr:`outcome` at any time.

    Parameters
    ----------
    dataset
        What to train on.
    request
        What to compare.

    Attributes
    ----------
    plans : list of Plan
        All runs in their order: for each seed first the sequential one, then every other, so that what is compared
        was measured close together.
    outcome : Comparison
        Grows run by run.

    Raises
    ------
    SettingsError
        If any of the runs is not possible; before the first one starts.
    """

    def __init__(self, dataset: Dataset, request: CompareRequest) -> None:
        check_can_start_jobs(request.spec.team)
        _check(dataset, request)
        self.dataset, self.request = dataset, request
        self.plans = list(_plans(dataset, request))
        warn_if_oversubscribed_here(max(plan.workers for plan in self.plans), request.spec.team)
        self.outcome = Comparison(describe_environment(), _settings(dataset, request, self.plans))

    def run(self, progress: StudyProgress | None = None, log: RunLog = no_log) -> Comparison:
        """Carry out all plans.

        Parameters
        ----------
        progress
            Told about every run's steps.
        log
            Writes every run's events.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs and says that it was interrupted.
        """
        self.outcome.interrupted = True  # until the last run is done
        for split, plans in itertools.groupby(self.plans, self._split):
            drawn = self.dataset if split is None else resplit(self.dataset, split)
            with ExitStack() as stack:
                runners: dict[int, Runner] = {}
                for plan in plans:
                    if plan.rows not in runners:
                        rows = drawn if plan.rows == drawn.rows else head(drawn, plan.rows)
                        runners[plan.rows] = stack.enter_context(Runner(rows))
                    self._carry_out(plan, runners[plan.rows], split, progress, log)
        self.outcome.interrupted = False
        return self.outcome

    def _split(self, plan: Plan) -> int | None:
        """Return the number of the random split that a plan is for."""
        return None if self.request.splits is None else plan.seed

    def _carry_out(
        self, plan: Plan, runner: Runner, split: int | None, progress: StudyProgress | None, log: RunLog
    ) -> None:
        tick = None if progress is None else _bind(progress, plan)
        with log(plan) as logger:
            result = runner.run(plan, tick, [logger])
        self.outcome.runs.append(run_record(result, split, self.request.target))
        if progress is not None:
            progress(plan, plan.total_steps)

    def text(self) -> str:
        """Return what is finished as a table."""
        from manyhands.studies.compare.text import comparison_table

        return comparison_table(self.outcome)


def _bind(progress: StudyProgress, plan: Plan) -> Callable[[int], None]:
    return lambda steps: progress(plan, steps)


def _check(dataset: Dataset, request: CompareRequest) -> None:
    """Check what `resolve` does not see."""
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


def _plans(dataset: Dataset, request: CompareRequest) -> Iterator[Plan]:
    """Yield every run, seed by seed."""
    specs = [replace(request.spec, strategy=each) for each in request.strategies]
    strategies: list[str | Strategy] = [each.parsed.strategy or "auto" for each in specs]
    parallel = [each for each in dict.fromkeys(strategies) if isinstance(each, str) or not each.needs.one_worker_only]
    cases: list[tuple[str | Strategy, int]] = [("sequential", 1)]
    cases += [(strategy, workers) for strategy in parallel for workers in dict.fromkeys(request.workers)]
    each = dataset.rows // max(request.workers)
    parts = {workers: head(dataset, each * workers) if request.scaled else dataset for _, workers in cases}
    spec = replace(request.spec, convergence=request.spec.convergence or request.target is not None)
    if request.scaled and spec.batch is None and not spec.needs.one_call:
        spec = replace(spec, batch=min(DEFAULT_BATCH, each))  # one for all, however many rows they have
    tuned = _tuned(parts[1], spec) if "auto" in strategies else spec
    for seed in range(spec.seed, spec.seed + (request.splits or request.seeds)):
        for strategy, workers in cases:
            case = replace(spec if strategy == "auto" else tuned, strategy=strategy, workers=workers, seed=seed)
            yield resolve(replace(case, partition=None) if strategy == "sequential" else case, parts[workers])


def _tuned(dataset: Dataset, spec: RunSpec) -> RunSpec:
    """Return a spec with what `auto` chooses for one worker."""
    plan = resolve(replace(spec, strategy="auto", workers=1, stop=None, partition=None), dataset)
    return replace(spec, network=plan.network, batch=plan.batch, schedule=plan.schedule)


def _settings(dataset: Dataset, request: CompareRequest, plans: Sequence[Plan]) -> dict[str, Any]:
    """Return what was resolved, for the record."""
    return {
        "data": dataset.describe(),
        "strategies": list(dict.fromkeys(plan.label for plan in plans)),
        "sharding": {plan.label: plan.sharding for plan in plans},
        "workers": list(request.workers),
        "team": request.spec.team,
        "learner": plans[0].learner,
        "network": asdict(plans[0].network),
        "schedule": plans[0].schedule.name,
        "stop": None if plans[0].stop is None else plans[0].stop.name,
        "partition": plans[-1].partition.name,
        "batch": plans[0].batch,
        "epochs": request.spec.epochs,
        "seeds": request.splits or request.seeds,
        "seed": request.spec.seed,
        "splits": request.splits,
        "target": request.target,
        "margin": request.margin,
        "scaled": request.scaled,
    }


@takes_settings(RunSpec, without=("strategy",))
@memory_errors_explained("the comparison")
def compare(
    data: str | Path | Dataset = "auto",
    spec: RunSpec | None = None,
    *,
    strategies: Sequence[str] = DEFAULT_STRATEGIES,
    workers: Sequence[int] = DEFAULT_WORKERS,
    seeds: int = DEFAULT_SEEDS,
    splits: int | None = None,
    target: float | None = None,
    margin: float = DEFAULT_MARGIN,
    scaled: bool = False,
    **settings: Any,
) -> Comparison:
    """Compare strategies at several numbers of workers with the sequential run.

    Parameters
    ----------
    data, spec, **settings
        See `manyhands.train`.
    strategies, workers, seeds, splits, target, margin
        See :class:`CompareRequest`.
    scaled
        Whether n workers train on n times the rows (those named by ``train_size``).

    Returns
    -------
    Comparison
        ``comparison.summary`` has the table's rows, `manyhands.studies.compare.text.comparison_table` makes text of
        them, ``comparison.save(path)`` writes the JSON file.

    Raises
    ------
    TypeError
        If there is no such setting, with the nearest one.
    ManyhandsError
        If anything about data or settings cannot work, before training starts.
    """
    request = CompareRequest(
        strategies=tuple(strategies),
        workers=tuple(workers),
        spec=(spec or RunSpec()).changed(**settings),
        seeds=seeds,
        splits=splits,
        target=target,
        margin=margin,
        scaled=scaled,
    )
    if not isinstance(data, Dataset):
        data = load_scaled(data_request(request, data), workers if scaled else (1,))
    return CompareStudy(data, request).run()


def data_request(request: CompareRequest, *data: Any) -> DataRequest:
    """Return what to load for all strategies; see `manyhands.training.spec.RunSpec.request`."""
    spec = request.spec
    needed = any(replace(spec, strategy=each).needs.validation for each in request.strategies)
    return replace(spec, validation="auto" if needed and spec.validation is None else spec.validation).request(*data)


def load_scaled(request: DataRequest, workers: Sequence[int]) -> Dataset:
    """Return the data set with the rows that ``request`` names for each of the largest number of workers.

    Raises
    ------
    SettingsError
        If there are not so many.
    DataError
        As `manyhands.data.catalog.load`.
    """
    dataset = load(request)
    most = max(workers, default=1)
    if most <= 1:
        return dataset
    wanted = dataset.rows * most
    try:
        return load(replace(request, train_size=wanted))
    except SettingsError as error:
        raise SettingsError(
            f"{most} workers with {dataset.rows} rows each need {wanted}: lower {parameter('train_size')} ({error})"
        ) from error
