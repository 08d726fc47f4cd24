"""What a run will do, resolved and checked before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyhands.core.checks import LARGEST, truth, whole
from manyhands.core.errors import SettingsError
from manyhands.core.strategy import GradientRule, LocalRule, Rule, Strategy
from manyhands.core.types import Sharding
from manyhands.data.dataset import Dataset
from manyhands.data.partitioning import Partition, parse_partition
from manyhands.data.sampler import check_batch
from manyhands.learners import LEARNERS
from manyhands.learners.mlp.settings import MLPSettings, check_room, wider
from manyhands.strategies import parse_strategy
from manyhands.teams.job import check_started_once, is_member, job_size
from manyhands.teams.registry import SOLO, check_team, kind_of
from manyhands.training.auto import Asked, choose
from manyhands.training.given import check_targets, read
from manyhands.training.inputs import check_inputs
from manyhands.training.placement import Placement
from manyhands.training.schedules import RateSchedule, parse_schedule
from manyhands.training.stopping import Stop, parse_stop

DEFAULT_BATCH = 200
_RANDOM_STATES = 2**32  # of scikit-learn
_ADD_VALIDATION = "add --validation auto, or make it with make_dataset(..., validation='auto')"
_PLAIN = (
    "workers", "team", "batch", "epochs", "sharding", "seed", "rows", "learner", "convergence", "automatic",
    "first_epoch", "shuffle",
)  # fmt: skip


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
    schedule
        How the learning rate changes.
    stop
        When to end before the last epoch, if ever.
    shares
        Who has which rows, with fixed shares.
    automatic
        Whether `manyhands.training.auto` has chosen strategy, batch, learning rate and schedule.
    placement
        Where the workers run.
    first_epoch
        Number of the run's first epoch for everything random, so that a run that goes on where another has ended does
        not repeat its orders. Stages and schedules count from the beginning of the run.
    shuffle
        Whether the rows are permuted in every epoch.
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
    schedule: RateSchedule = RateSchedule()
    stop: Stop | None = None
    shares: Partition = Partition()
    automatic: bool = False
    placement: Placement = Placement()
    first_epoch: int = 0
    shuffle: bool = True

    @cached_property
    def stages(self) -> tuple[PlannedStage, ...]:
        """The stages of the strategy."""
        planned: list[PlannedStage] = []
        epoch = step = 0
        for stage in self.strategy.stages(self.epochs, self.schedule.first_decay(self.epochs)):
            batch = min(self.batch * stage.rule.batch_factor(self.workers), self.rows)
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
        place = self.workers, growth, stage.steps_per_epoch, stage.steps
        factors = stage.rule.rate_factors(steps, *place)
        return self.settings.learning_rate * self.schedule.factors(at, self.epochs) * factors

    @property
    def model_settings(self) -> MLPSettings:
        """The network that the run results in."""
        joined = self.strategy.needs.builds_ensemble and self.workers > 1
        return wider(self.settings, self.workers) if joined else self.settings

    @property
    def label(self) -> str:
        """What the strategy was called when it was asked for."""
        return "auto" if self.automatic else self.strategy.name

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
            "schedule": self.schedule.name,
            "stop": None if self.stop is None else self.stop.name,
            "shares": self.shares.name,
            "automatic": self.automatic,
            "placement": asdict(self.placement),
            "first_epoch": self.first_epoch,
            "shuffle": self.shuffle,
            "network": asdict(self.settings),
        }

    @classmethod
    def from_description(cls, record: Mapping[str, Any]) -> Plan:
        """Return the plan that :meth:`describe` has described."""
        network = record["network"]
        return cls(
            strategy=parse_strategy(record["strategy"]),
            settings=MLPSettings(**{**network, "hidden": tuple(network["hidden"])}),
            schedule=parse_schedule(record["schedule"]),
            stop=None if record["stop"] is None else parse_stop(record["stop"]),
            shares=parse_partition(record["shares"]),
            placement=Placement(**record["placement"]),
            **{name: record[name] for name in _PLAIN},
        )

    def __str__(self) -> str:
        hidden = "-".join(map(str, self.settings.hidden)) or "none"
        parts = [
            f"{self.strategy.name}{' (chosen by auto)' if self.automatic else ''}",
            f"{self.workers} worker{'s' if self.workers > 1 else ''} ({self.team})",
            *([str(self.placement)] if self.placement != Placement() else []),
            f"hidden {hidden} {self.settings.activation}",
            f"{self.settings.optimizer} {self.settings.learning_rate:g}"
            + ("" if self.schedule == RateSchedule() else f" {self.schedule.name}"),
            f"global batch {self.batch}",
            f"{self.epochs} epochs" + ("" if self.stop is None else f" at most (stop {self.stop.name})"),
            f"{self.sharding} shares" + ("" if self.shares == Partition() else f" ({self.shares.name})"),
            f"seed {self.seed}",
            *([f"from epoch {self.first_epoch}"] if self.first_epoch else []),
            *([] if self.shuffle else ["rows as stored"]),
        ]
        return ", ".join(parts)


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
    schedule: str | RateSchedule | None = None,
    stop: str | Stop | None = None,
    shares: str | Partition | None = None,
    placement: Placement = Placement(),
    first_epoch: int = 0,
    shuffle: bool = True,
) -> Plan:
    """Resolve defaults and check that the run is possible.

    Parameters
    ----------
    dataset
        What to train on.
    strategy
        Text such as ``"periodic:1epoch"``, a strategy, or ``"auto"``: see `manyhands.training.auto`.
    workers
        Their number; by default the number of processes in an MPI job, else 1.
    team, settings, epochs, seed, learner, convergence, first_epoch, shuffle
        See :class:`Plan`. The team solo is for a run of this process alone, whatever job it belongs to.
    batch
        Global batch; by default 200, or all rows if there are fewer. The learner ``published`` has 200 per worker.
    sharding
        By default the strategy's own, or fixed if ``shares`` are given.
    schedule
        Text such as ``"cosine"``, or a schedule; by default the rate is constant.
    stop
        Text such as ``"loss:patience=10"``, or a rule; by default all epochs are run.
    shares
        Text such as ``"sorted"``; by default the rows as stored.
    placement
        Where the workers run.

    Raises
    ------
    SettingsError
        If the run is not possible, with what to change.
    """
    epochs, seed = whole("the number of epochs", epochs, least=1), whole("the seed", seed, most=None)
    first_epoch = whole("the number of the first epoch", first_epoch)
    convergence, shuffle = truth("convergence", convergence), truth("shuffle", shuffle)
    _check_words(seed, sharding, learner)
    check_team(team, 1)
    number = _number_of_workers(team, None if workers is None else whole("the number of workers", workers))
    asked = Asked(
        settings or MLPSettings(),
        None if batch is None else whole("the global batch", batch),
        None if schedule is None else read(parse_schedule, schedule, "factors", "schedule"),
    )
    division = Partition() if shares is None else read(parse_partition, shares, "divide", "shares")
    automatic = is_automatic(strategy)
    if automatic:
        chosen, asked = _choose(asked, dataset.rows, number, team, epochs, learner, division)
    else:
        chosen = read(parse_strategy, strategy, "stages", "strategy")
    rule = None if stop is None else read(parse_stop, stop, "for_worker", "stop")
    if chosen.needs.one_worker_only:
        if number != 1:
            raise SettingsError(f"the sequential strategy has one worker, not {number}; choose another strategy")
        team = SOLO
    check_team(team, number)
    _check_fit(dataset, chosen, team, shares is not None, sharding, convergence)
    if rule is not None and rule.validates and dataset.validation is None:
        raise SettingsError(f"stop {rule.name} looks at validation rows, and the data set has none; {_ADD_VALIDATION}")
    batch = asked.batch
    if learner == "published":
        sharding, batch = _as_published(chosen, dataset.rows, number, sharding, batch, seed, (schedule, stop, shares))
    if batch is None:
        batch = min(DEFAULT_BATCH, dataset.rows)
    check_batch(dataset.rows, batch, number)
    _check_order(chosen, learner, first_epoch, shuffle)
    check_inputs(dataset, asked.settings.dtype)
    check_targets(dataset, asked.settings.loss)
    plan = Plan(
        strategy=chosen,
        workers=number,
        team=team,
        settings=asked.settings,
        batch=batch,
        epochs=epochs,
        sharding="fixed" if shares is not None else sharding or _own_sharding(chosen),
        seed=seed,
        rows=dataset.rows,
        learner=learner,
        convergence=convergence,
        schedule=asked.schedule or RateSchedule(),
        stop=rule,
        shares=division,
        automatic=automatic,
        placement=placement,
        first_epoch=first_epoch,
        shuffle=shuffle,
    )
    # Too few epochs for the stages are better known now.
    if plan.total_steps > LARGEST:
        raise SettingsError(f"{epochs:.3e} epochs have more steps than can be counted; use fewer")
    _check_room(plan, dataset)
    if rule is not None and rule.validates:
        check_synchronized(plan, f"stop {rule.name}")
    return plan


def check_synchronized(plan: Plan, what: str) -> None:
    """Check that all workers have the same parameters at the end of some epoch before the last one.

    Raises
    ------
    SettingsError
        If they never have, so that ``what`` has no network to evaluate.
    """
    if plan.workers > 1 and not any(map(_alike_on_the_way, plan.stages)):
        raise SettingsError(
            f"{what}: the workers of {plan.strategy.name} are never alike at the end of an epoch but the last, so "
            "there is no network to try; use another strategy, or loss:..."
        )


def _alike_on_the_way(stage: PlannedStage) -> bool:
    """Tell whether the workers have the same parameters at the end of some epoch, before the last step of the stage."""
    step = 0
    if isinstance(stage.rule, GradientRule) or stage.epochs == 1:
        return True
    while not stage.rule.needs.shared_memory:
        step = stage.next_round(step)
        if step >= stage.steps:
            break
        if step % stage.steps_per_epoch == 0:
            return True
    return False


def _choose(
    asked: Asked, rows: int, workers: int, team: str, epochs: int, learner: str, shares: Partition
) -> tuple[Strategy, Asked]:
    """Let `auto` choose, once it is known that there is something to choose."""
    check_team(team, workers)
    check_batch(rows, min(DEFAULT_BATCH, rows) if asked.batch is None else asked.batch, workers)
    if learner != "mlp":
        raise SettingsError(f"the learner {learner} has its own rules: auto has nothing to choose for it")
    return choose(asked, workers, rows, epochs, alike=shares.kind in ("stored", "iid"))


def _check_words(seed: int, sharding: str | None, learner: str) -> None:
    """Check what needs no knowledge of anything else."""
    if seed < 0:
        raise SettingsError(f"the seed must be at least 0, not {seed}")
    if sharding not in (None, "global", "fixed"):
        raise SettingsError(f"unknown sharding {sharding!r}; choose global or fixed")
    if learner not in tuple(LEARNERS):  # whatever it is, hashable or not
        raise SettingsError(f"unknown learner {learner!r}; choose one of {', '.join(LEARNERS)}")


def _check_fit(
    dataset: Dataset, strategy: Strategy, team: str, shares: bool, sharding: Sharding | None, convergence: bool
) -> None:
    """Check that strategy, team, data and shares go together."""
    if strategy.needs.shared_memory and not kind_of(team).shared_memory:
        raise SettingsError(
            f"{strategy.name} needs workers that share memory, and those of the team {team} do not; use --team threads"
        )
    if strategy.needs.uses_validation and dataset.validation is None:
        raise SettingsError(f"{strategy.name} looks at validation rows, and the data set has none; {_ADD_VALIDATION}")
    if convergence and strategy.needs.shared_memory:
        raise SettingsError(
            f"the workers of {strategy.name} are alike at the end only: there is nothing to measure on the way "
            "(--convergence, --target)"
        )
    if shares and sharding == "global":
        raise SettingsError("shares are fixed: they do not go with --sharding global")
    if shares and dataset.train.rows != dataset.rows:
        raise SettingsError("shares that are not the stored ones need all training rows in every process")


def is_automatic(strategy: str | Strategy) -> bool:
    """Tell whether the strategy is to be chosen, see `manyhands.training.auto`."""
    return isinstance(strategy, str) and strategy.strip() == "auto"


def rows_needed(
    strategy: str | Strategy, sharding: Sharding | None, learner: str, shares: str | Partition | None = None
) -> Sharding:
    """Return which rows each process of a job will need, known before there are data: all, or its fixed share.

    Raises
    ------
    SettingsError
        If there is no such strategy.
    """
    if shares is not None or is_automatic(strategy):
        return "global"
    return (
        "fixed"
        if learner == "published"
        else sharding or _own_sharding(read(parse_strategy, strategy, "stages", "strategy"))
    )


def _own_sharding(strategy: Strategy) -> Sharding:
    """Return which rows a worker sees unless the user says otherwise."""
    return "fixed" if strategy.needs.fixed_shards else "global"


def rows_validated(
    strategies: str | Strategy | Sequence[str],
    wanted: int | Literal["auto"] | None,
    stop: str | Stop | None = None,
) -> int | Literal["auto"] | None:
    """Return how many validation rows to load: those that are wanted, or enough if strategy or rule look at any."""
    several = [strategies] if isinstance(strategies, str) or not isinstance(strategies, Sequence) else strategies
    needed = any(
        read(parse_strategy, each, "stages", "strategy").needs.uses_validation
        for each in several
        if not is_automatic(each)
    )
    needed = needed or (stop is not None and read(parse_stop, stop, "for_worker", "stop").validates)
    return "auto" if wanted is None and needed else wanted


def _number_of_workers(team: str, workers: int | None) -> int:
    """Return the number of workers, which in an MPI job is the number of its processes."""
    check_started_once(team)
    size = job_size() if is_member(team) else None
    if size is not None and workers not in (None, size):
        raise SettingsError(
            f"this MPI job has {size} process{'es' if size > 1 else ''}, but {workers} workers were asked for; start "
            f"it with mpiexec -n {workers}, or leave the number of workers out"
        )
    return (size or 1) if workers is None else workers


def _as_published(
    strategy: Strategy,
    rows: int,
    workers: int,
    sharding: Sharding | None,
    batch: int | None,
    seed: int,
    others: tuple[object, ...],
) -> tuple[Sharding, int]:
    """Return sharding and global batch of the learner `published`, whose rules are those of its paper."""
    if strategy.name not in ("one-shot", "sequential"):
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
    if any(other is not None for other in others):
        raise SettingsError("the learner published has its own schedule, stopping rule and shares; leave yours out")
    if seed >= _RANDOM_STATES:
        raise SettingsError(f"the learner published takes seeds below {_RANDOM_STATES}, not {seed}")
    if rows % workers:
        raise SettingsError(
            f"the learner published needs equal shares, and {rows} training rows do not divide by {workers} workers"
        )
    return "fixed", min(DEFAULT_BATCH, rows // workers) * workers


def _check_order(strategy: Strategy, learner: str, first_epoch: int, shuffle: bool) -> None:
    """Check that the rows can be had in this order."""
    if first_epoch < 0:
        raise SettingsError(f"the number of the first epoch must be 0 or larger, not {first_epoch}")
    if learner == "published" and (first_epoch or not shuffle):
        raise SettingsError("the learner published shuffles by itself, and begins with epoch 0")
    if not shuffle and strategy.needs.passes > 1:
        raise SettingsError(
            f"{strategy.name} draws a part of the rows in every epoch: without shuffling it would always be the same"
        )


def _check_room(plan: Plan, dataset: Dataset) -> None:
    """Check that the networks of all workers of this process, or of a job that it starts, fit into memory."""
    outputs = len(dataset.classes) if dataset.train.targets is None else dataset.train.targets.shape[1]
    here = 1 if is_member(plan.team) else plan.workers
    rows = -(-max(stage.batch for stage in plan.stages) // plan.workers)
    check_room(plan.settings, dataset.features, outputs, here, rows)
    if plan.model_settings is not plan.settings:
        check_room(plan.model_settings, dataset.features, outputs)
