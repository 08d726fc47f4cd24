"""The study of classifiers: learners that are made of sums, and a neural network, at several numbers of workers.

It answers the last sentence of Todorov et al. 2021: whether Naive Bayes, decision trees, and linear and quadratic
discriminant analysis are better suited for parallel execution than neural networks. All classifiers take turns, seed by
seed, so that a machine that drifts changes all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from manyhands.core.errors import ManyhandsError
from manyhands.core.settings import takes_settings
from manyhands.data.catalog import load
from manyhands.data.dataset import Dataset
from manyhands.data.resplit import as_stored, held_out
from manyhands.learners.sums.settings import own_settings
from manyhands.records.environment import describe_environment
from manyhands.records.runs import CLASSIFIED, CLASSIFIED_THERE, FINISHED_RUN, TRIAL, check_fields
from manyhands.records.statistics import DEFAULT_MARGIN
from manyhands.runtime.memory import memory_errors_explained
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.studies.base.ledger import Key, Record
from manyhands.studies.base.study import Study, Task, TaskRunner, Tick
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.studies.classifiers.reference import fitted, has_reference
from manyhands.studies.classifiers.request import (
    DEFAULT_LEARNERS,
    DEFAULT_REG_PARAMS,
    DEFAULT_RUNS,
    DEFAULT_WORKERS,
    REG_PARAM,
    SHRINKAGE,
    Case,
    ClassifiersRequest,
    cases_of,
    check,
    qda_parameter,
    regularized,
    spec_of,
    takes_stored,
)
from manyhands.studies.classifiers.results import Classifiers, classified, reference_record
from manyhands.studies.classifiers.text import classifiers_text
from manyhands.teams.job import check_can_start_jobs
from manyhands.training import reliability
from manyhands.training.api import warn_if_oversubscribed_here
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import Runner, run
from manyhands.training.spec import RunSpec

_SETTINGS = ("strategy", "workers", "learner", "grid", "convergence", "stop", "partition", "sharding", "validation")
"""Settings of a run that the study chooses itself, or has none of."""
_OWN = ("reg_param", "module")
_CHOSEN = (REG_PARAM, SHRINKAGE, "qda_solver")


class ClassifiersStudy(Study[Classifiers]):
    """The study as it goes on; for the checkpoint and the errors, see `manyhands.studies.base.study.Study`.

    Attributes
    ----------
    plans : dict of Case to Plan
        The first run of every case, in their order.
    """

    kind = "classifiers"
    unit = "runs"

    def __init__(self, dataset: Dataset, request: ClassifiersRequest, checkpoint: str | Path | None = None) -> None:
        check_can_start_jobs(request.spec.team)
        check(request)
        dataset.check_in_memory("a study of classifiers")
        self.request, self.dataset = request, dataset
        self._stored, self._parameter = as_stored(dataset), qda_parameter(dataset)
        self._regularization = request.reg_params[0]
        self.plans = {case: self._plan(case, request.spec.seed) for case in cases_of(request)}
        warn_if_oversubscribed_here(max(request.workers), request.spec.team)
        super().__init__(Classifiers(describe_environment(), self._settings()), checkpoint)

    @property
    def size(self) -> int:
        """Number of all runs, fits and tries."""
        runs = len(self.request.seeds) * (len(self.plans) + len(self._referenced))
        return runs + (len(self.request.reg_params) if self.request.chooses else 0)

    @property
    def _referenced(self) -> list[str]:
        """The learners that scikit-learn has, too."""
        return [case.learner for case, plan in self.plans.items() if case.workers == 1 and has_reference(plan)]

    def perform(self, runner: TaskRunner) -> None:
        """Choose qda's regularization, then do all runs and fits, seed by seed."""
        with ExitStack() as stack:
            jobs = {stored: stack.enter_context(Runner(self._rows(stored))) for stored in (False, True)}
            for task in self._tries():
                runner.run(task)
            if self.outcome.best_regularization is not None:
                self._regularization = self.outcome.best_regularization
            for seed in self.request.seeds:
                for case in self.plans:
                    runner.run(self._timed(case, seed, jobs[takes_stored(case.learner, self.request)]))
                    if case.workers == max(self.request.workers) and case.learner in self._referenced:
                        runner.run(self._fit(case.learner, seed))

    def _rows(self, stored: bool) -> Dataset:
        return self._stored if stored else self.dataset

    def _dataset_of(self, learner: str) -> Dataset:
        return self._rows(takes_stored(learner, self.request))

    def _plan(self, case: Case, seed: int) -> Plan:
        """Return a run in which everything is decided; qda's regularization is the chosen one."""
        qda = regularized(self._parameter, self._regularization)
        return resolve(spec_of(case, seed, self.request, qda), self._dataset_of(case.learner))

    def _tries(self) -> Iterator[Task]:
        """Yield the tries of qda's regularizations on samples held out of the training set."""
        if not self.request.chooses:
            return
        rows = held_out(self._dataset_of("qda"))
        for value in self.request.reg_params:
            yield self._try(value, rows)

    def _try(self, value: float, rows: Dataset) -> Task:
        """Return a try; one whose covariances cannot be inverted all the same counts as 0."""

        def work(_tick: Tick) -> Record:
            spec = spec_of(Case("qda", 1), self.request.spec.seed, self.request, regularized(self._parameter, value))
            try:
                accuracy = run(resolve(spec, rows), rows).accuracy
            except ManyhandsError:
                accuracy = 0.0
            return {"parameter": self._parameter, "value": value, "accuracy": accuracy}

        name = f"qda, {self._parameter} {value:g} on validation samples"
        return Task({"learner": "qda", "tried": value}, name, work, self.outcome.tried.append)

    def _chosen(self, learner: str) -> dict[str, Any]:
        """Return the part of a key that is chosen before: qda's regularization."""
        return {"regularization": self._regularization} if learner == "qda" else {}

    def _timed(self, case: Case, seed: int, jobs: Runner) -> Task:
        """Return a timed run."""
        plan = self._plan(case, seed)

        def work(_tick: Tick) -> Record:
            try:
                result = jobs.run(plan)
            except ManyhandsError as error:
                raise ManyhandsError(f"{case.name}: {error}") from error
            table = self._dataset_of(case.learner).test
            return classified(result, result.model.learner.predict_proba(table).argmax(axis=1))

        key = {**case.key, "seed": seed, **self._chosen(case.learner)}
        return Task(key, f"{case.name} seed {seed}", work, self.outcome.runs.append)

    def _fit(self, learner: str, seed: int) -> Task:
        """Return a fit of scikit-learn's estimator, with the settings of the run with one worker."""
        plan = self._plan(Case(learner, 1), seed)

        def work(_tick: Tick) -> Record:
            return reference_record(learner, seed, fitted(plan, self._dataset_of(learner)))

        key = {"learner": learner, "reference": True, "seed": seed, **self._chosen(learner)}
        return Task(key, f"{learner} of scikit-learn, seed {seed}", work, self.outcome.references.append)

    def _settings(self) -> dict[str, Any]:
        """Return the resolved settings, for the record."""
        request = self.request
        firsts = {case.learner: plan for case, plan in self.plans.items() if case.workers == 1}
        return {
            "data": self.dataset.describe(),
            "learners": list(request.learners),
            "workers": list(request.workers),
            "runs": request.runs,
            "seed": request.spec.seed,
            "team": request.spec.team,
            "margin": request.margin,
            "reg_params": list(request.reg_params) if "qda" in request.learners else [],
            "stored": [name for name in request.learners if takes_stored(name, request)],
            "classifiers": {name: _facts(plan) for name, plan in firsts.items()},
        }

    def identity(self) -> dict[str, Any]:
        """Return all settings that runs depend on, beyond their keys."""
        spec = self.request.spec.to_json()
        names = ("network", "sums", "batch", "epochs", "schedule", "team", "pin", "blas_threads", "scale")
        return {"data": self.dataset.identity, **{name: spec[name] for name in names}}

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint."""
        known = {name: key[name] for name in ("learner", "workers", "seed") if name in key}
        if "tried" in key:
            check_fields(record, TRIAL, same={"value": key["tried"], "parameter": self._parameter})
        elif "reference" in key:
            check_fields(record, CLASSIFIED_THERE, same=known)
        else:
            check_fields(record, FINISHED_RUN, CLASSIFIED, same=known)

    def text(self, detail: Detail = BRIEF) -> str:
        """Return what is finished as a table."""
        return classifiers_text(self.outcome, detail)


def _facts(plan: Plan) -> dict[str, Any]:
    """Return the settings of a classifier, for the record; of qda without what may still be chosen."""
    if plan.needs.sums:
        own = own_settings(plan.learner, plan.sums)
        return {name: value for name, value in own.items() if plan.learner != "qda" or name not in _CHOSEN}
    network = {name: getattr(plan.network, name) for name in ("optimizer", "learning_rate", "activation", "dtype")}
    course = {"batch": plan.batch, "epochs": plan.epochs, "schedule": plan.schedule.name}
    return {"hidden": list(plan.network.hidden), **network, "strategy": "auto", **course}


@takes_settings(RunSpec, without=(*_SETTINGS, *_OWN, *reliability.NAMES))
@memory_errors_explained("the study")
def study_classifiers(
    data: str | Path | Dataset = "auto",
    *,
    learners: Sequence[str] = DEFAULT_LEARNERS,
    workers: int | Literal["all"] | Sequence[int | Literal["all"]] = DEFAULT_WORKERS,
    runs: int = DEFAULT_RUNS,
    reg_params: Sequence[float] = DEFAULT_REG_PARAMS,
    margin: float = DEFAULT_MARGIN,
    checkpoint: str | Path | None = None,
    **settings: Any,
) -> Classifiers:
    """Study which classifiers are suited for parallel training: those made of sums, beside a neural network.

    Parameters
    ----------
    data, **settings
        See `manyhands.train`.
    learners, workers, runs, reg_params, margin
        See :class:`manyhands.studies.classifiers.request.ClassifiersRequest`.
    checkpoint
        See `manyhands.studies.base.study.Study`.

    Returns
    -------
    Classifiers
        ``found.summary`` has a row per classifier and number of workers, ``found.theirs`` one per estimator of
        scikit-learn, `manyhands.studies.classifiers.text.classifiers_text` makes text of them, ``found.save(path)``
        writes JSON, from which `manyhands.reports.write.write_report` makes the page.

    Raises
    ------
    TypeError
        If there is no such setting, with the nearest one.
    ManyhandsError
        If anything about data or settings cannot work, before training starts.

    Examples
    --------
    >>> from manyhands.studies.classifiers.run import study_classifiers
    >>> found = study_classifiers("digits", learners=["gaussian-nb"], workers=(1, 2), runs=2)
    >>> [(row["workers"], row["same_model"]) for row in found.summary]
    [(1, None), (2, True)]
    """
    request = ClassifiersRequest(
        learners=tuple(learners),
        workers=numbers_of_workers(workers),
        runs=runs,
        reg_params=tuple(reg_params),
        margin=margin,
        spec=RunSpec().changed(**settings),
    )
    dataset = data if isinstance(data, Dataset) else load(request.spec.request(data))
    return ClassifiersStudy(dataset, request, checkpoint).run()
