"""What the workers of a job send to its owner while a run goes on, and when it fails: events and errors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from manyhands.core import errors
from manyhands.core.callbacks import Callback, EventFunction, WorkerCallback, finest, send
from manyhands.core.errors import ManyhandsError, OutOfMemoryError, RankError, SettingsError
from manyhands.core.events import Event, as_record, from_record
from manyhands.core.parameters import rendered
from manyhands.runtime.memory import out_of_memory

if TYPE_CHECKING:
    from manyhands.training.result import TrainingResult


def refuse_worker_callbacks(callbacks: Sequence[Callback]) -> None:
    """Raise SettingsError for callbacks that work inside workers, if these are other processes."""
    for callback in callbacks:
        if isinstance(callback, WorkerCallback):
            name = type(callback).__name__
            raise SettingsError(f"{name} works inside workers, which are other processes: use threads, or mpiexec")


@contextlib.contextmanager
def event_writer(
    path: Path, granularity: Any, leads: Callable[[], bool], *, survives: bool = False
) -> Iterator[list[Callback]]:
    """Yield what writes rank 0's events into a file for the owner, if it asks for any.

    ``leads`` says whether this process is rank 0; in a run that ``survives`` lost workers, it may become that.
    """
    if granularity == "end" or not (survives or leads()):
        yield []
        return
    with contextlib.ExitStack() as opened:
        files: list[IO[str]] = []

        def write(event: Event) -> None:
            if not leads():
                return
            if not files:
                files.append(opened.enter_context(open(path, "a", encoding="ascii", buffering=1)))
            files[0].write(json.dumps(as_record(event)) + "\n")  # in one piece, if this process is killed now

        yield [EventFunction(write, granularity)]


def result_record(result: TrainingResult) -> dict[str, Any]:
    """Return all of a result but its plan and its model, as plain data."""
    return {each.name: getattr(result, each.name) for each in fields(result) if each.name not in ("plan", "model")}


class EventTail:
    """Reads the events that rank 0 writes into a file, and gives them to callbacks.

    If no callback asks for events, there is no file.
    """

    def __init__(self, path: Path, callbacks: Sequence[Callback]) -> None:
        self._path, self._callbacks = path, callbacks
        self._file: IO[str] | None = None
        self._rest = ""
        if finest(callbacks) != "end":
            path.touch()
            self._file = open(path, encoding="ascii")  # noqa: SIM115 - the folder, and all in it, ends with the job

    def pass_on(self) -> None:
        """Give the new events to the callbacks; a line that is not whole yet waits for its end."""
        if self._file is None:
            return
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        callbacks, self._callbacks = self._callbacks, ()  # after one has failed, none is called any more
        for line in lines:
            send(callbacks, from_record(json.loads(line)))
        self._callbacks = callbacks

    def close(self) -> None:
        """End reading; the file goes, too: a long study has many runs, and the folder may be in memory."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._path.unlink(missing_ok=True)


def events_file(folder: Path, run: int) -> Path:
    """Return where rank 0 writes the events of a run, if the owner wants them."""
    return folder / f"events-{run}.jsonl"


def describe(error: BaseException, rank: int) -> dict[str, Any]:
    """Return an error as plain data, for `revive`."""
    if isinstance(error, MemoryError) and not isinstance(error, OutOfMemoryError):
        error = out_of_memory(f"worker {rank}", error)
    if isinstance(error, RankError):  # another rank's: what it has said, as if it were said here
        return {"type": next(iter(RankError.kinds_of(error)), ""), "arguments": [error.problem]}
    name = type(error).__name__
    if not isinstance(error, ManyhandsError):
        return {"type": "WorkerFailed", "arguments": [rank, f"{name}: {error}"]}
    arguments = error.__reduce__()[1]
    plain = isinstance(arguments, tuple) and all(isinstance(value, str | int | float) for value in arguments)
    return {"type": name, "arguments": list(arguments) if plain else [str(error)]}


def revive(record: dict[str, Any]) -> ManyhandsError:
    """Return the error that a worker has described."""
    kind = getattr(errors, str(record.get("type")), ManyhandsError)
    if not (isinstance(kind, type) and issubclass(kind, ManyhandsError)):
        kind = ManyhandsError
    return kind(*(rendered(each) if isinstance(each, str) else each for each in record["arguments"]))
