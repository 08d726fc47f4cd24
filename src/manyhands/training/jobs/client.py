"""A job of our own, of processes: started by this process, given runs one after the other, and ended whatever happens.

The processes of the job run `manyhands.training.jobs.process`. They and this process talk through the files of one
temporary folder: the data set, one order and one result for each run, and a few cells of shared memory in which the
workers count their steps and note how fast they are. What is in a file is there whole (written under another name
first), and nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from manyhands.core.callbacks import Callback, finest
from manyhands.core.errors import ManyhandsError, OutputError, Suspended, WorkerLost
from manyhands.core.learner import SumLearner
from manyhands.core.samples import Control
from manyhands.core.words import count
from manyhands.data.catalog import DataRequest
from manyhands.data.dataset import Dataset
from manyhands.runtime.atomic_files import write_whole
from manyhands.runtime.signals import at_once, check, uninterrupted
from manyhands.teams import startup_watchdog
from manyhands.teams.launch import ASKED_SECONDS
from manyhands.teams.watchdog import chosen_patience
from manyhands.training.jobs.dataset_files import write_dataset
from manyhands.training.jobs.exchange import EventTail, events_file, refuse_worker_callbacks, revive
from manyhands.training.jobs.folder import (
    MEMORY,
    WORKER,
    end_processes,
    lost_folder_explained,
    make_folder,
    private,
    processes,
    remove,
    remove_abandoned,
)
from manyhands.training.jobs.launchers import LAUNCHERS, Launcher
from manyhands.training.jobs.notices import Notices
from manyhands.training.making import result_of
from manyhands.training.model import model_of
from manyhands.training.plan import Plan
from manyhands.training.result import Progress, TrainingResult
from manyhands.training.stragglers import watch_over

REQUEST = "request.json"
_MEMORY = MEMORY
BELL = "bell"
GRANULARITY = "granularity"
"""In an order: how finely the owner wants to have rank 0's events."""
SURVIVES = "survives"
"""In an order: whether the run goes on without workers that are lost."""
_LOOK_SECONDS = 0.2
_STOPPED_LOOK_SECONDS = 2.0
_START_SECONDS = 120.0
_END_SECONDS = 4.0
_ENDING = 3
_CELLS_APART = 8  # int64: a cache line


class Job:
    """A running job on this machine for runs on one data set; use it in a ``with`` statement.

    Parameters
    ----------
    workers
        Number of processes.
    dataset
        What all its runs train on.
    team
        Which team its processes are.
    request
        If given, rank 0 reads the data set itself and sends every worker its share, as published in 2021; else the
        workers map the files in which this process hands it over.
    survives
        Whether a run goes on without workers that are lost. The job then has no other run.

    Raises
    ------
    SettingsError
        If mpi4py, a fitting mpiexec or PyTorch is missing.
    OutputError
        If there is no room for the data.
    WorkerLost, ManyhandsError
        If the job does not start.
    """

    def __init__(
        self,
        workers: int,
        dataset: Dataset,
        team: str = "mpi",
        request: DataRequest | None = None,
        *,
        survives: bool = False,
    ) -> None:
        self.launcher = LAUNCHERS[team](workers, survives=survives)
        self.survives = survives
        self.workers, self.dataset = workers, dataset
        self._runs, self._ended = 0, False
        self._locks: dict[Path, IO[bytes]] = {}
        self._bell: int | None = None
        remove_abandoned(_MEMORY, tempfile.gettempdir())
        try:
            self.folder = self._make_folder(_place_for(dataset))
            at_once.append(self._drop)
            self._notices = Notices(self.folder)
            if request is None:
                write_dataset(dataset, self.folder)
            else:
                self._put(REQUEST, asdict(request))
            self._cells = new_control_cells(self.folder, workers)
            os.mkfifo(self.folder / BELL, 0o600)
            self._bell = os.open(self.folder / BELL, os.O_RDWR | os.O_NONBLOCK)
            self._start()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()

    def _make_folder(self, place: str | None) -> Path:
        """Make a folder that goes when the job does."""
        try:
            with uninterrupted():
                folder, self._locks[folder] = make_folder(place)
        except OSError as error:
            problem = f"there is no place for the files of a job ({error.strerror or error})"
            raise OutputError(f"{problem}; TMPDIR can name a folder that can be written") from error
        return folder

    def _memory(self) -> Path | None:
        """Return the folder for memory that the workers share; None if there is no place for it."""
        if str(self.folder).startswith(_MEMORY):
            return self.folder
        return self._make_folder(_MEMORY) if os.access(_MEMORY, os.W_OK) else None

    def _put(self, name: str, record: Any) -> None:
        """Write a file that the workers wait for, whole, and that no other user can read."""
        write_whole(self.folder / name, json.dumps(record, default=str).encode())
        with contextlib.suppress(OSError):
            (self.folder / name).chmod(0o600)

    def _start(self) -> None:
        """Start all processes and wait until they have the data."""
        with uninterrupted():
            # -P: nothing is imported from the current folder.
            program = [sys.executable, "-P", "-m", WORKER, str(self.folder)]
            self.launcher.start(program, self.folder, self._memory)
        ready = self._wait_for("ready.json", _START_SECONDS, self.launcher.keep_to_itself, chosen_patience())
        self.launcher.keep_to_itself()
        self.launcher.pids = [process["pid"] for process in ready]
        for path in self.folder.glob("*.npy"):  # all have mapped or read the data, which now end with the processes
            path.unlink()

    def run(self, plan: Plan, progress: Progress | None = None, callbacks: Sequence[Callback] = ()) -> TrainingResult:
        """Carry out a plan for this job's number of workers; see `manyhands.training.run.run`.

        Callbacks receive rank 0's events. One that works inside the workers, which are other processes, is a
        SettingsError. After any other error, and after Ctrl-C, the job is over.
        """
        if plan.workers != self.workers or self.lost:
            raise ValueError(f"a plan for {plan.workers} workers in a job of {self.workers - self.lost}")
        refuse_worker_callbacks(callbacks)
        events = EventTail(events_file(self.folder, self._runs), callbacks)
        try:
            self._cells[:] = 0
            patience = chosen_patience() if plan.hang_timeout is None else plan.hang_timeout
            order = {**plan.portable().to_json(), "hang_timeout": patience, GRANULARITY: finest(callbacks)}
            order[SURVIVES] = self.survives
            self._put(f"order-{self._runs}.json", order)
            watch = watch_over(controls_in(self._cells), plan)

            def tick() -> None:
                events.pass_on()
                watch.look()
                if progress is not None:
                    progress(int(self._cells[self._there(), 0].min()))

            with lost_folder_explained(self.folder, f"the job of {count(self.workers, 'process')}"):
                record = self._wait_for(f"result-{self._runs}.json", None, tick, patience)
                events.pass_on()
        except BaseException as error:
            asked = isinstance(error, KeyboardInterrupt) and plan.reliability.folder is not None
            suspended = self._own_end() if asked else None
            self.kill()
            with contextlib.suppress(Exception):
                events.pass_on()  # what happened before the end
            if suspended is not None:
                raise type(error)(suspended) from None
            raise
        finally:
            events.close()
        learner = result_of(plan, self.dataset)
        with np.load(self.folder / f"model-{self._runs}.npz", allow_pickle=False) as vectors:
            if isinstance(learner, SumLearner):
                learner.load_weights(vectors)
            else:
                learner.parameters[:], learner.buffers[:] = vectors["parameters"], vectors["buffers"]
        model = model_of(learner, plan, self.dataset)
        self._runs += 1
        self.dataset.note_changes()  # the job has copies, which were checked when it began
        return TrainingResult(plan=plan, model=model, **record)

    def _own_end(self) -> str | None:
        """Ask the workers to write down where they are, and to end; return what they say, or None if they have not."""
        deadline = time.monotonic() + ASKED_SECONDS
        self._cells[:, _ENDING] = 1
        over = False
        while time.monotonic() < deadline and not over:
            over = self.launcher.is_over()  # before the last look at what they have written
            for path in self.folder.glob("error-*.json"):
                if isinstance(error := revive(json.loads(path.read_text())), Suspended):
                    return str(error)
            self._listen()
        return None

    @property
    def is_over(self) -> bool:
        """Whether it can carry out no more plans."""
        return self._ended or self.lost > 0

    @property
    def lost(self) -> int:
        """The number of workers that are lost, in a job that goes on without them; then it has no other run."""
        return self.workers - sum(self._there()) if self.survives else 0

    def _there(self) -> list[bool]:
        """Return of each worker whether it is there; all are where a loss would end the job."""
        gone = [self.survives and startup_watchdog.is_gone(pid) for pid in self.launcher.pids]
        return [True] * self.workers if all(gone) else [not each for each in gone]

    def close(self) -> None:
        """End the job in good order."""
        with uninterrupted():
            with contextlib.suppress(OutputError):
                self._put(f"order-{self._runs}.json", None)
            self.launcher.await_end(_END_SECONDS)
            self.kill()

    def kill(self) -> None:
        """End the job at once, and leave no process and no file of it."""
        self._ended = True
        with uninterrupted():
            self.launcher.terminate()
            self.launcher.await_end(_END_SECONDS)
            self._drop()
            self.launcher.bury()
            if self._bell is not None:
                os.close(self._bell)
                self._bell = None
            with contextlib.suppress(ValueError):
                at_once.remove(self._drop)

    def _drop(self) -> None:
        """Kill all processes and remove all files."""
        if self._locks:
            self.launcher.kill()
        while self._locks:
            folder, lock = self._locks.popitem()
            end_processes(folder)  # mpiexec ends its processes itself, unless mpiexec was killed
            remove(folder)
            lock.close()

    def _wait_for(self, name: str, seconds: float | None, tick: Callable[[], None], patience: float | None) -> Any:
        """Return the content of a file that the job will write; an error if the job ends, or the seconds do, before.

        ``patience`` is that with stopped processes.
        """
        path, began, failed = self.folder / name, time.monotonic(), 0.0
        stopped = _Stopped(self.folder, self.launcher, patience, ends=self.survives and bool(self.launcher.pids))
        while not path.exists():
            now = time.monotonic()
            check()
            if self.launcher.is_over() and not path.exists():
                raise self._failure()
            tick()
            self._notices.say()
            if not failed and any(self.folder.glob("error-*.json")):
                failed = now
            if failed and now - failed > _END_SECONDS:  # mpiexec, which should end the job, does not
                raise self._failure()
            stopped.look(now)
            if seconds is not None and now - began > seconds:
                raise ManyhandsError(f"the job has not come up within {seconds:.0f} s{self.launcher.said(self.folder)}")
            self._listen()
        self._notices.say()
        return json.loads(path.read_text())

    def _listen(self) -> None:
        """Sleep until a worker rings, or for a moment: looking often would take cores from the workers."""
        assert self._bell is not None
        if select.select([self._bell], [], [], _LOOK_SECONDS)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._bell, 4096)

    def _failure(self) -> ManyhandsError:
        """Return why the job has ended: what a worker wrote about it, or what its launcher knows."""
        reports = [json.loads(path.read_text()) for path in sorted(self.folder.glob("error-*.json"))]
        lost = [report for report in reports if report["type"] == "WorkerLost"]
        known = [report for report in reports if report not in lost]  # those that know the cause come first
        if known:
            return revive(known[0])
        return self.launcher.cause(self.folder) or (revive(lost[0]) if lost else self.launcher.end(self.folder))


class _Stopped:
    """Looks every few seconds whether a process of a job is stopped, which nothing else may notice.

    ``ends`` says whether such a worker is killed, so that the job goes on without it.
    """

    def __init__(self, folder: Path, launcher: Launcher, patience: float | None, *, ends: bool) -> None:
        self._ends = ends
        self._folder, self._launcher = folder, launcher
        self._patience = patience or startup_watchdog.STOPPED_SECONDS
        self._looked = time.monotonic()
        self._seen: dict[int, float] = {}

    def look(self, now: float) -> None:
        """Raise WorkerLost if a worker has been stopped for too long, or mpiexec while it is to start them."""
        if now - self._looked < _STOPPED_LOOK_SECONDS:
            return
        self._looked = now
        pids = self._launcher.pids or processes(self._folder)
        self._seen = {pid: self._seen.get(pid, now) for pid in pids if startup_watchdog.is_stopped(pid)}
        for pid, since in self._seen.items():
            if now - since < self._patience:
                continue
            if not (self._ends and pid in self._launcher.pids):
                raise self._lost(pid, now - since)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _lost(self, pid: int, seconds: float) -> ManyhandsError:
        words = (
            f"has been stopped for {seconds:.0f} s (SIGSTOP or Ctrl-Z; MANYHANDS_HANG_TIMEOUT sets another patience)"
        )
        workers = self._launcher.pids
        rank = workers.index(pid) if pid in workers else startup_watchdog.rank_of(pid)
        lost = WorkerLost(-1 if rank is None else rank, f"(process {pid}) {words}")
        return self._launcher.stopped(pid, words) or lost


def _place_for(dataset: Dataset) -> str | None:
    """Return the folder of files in memory, if the system has one with enough room; None: the usual place."""
    arrays = [array for table in dataset.tables.values() for array in table.arrays().values()]
    needed = 2 * sum(array.nbytes for array in arrays) + (16 << 20)
    try:
        memory = os.statvfs(_MEMORY)
    except OSError:
        return None
    return _MEMORY if memory.f_bavail * memory.f_frsize > needed and os.access(_MEMORY, os.W_OK) else None


def new_control_cells(folder: Path, workers: int) -> Any:
    """Make the shared cells of a job, one line per worker."""
    with open(folder / "cells", "wb", opener=private) as file:
        file.write(bytes(8 * _CELLS_APART * workers))
    return open_cells(folder, workers)


def open_cells(folder: Path, workers: int) -> Any:
    """Map the shared cells, int64 of shape (workers, 8)."""
    shape = (workers, _CELLS_APART)
    return np.asarray(np.memmap(folder / "cells", np.int64, mode="r+", shape=shape))


def controls_in(cells: Any) -> list[Control]:
    """Return every worker's control: all but whether to stop is in the shared cells."""
    return [Control(np.zeros(1, np.int64), line[:1], line[1:3], line[3:4]) for line in cells]
