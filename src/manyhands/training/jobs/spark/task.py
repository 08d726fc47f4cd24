"""What a task of Spark's barrier stage does: keep its rows, meet the other tasks, and start the worker that trains.

Spark's own barrier polls once a second, so it is used once, to tell all tasks where the others' workers can be called.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from manyhands.core.errors import ManyhandsError, OutputError, WorkerLost
from manyhands.teams.spark_environment import Place, environment_of
from manyhands.teams.startup_watchdog import STOPPED_SECONDS, is_stopped
from manyhands.training.jobs.exchange import describe, revive
from manyhands.training.jobs.folder import make_folder, remove
from manyhands.training.jobs.spark.files import DONE, ERROR, EVENTS, JOB, MODEL, RESULT, SAID
from manyhands.training.jobs.spark.rows import PartitionRows

MARK = "manyhands-task-failed:"
"""Before the description of an error, in what Spark reports of a task."""
SCHEMA = "name string, content binary"
"""Of what the tasks return: the files of the first worker, in pieces."""
_PIECE = 1 << 22
_LOOK_SECONDS = 0.2
_MOST_SAID = 2000
_WORKER = "manyhands.training.jobs.spark.worker"


def run_task(job: Mapping[str, Any], batches: Iterable[Any]) -> Iterator[Any]:
    """Do one worker's part of a job; for `DataFrame.mapInArrow` with ``barrier=True``.

    Parameters
    ----------
    job
        What `manyhands.training.jobs.spark.service.serve` takes.
    batches
        The rows of a partition, see `PartitionRows`.

    Yields
    ------
    RecordBatch
        Pieces of the first worker's files, of `SCHEMA`.

    Raises
    ------
    RuntimeError
        If the worker has failed, with a description for the driver.
    """
    from pyspark import BarrierTaskContext

    context = BarrierTaskContext.get()
    rank = context.partitionId()
    folder, lock = make_folder(_place())
    try:
        failure = _keep(job, batches, folder)
        addresses, listening = _meet(context, rank, failure)
        with contextlib.closing(listening):
            worker = _start(folder, rank, addresses, listening.fileno(), job["secret"])
        with _ended(worker):
            _wait_for(worker, folder, job["hang_timeout"], rank)
            yield from _files(folder)
    except ManyhandsError as error:
        raise RuntimeError(f"{MARK}{json.dumps({'rank': rank, **describe(error, rank)})}") from None
    finally:
        remove(folder)
        lock.close()


def _place() -> str | None:
    """Return the folder that Spark gives its executors for what they keep for a while; None: the usual one."""
    given = os.environ.get("SPARK_LOCAL_DIRS") or os.environ.get("LOCAL_DIRS") or ""
    first = given.split(",")[0]
    return first if first and os.access(first, os.W_OK) else None


def _keep(job: Mapping[str, Any], batches: Iterable[Any], folder: Path) -> ManyhandsError | None:
    """Write rows and job into the folder; return what was wrong, which all tasks are told before any of them fails."""
    try:
        PartitionRows(folder).write(batches)
        (folder / JOB).write_text(json.dumps({name: value for name, value in job.items() if name != "secret"}))
    except OSError as error:
        return OutputError(f"there is no room for the rows of a task in {folder.parent}: {error.strerror or error}")
    except ManyhandsError as error:
        return error
    return None


def _meet(context: Any, rank: int, failure: ManyhandsError | None) -> tuple[list[tuple[str, int]], socket.socket]:
    """Tell the other tasks how this one has begun and where its worker can be called; return the others', too."""
    own = context.getTaskInfos()[rank].address.rpartition(":")[0].strip("[]")
    family = socket.getaddrinfo(own, 0, type=socket.SOCK_STREAM)[0][0]
    listening = socket.create_server((own, 0), family=family)  # the port stays bound until the worker has it
    mine = {
        "address": [own, listening.getsockname()[1]],
        "failure": None if failure is None else describe(failure, rank),
    }
    everyone = [json.loads(text) for text in context.allGather(json.dumps(mine))]
    if failure is not None:
        raise failure
    for each in everyone:  # whichever of the tasks Spark listens to first, it is told why
        if each["failure"]:
            raise revive(each["failure"])
    return [(host, port) for host, port in (each["address"] for each in everyone)], listening


def _start(
    folder: Path, rank: int, addresses: list[tuple[str, int]], listening: int, secret: str
) -> subprocess.Popen[bytes]:
    """Start the worker; what it says goes to the executor's log, and, if it fails, to the driver."""
    outward, inward = os.pipe()
    try:
        os.write(inward, secret.encode())
        os.close(inward)
        with open(folder / SAID, "wb") as said:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", _WORKER, str(folder), str(os.getpid())],
                env=environment_of(Place(rank, addresses, listening, outward)),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[listening, outward],
            )
    finally:
        os.close(outward)


@contextlib.contextmanager
def _ended(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the worker with the block."""
    try:
        yield
    finally:
        worker.kill()
        worker.wait()


def _wait_for(worker: subprocess.Popen[bytes], folder: Path, patience: float | None, rank: int) -> None:
    """Wait until the worker has done its work; one that is stopped for too long is given up."""
    stopped: float | None = None
    while not (folder / DONE).exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise _failure(folder, rank, worker.wait(_LOOK_SECONDS))
        stopped = (stopped or time.monotonic()) if is_stopped(worker.pid) else None
        if stopped is not None and time.monotonic() - stopped > (patience or STOPPED_SECONDS):
            raise WorkerLost(rank, f"(process {worker.pid}) has been stopped for {time.monotonic() - stopped:.0f} s")
    sys.stderr.write(_said(folder))


def _said(folder: Path) -> str:
    return (folder / SAID).read_text(errors="replace")[-_MOST_SAID:]


def _failure(folder: Path, rank: int, status: int) -> ManyhandsError:
    """Return why the worker has ended before its work was done."""
    if (folder / ERROR).exists():
        return revive(json.loads((folder / ERROR).read_text()))
    how, said = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}", _said(folder)
    return WorkerLost(rank, f"{how}: {said}" if said else how)


def _files(folder: Path) -> Iterator[Any]:
    """Yield the worker's files in pieces."""
    import pyarrow as pa

    for name in (EVENTS, RESULT, MODEL):
        path = folder / name
        if not path.exists():
            continue
        with open(path, "rb") as file:
            while piece := file.read(_PIECE):
                yield pa.RecordBatch.from_arrays(
                    [pa.array([name], pa.string()), pa.array([piece], pa.binary())], names=["name", "content"]
                )
