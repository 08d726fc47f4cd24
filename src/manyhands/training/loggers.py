"""Live logs that other tools can read: lines of JSON, and TensorBoard's event files.

A log is called with a plan when its run begins, and gives the callback for this run. Only rank 0's events are written,
those of epochs and measurements unless rounds are asked for. A log that cannot be written any more costs no run, which
is worth more: it ends, a message says so, and it is an error at the end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyhands.core.callbacks import Callback
from manyhands.core.errors import ManyhandsError, OutputError, SettingsError, joined, shown
from manyhands.core.events import EpochEnded, Event, Granularity, Measured, RoundHeld, as_record
from manyhands.core.extras import install
from manyhands.core.parameters import parameter
from manyhands.runtime import signals
from manyhands.runtime.atomic_files import make_output_folder, open_in_place
from manyhands.training.plan import Plan
from manyhands.training.result import TrainingResult

if TYPE_CHECKING:
    from tensorboard.summary.writer.record_writer import RecordWriter


RunLog = Callable[[Plan], AbstractContextManager[Callback]]
"""Called when a run begins; the context ends with the run."""


class RunLogger(Callback):
    """Writes the log of one run."""

    def close(self) -> None:
        """Write no more."""


class _NoLogger(Callback):
    granularity: Granularity = "end"


@contextlib.contextmanager
def no_log(_plan: Plan) -> Iterator[Callback]:
    """Log nothing."""
    yield _NoLogger()


class Logs:
    """Several logs as one; use it in a ``with`` statement.

    Parameters
    ----------
    jsonl
        File for lines of JSON, one for each event, appended as they happen; None for none. An older file is replaced
        when the first run begins.
    tensorboard
        Folder for TensorBoard's event files, one folder in it for each run, behind earlier runs; None for none.
    rounds
        Whether every round is logged, too. Rounds are then no longer held inside compiled code where it would hold
        several in one epoch, which takes time.

    Raises
    ------
    OutputError
        If they cannot be written: now, when the first run begins or, if that shows later, at the end of the ``with``
        statement.
    SettingsError
        If tensorboard is not installed, or rounds are to be logged and there is no log.
    """

    def __init__(
        self, jsonl: str | Path | None = None, tensorboard: str | Path | None = None, *, rounds: bool = False
    ) -> None:
        if rounds and jsonl is None and tensorboard is None:
            raise SettingsError(
                f"{parameter('log_rounds')} says what goes into a log, and there is none: add {parameter('log')} or "
                f"{parameter('tensorboard')}, or leave it out"
            )
        self._granularity: Granularity = "round" if rounds else "epoch"
        self._folder = None if tensorboard is None else _check_tensorboard(tensorboard)
        self._first = 0 if self._folder is None else _next_number(self._folder)
        self._lines = None if jsonl is None else _Lines(jsonl)
        self._runs = 0
        self._failures: list[ManyhandsError] = []

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_failure: object) -> None:
        if self._lines is not None:
            self._lines.close()
        if kind is None and self._failures and signals.heard() is None:
            raise joined(self._failures)

    @contextlib.contextmanager
    def __call__(self, plan: Plan) -> Iterator[Callback]:
        """Log a run."""
        number, self._runs = self._runs, self._runs + 1
        logger = CompositeLogger(self._granularity, self._give_up)
        try:
            for lines, begin in ((True, self._begin_lines), (False, self._begin_board)):
                try:
                    logger.parts.extend(begin(number, plan))
                except OutputError as error:
                    if number == 0:  # nothing is lost yet
                        raise
                    self._give_up(lines, error)
            yield logger if logger.parts else _NoLogger()
        finally:
            for part in logger.parts:
                part.close()

    def _begin_lines(self, number: int, plan: Plan) -> list[RunLogger]:
        return [] if self._lines is None else [JsonlLogger(self._lines, number, plan)]

    def _begin_board(self, number: int, plan: Plan) -> list[RunLogger]:
        if self._folder is None:
            return []
        return [TensorBoardLogger(self._folder / _run_name(self._first + number, plan))]

    def _give_up(self, lines: bool, error: OutputError) -> None:
        """Write a log no more, and say why."""
        self._failures.append(error)
        if lines and self._lines is not None:
            self._lines.close()
            self._lines = None
        elif not lines:
            self._folder = None
        logging.getLogger("manyhands").warning("note: %s; the training goes on, and this log ends here", error)


def _run_name(number: int, plan: Plan) -> str:
    """Return the folder of a run, such as ``003-periodic-1epoch-n2-seed0``."""
    strategy = re.sub(r"[^A-Za-z0-9.]+", "-", plan.label)  # "@", "%" and spaces are for no file name
    return f"{number:03}-{strategy}-n{plan.workers}-seed{plan.seed}"


class CompositeLogger(RunLogger):
    """Several logs of one run; if one cannot be written any more, the others go on.

    ``give_up`` is called when a log has failed: with whether it is the one of JSON lines, and the error.
    """

    def __init__(self, granularity: Granularity, give_up: Callable[[bool, OutputError], None]) -> None:
        self.granularity = granularity
        self.parts: list[RunLogger] = []
        self._give_up = give_up

    def notify(self, event: Event) -> None:
        """Write an event of rank 0."""
        if event.rank == 0:
            self._write(lambda part: part.notify(event))

    def end(self, result: TrainingResult) -> None:
        """Write the result."""
        self._write(lambda part: part.end(result))

    def _write(self, write: Callable[[RunLogger], None]) -> None:
        for part in list(self.parts):
            try:
                write(part)
            except OutputError as error:
                self.parts.remove(part)
                part.close()
                self._give_up(isinstance(part, JsonlLogger), error)


class _Lines:
    """A file of JSON lines. Each is written in one call, so that a program that reads along sees whole lines."""

    def __init__(self, path: str | Path) -> None:
        self._path, self._lock, self._length = path, threading.Lock(), 0
        self._file = open_in_place(path, os.O_WRONLY | os.O_APPEND)
        self._ordinary = stat.S_ISREG(os.fstat(self._file).st_mode)

    def write(self, record: dict[str, Any]) -> None:
        line = (json.dumps({"time": round(time.time(), 6), **record}, allow_nan=False) + "\n").encode()
        with self._lock:
            try:
                self._cut()  # what an older log has left
                written = os.write(self._file, line)
                if written < len(line):
                    self._cut()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise OutputError(f"cannot write {shown(self._path)}: {error.strerror or error}") from error
            self._length += written

    def _cut(self) -> None:
        """Forget what stands behind the last whole line; a pipe or a terminal has nothing to forget."""
        if self._ordinary:
            os.ftruncate(self._file, self._length)

    def close(self) -> None:
        os.close(self._file)


class JsonlLogger(RunLogger):
    """One run in a file of JSON lines."""

    def __init__(self, lines: _Lines, number: int, plan: Plan) -> None:
        self._lines, self._run = lines, number
        self._write("begin", plan.facts())

    def _write(self, event: str, record: dict[str, Any]) -> None:
        self._lines.write({"run": self._run, "event": event, **record})

    def notify(self, event: Event) -> None:
        """Write a line."""
        record = as_record(event)
        self._write(record.pop("event"), record)

    def end(self, result: TrainingResult) -> None:
        """Write the last line."""
        self._write(
            "end",
            {
                "accuracy": result.accuracy,
                "steps": result.steps,
                "rounds": result.rounds,
                "seconds": result.seconds,
                **({"learner": result.reports} if any(result.reports) else {}),
            },
        )


def _check_tensorboard(folder: str | Path) -> Path:
    """Return the folder for event files, made if need be."""
    _import_tensorboard()
    path = make_output_folder(folder)
    if not os.access(path, os.W_OK):
        raise OutputError(f"cannot write into {shown(path)}: no permission")
    return path


def _next_number(folder: Path) -> int:
    """Return the number of the next run's folder, behind those that are there."""
    numbers = [int(first) for path in folder.iterdir() if (first := path.name.split("-")[0]).isdigit()]
    return max(numbers, default=-1) + 1


def _import_tensorboard() -> tuple[type[RecordWriter], Any, Any]:
    """Import what writes event files, which needs no TensorFlow."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise SettingsError(
            f"TensorBoard's event files need the package tensorboard ({error}); {install('tensorboard')}"
        ) from error
    return RecordWriter, event_pb2, summary_pb2


class TensorBoardLogger(RunLogger):
    """One run as TensorBoard shows it: scalars over steps.

    Events are written here and now, and not by the thread of TensorBoard's own writer: a full disk is then noticed
    at once.
    """

    def __init__(self, folder: Path) -> None:
        writer, self._events, self._summaries = _import_tensorboard()
        self._folder = folder
        now = time.time()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if folder.is_symlink():  # the number is new, so somebody has just put it there
                raise OutputError(f"cannot write into {shown(folder)}: it is a link; remove it")
            name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
            self._file = open(folder / name, "xb")  # noqa: SIM115 - open as long as the run
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"cannot write into {shown(folder)}: {error.strerror or error}") from error
        self._writer = writer(self._file)
        self._write(self._events.Event(wall_time=now, file_version="brain.Event:2"))

    def notify(self, event: Event) -> None:
        """Write scalars."""
        if isinstance(event, EpochEnded):
            self._scalars(event.step, {"loss/epoch": event.loss, "rounds": event.rounds})
        elif isinstance(event, RoundHeld):
            self._scalars(event.step, {"loss/round": event.loss})
        elif isinstance(event, Measured):
            found = {"test/loss": event.loss, "test/accuracy": event.accuracy, "seconds/train": event.train_s}
            self._scalars(event.step, found)

    def end(self, result: TrainingResult) -> None:
        """Write accuracy and seconds."""
        seconds = {f"seconds/{name}": result.seconds[name] for name in ("train", "compute", "communicate", "merge")}
        self._scalars(result.steps, {"accuracy": result.accuracy, **seconds})

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        summary = self._summaries.Summary(
            value=[self._summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        self._write(self._events.Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Any) -> None:
        try:
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as error:
            raise OutputError(f"cannot write into {shown(self._folder)}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # what failed has been reported already
            self._file.close()
