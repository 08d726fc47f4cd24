"""A run in which everything is decided: a spec without gaps, for a data set of known size."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import PYTORCH
from manyhands.core.grid import Grid
from manyhands.core.strategy import LocalRule, Rule, Strategy
from manyhands.core.types import Sharding
from manyhands.core.words import count
from manyhands.data.partitioning import Partition
from manyhands.learners.mlp.settings import MLPSettings, wider
from manyhands.learners.sums.settings import own_settings, settings_text
from manyhands.training.schedules import RateSchedule
from manyhands.training.spec import RunSpec
from manyhands.training.stopping import Stop

_OF_STEPS = ("network", "torch", "module", "batch", "epochs", "schedule", "stop", "steps_per_epoch", "first_epoch")
"""What a plan has for learners that take optimizer steps only."""


@dataclass(frozen=True)
class PlannedStage:
    """Whole epochs of a run in which one rule holds.

    Attributes
    ----------
    rule
        The rule.
    first_epoch, epochs
        Where it begins, and how long it lasts.
    batch
        Its global batch.
    steps_per_epoch
        Optimizer steps of every worker in one of its epochs.
    first_step
        Steps before it.
    """

    rule: Rule[Any]
    first_epoch: int
    epochs: int
    batch: int
    steps_per_epoch: int
    first_step: int

    @property
    def steps(self) -> int:
        """Optimizer steps of every worker in the stage."""
        return self.steps_per_epoch * self.epochs

    def next_round(self, step: int) -> int:
        """Return after how many steps of the stage the first round between steps, behind ``step``, is due."""
        if isinstance(self.rule, LocalRule):
            return self.rule.next_round(step, self.steps_per_epoch, self.steps)
        return self.steps


@dataclass(frozen=True, kw_only=True)
class Plan(RunSpec):
    """One run: the settings of a spec, each with the value that it has in this run.

    Attributes
    ----------
    rows
        Training rows N.
    chosen_by_auto
        Whether `manyhands.training.auto` has chosen strategy, batch, learning rate and schedule.
    why
        Why it has chosen this grid, in words; empty where there was no choice.
    """

    strategy: Strategy
    workers: int
    batch: int
    sharding: Sharding
    schedule: RateSchedule
    stop: Stop | None
    partition: Partition
    grid: Grid
    rows: int
    chosen_by_auto: bool = False
    why: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self.parsed._asdict().items():
            object.__setattr__(self, name, value)

    @property
    def shares(self) -> int:
        """How many workers, or groups of workers that hold one network together, have samples of their own."""
        return self.grid.data or 1

    @cached_property
    def stages(self) -> tuple[PlannedStage, ...]:
        """The stages of the strategy."""
        planned: list[PlannedStage] = []
        epoch = step = 0
        for stage in self.strategy.stages(self.epochs, self.schedule.first_decay(self.epochs)):
            batch = min(self.batch * stage.rule.batch_factor(self.shares), self.rows)
            steps_per_epoch = -(-self.rows // batch)
            planned.append(PlannedStage(stage.rule, epoch, stage.epochs, batch, steps_per_epoch, step))
            epoch += stage.epochs
            step += steps_per_epoch * stage.epochs
        return tuple(planned)

    def rates(self, stage: PlannedStage, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return the learning rates of the steps start..stop-1 of a stage; by default of all."""
        steps = np.arange(start, stage.steps if stop is None else stop)
        at = stage.first_epoch + steps / stage.steps_per_epoch
        growth = stage.batch / self.batch
        place = self.shares, growth, stage.steps_per_epoch, stage.steps
        factors = stage.rule.rate_factors(steps, *place)
        return self.network.learning_rate * self.schedule.factors(at, self.epochs) * factors

    @property
    def model_settings(self) -> MLPSettings:
        """The network that the run results in."""
        joined = self.strategy.needs.builds_ensemble and self.shares > 1
        return wider(self.network, self.shares) if joined else self.network

    @property
    def threads(self) -> int:
        """How many threads compute at the same time: the workers, each with its lanes."""
        return self.workers * (1 if self.torch.speculative is None else self.torch.lanes)

    @property
    def label(self) -> str:
        """What the strategy was called when it was asked for."""
        return "auto" if self.chosen_by_auto else self.strategy.name

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of every worker in an epoch (the first, if batches differ)."""
        return self.stages[0].steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Optimizer steps of every worker in the run."""
        return self.stages[-1].first_step + self.stages[-1].steps

    def describe(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {**self.to_json(), "steps_per_epoch": self.steps_per_epoch}

    def facts(self) -> dict[str, Any]:
        """Return the plan as plain data for records and logs; of what is made of sums, without all about steps."""
        if not self.needs.sums:
            return self.describe()
        whole = {**self.describe(), "sums": own_settings(self.learner, self.sums)}
        return {name: value for name, value in whole.items() if name not in _OF_STEPS}

    def __str__(self) -> str:
        parts = [
            f"{self.strategy.name}{' (chosen by auto)' if self.chosen_by_auto else ''}",
            f"{count(self.workers, 'worker')} ({self.team})",
            *([f"grid {self.grid.name}"] if self.grid.divides else []),
            *(["pinned to cores"] if self.pin else []),
            *([f"{self.blas_threads} BLAS threads"] if self.blas_threads > 1 else []),
            settings_text(self.learner, self.sums) if self.needs.sums else self.architecture,
            *([f"{self.torch.precision} on {self.torch.device}"] if self.learner in PYTORCH else []),
            *([self.torch.speculation] if self.torch.speculative is not None else []),
            *([] if self.needs.sums else self._course()),
            f"seed {self.seed}",
            *([f"from epoch {self.first_epoch}"] if self.first_epoch else []),
            *([] if self.shuffle else ["rows as stored"]),
        ]
        return ", ".join(parts)

    def _course(self) -> list[str]:
        """Return how steps are taken, in words; what is made of sums takes none."""
        return [
            f"{self.network.optimizer} {self.network.learning_rate:g}"
            + ("" if self.schedule == RateSchedule() else f" {self.schedule.name}"),
            f"global batch {self.batch}",
            count(self.epochs, "epoch") + ("" if self.stop is None else f" at most (stop {self.stop.name})"),
            f"{self.sharding} shards" + ("" if self.partition == Partition() else f" ({self.partition.name})"),
        ]
