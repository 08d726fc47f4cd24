"""The base of all studies: tasks by their keys, one ledger, progress, interruption, and the record at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from manyhands.core.version import __version__
from manyhands.records.seal import write_record
from manyhands.runtime.terminal import Advance
from manyhands.studies.base.ledger import Key, Ledger, Record

Progress = Advance
"""Takes what is running, how much of the study is done, and how much there is."""
Tick = Callable[[float], None] | None
"""Takes how much of a running task is done; None if nobody wants to know."""


def _ignore(_record: Record) -> None:
    """Do nothing with a record."""


@dataclass(frozen=True)
class Task:
    """One run of a study.

    Attributes
    ----------
    key
        What the run is, as plain data: with the study's identity, all that its record depends on.
    name
        What users see while it runs.
    work
        Does the run and returns its record, as plain data.
    collect
        Takes the record, found or new, into the study's outcome.
    size
        How much of the study's size it is.
    """

    key: Key
    name: str
    work: Callable[[Tick], Record]
    collect: Callable[[Record], None] = _ignore
    size: float = 1


@dataclass
class Outcome(ABC):
    """What a study has come to so far.

    Attributes
    ----------
    environment, settings
        What was run on what.
    interrupted
        Whether runs are missing.
    resumed
        Whether runs of an earlier attempt were taken over; then times come from more than one session.
    """

    environment: dict[str, Any]
    settings: dict[str, Any]
    interrupted: bool = field(default=False, kw_only=True)
    resumed: bool = field(default=False, kw_only=True)

    def head(self) -> dict[str, Any]:
        """Return the part of the record that all studies have."""
        found = {"environment": self.environment, "settings": self.settings, "interrupted": self.interrupted}
        return {**found, "resumed": True} if self.resumed else found

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""

    def save(self, path: str | Path) -> None:
        """Write :meth:`record` as JSON with a checksum, whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        write_record(path, self.record())


Found = TypeVar("Found", bound=Outcome)


class Study(ABC, Generic[Found]):
    """A study, which runs once: what is finished is in :attr:`outcome` at any time.

    Parameters
    ----------
    outcome
        Empty.
    checkpoint
        A file in which finished runs are kept; what it has already is not done again.

    Raises
    ------
    SettingsError
        If the file is the checkpoint of another study.
    FormatError, OutputError
        If it is none, or cannot be written.
    """

    kind: ClassVar[str]
    """What the study is called in its checkpoint."""
    unit: ClassVar[str] = "runs"
    """What :attr:`size` is counted in, in the plural."""

    def __init__(self, outcome: Found, checkpoint: str | Path | None = None) -> None:
        self.outcome, self.checkpoint = outcome, checkpoint
        if checkpoint is not None:
            self._ledger().close()  # fail fast: validate the checkpoint before training

    @property
    @abstractmethod
    def size(self) -> float:
        """How much there is to do."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return, as plain data, all that the record of a run depends on beyond its key."""

    @abstractmethod
    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check that key and record, as read from a checkpoint, are a whole run of this study.

        Raises
        ------
        ValueError, KeyError, TypeError
            If not.
        """

    @abstractmethod
    def perform(self, runner: TaskRunner) -> None:
        """Give all tasks to ``runner``, in their order."""

    @abstractmethod
    def text(self) -> str:
        """Return what is finished as tables."""

    def run(self, progress: Progress | None = None) -> Found:
        """Do all runs that the checkpoint does not have.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs and says that it was interrupted.
        """
        with self._ledger() as ledger:
            return self.run_in(TaskRunner(ledger, self, progress))

    def run_in(self, runner: TaskRunner) -> Found:
        """Do all runs with a runner, such as that of the study of which this one is a part."""
        self.outcome.interrupted = True
        self.perform(runner)
        self.outcome.interrupted = False
        return self.outcome

    def _ledger(self) -> Ledger:
        identity = {"kind": self.kind, "version": __version__, **self.identity()}
        return Ledger(self.checkpoint, identity, self.check)


class TaskRunner:
    """Runs the tasks of a study, except those that its ledger has.

    Parameters
    ----------
    ledger
        Open.
    study
        Whose tasks they are.
    progress
        See :data:`Progress`.
    part
        What all keys of this study begin with, if it is a part of another one; ``"part"`` is its name.
    """

    def __init__(
        self, ledger: Ledger, study: Study[Any], progress: Progress | None = None, part: Key | None = None
    ) -> None:
        self._ledger, self._study, self._progress, self._part = ledger, study, progress, part or {}
        self._done = 0.0

    def part(self, name: str, study: Study[Any], **chosen: Any) -> TaskRunner:
        """Return what runs the tasks of a part, with a progress of its own.

        Parameters
        ----------
        name
            Of the part.
        study
            Whose tasks they are.
        **chosen
            What earlier parts have decided about this one.
        """
        return TaskRunner(self._ledger, study, self._progress, {"part": name, **chosen})

    def run(self, task: Task) -> Record:
        """Return the record of a task, done now or before."""
        record = self.find(task)
        if record is None:
            self.show(task)
            record = task.work(None if self._progress is None else lambda done: self.show(task, done))
            self.add(task, record)
        return record

    def find(self, task: Task) -> Record | None:
        """Return and collect the record of a task that is done, or return None."""
        key = self._key(task)
        record = self._ledger.get(key)
        if record is not None:
            self._study.outcome.resumed |= self._ledger.is_earlier(key)
            task.collect(record)
            self._finish(task)
        return record

    def add(self, task: Task, record: Record) -> None:
        """Write down and collect the record of a task.

        Raises
        ------
        OutputError
            If the checkpoint cannot be written.
        """
        self._ledger.add(self._key(task), record, lambda: task.collect(record))
        self._finish(task)

    def show(self, task: Task, done: float = 0) -> None:
        """Show that a task is running, and how much of it is done."""
        if self._progress is not None:
            name = f"{self._part['part']}: {task.name}" if self._part else task.name
            self._progress(name, self._done + done, self._study.size)

    def _key(self, task: Task) -> Key:
        return {**self._part, **task.key}

    def _finish(self, task: Task) -> None:
        self._done += task.size
        self.show(task)
