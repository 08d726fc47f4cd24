"""What a run will do, resolved and checked before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from manyhands.data.dataset import Dataset
from manyhands.data.order import check_batch
from manyhands.errors import DataError, SettingsError
from manyhands.learners import LEARNERS
from manyhands.learners.mlp.network import MLPSettings
from manyhands.protocols import Sharding, Strategy
from manyhands.strategies import parse_strategy
from manyhands.strategies.one_shot import OneShot
from manyhands.strategies.sequential import Sequential
from manyhands.teams.launch import check_team, job_size, processes_announced

DEFAULT_BATCH = 200
_RANDOM_STATES = 2**32  # of scikit-learn
_PLAIN = ("workers", "team", "batch", "epochs", "sharding", "seed", "rows", "learner", "convergence")


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes
    ----------
    strategy
        When the workers talk.
    workers
        Their number n.
    team
        How they talk.
    settings
        The network and its optimizer.
    batch
        Global batch B.
    epochs
        Passes over the training rows.
    sharding
        Which rows a worker sees.
    seed
        Of everything random.
    rows
        Training rows N.
    learner
        The learner's name.
    convergence
        Whether accuracy and loss on the test rows are measured on the way: whenever all workers are alike, after every
        round, and after every epoch if there is one worker or every step has a round.
    """

    strategy: Strategy
    workers: int
    team: str
    settings: MLPSettings
    batch: int
    epochs: int
    sharding: Sharding
    seed: int
    rows: int
    learner: str = "mlp"
    convergence: bool = False

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of every worker in an epoch."""
        return -(-self.rows // self.batch)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of every worker in the run."""
        return self.steps_per_epoch * self.epochs

    def describe(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {
            "strategy": self.strategy.name,
            "workers": self.workers,
            "team": self.team,
            "learner": self.learner,
            "batch": self.batch,
            "epochs": self.epochs,
            "sharding": self.sharding,
            "seed": self.seed,
            "rows": self.rows,
            "steps_per_epoch": self.steps_per_epoch,
            "convergence": self.convergence,
            "network": asdict(self.settings),
        }

    @classmethod
    def from_description(cls, record: Mapping[str, Any]) -> Plan:
        """Return the plan that :meth:`describe` has described."""
        network = record["network"]
        return cls(
            strategy=parse_strategy(record["strategy"]),
            settings=MLPSettings(**{**network, "hidden": tuple(network["hidden"])}),
            **{name: record[name] for name in _PLAIN},
        )

    def __str__(self) -> str:
        hidden = "-".join(map(str, self.settings.hidden)) or "none"
        return (
            f"{self.strategy.name}, {self.workers} worker{'s' if self.workers > 1 else ''} ({self.team}), "
            f"hidden {hidden} {self.settings.activation}, {self.settings.optimizer} "
            f"{self.settings.learning_rate:g}, global batch {self.batch}, {self.epochs} epochs, "
            f"{self.sharding} shares, seed {self.seed}"
        )


def make_plan(
    dataset: Dataset,
    *,
    strategy: str | Strategy = "sequential",
    workers: int | None = None,
    team: str = "threads",
    settings: MLPSettings | None = None,
    batch: int | None = None,
    epochs: int = 75,
    sharding: Sharding | None = None,
    seed: int = 0,
    learner: str = "mlp",
    convergence: bool = False,
) -> Plan:
    """Resolve defaults and check that the run is possible.

    Parameters
    ----------
    dataset
        What to train on.
    strategy
        Text such as ``"periodic:1epoch"``, or a strategy.
    workers
        Their number; by default the number of processes in an MPI job, else 1.
    team, settings, epochs, seed, learner, convergence
        See :class:`Plan`. The team solo is for a run of this process alone, whatever job it belongs to.
    batch
        Global batch; by default 200, or all rows if there are fewer. The learner ``published`` has 200 per worker.
    sharding
        By default the strategy's own.

    Raises
    ------
    SettingsError
        If the run is not possible, with what to change.
    """
    chosen = parse_strategy(strategy) if isinstance(strategy, str) else strategy
    rows = dataset.rows
    if epochs < 1:
        raise SettingsError(f"the number of epochs must be at least 1, not {epochs}")
    if seed < 0:
        raise SettingsError(f"the seed must be 0 or larger, not {seed}")
    if sharding not in (None, "global", "fixed"):
        raise SettingsError(f"unknown sharding {sharding!r}; choose global or fixed")
    if learner not in LEARNERS:
        raise SettingsError(f"unknown learner {learner!r}; choose one of {', '.join(LEARNERS)}")
    number = _number_of_workers(team, workers)
    if isinstance(chosen, Sequential):
        if number != 1:
            raise SettingsError(f"the sequential strategy has one worker, not {number}; choose another strategy")
        team = "solo"
    check_team(team, number)
    if learner == "published":
        sharding, batch = _as_published(chosen, rows, number, sharding, batch)
        if seed >= _RANDOM_STATES:
            raise SettingsError(f"the learner published takes seeds below {_RANDOM_STATES}, not {seed}")
    if batch is None:
        batch = min(DEFAULT_BATCH, rows)
    check_batch(rows, batch, number)
    chosen_settings = settings or MLPSettings()
    _check_scaling(dataset, chosen_settings)
    return Plan(
        strategy=chosen,
        workers=number,
        team=team,
        settings=chosen_settings,
        batch=batch,
        epochs=epochs,
        sharding=sharding or chosen.sharding,
        seed=seed,
        rows=rows,
        learner=learner,
        convergence=convergence,
    )


def sharding_of(strategy: str | Strategy, sharding: Sharding | None, learner: str) -> Sharding:
    """Return the sharding that `make_plan` will resolve: known before there are data.

    Raises
    ------
    SettingsError
        If there is no such strategy.
    """
    chosen = parse_strategy(strategy) if isinstance(strategy, str) else strategy
    return "fixed" if learner == "published" else sharding or chosen.sharding


def _number_of_workers(team: str, workers: int | None) -> int:
    """Return the number of workers, which in an MPI job is the number of its processes."""
    if team == "threads" and processes_announced() > 1:
        raise SettingsError(
            f"{processes_announced()} processes have been started (by mpiexec or srun), and each of them would do the "
            f"same with the team {team}; add --team mpi, or start a single one without mpiexec"
        )
    size = job_size() if team == "mpi" else None
    if size is not None and workers not in (None, size):
        raise SettingsError(
            f"this MPI job has {size} process{'es' if size > 1 else ''}, but {workers} workers were asked for; start "
            f"it with mpiexec -n {workers}, or leave the number of workers out"
        )
    return (size or 1) if workers is None else workers


def _as_published(
    strategy: Strategy, rows: int, workers: int, sharding: Sharding | None, batch: int | None
) -> tuple[Sharding, int]:
    """Return sharding and global batch of the learner `published`, whose rules are those of its paper."""
    if not isinstance(strategy, OneShot | Sequential):
        raise SettingsError(
            f"the learner published trains alone from beginning to end, so it cannot follow {strategy.name}; "
            "choose one-shot or sequential"
        )
    if sharding == "global":
        raise SettingsError("the learner published has fixed shares: every worker keeps its own")
    if batch is not None:
        raise SettingsError(
            f"the learner published has its own batch, {DEFAULT_BATCH} rows per worker; leave --batch out"
        )
    if rows % workers:
        raise SettingsError(
            f"the learner published needs equal shares, and {rows} training rows do not divide by {workers} workers"
        )
    return "fixed", min(DEFAULT_BATCH, rows // workers) * workers


def _check_scaling(dataset: Dataset, settings: MLPSettings) -> None:
    """Check that inputs can be computed in the network's dtype."""
    largest = np.finfo(settings.dtype).max
    if not (np.abs(dataset.scaling.scale) <= largest).all() or not (np.abs(dataset.scaling.shift) <= largest).all():
        raise DataError(
            f"a feature varies so little that its scaling is no finite {settings.dtype} number; "
            "use --dtype float64, or scale the data yourself and use --scale none"
        )
