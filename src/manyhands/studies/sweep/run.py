"""The sweep: many sequential trainings over hidden sizes and epochs, several runs each, and the best trade-off.

Table I of Todorov et al. 2021 for any data. Sessions are independent, so they may run side by side, which falsifies
their times: such times are marked, or measured again alone. Choices are made on validation rows; only the repetition of
the paper looks at the test rows, as the paper did.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from manyhands.core.errors import DivergedError, ManyhandsError, SettingsError
from manyhands.core.samples import Control
from manyhands.core.settings import takes_settings
from manyhands.core.version import __version__
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset
from manyhands.data.resplit import resplit
from manyhands.learners import make_learner
from manyhands.records.environment import describe_environment
from manyhands.records.fields import whole_number
from manyhands.records.runs import SESSION, TIME, check_fields
from manyhands.runtime.signals import uninterrupted
from manyhands.studies.base.journal import Journal
from manyhands.studies.base.pool import check_pool, map_unordered
from manyhands.studies.sweep.request import (
    DEFAULT_EPOCHS,
    DEFAULT_HIDDEN,
    DEFAULT_RUNS,
    Session,
    SweepRequest,
    as_published,
    check,
    sessions_of,
)
from manyhands.studies.sweep.results import Sweep
from manyhands.teams.agreement import CALL, Facts, as_facts, together
from manyhands.teams.job import leads, on_rank_0
from manyhands.teams.launch import prepare
from manyhands.training.model import accuracy
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

SweepProgress = Callable[[int, int], None]
"""Told how many sessions are done, and how many there are."""


class SweepStudy:
    """A sweep as it goes on: what is finished is in :attr:`outcome` at any time.

    Parameters
    ----------
    dataset
        What to train on. Choices are made on its validation rows; if it has none, on its test rows.
    request
        What to sweep over.
    journal
        A file in which finished sessions are kept; what it has already is not done again.

    Attributes
    ----------
    outcome : Sweep
        Grows session by session.

    Raises
    ------
    SettingsError
        If any session is not possible, or the journal is another study's; before the first one starts.
    """

    def __init__(self, dataset: Dataset, request: SweepRequest, journal: str | Path | None = None) -> None:
        self.workers = check_pool(request.team, request.workers)
        check(request)
        self.dataset, self.request = dataset, request
        self.sessions = list(sessions_of(request))
        for session in self.sessions[:: request.splits or request.runs]:
            self._plan(session, dataset)
        self._leads = leads(request.team)
        self._journal_path = journal if self._leads else None
        if self._journal_path is not None:
            with Journal(self._journal_path, self._identity()):
                pass  # what is wrong with it is better known now
        self.outcome = Sweep(describe_environment(), self._settings())
        self._controls: dict[int, Control] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, progress: SweepProgress | None = None) -> Sweep:
        """Carry out all sessions that the journal does not have.

        In an MPI job all processes call this; rank 0's outcome is whole.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished sessions.
        """
        self.outcome.interrupted, self._stopped = True, False
        with contextlib.ExitStack() as stack:
            journal = None
            if self._journal_path is not None:
                journal = stack.enter_context(Journal(self._journal_path, self._identity()))
                self._take_over(journal)
            stack.enter_context(threadpool_limits(1))  # of all sessions: each would restore what another has set
            self._compile()
            self._carry_out(journal, progress)
            on_rank_0(self.request.team, lambda: self._retime(journal))
        self.outcome.interrupted = False
        return self.outcome

    def _carry_out(self, journal: Journal | None, progress: SweepProgress | None) -> None:
        """Do what is not done yet, the longest session first."""
        done = self.outcome.sessions
        missing = [session for session in self.sessions if session.number not in done]
        missing.sort(key=lambda session: -self._cost(session))
        side_by_side = min(self.workers, len(missing))

        def deliver(number: int, text: str) -> None:
            record = {**json.loads(text), "side_by_side": side_by_side}
            with uninterrupted():
                if journal is not None:
                    journal.add({"session": number, **record})
                done[number] = record
            if progress is not None:
                progress(len(done), len(self.sessions))

        if progress is not None:
            progress(len(done), len(self.sessions))
        numbers = [session.number for session in missing]
        map_unordered(self.request.team, self.workers, numbers, self._work, deliver, self._stop)

    def _work(self, number: int) -> str:
        """Carry out one session; return its record."""
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
            hidden = "-".join(map(str, session.hidden)) or "none"
            raise ManyhandsError(f"hidden {hidden}, {session.epochs} epochs, seed {session.seed}: {error}") from error
        finally:
            with self._lock:
                del self._controls[number]
        test = result.accuracy
        if dataset.validation is not None:
            test = accuracy(result.model.learner.predict_proba(dataset.test), dataset.test.labels)
        record = {
            "hidden": session.hidden,
            "epochs": session.epochs,
            "seed": session.seed,
            "split": session.split,
            "accuracy": test,
            "validation_accuracy": None if dataset.validation is None else result.accuracy,
            "epochs_run": len(result.losses),
            "loss": result.losses[-1],
            "seconds": result.seconds,
            "retimed_s": None,
        }
        return json.dumps(record)

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for control in self._controls.values():
                control.stop[0] = 1

    def _retime(self, journal: Journal | None) -> None:
        """Time sessions again, alone, where they were not."""
        if self.request.retime is None:
            return
        each = self.request.splits or self.request.runs
        wanted = min(self.request.retime or each, each)
        for session in self.sessions:
            record = self.outcome.sessions[session.number]
            if session.number % each >= wanted or record["side_by_side"] == 1 or record["retimed_s"] is not None:
                continue
            seconds = json.loads(self._work(session.number))["seconds"]["train"]
            with uninterrupted():
                if journal is not None:
                    journal.add({"retimed": session.number, "train_s": seconds})
                record["retimed_s"] = seconds

    def _take_over(self, journal: Journal) -> None:
        """Take over what earlier attempts have finished."""
        done: dict[int, dict[str, Any]] = {}
        retimed: dict[int, float] = {}

        def accept(entry: dict[str, Any]) -> None:
            if "session" in entry:
                record = dict(entry)
                number = self._number(record.pop("session"))
                self._check_session(self.sessions[number], record)
                done[number] = record
            else:
                retimed[self._number(entry["retimed"])] = TIME(entry["train_s"], "train_s")

        journal.take_over(accept)
        for number in retimed.keys() & done.keys():
            done[number]["retimed_s"] = retimed[number]
        self.outcome.sessions.update(done)

    def _number(self, value: Any) -> int:
        """Return the number of a session; raise ValueError if there is none of that number."""
        number: int = whole_number()(value, "session")
        if number >= len(self.sessions):
            raise ValueError(f"there is no session {number}")
        return number

    def _check_session(self, session: Session, record: dict[str, Any]) -> None:
        """Raise ValueError or KeyError unless a record is whole and this session's."""
        place = {
            "hidden": list(session.hidden),
            **{name: getattr(session, name) for name in ("epochs", "seed", "split")},
        }
        check_fields(record, SESSION, same=place)
        if (record["validation_accuracy"] is None) != (self.dataset.validation is None):
            raise ValueError("it was tried on other rows")
        if record["epochs_run"] > session.epochs:
            raise ValueError("it has more epochs than were asked for")
        if record["retimed_s"] is not None:
            raise ValueError("times that were measured again have lines of their own")

    def _rows(self, session: Session) -> Dataset:
        """Return the rows of a session. A split is drawn anew each time: keeping all would be many times the data."""
        return self.dataset if session.split is None else resplit(self.dataset, session.split)

    def _plan(self, session: Session, dataset: Dataset) -> Plan:
        return resolve(self._spec(session.hidden, epochs=session.epochs, seed=session.seed), dataset)

    def _spec(self, hidden: tuple[int, ...], **settings: Any) -> RunSpec:
        return self.request.spec.changed(hidden=hidden, team="solo", workers=1, **settings)

    def _cost(self, session: Session) -> int:
        """Return what a session costs, in multiplications per example."""
        widths = (self.dataset.features, *session.hidden, len(self.dataset.classes))
        return session.epochs * sum(one * other for one, other in itertools.pairwise(widths))

    def _compile(self) -> None:
        """Compile before the first clock starts, and once: every session would do it at the same time."""
        spec = self._spec(self.request.hidden[0])
        learner = make_learner(spec.learner, spec.network, self.dataset.features, len(self.dataset.classes))
        prepare(self.request.team, 1, [learner.dtype], lambda: learner.prepare(self.dataset.train))

    def _settings(self) -> dict[str, Any]:
        """Return what was resolved, for the record."""
        request = self.request
        plan = self._plan(self.sessions[0], self.dataset)
        return {
            "data": self.dataset.describe(),
            "learner": plan.learner,
            "network": {name: value for name, value in asdict(plan.network).items() if name != "hidden"},
            "batch": plan.batch,
            "hidden": [list(widths) for widths in request.hidden],
            "epochs": list(request.epochs),
            "runs": request.splits or request.runs,
            "seed": plan.seed,
            "splits": request.splits,
            "s1": request.s1,
            "s2": request.s2,
            "workers": self.workers,
            "team": request.team,
            "chosen_on": self.chosen_on,
            "tradeoff": "impact" if request.target is None else "target",
            "target": request.target,
        }

    @property
    def chosen_on(self) -> Literal["validation", "test"]:
        """Which rows choices are made on."""
        return "test" if self.dataset.validation is None else "validation"

    def facts(self) -> Facts:
        """Return what all processes of a job must have in common; see `manyhands.teams.agreement`."""
        identity = self._identity()
        data = identity.pop("data")
        return Facts(as_facts({CALL: identity.pop("kind"), **identity}), as_facts(data))

    def _identity(self) -> dict[str, Any]:
        """Return what makes sessions interchangeable: all that their results depend on."""
        names = ("network", "batch", "hidden", "epochs", "runs", "splits", "chosen_on")
        settings = self._settings()
        return {
            "kind": "sweep",
            "version": __version__,
            **self.request.spec.to_json(),
            **{name: settings[name] for name in names},
            "data": self.dataset.identity,
        }


def load_for_sweep(request: DataRequest, *, published: bool = False) -> Dataset:
    """Return the rows for a sweep: with validation rows, or, as published, raw pixels and test rows alone.

    Raises
    ------
    DataError, SettingsError
        As `manyhands.data.catalog.load`.
    """
    if published:
        if request.binarize is not None:
            raise SettingsError("as published, pixels are raw: leave binarize out")
        return load(replace(request, scale="none", validation=None))
    return load(replace(request, validation="auto" if request.validation is None else request.validation))


@takes_settings(RunSpec, without=("strategy",))
def sweep(
    data: str | Path | Dataset = "auto",
    spec: RunSpec | None = None,
    *,
    hidden: tuple[tuple[int, ...] | int, ...] = DEFAULT_HIDDEN,
    epochs: tuple[int, ...] = DEFAULT_EPOCHS,
    runs: int = DEFAULT_RUNS,
    published: bool = False,
    journal: str | Path | None = None,
    splits: int | None = None,
    s1: float = 1.0,
    s2: float = 1.0,
    target: float | None = None,
    workers: int | None = None,
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
        Networks: widths of hidden layers, or one number for one layer.
    published
        Whether to do it as Todorov et al. 2021: MLPClassifiers on raw pixels, chosen on the test rows.
    journal
        See :class:`SweepStudy`.
    epochs, runs, splits, s1, s2, target, workers, team, retime
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
        networks = tuple((each,) if isinstance(each, int) else tuple(each) for each in hidden)
        chosen = (spec or RunSpec()).changed(**({"dtype": "float64", **settings} if published else settings))
        request = SweepRequest(
            networks,
            epochs,
            runs,
            chosen,
            splits=splits,
            s1=s1,
            s2=s2,
            target=target,
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
        study = SweepStudy(dataset, request, journal)
        step.bring(study.facts)
    return study.run()
