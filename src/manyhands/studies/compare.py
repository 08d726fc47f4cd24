"""The comparison: every strategy at every number of workers against the sequential run, seed by seed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset
from manyhands.errors import SettingsError
from manyhands.files import write_whole
from manyhands.learners.mlp.network import MLPSettings
from manyhands.protocols import Sharding
from manyhands.strategies import parse_strategy
from manyhands.studies.environment import describe_environment
from manyhands.studies.statistics import Estimate, estimate, paired_difference, paired_ratio
from manyhands.teams.launch import check_alone
from manyhands.training.plan import Plan, make_plan
from manyhands.training.result import TrainingResult
from manyhands.training.run import Runner, network_settings

SCHEMA = "manyhands.compare/1"
DEFAULT_STRATEGIES = ("sequential", "one-shot", "periodic:1epoch", "gradient")
DEFAULT_SEEDS = 5
DEFAULT_WORKERS = (1, 2, 4, 6)  # as Todorov et al. 2021


@dataclass(frozen=True)
class SummaryRow:
    """One strategy at one number of workers, over all seeds.

    Attributes
    ----------
    strategy, workers
        Which.
    accuracy
        Mean share of test rows classified correctly, 0..1, with its interval.
    delta
        Difference to the sequential run in percentage points, paired by seed; None for the sequential run itself.
    train_s, total_s
        Median seconds without and with reading and distributing.
    speedup
        Median over the seeds of sequential training time over this one's.
    efficiency
        Speedup per worker.
    impact, impact_with_communication
        Accuracy in percent over train_s and over total_s (Todorov et al. 2021, with s1 = s2 = 1).
    oversubscribed
        Whether there were more workers than usable cores.
    seeds
        How many runs this row summarizes.
    """

    strategy: str
    workers: int
    accuracy: Estimate
    delta: Estimate | None
    train_s: float
    total_s: float
    speedup: float
    efficiency: float
    impact: float
    impact_with_communication: float
    oversubscribed: bool
    seeds: int

    def record(self) -> dict[str, Any]:
        """Return the row as the JSON file has it."""
        return {
            "strategy": self.strategy,
            "workers": self.workers,
            "accuracy_mean": self.accuracy.mean,
            "accuracy_ci95": self.accuracy.interval,
            "delta_pp": None if self.delta is None else self.delta.mean,
            "delta_ci95": None if self.delta is None else self.delta.interval,
            "train_s": self.train_s,
            "total_s": self.total_s,
            "speedup": self.speedup,
            "efficiency": self.efficiency,
            "impact": self.impact,
            "impact_with_communication": self.impact_with_communication,
            "oversubscribed": self.oversubscribed,
        }


@dataclass
class Comparison:
    """A finished, or interrupted, comparison.

    Attributes
    ----------
    environment, settings
        What was run on what.
    runs
        One record per run; see the JSON schema in docs/guide.md.
    interrupted
        Whether runs are missing because the user stopped it.
    """

    environment: dict[str, Any]
    settings: dict[str, Any]
    runs: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def summary(self) -> list[SummaryRow]:
        """One row per strategy and number of workers, in the order they were first run."""
        sequential = {record["seed"]: record for record in self.runs if record["strategy"] == "sequential"}
        groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for record in self.runs:
            if record["seed"] in sequential:
                groups.setdefault((record["strategy"], record["workers"]), []).append(record)
        return [self._summarize(group, [sequential[record["seed"]] for record in group]) for group in groups.values()]

    def _summarize(self, group: list[dict[str, Any]], reference: list[dict[str, Any]]) -> SummaryRow:
        strategy, workers = group[0]["strategy"], group[0]["workers"]
        scores, base = _percent(group), _percent(reference)
        percent = estimate(scores)
        train = [record["seconds"]["train"] for record in group]
        train_s = statistics.median(train)
        total_s = statistics.median(record["seconds"]["total"] for record in group)
        speedup = paired_ratio([record["seconds"]["train"] for record in reference], train)
        return SummaryRow(
            strategy=strategy,
            workers=workers,
            accuracy=estimate([score / 100 for score in scores]),
            delta=None if strategy == "sequential" else paired_difference(scores, base),
            train_s=train_s,
            total_s=total_s,
            speedup=speedup,
            efficiency=speedup / workers,
            impact=percent.mean / train_s,
            impact_with_communication=percent.mean / total_s,
            oversubscribed=workers > self.environment["cores"],
            seeds=len(group),
        )

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        return {
            "schema": SCHEMA,
            "environment": self.environment,
            "settings": self.settings,
            "interrupted": self.interrupted,
            "runs": self.runs,
            "summary": [row.record() for row in self.summary],
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`record` as JSON, whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        write_whole(path, (json.dumps(self.record(), indent=1) + "\n").encode())


def _percent(records: Sequence[dict[str, Any]]) -> list[float]:
    return [100 * record["accuracy"] for record in records]


@dataclass(frozen=True)
class CompareRequest:
    """What to compare.

    Attributes
    ----------
    strategies
        As text, see `manyhands.strategies`; the sequential reference runs in any case.
    workers
        Numbers of workers.
    team, learner, network, batch, epochs, sharding
        See `manyhands.training.plan.make_plan`.
    seeds, seed
        Seeds seed .. seed + seeds - 1.
    """

    strategies: tuple[str, ...] = DEFAULT_STRATEGIES
    workers: tuple[int, ...] = DEFAULT_WORKERS
    team: str = "threads"
    learner: str = "mlp"
    network: MLPSettings = field(default_factory=network_settings)
    batch: int | None = None
    epochs: int = 75
    sharding: Sharding | None = None
    seeds: int = DEFAULT_SEEDS
    seed: int = 0


StudyProgress = Callable[[Plan, int], None]
"""Told, a few times a second, the running plan and its steps done."""


class CompareStudy:
    """A comparison as it goes on: what is finished is in :attr:`outcome` at any time.

    Parameters
    ----------
    dataset
        What to train on.
    request
        What to compare.

    Attributes
    ----------
    plans : list of Plan
        All runs in their order: for each seed first the sequential one, then every other, so that what is compared
        was measured close together.
    outcome : Comparison
        Grows run by run.

    Raises
    ------
    SettingsError
        If any of the runs is not possible; before the first one starts.
    """

    def __init__(self, dataset: Dataset, request: CompareRequest) -> None:
        check_alone(request.team)
        self.dataset = dataset
        self.plans = list(_plans(dataset, request))
        self.outcome = Comparison(describe_environment(), _settings(dataset, request, self.plans))

    def run(self, progress: StudyProgress | None = None) -> Comparison:
        """Carry out all plans.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs and says that it was interrupted.
        """
        self.outcome.interrupted = True  # until the last run is done
        with Runner(self.dataset) as runner:
            for plan in self.plans:
                tick = None if progress is None else _bind(progress, plan)
                result = runner.run(plan, tick)
                self.outcome.runs.append(run_record(result))
                if progress is not None:
                    progress(plan, plan.total_steps)
        self.outcome.interrupted = False
        return self.outcome

    def text(self) -> str:
        """Return what is finished as a table."""
        from manyhands.studies.tables import comparison_table

        return comparison_table(self.outcome)


def _bind(progress: StudyProgress, plan: Plan) -> Callable[[int], None]:
    return lambda steps: progress(plan, steps)


def _plans(dataset: Dataset, request: CompareRequest) -> Iterator[Plan]:
    """Yield every run, seed by seed."""
    if request.seeds < 1:
        raise SettingsError(f"--seeds must be at least 1, not {request.seeds}")
    if not request.workers:
        raise SettingsError("give at least one number of workers")
    strategies = {strategy.name: strategy for strategy in map(parse_strategy, request.strategies)}
    cases = [(parse_strategy("sequential"), 1)]
    cases += [
        (strategy, workers)
        for strategy in strategies.values()
        if strategy.parallel
        for workers in dict.fromkeys(request.workers)
    ]
    for seed in range(request.seed, request.seed + request.seeds):
        for strategy, workers in cases:
            yield make_plan(
                dataset,
                strategy=strategy,
                workers=workers,
                team=request.team,
                learner=request.learner,
                settings=request.network,
                batch=request.batch,
                epochs=request.epochs,
                sharding=request.sharding,
                seed=seed,
            )


def _settings(dataset: Dataset, request: CompareRequest, plans: Sequence[Plan]) -> dict[str, Any]:
    """Return what was resolved, for the record."""
    return {
        "data": dataset.describe(),
        "strategies": list(dict.fromkeys(plan.strategy.name for plan in plans)),
        "sharding": {plan.strategy.name: plan.sharding for plan in plans},
        "workers": list(request.workers),
        "team": request.team,
        "learner": plans[0].learner,
        "network": asdict(request.network),
        "batch": plans[0].batch,
        "epochs": request.epochs,
        "seeds": request.seeds,
        "seed": request.seed,
    }


def run_record(result: TrainingResult) -> dict[str, Any]:
    """Return one run as the JSON file has it."""
    plan = result.plan
    return {
        "strategy": plan.strategy.name,
        "workers": plan.workers,
        "team": plan.team,
        "learner": plan.learner,
        "sharding": plan.sharding,
        "seed": plan.seed,
        "accuracy": result.accuracy,
        "steps": result.steps,
        "rounds": result.rounds,
        "bytes_sent": result.bytes_sent,
        "examples": result.examples,
        "loss": result.losses[-1],
        "seconds": result.seconds,
    }


def compare(
    data: str | Path | Dataset = "auto",
    *,
    strategies: Sequence[str] = DEFAULT_STRATEGIES,
    workers: Sequence[int] = DEFAULT_WORKERS,
    team: str = "threads",
    rows: int | None = None,
    scale: str = "auto",
    batch: int | None = None,
    epochs: int = 75,
    sharding: Sharding | None = None,
    seeds: int = DEFAULT_SEEDS,
    seed: int = 0,
    learner: str = "mlp",
    **network: Any,
) -> Comparison:
    """Compare strategies at several numbers of workers with the sequential run.

    Parameters
    ----------
    data, rows, scale, **network
        See `manyhands.train`.
    strategies, workers, team, batch, epochs, sharding, seeds, seed, learner
        See :class:`CompareRequest`.

    Returns
    -------
    Comparison
        ``comparison.summary`` has the table's rows, `manyhands.studies.tables.comparison_table` makes text of them,
        ``comparison.save(path)`` writes the JSON file.

    Raises
    ------
    ManyhandsError
        If anything about data or settings cannot work, before training starts.
    """
    dataset = data if isinstance(data, Dataset) else load(DataRequest(str(data), rows=rows, scale=scale))
    request = CompareRequest(
        tuple(strategies),
        tuple(workers),
        team,
        learner,
        network_settings(**network),
        batch,
        epochs,
        sharding,
        seeds,
        seed,
    )
    return CompareStudy(dataset, request).run()
