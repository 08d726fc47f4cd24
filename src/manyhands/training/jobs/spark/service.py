"""What the worker of a Spark task does: take its share of the rows, train, and leave what has come of it in files."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manyhands.core.errors import WorkerLost
from manyhands.runtime.atomic_files import write_whole
from manyhands.teams.agreement import together
from manyhands.teams.membership import join
from manyhands.teams.world import World
from manyhands.training.jobs.exchange import describe, event_writer, result_record
from manyhands.training.jobs.spark.files import ERROR, EVENTS, MODEL, RESULT
from manyhands.training.jobs.spark.gathering import Given, gather_dataset
from manyhands.training.resolve import resolve
from manyhands.training.result import TrainingResult
from manyhands.training.run import run
from manyhands.training.shards import check_shards
from manyhands.training.spec import RunSpec

_CAUSE_SECONDS = 2.0
"""So long a worker that has only heard of a failure waits for Spark to hear the cause first."""


def serve(folder: Path, job: Mapping[str, Any]) -> None:
    """Train as one worker; an error is left in a file, and ends this process with a status."""
    world: World | None = None
    try:
        world = join()
        _train(folder, job, world)
    except BaseException as error:
        _fail(folder, world, error)
        raise SystemExit(1) from None
    world.leave()


def _train(folder: Path, job: Mapping[str, Any], world: World) -> None:
    spec = RunSpec.from_json(job["spec"])
    began = time.perf_counter()
    dataset = gather_dataset(folder, world, spec, job["name"], Given.of(job["given"]))
    dataset = replace(dataset, distributed=time.perf_counter() - began)
    with together(spec.team):
        plan = resolve(spec, dataset)
        check_shards(plan, dataset)
    with event_writer(folder / EVENTS, job["granularity"], lambda: world.rank == 0) as callbacks:
        result = run(plan, dataset, callbacks=callbacks)
    if world.rank == 0:
        _write(folder, result, dataset.describe())


def _write(folder: Path, result: TrainingResult, data: Mapping[str, Any]) -> None:
    result.save(folder / MODEL)
    description = {"plan": result.plan.to_json(), "result": result_record(result), "data": data}
    write_whole(folder / RESULT, json.dumps(description).encode())


def _fail(folder: Path, world: World | None, error: BaseException) -> None:
    """Leave word for the task; a worker that only knows that another one is lost lets that one's task speak first."""
    rank = -1 if world is None else world.rank
    if isinstance(error, WorkerLost) and world is not None and world.watch is not None and not world.watch.mine:
        time.sleep(_CAUSE_SECONDS)
    with contextlib.suppress(Exception):
        write_whole(folder / ERROR, json.dumps(describe(error, rank)).encode())
