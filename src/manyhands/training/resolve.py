"""From what a user asks for to what a run does: defaults are chosen, and what cannot work is refused."""

from __future__ import annotations

from dataclasses import fields, replace

from manyhands.core.checks import LARGEST
from manyhands.core.choices import OPTIMIZERS, PYTORCH
from manyhands.core.errors import SettingsError
from manyhands.core.extras import require
from manyhands.core.grid import Grid
from manyhands.core.parameters import parameter
from manyhands.core.samples import BLOCK_ROWS
from manyhands.core.strategy import GradientRule, Strategy
from manyhands.core.types import Sharding
from manyhands.data.dataset import Dataset
from manyhands.data.partitioning import Partition
from manyhands.data.sampler import check_batch
from manyhands.learners.mlp.settings import check_room
from manyhands.learners.torch.settings import TorchSettings, check_network
from manyhands.runtime.affinity import usable_cores
from manyhands.teams.job import check_can_continue, check_size, check_started_once, is_member, job_size
from manyhands.teams.registry import SOLO, check_team, kind_of
from manyhands.training.auto import Asked, choose, choose_for_torch
from manyhands.training.given import check_targets
from manyhands.training.inputs import check_inputs
from manyhands.training.levels import can_divide, check_grid, chosen_grid, reason
from manyhands.training.plan import Plan, PlannedStage
from manyhands.training.schedules import RateSchedule
from manyhands.training.spec import AUTO, DEFAULT_BATCH, RunSpec
from manyhands.training.streaming import check_streamed
from manyhands.training.sums import MOST_PASSES, check_data_of, check_settings_of

_RANDOM_STATES = 2**32  # of scikit-learn


def resolve(spec: RunSpec, dataset: Dataset) -> Plan:
    """Return the run that a spec means on a data set: defaults are chosen, and the run is possible.

    If it is not, a SettingsError says what to change; if inputs or targets do not fit the network, a DataError does.
    """
    workers = _number_of_workers(spec)
    check_team(spec.team, workers)
    grid = _grid_of(spec, dataset, workers)
    shares = grid.data or 1
    spec = spec.settled(shares if spec.parsed.grid is not None else workers)
    strategy, asked = _strategy_of(spec, dataset.rows, shares)
    if strategy.needs.one_worker_only:
        if shares != 1:
            raise SettingsError(
                f"the sequential strategy has one worker, not {shares}; choose another, such as "
                f"{parameter('strategy', AUTO)}"
            )
        spec = replace(spec, team=spec.team if grid.divides else SOLO)
    check_settings_of(spec, strategy)
    check_data_of(spec, dataset)
    _check_fit(spec, strategy, dataset)
    check_grid(spec, grid, strategy, dataset)
    sharding, batch = _division_of(spec, strategy, asked.batch, dataset, shares)
    check_batch(dataset.rows, batch, shares)
    _check_learner(spec, dataset)
    _check_order(spec, strategy)
    if spec.needs.sums:  # sums are made in double precision
        asked = replace(asked, settings=replace(asked.settings, dtype="float64"))
    check_inputs(dataset, asked.settings.dtype)
    check_targets(dataset, "squared_error" if spec.needs.sums else asked.settings.loss)  # sums have no loss
    decided = {
        "network": asked.settings,
        "strategy": strategy,
        "workers": workers,
        "batch": batch,
        "sharding": sharding,
        "schedule": asked.schedule or RateSchedule(),
        "stop": spec.parsed.stop,
        "partition": spec.parsed.partition or Partition(),
        "grid": grid,
        "torch": torch_settings(spec),
        **({"epochs": 1 if dataset.parts is None else MOST_PASSES} if spec.needs.sums else {}),
    }
    given = {each.name: getattr(spec, each.name) for each in fields(RunSpec)}
    chose = spec.automatic and spec.parsed.grid is None and can_divide(spec, dataset)
    why = reason(spec, dataset, grid) if chose else ""
    plan = Plan(**{**given, **decided}, rows=dataset.rows, chosen_by_auto=spec.automatic, why=why)
    check_streamed(spec, plan, dataset)
    _check_course(plan)
    _check_reliability(plan)
    _check_room(plan, dataset)
    return plan


def _number_of_workers(spec: RunSpec) -> int:
    """Return the number of workers, which in a job is the number of its processes."""
    team, workers = spec.team, spec.workers
    check_started_once(team)
    size = job_size() if is_member(team) else None
    if size is not None:
        check_size(size, None if isinstance(workers, str) else workers)
        return size
    if workers is None and spec.parsed.grid is not None:
        return spec.parsed.grid.filled(None).size
    return usable_cores() if isinstance(workers, str) else workers or 1


def _grid_of(spec: RunSpec, dataset: Dataset, workers: int) -> Grid:
    """Return how the workers share the work: as the user says, or as `auto` finds it fastest."""
    if spec.parsed.grid is not None:
        return spec.parsed.grid.filled(workers)
    if workers > 1 and spec.settled(workers).automatic and can_divide(spec, dataset):
        return chosen_grid(spec, dataset, workers)
    return Grid(workers)


def _strategy_of(spec: RunSpec, rows: int, workers: int) -> tuple[Strategy, Asked]:
    """Return the strategy, and network, batch and schedule: the user's, or what `auto` chooses."""
    parsed, asked = spec.parsed, Asked(spec.network, spec.batch, spec.parsed.schedule)
    if parsed.strategy is not None:
        return parsed.strategy, asked
    check_batch(rows, min(DEFAULT_BATCH, rows) if asked.batch is None else asked.batch, workers)
    if spec.needs.one_call:
        raise SettingsError(f"the learner {spec.learner} has its own rules: auto has nothing to choose for it")
    alike = parsed.partition is None or parsed.partition.kind in ("stored", "iid")
    if spec.learner in PYTORCH:
        return choose_for_torch(spec.learner, asked, workers, rows, alike=alike)
    return choose(asked, workers, rows, spec.epochs, alike=alike)


def _check_fit(spec: RunSpec, strategy: Strategy, dataset: Dataset) -> None:
    """Check that strategy, team, data and shards go together."""
    if strategy.needs.shared_memory and not kind_of(spec.team).shared_memory:
        raise SettingsError(
            f"{strategy.name} needs workers that share memory, and those of the team {spec.team} do not; use "
            f"{parameter('team', 'threads')}"
        )
    if strategy.needs.shared_memory and spec.convergence:
        raise SettingsError(
            f"{parameter('convergence')} is not possible with {strategy.name}: its workers have the same parameters at "
            "the end only"
        )
    if spec.needs.validation and dataset.validation is None:
        stop = spec.parsed.stop
        name = strategy.name if stop is None or strategy.needs.uses_validation else f"stop {stop.name}"
        raise SettingsError(
            f"{name} evaluates on validation rows, and the data set has none; add {parameter('validation', 'auto')}, "
            "or make it with make_dataset(..., validation='auto')"
        )
    if spec.partition is not None and spec.sharding == "global":
        raise SettingsError(f"{parameter('partition')} is of fixed shards: leave {parameter('sharding', 'global')} out")
    if spec.partition is not None and dataset.parts is None and dataset.train.rows != dataset.rows:
        raise SettingsError(f"{parameter('partition')} needs all training rows in every process")


def _division_of(
    spec: RunSpec, strategy: Strategy, batch: int | None, dataset: Dataset, workers: int
) -> tuple[Sharding, int]:
    """Return which rows a worker sees, and the global batch."""
    rows = dataset.rows
    if spec.needs.one_call:
        _check_published(spec, strategy, rows, workers)
        return "fixed", min(DEFAULT_BATCH, rows // workers) * workers
    if spec.needs.sums:
        return "fixed", min(BLOCK_ROWS * workers, rows)
    fixed = strategy.needs.fixed_shards or spec.partition is not None or dataset.parts is not None
    own: Sharding = "fixed" if fixed else "global"
    return spec.sharding or own, min(DEFAULT_BATCH, rows) if batch is None else batch


def _check_published(spec: RunSpec, strategy: Strategy, rows: int, workers: int) -> None:
    """Check that the learner `published` can do this by the rules of its paper."""
    if strategy.name not in ("one-shot", "sequential"):
        raise SettingsError(
            f"the learner published trains alone from beginning to end, so it cannot follow {strategy.name}; "
            "choose one-shot or sequential"
        )
    if spec.sharding == "global":
        raise SettingsError("the learner published has fixed shards: every worker keeps its own")
    if spec.batch is not None:
        raise SettingsError(
            f"the learner published has its own batch, {DEFAULT_BATCH} rows per worker; leave {parameter('batch')} out"
        )
    for name in ("schedule", "stop", "partition"):
        if getattr(spec, name) is not None:
            raise SettingsError(f"the learner published has its own {name}; leave {parameter(name)} out")
    if spec.seed >= _RANDOM_STATES:
        raise SettingsError(f"the learner published takes seeds below {_RANDOM_STATES}, not {spec.seed}")
    if rows % workers:
        raise SettingsError(
            f"the learner published needs equal shards, and {rows} training rows do not divide by {workers} workers"
        )


def torch_settings(spec: RunSpec) -> TorchSettings:
    """Return the settings of PyTorch's learners, with the device and the precision that ``auto`` means here."""
    if spec.learner not in PYTORCH:
        return spec.torch
    require("torch")
    from manyhands.learners.torch.devices import chosen_device, chosen_precision

    device = chosen_device(spec.torch.device)
    own = "torch" if spec.torch.speculative is not None else spec.learner  # its layers are taken apart: no autocast
    precision = chosen_precision(spec.torch.precision, device, own)
    return spec.torch.changed(device=device.type, precision=precision)


def _check_learner(spec: RunSpec, dataset: Dataset) -> None:
    """Check that the learner knows what is set, as far as this can be told before it is made."""
    if spec.learner in PYTORCH:
        if dataset.train.targets is not None:
            raise SettingsError(f"the learner {spec.learner} learns classes, not {parameter('targets')}")
        check_network(spec.learner, spec.network, dataset.train.sample_shape)
        _check_speculation(spec, dataset)
        return
    for each in fields(TorchSettings):
        value = getattr(spec.torch, each.name)
        if value != getattr(TorchSettings(), each.name):
            raise SettingsError(f"{parameter(each.name, value)} is for PyTorch's learners, not for {spec.learner}")
    if spec.network.optimizer not in OPTIMIZERS:
        raise SettingsError(f"{parameter('optimizer', spec.network.optimizer)} is for PyTorch's learners only")


_ABOUT_SPECULATION = ("lanes", "lane_plan", "micro_batches", "gate", "speculation_warmup", "weight_prediction")


def _check_speculation(spec: RunSpec, dataset: Dataset) -> None:
    """Check that what is set goes with speculative back-propagation, if that is asked for."""
    usual = TorchSettings()
    if spec.torch.speculative is None:
        for name in _ABOUT_SPECULATION:
            if getattr(spec.torch, name) != getattr(usual, name):
                raise SettingsError(f"{parameter(name)} is about speculation: add {parameter('speculative', 1)}")
        return
    what = parameter("speculative")
    if spec.torch.weight_prediction and spec.torch.speculative < 1:
        raise SettingsError(
            f"{parameter('weight_prediction')} needs {parameter('speculative', 1)}: a miss is computed truly, and not "
            "with predicted weights"
        )
    if spec.torch.micro_batches > 1 and spec.torch.speculative > 0:
        raise SettingsError(
            f"{parameter('micro_batches')} needs {parameter('speculative', 0)}: what is stored is the outcome of a "
            "whole batch"
        )
    if spec.torch.precision == "bfloat16" or spec.torch.device == "cuda":
        raise SettingsError(f"{what} computes in float32, on a CPU")
    if spec.pin and spec.torch.lanes > 1:
        raise SettingsError(f"the lanes of a worker need a core each: leave {parameter('pin')} out")
    if spec.torch.loss_function is not None or dataset.train.weights is not None:
        raise SettingsError(f"{what} is for the mean cross-entropy, without weights of samples")
    if spec.sharding == "fixed" or spec.needs.fixed_shards or spec.partition is not None or not spec.shuffle:
        raise SettingsError(
            f"{what} needs batches whose labels stand in one order, drawn from all samples: leave fixed shards, "
            f"{parameter('partition')} and unshuffled orders out"
        )


def _check_order(spec: RunSpec, strategy: Strategy) -> None:
    """Check that the rows can be had in this order."""
    if spec.needs.one_call and (spec.first_epoch or not spec.shuffle):
        raise SettingsError("the learner published shuffles by itself, and begins with epoch 0")
    if not spec.shuffle and strategy.needs.passes > 1:
        raise SettingsError(
            f"{strategy.name} draws a part of the rows in every epoch: without shuffling it would always be the same"
        )


def _check_reliability(plan: Plan) -> None:
    """Check that what is to happen on failures can be done by this kind of run."""
    asked = plan.reliability
    asked.check()
    if plan.learner == "published" and asked.folder is not None:
        raise SettingsError(
            "the learner published trains in one call, in which there is no moment for a checkpoint; leave "
            f"{parameter('checkpoint')} out"
        )
    if asked.restarts and is_member(plan.team):
        raise SettingsError(
            "this process was started by others, so it cannot start the job again: let whoever has started it do that, "
            f"and it goes on from its checkpoints ({parameter('checkpoint')} or {parameter('resume')}), or use "
            f"{parameter('on_loss', 'continue')} where that is possible"
        )
    if asked.verify and plan.shares > 1 and all(rule.needs.shared_memory for rule in plan.strategy.rules):
        raise SettingsError(
            f"{parameter('verify')} has no effect: the workers of {plan.strategy.name} share one vector, so there are "
            "no copies to compare"
        )
    if asked.continues:
        check_can_continue(plan.team, plan.workers)
    if asked.continues and plan.strategy.needs.shared_memory:
        raise SettingsError(
            f"the workers of {plan.strategy.name} share one vector, to which a lost one may have written: use "
            f"{parameter('on_loss', 'restart')}"
        )
    if asked.continues and plan.torch.speculative is not None:
        raise SettingsError(f"speculation keeps what each worker has met: use {parameter('on_loss', 'restart')}")


def _check_course(plan: Plan) -> None:
    """Check that there are epochs enough for all stages, not too many steps, and something for a rule to evaluate."""
    if plan.total_steps > LARGEST:
        raise SettingsError(f"{plan.epochs:.3e} epochs have more steps than can be counted; use fewer")
    if plan.stop is not None and plan.stop.validates:
        check_synchronized(plan, parameter("stop", plan.stop.name))


def check_synchronized(plan: Plan, what: str) -> None:
    """Check that all workers have the same parameters at the end of some epoch before the last one.

    If not, ``what`` has no network to evaluate, and a SettingsError says so.
    """
    if plan.shares > 1 and not any(map(_synchronized_before_its_end, plan.stages)):
        raise SettingsError(
            f"{what} evaluates synchronized parameters after an epoch, but the workers of {plan.strategy.name} "
            "synchronize at the end only; use another strategy, or loss:..."
        )


def _synchronized_before_its_end(stage: PlannedStage) -> bool:
    """Return whether the workers have the same parameters at the end of some epoch but the last of the stage."""
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


def _check_room(plan: Plan, dataset: Dataset) -> None:
    """Check that the networks of all workers of this process, or of a job that it starts, fit into memory."""
    if plan.learner in PYTORCH or plan.needs.sums:  # its size is known when it is made
        return
    here = 1 if is_member(plan.team) else plan.workers
    rows = -(-max(stage.batch for stage in plan.stages) // plan.shares)
    check_room(plan.network, dataset.features, dataset.outputs, here / plan.grid.parts, rows)
    if plan.model_settings is not plan.network:
        check_room(plan.model_settings, dataset.features, dataset.outputs)
