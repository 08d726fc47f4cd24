"""The study of the levels of parallelism: what each costs on three networks, beside what the cost model says.

All cases of a network take turns, repeat by repeat, so that what is compared was measured shortly after each other. The
levels are those of Pethick et al. 2003, with the pairs of Shoeybi et al. 2019.

References
----------
Pethick, Liddle, Werstein & Huang, "Parallelization of a Backpropagation Neural Network on a Cluster Computer", PDCS
2003.
Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism", 2019, arXiv
1909.08053.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from manyhands.core.settings import takes_settings
from manyhands.data.catalog import load
from manyhands.data.dataset import Dataset
from manyhands.records.environment import describe_environment
from manyhands.records.runs import LEVEL_PEAK, LEVEL_RUN, check_fields
from manyhands.runtime.memory import memory_errors_explained
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.studies.base.learners import learner_facts
from manyhands.studies.base.ledger import Key, Record
from manyhands.studies.base.study import Study, Task, TaskRunner, Tick
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.studies.levels.facts import case_facts, chosen, model_lines
from manyhands.studies.levels.request import (
    DEFAULT_NETWORKS,
    DEFAULT_REPEATS,
    DEFAULT_STEPS,
    DEFAULT_WIDTHS,
    DEFAULT_WORKERS,
    EXEMPLAR,
    STUDIED,
    Case,
    LevelsRequest,
    batch_of,
    cases_of,
    check,
    measured_part,
    network_name,
    plan_of,
)
from manyhands.studies.levels.results import Levels, level_record
from manyhands.studies.levels.text import levels_text
from manyhands.teams.job import check_can_start_jobs
from manyhands.teams.registry import kind_of
from manyhands.training import reliability
from manyhands.training.api import warn_if_oversubscribed_here
from manyhands.training.plan import Plan
from manyhands.training.run import Runner, run
from manyhands.training.spec import RunSpec

_SETTINGS = ("strategy", "workers", "grid", "convergence", "stop", "partition", "sharding", "schedule", "epochs")
"""Settings of a run that the study chooses itself."""


class LevelsStudy(Study[Levels]):
    """The study as it goes on; for the checkpoint and the errors, see `manyhands.studies.base.study.Study`.

    Attributes
    ----------
    plans : dict of Case to Plan
        The runs of all cases, in their order.
    """

    kind = "levels"
    unit = "steps"

    def __init__(self, dataset: Dataset, request: LevelsRequest, checkpoint: str | Path | None = None) -> None:
        check_can_start_jobs(request.spec.team)
        check(request, dataset)
        self.request, self.dataset = request, measured_part(request, dataset)
        self.plans = {case: plan_of(case, request, self.dataset) for case in cases_of(request)}
        warn_if_oversubscribed_here(max(request.workers), request.spec.team)
        outcome = Levels(
            describe_environment(),
            self._settings(),
            cases=[case_facts(case, request, self.dataset) for case in self.plans],
            chosen=[
                chosen(Case(hidden, EXEMPLAR, workers), request, self.dataset)
                for hidden in dict.fromkeys(case.hidden for case in self.plans)
                for workers in request.workers
                if workers > 1 and any(case.hidden == hidden and case.workers == workers for case in self.plans)
            ],
            model=model_lines(request, self.dataset),
        )
        super().__init__(outcome, checkpoint)

    @property
    def size(self) -> int:
        """Steps of all runs."""
        return sum(task.size for task in self._sizes())

    def _sizes(self) -> Iterator[Any]:
        for case, plan in self.plans.items():
            yield from (self._timed(case, plan, repeat, None) for repeat in range(self.request.repeats))
            yield from self._measured(case, plan)

    def perform(self, runner: TaskRunner) -> None:
        """Do all plans, the levels of a network in turns; then, of processes, measure each case's memory."""
        with Runner(self.dataset) as jobs:
            for _, group in itertools.groupby(self.plans.items(), lambda each: each[0].hidden):
                cases = list(group)
                for repeat in range(self.request.repeats):
                    for case, plan in cases:
                        runner.run(self._timed(case, plan, repeat, jobs))
        for case, plan in self.plans.items():
            for task in self._measured(case, plan):
                runner.run(task)

    def _timed(self, case: Case, plan: Plan, repeat: int, jobs: Runner | None) -> Task:
        """Return a timed run."""

        def work(tick: Tick) -> Record:
            assert jobs is not None
            return level_record(case, repeat, batch_of(self.request, self.dataset), jobs.run(plan, tick))

        return Task(
            {**case.key, "steps": plan.total_steps, "repeat": repeat},
            f"{case.name}, repeat {repeat + 1}",
            work,
            lambda record: self.outcome.runs.append(record),
            plan.total_steps,
        )

    def _measured(self, case: Case, plan: Plan) -> Iterator[Task]:
        """Yield a short run in new processes, whose peaks of memory are its own; threads have one peak together."""
        if kind_of(plan.team).processes is None:
            return
        short = replace(plan, epochs=case.workers if case.level == "session" else 1)

        def work(tick: Tick) -> Record:
            result = run(short, self.dataset, progress=tick)
            return {**case.key, "peak_bytes": max(result.worker_peaks)}

        yield Task(
            {**case.key, "peak": True},
            f"{case.name}, memory",
            work,
            lambda record: self.outcome.peaks.append(record),
            short.total_steps,
        )

    def _settings(self) -> dict[str, Any]:
        """Return the resolved settings, for the record."""
        request, first = self.request, next(iter(self.plans.values()))
        return {
            "data": self.dataset.describe(),
            "networks": [list(hidden) for hidden in request.networks],
            "names": [network_name(hidden) for hidden in request.networks],
            "workers": list(request.workers),
            "levels": list(dict.fromkeys(request.levels)),
            "widths": list(dict.fromkeys(request.widths)),
            "crossing_workers": request.crossing_workers,
            "team": request.spec.team,
            **learner_facts(first, first.network, leave_out=("hidden",)),
            "batch": batch_of(request, self.dataset),
            "steps": request.steps,
            "repeats": request.repeats,
            "seed": request.spec.seed,
        }

    def identity(self) -> dict[str, Any]:
        """Return all settings that runs depend on, beyond their keys."""
        settings, spec = self.outcome.settings, self.request.spec
        shared = {name: settings[name] for name in ("network", "batch", "team", "seed")}
        return {"data": self.dataset.identity, **shared, "pin": spec.pin, "blas_threads": spec.blas_threads}

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint."""
        known = {name: key[name] for name in ("hidden", "level", "workers")}
        if "peak" in key:
            check_fields(record, LEVEL_PEAK, same=known)
        else:
            check_fields(record, LEVEL_RUN, same={**known, "repeat": key["repeat"]})

    def text(self, detail: Detail = BRIEF) -> str:
        """Return what is finished as a table."""
        return levels_text(self.outcome, detail)


@takes_settings(RunSpec, without=(*_SETTINGS, "hidden", *reliability.NAMES))
@memory_errors_explained("the study")
def study_levels(
    data: str | Path | Dataset = "auto",
    *,
    networks: Sequence[Sequence[int]] = DEFAULT_NETWORKS,
    workers: int | Literal["all"] | Sequence[int | Literal["all"]] = DEFAULT_WORKERS,
    levels: Sequence[str] = STUDIED,
    widths: Sequence[int] = DEFAULT_WIDTHS,
    repeats: int = DEFAULT_REPEATS,
    steps: int = DEFAULT_STEPS,
    checkpoint: str | Path | None = None,
    **settings: Any,
) -> Levels:
    """Study the levels of parallelism: what a step of each costs, on several networks.

    Parameters
    ----------
    data, **settings
        See `manyhands.train`.
    networks, workers, levels, widths, repeats, steps
        See :class:`manyhands.studies.levels.request.LevelsRequest`.
    checkpoint
        See `manyhands.studies.base.study.Study`.

    Returns
    -------
    Levels
        ``found.summary`` has a row per case, `manyhands.studies.levels.text.levels_text` makes text of them,
        ``found.save(path)`` writes JSON, from which `manyhands.reports.write.write_report` makes the page.

    Raises
    ------
    TypeError
        If there is no such setting, with the nearest one.
    ManyhandsError
        If anything about data or settings cannot work, before training starts.

    Examples
    --------
    >>> from manyhands.studies.levels.run import study_levels
    >>> found = study_levels("digits", networks=[(16,)], workers=(1, 2), widths=(), repeats=1, steps=4)
    >>> [row.facts["level"] for row in found.summary]
    ['one', 'session', 'exemplar', 'node', 'weight', 'pairs']
    """
    request = LevelsRequest(
        networks=tuple(map(tuple, networks)),
        workers=numbers_of_workers(workers),
        levels=tuple(levels),
        widths=tuple(widths),
        repeats=repeats,
        steps=steps,
        spec=RunSpec().changed(**settings),
    )
    dataset = data if isinstance(data, Dataset) else load(request.spec.request(data))
    return LevelsStudy(dataset, request, checkpoint).run()
