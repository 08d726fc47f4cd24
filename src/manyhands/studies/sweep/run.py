"""The sweep: many sequential trainings over hidden sizes and epochs, several runs each, and the best trade-off.

Table I of Todorov et al. 2021 for any data. Sessions are independent, so they may run side by side, which falsifies
their times: such times are marked, or measured again alone. Choices are made on validation rows; only the repetition of
the paper looks at the test rows, as the paper did.
"""

from __future__ import annotations

import inspect
import itertools
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from manyhands.core.errors import DivergedError, ManyhandsError, SettingsError
from manyhands.core.samples import Control
from manyhands.core.settings import check_names, takes_settings
from manyhands.core.version import __version__
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset
from manyhands.data.resplit import resplit
from manyhands.records.environment import describe_environment
from manyhands.records.runs import SESSION, TIME, check_fields
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.studies.base.learners import check_learners, learner_facts, module_start
from manyhands.studies.base.ledger import Key, Record
from manyhands.studies.base.pool import check_pool, map_unordered
from manyhands.studies.base.study import Study, Task, TaskRunner, Tick
from manyhands.studies.sweep.request import (
    DEFAULT_EPOCHS,
    DEFAULT_RUNS,
    UNLAYERED,
    Session,
    SweepRequest,
    as_published,
    check,
    sessions_of,
    with_layers,
)
from manyhands.studies.sweep.results import Sweep
from manyhands.studies.sweep.text import sweep_text
from manyhands.teams.agreement import CALL, Facts, as_facts, together
from manyhands.teams.job import leads, on_rank_0
from manyhands.teams.launch import prepare
from manyhands.training import reliability
from manyhands.training.api import base_of
from manyhands.training.making import learner_of
from manyhands.training.model import accuracy
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec


class SweepStudy(Study[Sweep]):
    """A sweep as it goes on; for the checkpoint and the errors, see `manyhands.studies.base.study.Study`.

    Choices are made on the data set's validation rows; if it has none, on its test rows.
    """

    kind = "sweep"
    unit = "sessions"

    def __init__(self, dataset: Dataset, request: SweepRequest, checkpoint: str | Path | None = None) -> None:
        self.workers = check_pool(request.team, request.workers)
        check(request)
        self.dataset, self.request = dataset, request
        self.sessions = list(sessions_of(request))
        different = self.sessions[:: request.splits or request.runs]
        check_learners([self._plan(session, dataset) for session in different], dataset)
        self._controls: dict[int, Control] = {}
        self._lock = threading.Lock()
        self._stopped = False
        super().__init__(Sweep(describe_environment(), self._settings()), checkpoint if leads(request.team) else None)

    @property
    def size(self) -> int:
        """Number of sessions."""
        return len(self.sessions)

    def perform(self, runner: TaskRunner) -> None:
        """Do all sessions, side by side, and then time those again that are to be timed alone.

        In an MPI job all processes call this; rank 0's outcome is whole.
        """
        self._stopped = False
        with threadpool_limits(1):  # of all sessions: each would restore what another has set
            self._compile()
            self._run_sessions(runner)
            on_rank_0(self.request.team, lambda: self._retime(runner))

    def _run_sessions(self, runner: TaskRunner) -> None:
        """Do the missing sessions, the longest first."""
        tasks = [self._task(session) for session in self.sessions]
        missing = [session for session in self.sessions if runner.find(tasks[session.number]) is None]
        missing.sort(key=lambda session: -self._cost(session))
        side_by_side = min(self.workers, len(missing))
        if missing:
            runner.show(tasks[missing[0].number])

        def deliver(number: int, text: str) -> None:
            runner.add(tasks[number], {**json.loads(text), "side_by_side": side_by_side})

        numbers = [session.number for session in missing]
        map_unordered(self.request.team, self.workers, numbers, self._train, deliver, self._stop)

    def _task(self, session: Session) -> Task:
        def collect(record: Record) -> None:
            self.outcome.sessions[session.number] = record

        return Task(session.key, str(session), lambda _tick: json.loads(self._train(session.number)), collect)

    def _train(self, number: int) -> str:
        """Do one session; return its record as text."""
        session = self.sessions[number]
        control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
        with self._lock:
            self._controls[number] = control
            control.stop[0] = self._stopped
        dataset = self._rows(session)
        scored = dataset if dataset.validation is None else replace(dataset, test=dataset.validation)
        try:
            result = run(self._plan(session, scored), scored, controls=[control])
        except DivergedError as error:
            raise ManyhandsError(f"{session}: {error}") from error
        finally:
            with self._lock:
                del self._controls[number]
        test = result.accuracy
        if dataset.validation is not None:
            test = accuracy(result.model.learner.predict_proba(dataset.test), dataset.test.labels)
        record = {
            **session.key,
            "accuracy": test,
            "validation_accuracy": None if dataset.validation is None else result.accuracy,
            "epochs_run": len(result.losses),
            "loss": result.losses[-1] if result.losses else None,
            "seconds": result.seconds,
            "retimed_s": None,
            "problem": _of_validation(result.problem) if dataset.validation is not None else result.problem,
        }
        return json.dumps(record)

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for control in self._controls.values():
                control.stop[0] = 1

    def _retime(self, runner: TaskRunner) -> None:
        """Time sessions again, alone, where they were not."""
        if self.request.retime is None:
            return
        each = self.request.splits or self.request.runs
        wanted = min(self.request.retime or each, each)
        for session in self.sessions:
            if session.number % each < wanted and self.outcome.sessions[session.number]["side_by_side"] > 1:
                runner.run(self._retiming(session))

    def _retiming(self, session: Session) -> Task:
        """Return the task to time a session alone."""

        def work(_tick: Tick) -> Record:
            return {"train_s": json.loads(self._train(session.number))["seconds"]["train"]}

        def collect(record: Record) -> None:
            self.outcome.sessions[session.number]["retimed_s"] = record["train_s"]

        return Task({**session.key, "retimed": True}, f"{session}, timed again", work, collect, size=0)

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a session, or its second time, that was read from a checkpoint."""
        if key.get("retimed") is True:
            TIME(record["train_s"], "train_s")
            return
        check_fields(record, SESSION, same={name: key[name] for name in ("hidden", "epochs", "seed", "split")})
        if (record["validation_accuracy"] is None) != (self.dataset.validation is None):
            raise ValueError("it was tried on other rows")
        if record["epochs_run"] > key["epochs"]:
            raise ValueError("it has more epochs than were asked for")
        if (record["epochs_run"] == 0) != (key["epochs"] == 0):
            raise ValueError("it has epochs if there are any, and only then")
        if record["retimed_s"] is not None:
            raise ValueError("times that were measured again have lines of their own")

    def _rows(self, session: Session) -> Dataset:
        """Return the rows of a session. A split is drawn anew each time: keeping all would be many times the data."""
        return self.dataset if session.split is None else resplit(self.dataset, session.split)

    def _plan(self, session: Session, dataset: Dataset) -> Plan:
        epochs = {} if self.request.spec.needs.sums else {"epochs": session.epochs}
        return resolve(self._spec(session.hidden, **epochs, seed=session.seed), dataset)

    def _spec(self, hidden: tuple[int, ...], **settings: Any) -> RunSpec:
        return with_layers(self.request.spec, hidden, team="solo", workers=1, **settings)

    def _cost(self, session: Session) -> int:
        """Return the cost of a session in multiplications per sample."""
        widths = (self.dataset.features, *session.hidden, len(self.dataset.classes))
        return session.epochs * sum(one * other for one, other in itertools.pairwise(widths))

    def _compile(self) -> None:
        """Compile before the first clock starts, and once: every session would do it at the same time."""
        learner = learner_of(self._plan(self.sessions[0], self.dataset), self.dataset)
        prepare(self.request.team, 1, [learner.dtype], lambda: learner.prepare(self.dataset.train))

    def _settings(self) -> dict[str, Any]:
        """Return the resolved settings, for the record."""
        request = self.request
        plan = self._plan(self.sessions[0], self.dataset)
        return {
            "data": self.dataset.describe(),
            **learner_facts(plan, plan.network, ("hidden",)),
            "batch": None if plan.needs.sums else plan.batch,
            "hidden": [list(widths) for widths in request.networks if plan.learner not in UNLAYERED],
            "epochs": list(request.passes),
            "runs": request.splits or request.runs,
            "seed": plan.seed,
            "splits": request.splits,
            "s1": request.s1,
            "s2": request.s2,
            "workers": self.workers,
            "team": request.team,
            "chosen_on": self.chosen_on,
            "tradeoff": "impact" if request.min_accuracy is None else "target",
            "target": request.min_accuracy,
        }

    @property
    def chosen_on(self) -> Literal["validation", "test"]:
        """Which rows choices are made on."""
        return "test" if self.dataset.validation is None else "validation"

    def facts(self) -> Facts:
        """Return the facts that all processes of a job must have in common; see `manyhands.teams.agreement`."""
        identity = self.identity()
        data = identity.pop("data")
        asked = {name: self.outcome.settings[name] for name in ("hidden", "epochs", "runs", "seed", "splits")}
        return Facts(as_facts({CALL: self.kind, "version": __version__, **identity, **asked}), as_facts(data))

    def identity(self) -> dict[str, Any]:
        """Return all settings that sessions depend on, beyond their keys."""
        others = (
            "strategy", "workers", "team", "hang_timeout", "epochs", "seed",
            "train_size", "test_size", "scale", "binarize", "labels", "validation",
        )  # fmt: skip
        spec = {name: value for name, value in self.request.spec.to_json().items() if name not in others}
        shared = {name: self.outcome.settings.get(name) for name in ("learner", "network", "batch", "chosen_on")}
        return {**spec, **shared, "data": self.dataset.identity, **module_start(self.request.spec.module)}

    def text(self, detail: Detail = BRIEF) -> str:
        """Return what is finished as a table."""
        return sweep_text(self.outcome, detail)


def _of_validation(problem: str | None) -> str | None:
    """Return what is wrong with a run whose test samples were those kept for validation."""
    return None if problem is None else problem.replace("the test samples", "the validation samples")


def load_for_sweep(request: DataRequest, *, published: bool = False) -> Dataset:
    """Return the rows for a sweep: with validation rows, or, as published, raw pixels and test rows alone.

    Errors are those of `manyhands.data.catalog.load`.
    """
    if published:
        if request.binarize is not None:
            raise SettingsError("as published, pixels are raw: leave binarize out")
        return load(replace(request, scale="none", validation=None))
    return load(replace(request, validation="auto" if request.validation is None else request.validation))


@takes_settings(RunSpec, without=("strategy", *reliability.NAMES), checked=False)
def sweep(
    data: Any = "auto",
    spec: RunSpec | None = None,
    *,
    hidden: tuple[tuple[int, ...] | int, ...] | None = None,
    epochs: tuple[int, ...] = DEFAULT_EPOCHS,
    runs: int = DEFAULT_RUNS,
    published: bool = False,
    checkpoint: str | Path | None = None,
    splits: int | None = None,
    s1: float = 1.0,
    s2: float = 1.0,
    min_accuracy: float | None = None,
    workers: int | Literal["all"] | None = None,
    team: str = "threads",
    retime: int | None = None,
    **settings: Any,
) -> Sweep:
    """Train every network with every number of epochs, several times, and find the best trade-off.

    Parameters
    ----------
    data, spec, **settings
        See `manyhands.train`.
    hidden
        Networks: widths of hidden layers, or one number for one layer; by default those of Todorov et al. 2021.
        PyTorch's learners have layers of their own: leave it out.
    published
        Whether to do it as Todorov et al. 2021: MLPClassifiers on raw pixels, chosen on the test rows.
    checkpoint
        See `manyhands.studies.base.study.Study`.
    epochs, runs, splits, s1, s2, min_accuracy, workers, team, retime
        See :class:`SweepRequest`.

    Returns
    -------
    Sweep
        ``sweep.table`` has the rows of Table I, ``sweep.best`` the best of them, ``sweep.save(path)`` writes JSON.

    Raises
    ------
    TypeError
        If there is no such setting, with the nearest one.
    ManyhandsError
        If anything about data or settings cannot work, before training starts.
    """
    with together(team) as step:
        check_names("sweep", settings, inspect.signature(sweep).parameters)
        networks = None
        if hidden is not None:
            networks = tuple((each,) if isinstance(each, int) else tuple(each) for each in hidden)
        chosen = base_of(spec).changed(**({"dtype": "float64", **settings} if published else settings))
        request = SweepRequest(
            networks,
            epochs,
            runs,
            chosen,
            splits=splits,
            s1=s1,
            s2=s2,
            min_accuracy=min_accuracy,
            team=team,
            workers=workers,
            retime=retime,
        )
        if published:
            request = as_published(request)
        if isinstance(data, Dataset):
            dataset = data
            if published and (dataset.scaling.name != "none" or dataset.validation is not None):
                raise SettingsError(
                    "as published, pixels are raw and nothing is kept for validation: load with scale='none'"
                )
        else:
            dataset = load_for_sweep(chosen.request(data), published=published)
        study = SweepStudy(dataset, request, checkpoint)
        step.bring(study.facts)
    return study.run()
