"""The study of networks after Kalwarowskyj & Schikuta (arXiv 2304.09590): what a network's settings change.

Activation, optimizer, learning rate, batch, initialization of weights and biases, loss, dropout and hidden layers,
each with one worker and with several: time, accuracy, confidence, learning speed, and whether the accuracy survives
parallel averaging. Every network has a learning rate of its own, chosen on validation rows. What is finished is kept in
a journal, so that the study can be stopped and goes on where it was.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from manyhands.core.errors import DivergedError, SettingsError
from manyhands.core.settings import takes_settings
from manyhands.core.version import __version__
from manyhands.data.catalog import load
from manyhands.data.dataset import Dataset
from manyhands.evaluation.calibration import calibration_error, confidence
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.records.environment import describe_environment
from manyhands.records.runs import DIVERGED, FINISHED_RUN, MEASURED, TRIAL, check_fields
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.strategies import parse_strategy
from manyhands.studies.base.journal import Journal
from manyhands.studies.base.ledger import Ledger
from manyhands.studies.base.tuning import FIRST_TUNING_SEED, best_rate, check_seeds, tried_on_validation
from manyhands.studies.compare.results import run_record
from manyhands.studies.networks.request import (
    AXES,
    DEFAULT_EPOCHS,
    DEFAULT_MULTIPLES,
    DEFAULT_SEEDS,
    DEFAULT_STRATEGIES,
    DEFAULT_TARGETS,
    DEFAULT_WORKERS,
    Network,
    NetworksRequest,
    networks_of,
)
from manyhands.studies.networks.results import Networks
from manyhands.studies.networks.symmetry import distinct_neurons
from manyhands.studies.networks.text import networks_text
from manyhands.teams.job import check_can_start_jobs
from manyhands.training.model import accuracy
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.result import TrainingResult
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

NetworksProgress = Callable[[str, float, float], None]
"""Told what is running, how many runs are done, and how many there are."""


@dataclass(frozen=True)
class _Case:
    """Who trains a network."""

    strategy: str
    workers: int

    def __str__(self) -> str:
        return "one worker" if self.workers == 1 else f"{self.strategy} n={self.workers}"


_ALONE = _Case("sequential", 1)


class NetworksStudy:
    """The study as it goes on: what is finished is in :attr:`outcome` at any time.

    Parameters
    ----------
    dataset
        With validation rows, if learning rates are to be chosen.
    request
        What to study.
    journal
        A file in which finished runs are kept; what it has already is not done again, whichever networks are asked for.

    Attributes
    ----------
    networks : list of Network
        All of them, in their order.
    outcome : Networks
        Grows run by run.

    Raises
    ------
    SettingsError
        If any of the runs is not possible, or the journal is another study's; before the first one starts.
    """

    def __init__(self, dataset: Dataset, request: NetworksRequest, journal: str | Path | None = None) -> None:
        check_can_start_jobs("threads")
        _check(request)
        self.dataset, self.request, self._journal_path = dataset, request, journal
        self.networks = networks_of(request, dataset.rows)
        tuned = any(network.tuned for network in self.networks)
        self._tried = tried_on_validation(dataset) if tuned else dataset
        self._cases = [self._possible(network) for network in self.networks]
        if journal is not None:
            with Journal(journal, self._identity()):
                pass  # what is wrong with it is better known now
        self.outcome = Networks(
            describe_environment(), self._settings(), [network.describe() for network in self.networks]
        )

    @property
    def size(self) -> int:
        """Number of runs, those included that choose learning rates."""
        return sum(
            (len(network.rates(self.request.multiples)) * self.request.tuning if network.tuned else 0)
            + len(cases) * self.request.seeds
            for network, cases in zip(self.networks, self._cases, strict=True)
        )

    def run(self, progress: NetworksProgress | None = None) -> Networks:
        """Carry out all runs that the journal does not have.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs.
        """
        outcome, request = self.outcome, self.request
        outcome.interrupted = True
        outcome.runs, outcome.tried, outcome.diverged = [], [], []
        finished = itertools.count(1)
        with ExitStack() as stack:
            journal = None
            if self._journal_path is not None:
                journal = stack.enter_context(Journal(self._journal_path, self._identity()))
            ledger = Ledger(journal, self._check_run)

            def tell(network: Network, case: _Case) -> None:
                if progress is not None:
                    progress(f"{network.name}, {case}", next(finished), self.size)

            for number, network in enumerate(self.networks):
                rate = self._choose(number, ledger, functools.partial(tell, network, _ALONE))
                # Seed by seed, so that what is compared was measured shortly after each other.
                for seed in range(request.spec.seed, request.spec.seed + request.seeds):
                    for case in self._cases[number]:
                        self._carry_out(number, case, rate, seed, ledger)
                        tell(network, case)
        outcome.interrupted = False
        return outcome

    def _choose(self, number: int, ledger: Ledger, told: Callable[[], None]) -> float:
        """Return the learning rate with which a network does best on the validation rows, with one worker."""
        network, rates = self.networks[number], self.networks[number].rates(self.request.multiples)
        if not network.tuned:
            return rates[0]

        def score(rate: float, seed: int) -> float:
            record = self._carry_out(number, _ALONE, rate, seed, ledger)
            told()
            return 0.0 if record.get("diverged") else float(record["accuracy"])

        return best_rate(rates, self.request.tuning, score)

    def _carry_out(self, number: int, case: _Case, rate: float, seed: int, ledger: Ledger) -> dict[str, Any]:
        """Return the record of a run, done now or before, and count it."""
        network = self.networks[number]
        plan = self._plan(network, case, rate, seed)
        place = {
            "network": asdict(plan.network),
            "batch": plan.batch,
            "strategy": case.strategy,
            "workers": case.workers,
            "seed": seed,
        }
        record = ledger.get(place)
        count = functools.partial(self._count, number, case, rate, seed)
        if record is not None:
            count(record)
            return record
        tuning = seed >= FIRST_TUNING_SEED
        try:
            result = run(plan, self._tried if tuning else self.dataset)
            record = {"accuracy": result.accuracy} if tuning else self._measure(result)
        except DivergedError as error:
            record = {"diverged": True, "step": error.step}  # it is named, in no mean, and not tried again
        ledger.add(place, record, functools.partial(count, record))
        return record

    def _count(self, number: int, case: _Case, rate: float, seed: int, record: dict[str, Any]) -> None:
        """Take a finished run into the outcome."""
        place = {"network": number, "learning_rate": rate, "seed": seed}
        if seed >= FIRST_TUNING_SEED:
            accuracy_found = None if record.get("diverged") else record["accuracy"]
            self.outcome.tried.append({**place, "validation_accuracy": accuracy_found})
        elif record.get("diverged"):
            where = {"strategy": case.strategy, "workers": case.workers, "step": record["step"]}
            self.outcome.diverged.append({**place, **where})
        else:
            self.outcome.runs.append({"network": number, **record})

    def _measure(self, result: TrainingResult) -> dict[str, Any]:
        """Return the record of a run that is reported."""
        learner, held = result.model.learner, self.dataset.validation
        probabilities = learner.predict_proba(self.dataset.test)
        if not np.isfinite(probabilities).all():  # the last step was too far, or a test row is
            raise DivergedError(result.steps, 0, float("nan"))
        return {
            **run_record(result),
            "validation_accuracy": None if held is None else accuracy(learner.predict_proba(held), held.labels),
            "confidence": confidence(probabilities),
            "calibration_error": calibration_error(probabilities, self.dataset.test.labels),
            "distinct_neurons": distinct_neurons(result.model.learner.weights()),
        }

    def _plan(self, network: Network, case: _Case, rate: float, seed: int) -> Plan:
        spec = replace(
            self.request.spec,
            strategy=case.strategy,
            workers=case.workers,
            network=replace(network.settings, learning_rate=rate),
            batch=network.batch,
            seed=seed,
            convergence=bool(self.request.targets) and seed < FIRST_TUNING_SEED,
        )
        return resolve(spec, self.dataset)

    def _possible(self, network: Network) -> list[_Case]:
        """Return who can train a network; of those that cannot, an error or nothing."""
        names = dict.fromkeys(parse_strategy(text).name for text in self.request.strategies)
        several = [workers for workers in dict.fromkeys(self.request.workers) if workers > 1]
        wanted = itertools.product((name for name in names if name != _ALONE.strategy), several)
        rate, found = network.rates(self.request.multiples)[0], []
        for case in (_ALONE, *itertools.starmap(_Case, wanted)):
            if self.request.skips and case.workers > network.batch:
                continue
            try:
                self._plan(network, case, rate, self.request.spec.seed)
            except SettingsError as error:
                raise SettingsError(f"{network.name}, {case}: {error}") from error
            found.append(case)
        return found

    def _settings(self) -> dict[str, Any]:
        """Return what was resolved, for the record."""
        request = self.request
        plan = self._plan(self.networks[0], _ALONE, 1.0, request.spec.seed)
        names = ("workers", "multiples", "targets")
        shown = {name: list(getattr(request, name)) for name in names}
        strategies = dict.fromkeys(case.strategy for cases in self._cases for case in cases)
        return {
            "data": self.dataset.describe(),
            "axes": [axis for axis in AXES if axis in (request.axes or AXES)],
            "in_turn": request.one_at_a_time,
            "strategies": list(strategies),
            **shown,
            "team": "threads",
            "learner": plan.learner,
            "network": {name: value for name, value in asdict(request.spec.network).items() if name not in AXES},
            "epochs": request.spec.epochs,
            "schedule": plan.schedule.name,
            "tuning": request.tuning,
            "seeds": request.seeds,
            "seed": request.spec.seed,
            "margin": request.margin,
            "skipped": [
                network.name
                for network, cases in zip(self.networks, self._cases, strict=True)
                if len(cases) < max(map(len, self._cases))
            ],
        }

    def _identity(self) -> dict[str, Any]:
        """Return what makes runs interchangeable, beyond what every run's own line says."""
        plan = self._plan(self.networks[0], _ALONE, 1.0, self.request.spec.seed)
        return {
            "kind": "networks",
            "version": __version__,
            "data": self.dataset.identity,
            "epochs": self.request.spec.epochs,
            "schedule": plan.schedule.name,
            "measured": bool(self.request.targets),
        }

    def _check_run(self, place: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Raise ValueError or KeyError unless a line of a journal is a whole run of this study."""
        known = {name: place[name] for name in ("batch", "strategy", "workers", "seed")}
        network = MLPSettings(**{**place["network"], "hidden": tuple(place["network"]["hidden"])})
        if record.get("diverged"):
            check_fields(record, DIVERGED, same={})
        elif known["seed"] >= FIRST_TUNING_SEED:
            check_fields(record, TRIAL, same={})
        else:
            check_fields(record, FINISHED_RUN, MEASURED, same={**known, "learning_rate": network.learning_rate})
            self._check_measured(network, record)

    def _check_measured(self, network: MLPSettings, record: Mapping[str, Any]) -> None:
        """Raise ValueError unless a run was measured on this study's rows, and on its way if it is to be."""
        if (record["validation_accuracy"] is None) != (self.dataset.validation is None):
            raise ValueError("it was tried on other rows")
        if len(record["distinct_neurons"]) != len(network.hidden):
            raise ValueError("it has another number of hidden layers")
        if self.request.targets and not record["curve"]:
            raise ValueError("it was not measured on its way")

    def text(self) -> str:
        """Return what is finished as tables."""
        return networks_text(self.outcome)


def _check(request: NetworksRequest) -> None:
    """Check what neither the networks nor `resolve` see."""
    check_seeds(request.seeds, request.spec.seed, request.tuning)
    check_margin(request.margin)
    if not request.workers or min(request.workers) < 1:
        raise SettingsError("the study needs at least one number of workers, from 1 on")
    if not request.multiples or min(request.multiples) <= 0:
        raise SettingsError("a tuned learning rate is one of at least one multiple above 0 of the optimizer's own")
    for target in request.targets:
        if not 0 < target <= 1:
            raise SettingsError(f"a target is an accuracy above 0 and up to 1, such as 0.93, not {target:g}")
    for strategy in request.strategies:
        if RunSpec(strategy=strategy).automatic:
            raise SettingsError("auto chooses the learning rate itself, and so does the study: name a strategy")
    if max(request.workers) > 1 and all(parse_strategy(each).name == "sequential" for each in request.strategies):
        raise SettingsError("several workers need a strategy, such as periodic:1epoch")


@takes_settings(RunSpec, without=("strategy", "workers", "convergence"))
def networks(
    data: str | Path | Dataset = "auto",
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
    in_turn: bool = False,
    skip: bool = False,
    workers: Sequence[int] = DEFAULT_WORKERS,
    strategies: Sequence[str] = DEFAULT_STRATEGIES,
    seeds: int = DEFAULT_SEEDS,
    multiples: Sequence[float] = DEFAULT_MULTIPLES,
    tuning: int = 1,
    targets: Sequence[float] = DEFAULT_TARGETS,
    margin: float = DEFAULT_MARGIN,
    journal: str | Path | None = None,
    **settings: Any,
) -> Networks:
    """Study what the settings of a network change: time, accuracy, confidence, learning speed, and averaging.

    Parameters
    ----------
    data, **settings
        See `manyhands.train`. By default there are 20 epochs, and some training rows are kept for validation.
    axes
        Values by axis, such as ``{"activation": ("relu", "tanh"), "hidden": ((75,), (128, 64))}``; by default the
        default plan. See :class:`manyhands.studies.networks.request.NetworksRequest`.
    in_turn, skip, workers, strategies, seeds, multiples, tuning, targets, margin
        See :class:`manyhands.studies.networks.request.NetworksRequest`.
    journal
        See :class:`NetworksStudy`.

    Returns
    -------
    Networks
        ``networks.summary`` has a row per network and number of workers, ``networks.best`` the one that is best on the
        validation rows, ``networks.save(path)`` writes JSON, from which `manyhands.reports.write.write_report` makes
        the page.

    Raises
    ------
    TypeError
        If there is no such setting, with the nearest one.
    ManyhandsError
        If anything about data or settings cannot work, before training starts.

    Examples
    --------
    >>> from manyhands.studies.networks.run import networks
    >>> found = networks("digits", axes={"activation": ("relu", "identity")}, seeds=1, epochs=5, workers=(1,))
    >>> [found.networks[row.network]["name"] for row in found.summary]
    ['relu', 'identity']
    """
    spec = RunSpec(epochs=DEFAULT_EPOCHS, validation="auto").changed(**settings)
    request = NetworksRequest(
        axes=axes or {},
        in_turn=in_turn,
        skip=skip,
        workers=tuple(workers),
        strategies=tuple(strategies),
        spec=spec,
        seeds=seeds,
        multiples=tuple(multiples),
        tuning=tuning,
        targets=tuple(targets),
        margin=margin,
    )
    dataset = data if isinstance(data, Dataset) else load(spec.request(data))
    return NetworksStudy(dataset, request, journal).run()
