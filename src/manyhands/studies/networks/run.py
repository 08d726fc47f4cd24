"""The study of networks after Kalwarowskyj & Schikuta (arXiv 2304.09590): what a network's settings change.

Activation, optimizer, learning rate, batch, initialization of weights and biases, loss, dropout and hidden layers,
each with one worker and with several: time, accuracy, confidence, learning speed, and whether the accuracy survives
parallel averaging. Every network has a learning rate of its own, chosen on validation rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from manyhands.core.choices import PYTORCH
from manyhands.core.errors import DivergedError, SettingsError
from manyhands.core.settings import takes_settings
from manyhands.data.catalog import load
from manyhands.data.dataset import Dataset
from manyhands.evaluation.calibration import calibration_error, confidence
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.records.environment import describe_environment
from manyhands.records.runs import DIVERGED, FINISHED_RUN, MEASURED, TRIAL, check_fields
from manyhands.records.statistics import DEFAULT_MARGIN, check_margin
from manyhands.runtime.terminal import BRIEF, Detail
from manyhands.strategies import parse_strategy
from manyhands.studies.base.epochs import check_has_epochs
from manyhands.studies.base.learners import check_learners, learner_facts, learner_identity
from manyhands.studies.base.ledger import Key, Record
from manyhands.studies.base.study import Study, Task, TaskRunner
from manyhands.studies.base.tuning import FIRST_TUNING_SEED, best_rate, check_seeds, tried_on_validation
from manyhands.studies.base.workers import numbers_of_workers
from manyhands.studies.compare.results import run_record
from manyhands.studies.networks.request import (
    AXES,
    DEFAULT_EPOCHS,
    DEFAULT_LR_MULTIPLIERS,
    DEFAULT_SEEDS,
    DEFAULT_STRATEGIES,
    DEFAULT_TARGETS,
    DEFAULT_WORKERS,
    Network,
    NetworksRequest,
    axes_of,
    networks_of,
)
from manyhands.studies.networks.results import Networks
from manyhands.studies.networks.symmetry import distinct_neurons
from manyhands.studies.networks.text import networks_text
from manyhands.teams.job import check_can_start_jobs
from manyhands.training import reliability
from manyhands.training.model import accuracy
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.result import TrainingResult
from manyhands.training.run import run
from manyhands.training.spec import RunSpec


@dataclass(frozen=True)
class _Case:
    """A strategy with a number of workers, which train a network."""

    strategy: str
    workers: int

    def __str__(self) -> str:
        return "one worker" if self.workers == 1 else f"{self.strategy} n={self.workers}"


_ALONE = _Case("sequential", 1)


class NetworksStudy(Study[Networks]):
    """The study as it goes on; for the checkpoint and the errors, see `manyhands.studies.base.study.Study`.

    The data set must have validation rows if learning rates are to be chosen.

    Attributes
    ----------
    networks : list of Network
        All of them, in their order.
    """

    kind = "networks"

    def __init__(self, dataset: Dataset, request: NetworksRequest, checkpoint: str | Path | None = None) -> None:
        check_can_start_jobs("threads")
        _check(request)
        self.dataset, self.request = dataset, request
        self._layered = request.spec.learner not in PYTORCH
        self.networks = networks_of(request, dataset.rows)
        tuned = any(network.tuned for network in self.networks)
        self._tried = tried_on_validation(dataset) if tuned else dataset
        self._cases = [self._possible(network) for network in self.networks]
        described = [network.describe() for network in self.networks]
        super().__init__(Networks(describe_environment(), self._settings(), described), checkpoint)

    @property
    def size(self) -> int:
        """Number of runs, those included that choose learning rates."""
        return sum(
            (len(network.rates(self.request.lr_multipliers)) * self.request.tuning if network.tuned else 0)
            + len(cases) * self.request.seeds
            for network, cases in zip(self.networks, self._cases, strict=True)
        )

    def perform(self, runner: TaskRunner) -> None:
        """Choose a rate for each network, and run it with every seed."""
        for number, cases in enumerate(self._cases):
            rate = self._choose(number, runner)
            # Seed by seed, so that what is compared was measured shortly after each other.
            for seed in range(self.request.spec.seed, self.request.spec.seed + self.request.seeds):
                for case in cases:
                    runner.run(self._task(number, case, rate, seed))

    def _choose(self, number: int, runner: TaskRunner) -> float:
        """Return the learning rate with which a network does best on the validation rows, with one worker."""
        network, rates = self.networks[number], self.networks[number].rates(self.request.lr_multipliers)
        if not network.tuned:
            return rates[0]

        def score(rate: float, seed: int) -> float:
            record = runner.run(self._task(number, _ALONE, rate, seed))
            return 0.0 if record.get("diverged") else float(record["accuracy"])

        return best_rate(rates, self.request.tuning, score)

    def _task(self, number: int, case: _Case, rate: float, seed: int) -> Task:
        plan = self._plan(self.networks[number], case, rate, seed)
        key = {
            "network": asdict(plan.network),
            "batch": plan.batch,
            "strategy": case.strategy,
            "workers": case.workers,
            "seed": seed,
        }
        return Task(
            key,
            f"{self.networks[number].name}, {case}",
            lambda _tick: self._train(plan),
            lambda record: self._collect(number, case, rate, seed, record),
        )

    def _train(self, plan: Plan) -> Record:
        """Do a run, and return its record."""
        tuning = plan.seed >= FIRST_TUNING_SEED
        try:
            result = run(plan, self._tried if tuning else self.dataset)
            return {"accuracy": result.accuracy} if tuning else self._measure(result)
        except DivergedError as error:
            return {"diverged": True, "step": error.step}  # it is named, in no mean, and not tried again

    def _collect(self, number: int, case: _Case, rate: float, seed: int, record: Record) -> None:
        """Add a finished run to the outcome."""
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
            "distinct_neurons": distinct_neurons(result.model.learner.weights()) if self._layered else [],
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
        """Return the cases that can train a network; the others are errors, or skipped."""
        names = dict.fromkeys(parse_strategy(text).name for text in self.request.strategies)
        several = [workers for workers in dict.fromkeys(self.request.workers) if workers > 1]
        wanted = itertools.product((name for name in names if name != _ALONE.strategy), several)
        rate, found = network.rates(self.request.lr_multipliers)[0], []
        for case in (_ALONE, *itertools.starmap(_Case, wanted)):
            if self.request.skips and case.workers > network.batch:
                continue
            try:
                check_learners([self._plan(network, case, rate, self.request.spec.seed)], self.dataset)
            except SettingsError as error:
                raise SettingsError(f"{network.name}, {case}: {error}") from error
            found.append(case)
        return found

    def _settings(self) -> dict[str, Any]:
        """Return the resolved settings, for the record."""
        request = self.request
        plan = self._plan(self.networks[0], _ALONE, 1.0, request.spec.seed)
        strategies = dict.fromkeys(case.strategy for cases in self._cases for case in cases)
        return {
            "data": self.dataset.describe(),
            "axes": [axis for axis in AXES if axis in (request.axes or axes_of(request.spec.learner))],
            "in_turn": not request.crossed,
            "strategies": list(strategies),
            "workers": list(request.workers),
            "multiples": list(request.lr_multipliers),
            "targets": list(request.targets),
            "team": "threads",
            **learner_facts(plan, request.spec.network, AXES),
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

    def identity(self) -> dict[str, Any]:
        """Return all settings that runs depend on, beyond their keys."""
        return {
            "data": self.dataset.identity,
            "epochs": self.request.spec.epochs,
            "schedule": self.outcome.settings["schedule"],
            "measured": bool(self.request.targets),
            **learner_identity(self.request.spec),
        }

    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint."""
        known = {name: key[name] for name in ("batch", "strategy", "workers", "seed")}
        network = MLPSettings(**{**key["network"], "hidden": tuple(key["network"]["hidden"])})
        if record.get("diverged"):
            check_fields(record, DIVERGED, same={})
        elif known["seed"] >= FIRST_TUNING_SEED:
            check_fields(record, TRIAL, same={})
        else:
            check_fields(record, FINISHED_RUN, MEASURED, same={**known, "learning_rate": network.learning_rate})
            self._check_measured(network, record)

    def _check_measured(self, network: MLPSettings, record: Mapping[str, Any]) -> None:
        """Raise ValueError unless a run was measured on this study's rows, with a curve if one is needed."""
        if (record["validation_accuracy"] is None) != (self.dataset.validation is None):
            raise ValueError("it was tried on other rows")
        if len(record["distinct_neurons"]) != (len(network.hidden) if self._layered else 0):
            raise ValueError("it has another number of hidden layers")
        if self.request.targets and not record["curve"]:
            raise ValueError("it was not measured on its way")

    def text(self, detail: Detail = BRIEF) -> str:
        """Return what is finished as tables."""
        return networks_text(self.outcome, detail)


def _check(request: NetworksRequest) -> None:
    """Check what neither the networks nor `resolve` see."""
    if request.spec.needs.one_call:
        raise SettingsError(f"the learner {request.spec.learner} has its own rules: it has no axes to study")
    check_has_epochs(request.spec, "the study networks")
    check_seeds(request.seeds, request.spec.seed, request.tuning)
    check_margin(request.margin)
    if not request.workers or min(request.workers) < 1:
        raise SettingsError("the study needs at least one number of workers, from 1 on")
    if not request.lr_multipliers or min(request.lr_multipliers) <= 0:
        raise SettingsError("a tuned learning rate is one of at least one multiple above 0 of the optimizer's own")
    for target in request.targets:
        if not 0 < target <= 1:
            raise SettingsError(f"a target is an accuracy above 0 and up to 1, such as 0.93, not {target:g}")
    for strategy in request.strategies:
        if RunSpec(strategy=strategy).automatic:
            raise SettingsError("auto chooses the learning rate itself, and so does the study: name a strategy")
    if max(request.workers) > 1 and all(parse_strategy(each).name == "sequential" for each in request.strategies):
        raise SettingsError("several workers need a strategy, such as periodic:1epoch")


@takes_settings(RunSpec, without=("strategy", "workers", "convergence", *reliability.NAMES))
def networks(
    data: str | Path | Dataset = "auto",
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
    one_at_a_time: bool = False,
    skip: bool = False,
    workers: int | Literal["all"] | Sequence[int | Literal["all"]] = DEFAULT_WORKERS,
    strategies: Sequence[str] = DEFAULT_STRATEGIES,
    seeds: int = DEFAULT_SEEDS,
    lr_multipliers: Sequence[float] = DEFAULT_LR_MULTIPLIERS,
    tuning: int = 1,
    targets: Sequence[float] = DEFAULT_TARGETS,
    margin: float = DEFAULT_MARGIN,
    checkpoint: str | Path | None = None,
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
    one_at_a_time, skip, workers, strategies, seeds, lr_multipliers, tuning, targets, margin
        See :class:`manyhands.studies.networks.request.NetworksRequest`.
    checkpoint
        See `manyhands.studies.base.study.Study`.

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
        one_at_a_time=one_at_a_time,
        skip=skip,
        workers=numbers_of_workers(workers),
        strategies=tuple(strategies),
        spec=spec,
        seeds=seeds,
        lr_multipliers=tuple(lr_multipliers),
        tuning=tuning,
        targets=tuple(targets),
        margin=margin,
    )
    dataset = data if isinstance(data, Dataset) else load(spec.request(data))
    return NetworksStudy(dataset, request, checkpoint).run()
