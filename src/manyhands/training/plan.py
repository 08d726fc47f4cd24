"""What a run will do, resolved and checked before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from manyhands.data.dataset import Dataset
from manyhands.data.order import check_batch
from manyhands.errors import DataError, SettingsError
from manyhands.learners.mlp.network import MLPSettings
from manyhands.protocols import Sharding, Strategy
from manyhands.strategies import parse_strategy
from manyhands.strategies.sequential import Sequential
from manyhands.teams.launch import check_team

DEFAULT_BATCH = 200


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
            "network": asdict(self.settings),
        }

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
    workers: int = 1,
    team: str = "threads",
    settings: MLPSettings | None = None,
    batch: int | None = None,
    epochs: int = 75,
    sharding: Sharding | None = None,
    seed: int = 0,
) -> Plan:
    """Resolve defaults and check that the run is possible.

    Parameters
    ----------
    dataset
        What to train on.
    strategy
        Text such as ``"periodic:1epoch"``, or a strategy.
    workers, team, settings, epochs, seed
        See :class:`Plan`.
    batch
        Global batch; by default 200, or all rows if there are fewer.
    sharding
        By default the strategy's own.

    Raises
    ------
    SettingsError
        If the run is not possible, with what to change.
    """
    chosen = parse_strategy(strategy) if isinstance(strategy, str) else strategy
    rows = dataset.train.rows
    if epochs < 1:
        raise SettingsError(f"the number of epochs must be at least 1, not {epochs}")
    if seed < 0:
        raise SettingsError(f"the seed must be 0 or larger, not {seed}")
    if sharding not in (None, "global", "fixed"):
        raise SettingsError(f"unknown sharding {sharding!r}; choose global or fixed")
    if isinstance(chosen, Sequential):
        if workers != 1:
            raise SettingsError(f"the sequential strategy has one worker, not {workers}; choose another strategy")
        team = "solo"
    check_team(team, workers)
    if batch is None:
        batch = min(DEFAULT_BATCH, rows)
    check_batch(rows, batch, workers)
    chosen_settings = settings or MLPSettings()
    largest = np.finfo(chosen_settings.dtype).max
    if not (np.abs(dataset.scaling.scale) <= largest).all() or not (np.abs(dataset.scaling.shift) <= largest).all():
        raise DataError(
            f"a feature varies so little that its scaling is no finite {chosen_settings.dtype} number; "
            "use --dtype float64, or scale the data yourself and use --scale none"
        )
    return Plan(
        strategy=chosen,
        workers=workers,
        team=team,
        settings=chosen_settings,
        batch=batch,
        epochs=epochs,
        sharding=sharding or chosen.sharding,
        seed=seed,
        rows=rows,
    )
