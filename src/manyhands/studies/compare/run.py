"""The comparison: every strategy at every number of workers against the sequential run, seed by seed."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.settings import takes_settings
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset
from manyhands.data.resplit import head, resplit
from manyhands.records.environment import describe_environment
from manyhands.records.runs import FINISHED_RUN, check_fields
from manyhands.records.statistics import DEFAULT_MARGIN
from manyhands.runtime.memory import memory_errors_explained
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.studies.base.learners import check_learners, course_facts, learner_facts, module_start
from manyhands.studies.base.ledger import Key, Record
from manyhands.studies.base.study import Study, Task, TaskRunner, Tick
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.studies.compare.request import (
    DEFAULT_SEEDS,
    DEFAULT_WORKERS,
    CompareRequest,
    check,
    plans_of,
)
from manyhands.studies.compare.results import Comparison, run_record
from manyhands.studies.compare.text import comparison_table
from manyhands.teams.job import check_can_start_jobs
from manyhands.training import reliability
from manyhands.training.api import base_of, warn_if_oversubscribed_here
from manyhands.training.loggers import RunLog, no_log
from manyhands.training.plan import Plan
from manyhands.training.run import Runner
from manyhands.training.spec import RunSpec


class CompareStudy(Study[Comparison]):
    """A comparison as it goes on; for the checkpoint and the errors, see `manyhands.studies.base.study.Study`.

    Attributes
    ----------
    plans : list of Plan
        All runs in their order.
    """

    kind = "compare"
    unit = "steps"

    def __init__(
        self,
        dataset: Dataset,
        request: CompareRequest,
        checkpoint: str | Path | None = None,
        log: RunLog = no_log,
    ) -> None:
        check_can_start_jobs(request.spec.team)
        check(dataset, request)
        self.dataset, self.request, self._log = dataset, request, log
        self.plans = list(plans_of(dataset, request))
        check_learners(self.plans, dataset)
        warn_if_oversubscribed_here(max(plan.threads for plan in self.plans), request.spec.team)
        super().__init__(Comparison(describe_environment(), _settings(dataset, request, self.plans)), checkpoint)

    @property
    def size(self) -> int:
        """Steps of all runs."""
        return sum(plan.total_steps for plan in self.plans)

    def perform(self, runner: TaskRunner) -> None:
        """Do all plans; those of one split share what they need."""
        for split, plans in itertools.groupby(self.plans, self._split):
            with ExitStack() as stack:
                runner_for = self._runners(stack, split)
                for plan in plans:
                    runner.run(self._task(plan, split, runner_for))

    def _runners(self, stack: ExitStack, split: int | None) -> Callable[[int], Runner]:
        """Return the function that returns the runner for a number of rows, which is made for its first run."""
        drawn = functools.cache(lambda: self.dataset if split is None else resplit(self.dataset, split))

        @functools.cache
        def runner_for(rows: int) -> Runner:
            return stack.enter_context(Runner(drawn() if rows == drawn().rows else head(drawn(), rows)))

        return runner_for

    def _split(self, plan: Plan) -> int | None:
        """Return the number of the random split that a plan is for."""
        return None if self.request.splits is None else plan.seed

    def _task(self, plan: Plan, split: int | None, runner_for: Callable[[int], Runner]) -> Task:
        def work(tick: Tick) -> Record:
            with self._log(plan) as logger:
                result = runner_for(plan.rows).run(plan, tick, [logger])
            return run_record(result, split, self.request.target)

        return Task(
            {"strategy": plan.label, "workers": plan.workers, "seed": plan.seed, "split": split},
            f"{plan.label} n={plan.workers} seed {plan.seed}",
            work,
            lambda record: self.outcome.runs.append(record),
            plan.total_steps,
        )

    def identity(self) -> dict[str, Any]:
        """Return all settings that accuracies and times depend on, beyond the keys."""
        request, spec = self.request, self.request.spec.to_json()
        others = (
            "strategy", "workers", "seed", "hang_timeout",
            "train_size", "test_size", "scale", "binarize", "labels", "validation",
        )  # fmt: skip
        first = self.plans[0].to_json()
        return {
            **{name: value for name, value in spec.items() if name not in others},
            **{name: first[name] for name in ("batch", "schedule", "network", "convergence")},
            "target": request.target,
            "scaled": max(request.workers) if request.scaled else None,
            "data": self.dataset.identity,
            **module_start(request.spec.module),
        }

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint."""
        check_run(key, record)

    def text(self, detail: Detail = BRIEF) -> str:
        """Return what is finished as a table."""
        return comparison_table(self.outcome, detail)


def check_run(key: Key, record: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError unless a record of a checkpoint is the whole run that its key names."""
    check_fields(record, FINISHED_RUN, same={**key, "workers": key["workers"], "seed": key["seed"]})


def _settings(dataset: Dataset, request: CompareRequest, plans: Sequence[Plan]) -> dict[str, Any]:
    """Return the resolved settings, for the record."""
    return {
        "data": dataset.describe(),
        "strategies": list(dict.fromkeys(plan.label for plan in plans)),
        "sharding": {plan.label: plan.sharding for plan in plans},
        "workers": list(request.workers),
        "team": request.spec.team,
        **learner_facts(plans[0], plans[0].network),
        **course_facts(plans[0]),
        "partition": plans[-1].partition.name,
        "seeds": request.splits or request.seeds,
        "seed": request.spec.seed,
        "splits": request.splits,
        "target": request.target,
        "margin": request.margin,
        "scaled": request.scaled,
    }


@takes_settings(RunSpec, without=("strategy", *reliability.NAMES))
@memory_errors_explained("the comparison")
def compare(
    data: Any = "auto",
    spec: RunSpec | None = None,
    *,
    strategies: Sequence[str] = (),
    workers: int | Literal["all"] | Sequence[int | Literal["all"]] = DEFAULT_WORKERS,
    seeds: int = DEFAULT_SEEDS,
    splits: int | None = None,
    target: float | None = None,
    margin: float = DEFAULT_MARGIN,
    scaled: bool = False,
    checkpoint: str | Path | None = None,
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
    checkpoint
        See `manyhands.studies.base.study.Study`.

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
        workers=numbers_of_workers(workers),
        spec=base_of(spec).changed(**settings),
        seeds=seeds,
        splits=splits,
        target=target,
        margin=margin,
        scaled=scaled,
    )
    if not isinstance(data, Dataset):
        data = load_scaled(data_request(request, data), request.workers if scaled else (1,))
    return CompareStudy(data, request, checkpoint).run()


def data_request(request: CompareRequest, *data: Any) -> DataRequest:
    """Return the request for the data of all strategies; see `manyhands.training.spec.RunSpec.request`."""
    spec = request.spec
    needed = any(replace(spec, strategy=each).needs.validation for each in request.strategies)
    return replace(spec, validation="auto" if needed and spec.validation is None else spec.validation).request(*data)


def load_scaled(request: DataRequest, workers: Sequence[int]) -> Dataset:
    """Return the data set with the rows that ``request`` names for each of the largest number of workers.

    Errors are those of `manyhands.data.catalog.load`.
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
