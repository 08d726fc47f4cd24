"""The experiment of Todorov et al. 2021, repeated to the letter, and their tables beside ours.

One MPI job per number of processes: rank 0 reads the CSV files and scatters equal shares; every process trains its own
MLPClassifier on its share to the end, from the same random_state; one mean of the weights at the end is scored on the
test rows. Like the paper, this looks at the test rows only; nothing is chosen by them here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manyhands.core.errors import SettingsError
from manyhands.data.catalog import DataRequest, load
from manyhands.data.csv.reader import write_csv
from manyhands.data.dataset import Dataset
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.records.environment import describe_environment
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.studies.base.ledger import Key
from manyhands.studies.base.study import Study, Task, TaskRunner
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.studies.compare.results import run_record
from manyhands.studies.compare.run import check_run
from manyhands.studies.replications.results import Repetition
from manyhands.studies.replications.text import tables_text
from manyhands.teams.job import check_can_start_jobs
from manyhands.training.jobs import deferred
from manyhands.training.jobs.client import Job
from manyhands.training.jobs.folder import temporary_folder
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec


@dataclass(frozen=True)
class PublishedRequest:
    """What to repeat.

    Attributes
    ----------
    data
        The rows; the scaling is none, whatever it says.
    workers
        Numbers of processes.
    spec
        The classifier, its most epochs and its first seed; the paper's are the defaults.
    seeds
        random_state spec.seed .. spec.seed + seeds - 1.
    """

    data: DataRequest
    workers: tuple[int, ...] = (1, 2, 4, 6)
    spec: RunSpec = field(default=RunSpec(network=MLPSettings(dtype="float64")))
    seeds: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "workers", numbers_of_workers(self.workers))


class PublishedStudy(Study[Repetition]):
    """The repetition as it goes on; for the checkpoint and the errors, see `manyhands.studies.base.study.Study`.

    Attributes
    ----------
    dataset : Dataset
        The rows, unscaled.
    plans : list of Plan
        One per number of processes and seed.
    """

    kind = "published"
    unit = "steps"

    def __init__(self, request: PublishedRequest, checkpoint: str | Path | None = None) -> None:
        check_can_start_jobs("mpi")
        if request.data.binarize is not None:
            raise SettingsError("as published, pixels are raw: leave binarize out")
        self.request = request
        self.dataset = load(replace(request.data, scale="none"))
        self.plans = self._plans()
        super().__init__(Repetition(describe_environment(), self._settings()), checkpoint)

    @property
    def size(self) -> int:
        """Steps of all runs."""
        return sum(plan.total_steps for plan in self.plans)

    def _plans(self) -> list[Plan]:
        request = self.request
        if request.seeds < 1 or not request.workers:
            raise SettingsError("give at least one seed and one number of workers")
        spec = replace(request.spec, strategy="one-shot", team="mpi", learner="published")
        return [
            resolve(replace(spec, workers=workers, seed=seed), self.dataset)
            for workers in dict.fromkeys(request.workers)
            for seed in range(spec.seed, spec.seed + request.seeds)
        ]

    def _settings(self) -> dict[str, Any]:
        described = self.plans[0].describe()
        shared = {name: described[name] for name in ("strategy", "team", "learner", "epochs", "sharding", "network")}
        return {
            "data": self.dataset.describe(),
            **shared,
            "batch_per_process": {plan.workers: plan.batch // plan.workers for plan in self.plans},
            "workers": list(self.request.workers),
            "seeds": self.request.seeds,
            "seed": self.request.spec.seed,
        }

    def perform(self, runner: TaskRunner) -> None:
        """Do all plans, one MPI job for each number of processes."""
        with temporary_folder() as folder:
            source = _as_csv(self.request.data, self.dataset, folder)
            for workers in dict.fromkeys(self.request.workers):
                with ExitStack() as jobs:
                    start = functools.cache(functools.partial(self._start, jobs, workers, source))
                    for plan in (plan for plan in self.plans if plan.workers == workers):
                        runner.run(self._task(plan, start))
                    deferred.close(jobs)

    def _start(self, jobs: ExitStack, workers: int, source: DataRequest) -> Job:
        deferred.close_others()
        return jobs.enter_context(Job(workers, self.dataset, request=source))

    def _task(self, plan: Plan, start: Callable[[], Job]) -> Task:
        return Task(
            {"workers": plan.workers, "seed": plan.seed},
            f"{plan.label} n={plan.workers} seed {plan.seed}",
            lambda tick: run_record(start().run(plan, tick)),
            lambda record: self.outcome.runs.append(record),
            plan.total_steps,
        )

    def identity(self) -> dict[str, Any]:
        """Return all settings that runs depend on, beyond their keys."""
        shared = {name: self.outcome.settings[name] for name in ("epochs", "network")}
        return {**shared, "data": self.dataset.identity}

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint."""
        check_run(key, record)

    def text(self, detail: Detail = BRIEF) -> str:
        """Return Tables II and III of what is finished, and what differs."""
        return tables_text(self.outcome, detail)


def _as_csv(request: DataRequest, dataset: Dataset, folder: Path) -> DataRequest:
    """Return a request for CSV files: the user's own, or some made from the rows that were found otherwise."""
    if request.train_csv is not None and request.test_csv is not None:
        train, test = Path(request.train_csv).resolve(), Path(request.test_csv).resolve()
        return replace(request, train_csv=train, test_csv=test, scale="none")
    dataset.check_in_memory("the published program")
    train, test = folder / "train.csv", folder / "test.csv"
    for path, table in ((train, dataset.train), (test, dataset.test)):
        write_csv(path, table.features, dataset.classes[table.labels])
    return DataRequest(train_csv=train, test_csv=test, scale="none")
