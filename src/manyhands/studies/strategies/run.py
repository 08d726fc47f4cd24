"""The study of strategies: accuracy, workers and bytes of every method, each at a learning rate of its own.

For every method at every number of workers, the learning rate is chosen on validation rows, from the same list and with
as many runs; the sequential reference's too. Then every method is run with other seeds and tried on the test rows. What
is finished is kept in a journal, so that the study can be stopped and goes on where it was.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from manyhands.core.errors import DivergedError, ManyhandsError, SettingsError
from manyhands.core.version import __version__
from manyhands.data.dataset import Dataset
from manyhands.records.environment import describe_environment
from manyhands.records.runs import FINISHED_RUN, TRIAL, check_fields
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.strategies import parse_strategy
from manyhands.studies.base.journal import Journal
from manyhands.studies.base.ledger import Ledger
from manyhands.studies.base.tuning import FIRST_TUNING_SEED, best_rate, check_seeds, tried_on_validation
from manyhands.studies.compare.results import run_record
from manyhands.studies.strategies.results import Methods
from manyhands.studies.strategies.text import methods_text
from manyhands.teams.job import check_can_start_jobs
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

METHODS = (
    "gradient",
    "gradient:scale=sqrt",
    "gradient:scale=linear",
    "gradient:send=int8",
    "periodic:1epoch",
    "periodic:1epoch,state=mean",
    "periodic:1epoch,state=reset",
    "periodic:1epoch,send=float16",
    "periodic:1epoch,send=bfloat16",
    "periodic:1epoch,send=int8",
    "periodic:5epochs",
    "periodic:10",
    "post-local:16",
    "slowmo:1epoch",
    "diloco:1epoch",
    "swap:75%",
    "easgd:10",
    "hogwild",
    "minibatch:5epochs",
    "gradient@20% then periodic:1epoch",
    "one-shot",
    "one-shot:merge=mean",
    "one-shot:merge=validation",
    "one-shot:merge=fisher",
    "one-shot:merge=soup",
    "one-shot:merge=bootstrap",
    "one-shot:merge=rebasin",
    "one-shot:merge=ensemble",
    "one-shot:starts=own",
    "one-shot:starts=own,merge=rebasin",
    "one-shot:starts=own,merge=ensemble",
)
"""What is compared: every strategy, every merge, every option."""

DEFAULT_RATES = (0.001, 0.004, 0.012)
DEFAULT_WORKERS = (2, 8)
DEFAULT_SEEDS = 5
TUNING_SEEDS = 1

MethodsProgress = Callable[[str, float, float], None]
"""Told what is running, how many runs are done, and how many there are."""


@dataclass(frozen=True)
class MethodsRequest:
    """What to study.

    Attributes
    ----------
    strategies
        As text.
    workers
        Numbers of workers.
    rates
        Learning rates to choose from.
    spec
        All other settings of a run; strategy, workers and the learning rate are replaced.
    seeds
        Seeds spec.seed .. spec.seed + seeds - 1 are reported.
    tuning
        Runs per learning rate.
    margin
        Percentage points of accuracy that count as no difference.
    """

    strategies: tuple[str, ...] = METHODS
    workers: tuple[int, ...] = DEFAULT_WORKERS
    rates: tuple[float, ...] = DEFAULT_RATES
    spec: RunSpec = field(default=RunSpec(schedule="linear:hold=50%"))
    seeds: int = DEFAULT_SEEDS
    tuning: int = TUNING_SEEDS
    margin: float = DEFAULT_MARGIN


@dataclass(frozen=True)
class _Case:
    """A method at one number of workers."""

    strategy: str
    workers: int

    def __str__(self) -> str:
        return f"{self.strategy} n={self.workers}"


class MethodsStudy:
    """The study as it goes on: what is finished is in :attr:`outcome` at any time.

    Parameters
    ----------
    dataset
        With validation rows.
    request
        What to study.
    journal
        A file in which finished runs are kept; what it has already is not done again.

    Attributes
    ----------
    outcome : Methods
        Grows run by run.

    Raises
    ------
    SettingsError
        If any of the runs is not possible, or the journal is another study's; before the first one starts.
    """

    def __init__(self, dataset: Dataset, request: MethodsRequest, journal: str | Path | None = None) -> None:
        check_can_start_jobs(request.spec.team)
        _check(request)
        self.dataset, self.request, self._journal_path = dataset, request, journal
        self._tried = tried_on_validation(dataset)
        self._cases = list(_cases(request))
        for case in self._cases:
            self._plan(case, request.rates[0], request.spec.seed)
        if journal is not None:
            with Journal(journal, self._identity()):
                pass  # what is wrong with it is better known now
        self.outcome = Methods(describe_environment(), self._settings())

    def run(self, progress: MethodsProgress | None = None) -> Methods:
        """Carry out all runs that the journal does not have.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs.
        """
        self.outcome.interrupted = True
        whole = len(self._cases) * (len(self.request.rates) * self.request.tuning + self.request.seeds)
        finished = itertools.count(1)
        with ExitStack() as stack:
            journal = None
            if self._journal_path is not None:
                journal = stack.enter_context(Journal(self._journal_path, self._identity()))
            ledger = Ledger(journal, _check_run)
            for case in self._cases:
                told = None if progress is None else _bind(progress, str(case), finished, whole)
                rate = self._choose(case, ledger, told)
                for seed in range(self.request.spec.seed, self.request.spec.seed + self.request.seeds):
                    record = self._carry_out(case, rate, seed, ledger, told)
                    if record.get("diverged"):
                        self.outcome.diverged.append(f"{case}, rate {rate:g}, seed {seed}")
                    else:
                        self.outcome.runs.append(record)
        self.outcome.interrupted = False
        return self.outcome

    def _choose(self, case: _Case, ledger: Ledger, told: Callable[[], None] | None) -> float:
        """Return the learning rate with the best mean accuracy on the validation rows; of equals, the smallest."""

        def score(rate: float, seed: int) -> float:
            return float(self._carry_out(case, rate, seed, ledger, told)["accuracy"])

        return best_rate(self.request.rates, self.request.tuning, score)

    def _carry_out(
        self, case: _Case, rate: float, seed: int, ledger: Ledger, told: Callable[[], None] | None
    ) -> dict[str, Any]:
        """Return the record of a run, done now or before."""
        place = {"strategy": case.strategy, "workers": case.workers, "rate": rate, "seed": seed}
        record = ledger.get(place)
        if record is None:
            tuning = seed >= FIRST_TUNING_SEED
            dataset = self._tried if tuning else self.dataset
            try:
                record = run_record(run(self._plan(case, rate, seed), dataset))
            except DivergedError as error:
                if case.strategy == "sequential" and not tuning:
                    what = f"the sequential reference, rate {rate:g}, seed {seed}"
                    raise ManyhandsError(f"{what}: {error}; it has nothing to be compared with") from error
                # Such a rate is not chosen; such a run is named, in no mean, and not tried again.
                record = {"accuracy": 0.0} if tuning else {"accuracy": 0.0, "diverged": True}
            ledger.add(place, record)
        if told is not None:
            told()
        return record

    def _plan(self, case: _Case, rate: float, seed: int) -> Plan:
        chosen = {"strategy": case.strategy, "workers": case.workers, "learning_rate": rate, "seed": seed}
        return resolve(self.request.spec.changed(**chosen), self.dataset)

    def _settings(self) -> dict[str, Any]:
        """Return what was resolved, for the record."""
        request = self.request
        plan = self._plan(self._cases[0], request.rates[0], request.spec.seed)
        return {
            "data": self.dataset.describe(),
            "strategies": list(dict.fromkeys(case.strategy for case in self._cases)),
            "workers": list(request.workers),
            "team": request.spec.team,
            "learner": plan.learner,
            "network": asdict(request.spec.network),
            "batch": plan.batch,
            "epochs": plan.epochs,
            "schedule": plan.schedule.name,
            "rates": list(request.rates),
            "tuning": request.tuning,
            "seeds": request.seeds,
            "seed": plan.seed,
            "splits": None,
            "target": None,
            "margin": request.margin,
            "scaled": False,
        }

    def _identity(self) -> dict[str, Any]:
        """Return what makes runs interchangeable."""
        settings = self._settings()
        network = {name: value for name, value in settings["network"].items() if name != "learning_rate"}
        return {
            "kind": "methods",
            "version": __version__,
            "data": self.dataset.identity,
            "network": network,
            **{name: settings[name] for name in ("team", "batch", "epochs", "schedule")},
        }

    def text(self) -> str:
        """Return what is finished as a table."""
        return methods_text(self.outcome)


def _check_run(place: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError unless a line of a journal is a whole run of this study."""
    known = {name: place[name] for name in ("strategy", "workers", "seed")}
    if known["seed"] >= FIRST_TUNING_SEED or record.get("diverged"):
        check_fields(record, TRIAL, same={})
    else:
        check_fields(record, FINISHED_RUN, same={**known, "learning_rate": place["rate"]})


def _bind(progress: MethodsProgress, what: str, finished: Iterator[int], whole: int) -> Callable[[], None]:
    return lambda: progress(what, next(finished), whole)


def _check(request: MethodsRequest) -> None:
    """Check what `resolve` does not see."""
    check_seeds(request.seeds, request.spec.seed, request.tuning)
    if not request.workers or not request.rates or min(request.workers) < 1:
        raise SettingsError("the study needs at least one number of workers from 1 on, and one learning rate")
    check_margin(request.margin)
    if any(replace(request.spec, strategy=each).automatic for each in request.strategies):
        raise SettingsError("auto has a learning rate of its own, so there is none to choose: compare it instead")


def _cases(request: MethodsRequest) -> Iterator[_Case]:
    """Yield the sequential reference, then every method at every number of workers."""
    yield _Case("sequential", 1)
    for name in dict.fromkeys(parse_strategy(text).name for text in request.strategies):
        if name != "sequential":
            yield from (_Case(name, workers) for workers in dict.fromkeys(request.workers))
