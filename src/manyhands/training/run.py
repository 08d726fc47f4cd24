"""One run from plan to result: start the workers, train, measure, evaluate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset
from manyhands.data.order import Schedule
from manyhands.errors import DivergedError
from manyhands.learners.mlp.network import MLPSettings
from manyhands.protocols import Control, Learner, Sharding, Strategy, Team
from manyhands.randomness import generator
from manyhands.teams.launch import launch, prepare
from manyhands.training.clock import PhaseClock, slowest
from manyhands.training.events import Listener
from manyhands.training.loop import Loop, Tally, joint_losses
from manyhands.training.model import TrainedModel, accuracy
from manyhands.training.plan import Plan, make_plan

Progress = Callable[[int], None]
"""Told, a few times a second, how many steps the slowest worker has done."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run has come to.

    Attributes
    ----------
    plan : Plan
        What was run.
    model : TrainedModel
        The merged network.
    accuracy : float
        On the test rows, 0..1.
    steps, rounds, bytes_sent, examples : int
        Per worker; the largest over the workers.
    seconds : dict of str to float
        Wall-clock seconds of each phase (the largest over the workers), ``train`` and ``total``.
    losses : list of float
        Mean training loss of each epoch over all workers.
    """

    plan: Plan
    model: TrainedModel
    accuracy: float
    steps: int
    rounds: int
    bytes_sent: int
    examples: int
    seconds: dict[str, float]
    losses: list[float]

    def save(self, path: str | Path) -> None:
        """Write the model; see :meth:`TrainedModel.save`."""
        self.model.save(path)


def run(
    plan: Plan, dataset: Dataset, *, progress: Progress | None = None, listeners: Sequence[Listener] = ()
) -> TrainingResult:
    """Carry out ``plan`` on ``dataset``.

    Parameters
    ----------
    plan
        From `make_plan`.
    dataset
        The one the plan was made for.
    progress
        Told how many steps are done, in the calling thread.
    listeners
        Told about epochs and rounds, in the workers' threads.

    Raises
    ------
    DivergedError
        If the loss or a parameter stops being finite.
    KeyboardInterrupt
        On Ctrl-C; all workers have ended then.
    """
    clocks = [PhaseClock() for _ in range(plan.workers)]
    stop = np.zeros(1, np.int64)
    controls = [Control(stop, np.zeros(1, np.int64)) for _ in range(plan.workers)]
    # Other libraries' thread pools would compete with the workers; the kernels' own BLAS has one thread anyway.
    with threadpool_limits(1):
        _prepare(plan, dataset)
        launched = time.perf_counter()

        def work(team: Team) -> _Outcome:
            return _work(team, plan, dataset, controls[team.rank], clocks[team.rank], launched, listeners)

        tick = None if progress is None else lambda: progress(min(int(control.progress[0]) for control in controls))
        outcomes = launch(plan.team, clocks, work, stop, tick)
        learner = outcomes[0].learner
        if not np.isfinite(learner.parameters).all():
            raise DivergedError(plan.total_steps, 0, float("nan"))
        with clocks[0].phase("evaluate"):
            score = accuracy(learner.predict_proba(dataset.test), dataset.test.labels)
    tallies = [outcome.tally for outcome in outcomes]
    return TrainingResult(
        plan=plan,
        model=TrainedModel(learner, plan.settings, dataset.scaling, dataset.classes, dataset.name),
        accuracy=score,
        steps=max(tally.steps for tally in tallies),
        rounds=max(tally.rounds for tally in tallies),
        bytes_sent=max(outcome.bytes_sent for outcome in outcomes),
        examples=max(tally.examples for tally in tallies),
        seconds=slowest(clocks, dataset.seconds),
        losses=joint_losses(tallies),
    )


@dataclass(frozen=True)
class _Outcome:
    """One worker's end."""

    learner: Learner
    tally: Tally
    bytes_sent: int


def _make_learner(plan: Plan, dataset: Dataset, rank: int) -> Learner:
    from manyhands.learners.mlp.learner import MLP  # compiled code: only when training begins

    return MLP(plan.settings, dataset.features, len(dataset.classes), rank=rank)


def _prepare(plan: Plan, dataset: Dataset) -> None:
    """Compile everything before any clock starts."""
    learner = _make_learner(plan, dataset, 0)
    learner.prepare(dataset.train)
    prepare(plan.workers, learner.dtype)


def _work(
    team: Team,
    plan: Plan,
    dataset: Dataset,
    control: Control,
    clock: PhaseClock,
    launched: float,
    listeners: Sequence[Listener],
) -> _Outcome:
    """Do what each worker does: get ready, take over the common start, train."""
    learner = _make_learner(plan, dataset, team.rank)
    if team.rank == 0:
        learner.initialize(generator(plan.seed, "init"))
    schedule = Schedule(plan.rows, plan.batch, team.rank, team.size, plan.sharding, plan.seed)
    loop = Loop(team, learner, plan, dataset.train, schedule, control, clock, listeners)
    clock.seconds["startup"] = time.perf_counter() - launched
    team.barrier()
    with clock.phase("distribute"):
        team.broadcast_(learner.parameters)
    team.barrier()
    clock.forget("communicate", "merge")
    sent = team.bytes_sent
    clock.begin_training()
    tally = loop.run()
    clock.end_training()
    return _Outcome(learner, tally, team.bytes_sent - sent)


def train(
    data: str | Path | Dataset = "auto",
    *,
    train_csv: str | Path | None = None,
    test_csv: str | Path | None = None,
    label_column: str | int = 0,
    rows: int | None = None,
    scale: str = "auto",
    strategy: str | Strategy = "sequential",
    workers: int = 1,
    team: str = "threads",
    batch: int | None = None,
    epochs: int = 75,
    sharding: Sharding | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    listeners: Sequence[Listener] = (),
    **network: Any,
) -> TrainingResult:
    """Train one classifier and evaluate it on the test rows.

    Parameters
    ----------
    data
        ``"auto"``, ``"mnist"``, ``"digits"``, ``"letters"``, a folder of IDX files, or a `Dataset` made by
        `manyhands.make_dataset`.
    train_csv, test_csv, label_column
        Two CSV files instead.
    rows
        First training rows to use; by default 6,000 of MNIST and all of others.
    scale
        ``"auto"``, ``"255"``, ``"standard"`` or ``"none"``.
    strategy, workers, team, batch, epochs, sharding, seed
        See `manyhands.training.plan.make_plan`.
    progress, listeners
        See `run`.
    **network
        Fields of `manyhands.MLPSettings`; ``hidden`` is (75,) by default.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ManyhandsError
        If anything about data or settings cannot work, before training starts.

    Examples
    --------
    >>> import manyhands
    >>> result = manyhands.train("digits", strategy="periodic:1epoch", workers=2, epochs=60)
    >>> result.accuracy > 0.9
    True
    """
    settings = network_settings(**network)
    if isinstance(data, Dataset):
        dataset = data
    else:
        dataset = load(DataRequest(str(data), train_csv, test_csv, label_column, rows, scale))
    plan = make_plan(
        dataset,
        strategy=strategy,
        workers=workers,
        team=team,
        settings=settings,
        batch=batch,
        epochs=epochs,
        sharding=sharding,
        seed=seed,
    )
    return run(plan, dataset, progress=progress, listeners=listeners)


def network_settings(**network: Any) -> MLPSettings:
    """Return the settings of the network, with the hidden layer of Todorov et al. 2021 (75) as default.

    Raises
    ------
    SettingsError
        If a value is out of range.
    TypeError
        If there is no such setting.
    """
    return MLPSettings(**{"hidden": (75,), **network})
