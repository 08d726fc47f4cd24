"""A pool of workers for independent tasks, which are assigned dynamically.

This is the coarsest level of parallelism of Pethick et al. (2003), training sessions: only a task's number and its
result, one text, are exchanged. Workers are threads of this process, or the processes of its job.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from manyhands.core.checks import whole
from manyhands.core.errors import ManyhandsError, SettingsError
from manyhands.core.parameters import parameter
from manyhands.runtime.affinity import warn_if_oversubscribed
from manyhands.studies.base.workers import number_of_workers
from manyhands.teams.job import check_size, check_started_once, is_member, job_size
from manyhands.teams.registry import CHOICES, kind_of

if TYPE_CHECKING:
    from manyhands.teams.world import World

Task = Callable[[int], str]
"""Performs the task with a number and returns its result; called in a worker."""
Deliver = Callable[[int, str], None]
"""Takes the result of a task, one at a time, in the order in which they are done."""

_LOOK_SECONDS = 0.2
_POLL_SECONDS = 0.005
_REPORT, _ORDER = 3, 4
_NOTHING = -1


def map_unordered(
    team: str,
    workers: int,
    tasks: Sequence[int],
    work: Task,
    deliver: Deliver,
    stop: Callable[[], None],
) -> None:
    """Perform all tasks, given by their numbers, the longest first.

    In a job every process calls this with the same tasks, and ``deliver`` is called on rank 0. ``stop`` is called
    when a task has failed, or on Ctrl-C: tasks that run in this process shall end.

    Raises
    ------
    Exception
        The first error of a task, or of ``deliver``; WorkerLost if another process is gone.
    """
    if kind_of(team).processes:
        from manyhands.teams.membership import join

        _map_over_job(join(), tasks, work, deliver, stop)
    else:
        _map_over_threads(workers, tasks, work, deliver, stop)


def check_pool(team: str, workers: int | Literal["all"] | None) -> int:
    """Return the number of workers of a pool; raise SettingsError for processes if there is no job of that size."""
    if team not in CHOICES:
        raise SettingsError(f"sessions side by side need the team {' or '.join(CHOICES)}, not {team!r}")
    check_started_once(team)
    kind = kind_of(team)
    if kind.processes is None:
        number = number_of_workers(workers)
        return 1 if number is None else whole("the number of workers", number, least=1)
    size = job_size() if is_member(team) else None
    if size is None:
        raise SettingsError(
            f"sessions side by side in processes: start them with "
            f"{kind.processes.command.format(number_of_workers(workers) or 2)} ..., "
            f"or leave {parameter('team', team)} out for threads"
        )
    check_size(size, None if isinstance(workers, str) else workers)
    return size


def _map_over_threads(
    workers: int, tasks: Sequence[int], work: Task, deliver: Deliver, stop: Callable[[], None]
) -> None:
    """Perform tasks in threads; this thread delivers, and can receive Ctrl-C."""
    from manyhands.teams.launch import begin

    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, str | BaseException]] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    ended = threading.Event()

    def worker_loop() -> None:
        while not ended.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((task, work(task)))
            except BaseException as error:
                done.put((task, error))
                return

    warn_if_oversubscribed(min(workers, len(tasks)))
    threads = [
        threading.Thread(target=worker_loop, name=f"manyhands-session-{number}", daemon=True)
        for number in range(min(workers, len(tasks)))
    ]
    try:
        begin(threads)
        for _ in tasks:
            task, result = _next_done(done)
            if isinstance(result, BaseException):
                raise result
            deliver(task, result)
    except BaseException:
        ended.set()
        stop()
        _join(threads)
        with contextlib.suppress(queue.Empty, ManyhandsError):  # what is finished is not lost; the first error counts
            while True:
                task, result = done.get_nowait()
                if isinstance(result, str):
                    deliver(task, result)
        raise
    _join(threads)


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        if thread.ident is not None:
            thread.join()


def _next_done(done: queue.SimpleQueue[tuple[int, str | BaseException]]) -> tuple[int, str | BaseException]:
    """Wait in short pieces, between which Ctrl-C is noticed."""
    while True:
        try:
            return done.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            continue


def _map_over_job(world: World, tasks: Sequence[int], work: Task, deliver: Deliver, stop: Callable[[], None]) -> None:
    """Perform tasks in all processes; a thread of rank 0, which does some itself, assigns them."""
    server = _TaskServer(world, tasks, deliver, stop) if world.rank == 0 else None
    try:
        last: tuple[int, str] | None = None
        while (task := _ask(world, last) if server is None else server.exchange(last)) != _NOTHING:
            last = task, work(task)
        if server is not None:
            server.finish()
    except BaseException:
        if server is not None:
            server.closed.set()
            server.check()  # its error is the cause of that of a task that was stopped
        raise
    world.barrier()


class _TaskServer:
    """Rank 0's list of the tasks: a thread of rank 0 answers the other processes; see `map_unordered`."""

    def __init__(self, world: World, tasks: Sequence[int], deliver: Deliver, stop: Callable[[], None]) -> None:
        self._world, self._deliver, self._stop = world, deliver, stop
        self._waiting = list(reversed(tasks))
        self._lock = threading.Lock()
        self._busy = world.size - 1  # processes that do not know yet that no task is left
        self._error: BaseException | None = None
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="manyhands-server", daemon=True)
        self._thread.start()

    def exchange(self, done: tuple[int, str] | None) -> int:
        """Take a result, and return the next task's number, or -1."""
        with self._lock:
            self.check()
            if done is not None:
                self._deliver(*done)
            return self._waiting.pop() if self._waiting else _NOTHING

    def check(self) -> None:
        """Raise the error that has ended the thread, if one has."""
        if self._error is not None:
            raise self._error

    def _serve(self) -> None:
        try:
            while self._busy and not self.closed.is_set():
                if not self._answer():
                    time.sleep(_POLL_SECONDS)
        except BaseException as error:
            self._error = error
            self._stop()  # rank 0 must report the error now, and not after its task
            self._world.call_off(0, f"failed: {error}")

    def _answer(self) -> bool:
        """Answer one process, if one has asked."""
        report = self._world.take_text(_REPORT)
        if report is None:
            return False
        source, text = report
        done = json.loads(text)
        task = self.exchange(None if done is None else (int(done[0]), str(done[1])))
        self._world.send_text(str(task), source, _ORDER)
        self._busy -= task == _NOTHING
        return True

    def finish(self) -> None:
        """Wait until every process knows that no task is left."""
        while self._thread.is_alive():
            self._world.check()
            self._thread.join(_LOOK_SECONDS)
        self.check()


def _ask(world: World, done: tuple[int, str] | None) -> int:
    """Report a result to rank 0, and return the next task's number, or -1."""
    world.send_text(json.dumps(done), 0, _REPORT)
    return int(world.await_text(_ORDER))
