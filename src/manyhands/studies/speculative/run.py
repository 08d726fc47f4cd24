"""The study of speculative back-propagation after Park & Suh: what lanes save, and what it does to the accuracy.

All cases take turns, seed by seed, with the same settings, so that what is compared was measured shortly after each
other. The reference runs the same code as the lanes do, in one lane and without speculation; the ordinary learner
runs beside them, to show that this is no slow one.

References
----------
Park & Suh, "Speculative Backpropagation for CNN Parallel Training", IEEE Access 8, 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manyhands.core.errors import DivergedError
from manyhands.core.settings import takes_settings
from manyhands.data.catalog import load
from manyhands.data.dataset import Dataset
from manyhands.records.environment import describe_environment
from manyhands.records.runs import DIVERGED, FINISHED_RUN, SPECULATED, check_fields
from manyhands.records.statistics import DEFAULT_MARGIN
from manyhands.runtime.memory import memory_errors_explained
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.studies.base.learners import check_learners, learner_facts, learner_identity
from manyhands.studies.base.ledger import Key, Record
from manyhands.studies.base.study import Study, Task, TaskRunner
from manyhands.studies.speculative.request import (
    DEFAULT_LANES,
    DEFAULT_LEARNER,
    DEFAULT_SEEDS,
    DEFAULT_STRATEGY,
    DEFAULT_THRESHOLDS,
    DEFAULT_WORKERS,
    Case,
    SpeculativeRequest,
    cases_of,
    check,
    plan_of,
)
from manyhands.studies.speculative.results import Speculation, case_record
from manyhands.studies.speculative.text import speculative_text
from manyhands.teams.job import check_can_start_jobs
from manyhands.training import reliability
from manyhands.training.api import warn_if_oversubscribed_here
from manyhands.training.plan import Plan
from manyhands.training.result import Progress
from manyhands.training.run import run
from manyhands.training.spec import RunSpec


class SpeculativeStudy(Study[Speculation]):
    """The study as it goes on; for the checkpoint and the errors, see `manyhands.studies.base.study.Study`.

    Attributes
    ----------
    plans : list of (Case, Plan)
        All runs in their order.
    """

    kind = "speculative"
    unit = "steps"

    def __init__(self, dataset: Dataset, request: SpeculativeRequest, checkpoint: str | Path | None = None) -> None:
        check_can_start_jobs("threads")
        check(request)
        self.dataset, self.request = dataset, request
        cases, first = list(cases_of(request)), request.spec.seed
        self.plans = [
            (case, plan_of(case, seed, request, dataset))
            for seed in range(first, first + request.seeds)
            for case in cases
        ]
        check_learners([plan for _, plan in self.plans], dataset)
        warn_if_oversubscribed_here(max(request.workers, *request.lanes), "threads")
        super().__init__(Speculation(describe_environment(), self._settings(), cases), checkpoint)

    @property
    def size(self) -> int:
        """Steps of all runs."""
        return sum(plan.total_steps for _, plan in self.plans)

    def perform(self, runner: TaskRunner) -> None:
        """Do all plans."""
        for case, plan in self.plans:
            runner.run(self._task(case, plan))

    def _task(self, case: Case, plan: Plan) -> Task:
        return Task(
            {"case": case.name, "strategy": plan.strategy.name, "workers": plan.workers, "seed": plan.seed},
            f"{case.name}, seed {plan.seed}",
            lambda tick: self._train(case, plan, tick),
            lambda record: self._collect(case, plan, record),
            plan.total_steps,
        )

    def _train(self, case: Case, plan: Plan, tick: Progress | None) -> Record:
        """Do a run, and return its record."""
        try:
            return case_record(case, run(plan, self.dataset, progress=tick))
        except DivergedError as error:
            return {"diverged": True, "step": error.step}  # it is named, in no mean, and not tried again

    def _collect(self, case: Case, plan: Plan, record: Record) -> None:
        """Add a finished run to the outcome."""
        if record.get("diverged"):
            self.outcome.diverged.append({"case": case.name, "seed": plan.seed, "step": record["step"]})
        else:
            self.outcome.runs.append(record)

    def _settings(self) -> dict[str, Any]:
        """Return the resolved settings, for the record."""
        request, plan = self.request, self.plans[0][1]
        own = ("speculative", "lanes", "lane_plan", "weight_prediction")
        facts = learner_facts(plan, plan.network)
        shared = {name: value for name, value in facts["torch"].items() if name not in own}
        return {
            "data": self.dataset.describe(),
            "thresholds": list(dict.fromkeys(request.thresholds)),
            "lanes": list(dict.fromkeys(request.lanes)),
            "strategy": next(plan.strategy.name for case, plan in self.plans if case.kind == "workers"),
            "workers": request.workers,
            **facts,
            "torch": shared,
            "batch": plan.batch,
            "epochs": plan.epochs,
            "schedule": plan.schedule.name,
            "seeds": request.seeds,
            "seed": request.spec.seed,
            "margin": request.margin,
        }

    def identity(self) -> dict[str, Any]:
        """Return all settings that runs depend on, beyond their keys."""
        settings = self.outcome.settings
        shared = {name: settings[name] for name in ("network", "batch", "epochs", "schedule")}
        return {"data": self.dataset.identity, **shared, **learner_identity(self.request.spec)}

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint."""
        if record.get("diverged"):
            check_fields(record, DIVERGED, same={})
            return
        known = {name: key[name] for name in ("case", "workers", "seed")}
        check_fields(record, FINISHED_RUN, SPECULATED, same={**known, "resolved": key["strategy"]})

    def text(self, detail: Detail = BRIEF) -> str:
        """Return what is finished as a table."""
        return speculative_text(self.outcome, detail)


@takes_settings(
    RunSpec,
    without=("strategy", "workers", "convergence", "stop", "team", "partition", "sharding", *reliability.NAMES),
)
@memory_errors_explained("the study")
def speculate(
    data: str | Path | Dataset = "auto",
    *,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    lanes: Sequence[int] = DEFAULT_LANES,
    seeds: int = DEFAULT_SEEDS,
    margin: float = DEFAULT_MARGIN,
    strategy: str = DEFAULT_STRATEGY,
    workers: int = DEFAULT_WORKERS,
    checkpoint: str | Path | None = None,
    **settings: Any,
) -> Speculation:
    """Study speculative back-propagation: training time and accuracy beside the sequential run's.

    Parameters
    ----------
    data, **settings
        See `manyhands.train`; the learner is ``cnn-fast`` if none is named.
    thresholds, lanes, seeds, margin, strategy, workers
        See :class:`manyhands.studies.speculative.request.SpeculativeRequest`.
    checkpoint
        See `manyhands.studies.base.study.Study`.

    Returns
    -------
    Speculation
        ``speculation.summary`` has a row per case, `manyhands.studies.speculative.text.speculative_text` makes text of
        them, ``speculation.save(path)`` writes JSON, from which `manyhands.reports.write.write_report` makes the page.

    Raises
    ------
    TypeError
        If there is no such setting, with the nearest one.
    ManyhandsError
        If anything about data or settings cannot work, before training starts.

    Examples
    --------
    >>> from torch import nn
    >>> from manyhands.studies.speculative.run import speculate
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    >>> found = speculate("digits", module=network, thresholds=(0, 1), seeds=1, epochs=1)
    >>> [row.case.name for row in found.summary][:4]
    ['sequential', 'T=0, 2 lanes', 'T=1, 2 lanes', 'T=1, 2 plain lanes']
    """
    usual = {} if "module" in settings else {"learner": DEFAULT_LEARNER}
    request = SpeculativeRequest(
        thresholds=tuple(thresholds),
        lanes=tuple(lanes),
        spec=RunSpec().changed(**{**usual, **settings}),
        seeds=seeds,
        margin=margin,
        strategy=strategy,
        workers=workers,
    )
    dataset = data if isinstance(data, Dataset) else load(request.spec.request(data))
    return SpeculativeStudy(dataset, request, checkpoint).run()
