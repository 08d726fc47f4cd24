"""One run from plan to result: start the workers, train, measure, evaluate."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.callbacks import Callback, CallbackLike, WorkerCallback, as_callbacks, finish
from manyhands.core.errors import DivergedError, SettingsError
from manyhands.core.learner import Model, SumLearner
from manyhands.core.parameters import parameter
from manyhands.core.randomness import generator
from manyhands.core.samples import Control
from manyhands.core.team import Team
from manyhands.data.dataset import Dataset
from manyhands.runtime.memory import memory_errors_explained, peak_resident
from manyhands.teams.agreement import calling_off
from manyhands.teams.exit_hooks import report_uncaught_errors
from manyhands.teams.job import all_gather_texts, among_survivors, hang_timeout, leads, needs_job, surviving
from manyhands.teams.launch import launch, prepare
from manyhands.teams.registry import kind_of
from manyhands.teams.solo import Solo
from manyhands.training import faults
from manyhands.training.checkpoints.keeper import Checkpoints, Keeper, checkpoints_of
from manyhands.training.clock import PhaseClock, slowest
from manyhands.training.convergence import Convergence
from manyhands.training.evaluation import evaluate
from manyhands.training.jobs import deferred
from manyhands.training.loop import Loop
from manyhands.training.making import learner_of
from manyhands.training.model import model_of
from manyhands.training.outcome import judged
from manyhands.training.plan import Plan
from manyhands.training.restarting import is_own, restarted
from manyhands.training.result import Progress, TrainingResult
from manyhands.training.rows import rows_of
from manyhands.training.stragglers import StragglerWatch, stragglers_in, watch_over
from manyhands.training.tally import Tally, joint_losses
from manyhands.training.thread_pools import blas_limited
from manyhands.training.worker_run import WorkerRun

if TYPE_CHECKING:
    from manyhands.training.jobs.client import Job
    from manyhands.training.jobs.spark.dataset_job import DatasetJob


@memory_errors_explained("the training")
def run(
    plan: Plan,
    dataset: Dataset,
    *,
    progress: Progress | None = None,
    callbacks: Sequence[CallbackLike] = (),
    controls: Sequence[Control] | None = None,
    start: Mapping[str, NDArray[Any]] | None = None,
) -> TrainingResult:
    """Carry out ``plan`` on ``dataset``.

    With the team mpi (or torch), in a program started by mpiexec (or torchrun), every process calls this with the same
    arguments, does the work of one worker, and gets the same result. In another program, a job is started for it.

    Parameters
    ----------
    plan
        From `manyhands.training.resolve.resolve`.
    dataset
        The one the plan was made for.
    progress
        Called in the calling thread, a few times a second, with the number of steps done.
    callbacks
        Called on the way (`manyhands.core.callbacks.Callback`). A plain function receives the events of epochs and
        measurements; for others wrap it in a `manyhands.core.callbacks.EventFunction`.
    controls
        One per worker, if other code is to watch the run or to stop it.
    start
        What every worker begins with instead of a random start: the state of a learner (`Learner.state`), optimizer
        included. In an MPI job every process gives the same.

    Raises
    ------
    DivergedError
        If the loss, a parameter or the probabilities of test rows stop being finite.
    DataError
        If they do because the values of a test row are too large.
    WorkerLost
        If a worker in another process is gone.
    SettingsError
        If mpi4py, a fitting mpiexec or PyTorch is missing for the team, or a worker for each process; or if the system
        lets no more threads begin.
    OutOfMemoryError
        If memory runs out in spite of all that was checked before.
    KeyboardInterrupt
        On Ctrl-C; all workers have ended then.
    """
    if needs_job(plan.team):
        if start is not None:
            raise SettingsError("a run that starts processes of its own begins at random: use threads, or mpiexec")
        with Runner(dataset) as runner:
            return runner.run(plan, progress, callbacks)
    called = as_callbacks(callbacks)
    result = restarted(plan, lambda each: _run_here(each, dataset, progress, called, controls, start))
    finish(called, result)
    return result


def _run_here(
    plan: Plan,
    dataset: Dataset,
    progress: Progress | None,
    called: Sequence[Callback],
    controls: Sequence[Control] | None,
    start: Mapping[str, NDArray[Any]] | None,
) -> TrainingResult:
    """Carry out a plan with the workers of this process; see `run`."""
    watch = None
    if controls is None:
        stop, ending = np.zeros(1, np.int64), np.zeros(1, np.int64)
        controls = [Control(stop, np.zeros(1, np.int64), ending=ending) for _ in range(plan.workers)]
        watch = watch_over(controls, plan) if plan.workers > 1 and leads(plan.team) else None
    checkpoints = checkpoints_of(plan, dataset, start, called)
    clocks = [PhaseClock() for _ in range(plan.workers)]
    _prepare(plan, dataset, adds=plan.stop is not None or any(isinstance(each, WorkerCallback) for each in called))
    # The thread pools of NumPy, SciPy and the kernels' own BLAS would compete with the workers.
    survives = plan.reliability.continues and plan.workers > 1
    with (
        blas_limited(plan.blas_threads),
        hang_timeout(plan.team, plan.hang_timeout),
        surviving(plan.team, survives),
    ):
        launched = time.perf_counter()

        def work(team: Team) -> _Outcome:
            own = controls[team.rank], clocks[team.rank]
            with ExitStack() as opened:  # what a worker has begun beside its training ends with it
                return _work(team, plan, dataset, *own, launched, called, start, checkpoints, opened)

        tick = _tick(plan, controls, progress, watch)
        outcomes = launch(
            plan.team,
            clocks,
            controls,
            work,
            tick,
            pinned=plan.pin,
            survives=is_own if survives else None,
            asks=checkpoints is not None,
        )
        if isinstance(outcomes[0].learner, SumLearner) and outcomes[0].learner.failure is not None:
            raise outcomes[0].learner.failure  # on every process alike, too
        if not np.isfinite(outcomes[0].learner.parameters).all():  # on every process alike: they are merged
            raise DivergedError(plan.total_steps, outcomes[0].rank, float("nan"))
        texts = among_survivors(plan.team, lambda: _reports(plan, dataset, outcomes))
    return judged(_result(plan, dataset, outcomes[0].learner, [json.loads(text) for text in texts]), dataset)


def _reports(plan: Plan, dataset: Dataset, outcomes: Sequence[_Outcome]) -> list[str]:
    """Return what all workers report, as text, with the accuracy that rank 0 has measured."""
    with calling_off(plan.team):  # the others wait for this
        dataset.check_unchanged()  # before the test rows are looked at, and after
        score = outcomes[0].evaluated(dataset) if leads(plan.team) else 0.0
        dataset.check_unchanged()
        return all_gather_texts(plan.team, [json.dumps(outcome.report(score)) for outcome in outcomes])


def _tick(
    plan: Plan, controls: Sequence[Control], progress: Progress | None, watch: StragglerWatch | None
) -> Callable[[], None]:
    """Return what is done a few times a second while the workers run."""
    slowest_of = max if kind_of(plan.team).processes else min  # of an MPI job, this process sees its own steps only

    def tick() -> None:
        if progress is not None:
            progress(slowest_of(int(each.progress[0]) for each in controls))
        if watch is not None:
            watch.look()

    return tick


class Runner:
    """Carries out many plans on one data set; jobs, one for each number of workers, live as long as it does.

    Jobs that stay let runs of different numbers of workers take turns without starting processes anew each time. Use it
    in a ``with`` statement: at its end all jobs end.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._jobs: dict[tuple[str, int, bool], Job | DatasetJob] = {}
        self._open = ExitStack()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *failure: Any) -> None:
        if failure[0] is None:
            deferred.close(self._open)
        else:
            self._open.__exit__(*failure)

    def run(
        self, plan: Plan, progress: Progress | None = None, callbacks: Sequence[CallbackLike] = ()
    ) -> TrainingResult:
        """Carry out a plan; see `run`."""
        if not needs_job(plan.team):
            return run(plan, self.dataset, progress=progress, callbacks=callbacks)
        called = as_callbacks(callbacks)
        result = restarted(plan, lambda each: self._job_for(each).run(each, progress, called))
        result = judged(result, self.dataset)
        finish(called, result)
        return result

    def _job_for(self, plan: Plan) -> Job | DatasetJob:
        """Return the job for a plan, started if there is none that can do it."""
        key = plan.team, plan.workers, plan.reliability.continues
        if key in self._jobs and self._jobs[key].is_over:
            del self._jobs[key]
        if key not in self._jobs:
            deferred.close_others()
            with _starting_with(plan.hang_timeout):
                self._jobs[key] = self._open.enter_context(_job(plan, self.dataset))
        return self._jobs[key]


def _job(plan: Plan, dataset: Dataset) -> AbstractContextManager[Job | DatasetJob]:
    """Return a job of the plan's team for runs on a data set."""
    if kind_of(plan.team).reads == "Spark":
        from manyhands.training.jobs.spark.dataset_job import DatasetJob

        return DatasetJob(dataset)
    from manyhands.training.jobs.client import Job

    return Job(plan.workers, dataset, plan.team, survives=plan.reliability.continues)


@contextmanager
def _starting_with(seconds: float | None) -> Iterator[None]:
    """Let jobs that begin in this block have this hang timeout while they come up; later every plan says its own."""
    name = "MANYHANDS_HANG_TIMEOUT"
    before = os.environ.get(name)
    if seconds is not None:
        os.environ[name] = str(seconds)
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before
        elif seconds is not None:
            del os.environ[name]


def _result(plan: Plan, dataset: Dataset, learner: Model, reports: Sequence[dict[str, Any]]) -> TrainingResult:
    """Make one result of what all workers report."""
    tallies = [Tally(**report["tally"]) for report in reports]
    return TrainingResult(
        plan=plan,
        model=model_of(learner, plan, dataset),
        accuracy=reports[0]["accuracy"],
        steps=max(tally.steps for tally in tallies),
        rounds=max(tally.rounds for tally in tallies),
        bytes_sent=max(report["bytes_sent"] for report in reports),
        examples=max(tally.examples for tally in tallies),
        seconds=slowest([report["seconds"] for report in reports]),
        losses=joint_losses(tallies),
        curve=reports[0]["curve"],
        reports=[report["learner"] for report in reports],
        worker_seconds=[report["seconds"]["compute"] for report in reports],
        worker_peaks=[report["peak"] for report in reports],
        slow=stragglers_in([report["pace"] for report in reports]),
        incidents=reports[0]["incidents"],
    )


@dataclass(frozen=True)
class _Outcome:
    """One worker's end."""

    rank: int
    learner: Model
    tally: Tally
    bytes_sent: int
    clock: PhaseClock
    curve: list[dict[str, float]]
    pace: dict[str, Any]
    incidents: list[dict[str, Any]]

    def evaluated(self, dataset: Dataset) -> float:
        """Return the accuracy on the test rows, timed."""
        with self.clock.phase("evaluate"):
            return evaluate(self.learner, dataset, self.tally.steps)

    def report(self, score: float) -> dict[str, Any]:
        """Return what the other processes shall know, as plain data."""
        return {
            "tally": asdict(self.tally),
            "bytes_sent": self.bytes_sent,
            "seconds": self.clock.report(),
            "accuracy": score,
            "curve": self.curve,
            "learner": dict(self.learner.report()),
            "pace": self.pace,
            "peak": peak_resident(),
            "incidents": self.incidents,
        }


def _prepare(plan: Plan, dataset: Dataset, *, adds: bool) -> None:
    """Compile everything before any clock starts; callbacks that add something up do it in double precision."""
    learner = learner_of(plan, dataset)
    check_learner(plan, learner)
    divided = _narrow_slice(plan, dataset) if plan.grid.divides else None
    plain = not adds and all(rule.fusable for rule in plan.strategy.rules)
    others = (
        [] if plain and divided is None else [np.dtype(np.float64)]
    )  # scores, weights and losses are added in double precision

    def compile_learners() -> None:
        learner.prepare(dataset.train)
        if divided is not None:
            divided.prepare(dataset.train)

    prepare(plan.team, plan.workers, [learner.dtype, *others], compile_learners)


def _narrow_slice(plan: Plan, dataset: Dataset) -> Model:
    """Return a learner for whose sake the kernel of slices is compiled: its size does not matter."""
    narrow = replace(plan, network=replace(plan.network, hidden=(1,) * len(plan.network.hidden)))
    return learner_of(narrow, dataset, group=Solo(PhaseClock()))


def check_learner(plan: Plan, learner: Model) -> None:
    """Check what only the learner knows: how many samples its batches need, and whether its starts can differ."""
    if plan.strategy.needs.independent_init and not learner.random_start:
        raise SettingsError(
            f"{plan.strategy.name} starts every worker from random parameters of its own, and a module that exists has "
            "one start only: give a function that makes it"
        )
    if plan.strategy.needs.permutes_units and not learner.layered:
        raise SettingsError(
            f"{plan.strategy.name} brings the hidden units of dense layers into one order (rebasin), and the learner "
            f"{plan.learner} has others; choose another merge"
        )
    for stage in plan.stages:
        last = plan.rows - (stage.steps_per_epoch - 1) * stage.batch
        for batch in dict.fromkeys((stage.batch, last)):
            least = min(part for part in _parts(batch, plan.shares) if part)
            if least < learner.least_batch:
                place = " (the last of an epoch)" if batch != stage.batch else ""
                raise SettingsError(
                    f"the module computes statistics over a batch (BatchNorm), and a worker would have {least} of a "
                    f"global batch of {batch} samples{place}: it needs {learner.least_batch}; change "
                    f"{parameter('batch')} or {parameter('train_size')}"
                )


def _parts(batch: int, workers: int) -> list[int]:
    """Return the sizes of the workers' parts of a global batch."""
    return [(rank + 1) * batch // workers - rank * batch // workers for rank in range(workers)]


def _work(
    team: Team,
    plan: Plan,
    dataset: Dataset,
    control: Control,
    clock: PhaseClock,
    launched: float,
    callbacks: Sequence[Callback],
    start: Mapping[str, NDArray[Any]] | None,
    checkpoints: Checkpoints | None,
    opened: ExitStack,
) -> _Outcome:
    """Do what each worker does: get ready, take over the common start, train."""
    group, peers = _places(team, plan)
    learner = learner_of(plan, dataset, team.rank, group)
    if start is not None:
        learner.load_state(start)
    elif peers.rank == 0:
        learner.initialize(generator(plan.seed, "init"))
    convergence = Convergence(dataset.test_tables)
    called = [*callbacks, *([plan.stop] if plan.stop else []), *([convergence] if plan.convergence else [])]
    called += faults.planned()
    table, sampler = rows_of(peers, plan, dataset, opened)
    worker = WorkerRun(peers, learner, plan, table, clock, called, dataset.validation, whole=team)
    keeper = Keeper(checkpoints, plan.team, control)
    loop = Loop(worker, sampler, control, keeper)
    if peers.size > 1:  # a first round makes connections and touches memory; it belongs to no clock
        peers.mean_(learner.parameters.copy() if learner.size else np.zeros(peers.size, learner.dtype))
    clock.seconds["startup"] = time.perf_counter() - launched
    team.barrier()
    clock.add("distribute", dataset.distributed)
    clock.add("read", dataset.seconds)
    with clock.phase("distribute"):
        if learner.size:
            peers.broadcast_(learner.parameters)
        if len(learner.buffers):
            peers.broadcast_(learner.buffers)
    if plan.strategy.needs.independent_init and peers.rank and start is None:
        learner.initialize(generator(plan.seed, f"init of worker {peers.rank}"))
    team.barrier()
    clock.forget("communicate", "merge")
    sent = team.bytes_sent
    clock.begin_training()
    tally = loop.run()
    clock.end_training()
    incidents = [*keeper.incidents, *loop.incidents]
    return _Outcome(
        rank=team.rank,
        learner=worker.model.finished(),
        tally=tally,
        bytes_sent=team.bytes_sent - sent,
        clock=clock,
        curve=convergence.curve,
        pace=loop.pacer.report(),
        incidents=incidents,
    )


def _places(team: Team, plan: Plan) -> tuple[Team | None, Team]:
    """Return those that hold one network together with this worker, if any do, and those that average with it."""
    if not plan.grid.divides:
        return None, team
    return team.part(plan.grid.group_of(team.rank)), team.part(plan.grid.peers_of(team.rank))


report_uncaught_errors()
