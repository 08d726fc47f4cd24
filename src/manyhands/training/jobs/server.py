"""What each process of a `manyhands.training.jobs.client` does with its owner's orders, one after the other."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from manyhands.core.errors import WorkerLost
from manyhands.core.learner import SumLearner
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Dataset
from manyhands.runtime.atomic_files import write_whole
from manyhands.teams.membership import join
from manyhands.teams.world import World
from manyhands.training.jobs.client import BELL, GRANULARITY, REQUEST, SURVIVES, controls_in, open_cells
from manyhands.training.jobs.dataset_files import map_dataset
from manyhands.training.jobs.distributed_read import scatter
from manyhands.training.jobs.exchange import describe, event_writer, events_file, result_record
from manyhands.training.jobs.notices import leave_notices
from manyhands.training.plan import Plan
from manyhands.training.result import TrainingResult
from manyhands.training.run import run

_CALM_SECONDS = 8.0
"""Patience with a worker that is not training: there is nothing to read and, but for rank 0, nothing to compile."""
_LOOK_SECONDS = 0.01


def serve_job(folder: Path) -> None:
    """Serve the job whose folder it is, until its owner has no more orders."""
    # NumPy reads a CSV file in one call, in which no other thread gets a turn: then the usual patience.
    world = join(calm=None if (folder / REQUEST).exists() else _CALM_SECONDS, guard=False)
    try:
        serve(folder, world)
    except BaseException as error:
        _fail(folder, world, error)
    world.leave()


def serve(folder: Path, world: World) -> None:
    """Take over the data, then carry out one order after the other."""
    dataset = _read(folder, world)
    ready = [
        json.loads(text) for text in world.all_gather_texts(json.dumps({"pid": os.getpid(), "library": world.library}))
    ]
    if world.rank == 0:
        leave_notices(folder)  # from here on: of what was read, the owner has spoken
        write_whole(folder / "ready.json", json.dumps(ready).encode())
        _ring(folder)
    os.environ.pop("MANYHANDS_HANG_TIMEOUT", None)  # it was for the start: every order says its own
    shared = open_cells(folder, world.size)
    controls = controls_in(np.zeros_like(shared))  # what this process hears of the others is older than what they write
    controls[world.rank] = controls_in(shared)[world.rank]
    number = 0
    while (order := _next(folder, number, world)) is not None:
        with event_writer(
            events_file(folder, number), order[GRANULARITY], lambda: world.rank == 0, survives=order[SURVIVES]
        ) as callbacks:
            result = run(Plan.from_json(order), dataset, controls=controls, callbacks=callbacks)
        if world.rank == 0:
            _write(folder, number, result)
        number += 1


def _read(folder: Path, world: World) -> Dataset:
    """Take over what the owner has laid ready: the data set itself, or a request that rank 0 fulfils."""
    path = folder / REQUEST
    if not path.exists():
        return map_dataset(folder)
    dataset = load(DataRequest(**json.loads(path.read_text()))) if world.rank == 0 else None
    return scatter(dataset, world, "fixed")


def _next(folder: Path, number: int, world: World) -> Any:
    """Return the description of the next plan, or None; all that are idle leave their cores to others."""
    return json.loads(world.broadcast_text(_next_order(folder, number) if world.rank == 0 else "", idle=True))


def _next_order(folder: Path, number: int) -> str:
    """Wait for the owner's next order."""
    path = folder / f"order-{number}.json"
    while not path.exists():
        time.sleep(_LOOK_SECONDS)
    return path.read_text()


def _write(folder: Path, number: int, result: TrainingResult) -> None:
    """Write the learner's vectors first: a process that sees the result may read them."""
    learner = result.model.learner
    vectors = {"parameters": learner.parameters, "buffers": learner.buffers}
    arrays: dict[str, Any] = learner.weights() if isinstance(learner, SumLearner) else vectors
    np.savez(folder / f"model-{number}.npz", **arrays)
    write_whole(folder / f"result-{number}.json", json.dumps(result_record(result)).encode())
    _ring(folder)


def _ring(folder: Path) -> None:
    """Wake the owner, which waits for a file that is there now."""
    with contextlib.suppress(OSError):
        bell = os.open(folder / BELL, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(bell, b"!")
        finally:
            os.close(bell)


def _fail(folder: Path, world: World, error: BaseException) -> None:
    """Leave word for the owner, if this process knows the cause, and end the job."""
    notified = isinstance(error, WorkerLost) and world.watch is not None and not world.watch.mine
    if notified:
        time.sleep(2.0)  # the process that knows the cause is about to end the job
    else:
        with contextlib.suppress(Exception):
            report = json.dumps(describe(error, world.rank)).encode()
            write_whole(folder / f"error-{world.rank}.json", report)
    world.abort(1)
