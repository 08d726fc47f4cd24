"""The base of all studies: tasks by their keys, one ledger, progress, interruption, and the record at the end."""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from manyhands.core.errors import TrainingWarning
from manyhands.core.html import grid
from manyhands.core.version import __version__
from manyhands.core.words import count
from manyhands.data.dataset import Dataset
from manyhands.records.seal import write_record
from manyhands.reports import headline
from manyhands.reports.schema import complete, has_reports
from manyhands.reports.tables.registry import make_tables
from manyhands.runtime.terminal import BRIEF, Advance, Detail
from manyhands.studies.base.ledger import Key, Ledger, Record

Progress = Advance
"""Called with the name of the running task, the part of the study's size that is done, and the size."""
Finished = Callable[[str, "Record"], None]
"""Called with the name and the record of each task that has just been done."""
Tick = Callable[[float], None] | None
"""Called with the part of a running task that is done; None if it is not shown."""

_MOST_PROBLEMS = 3


@dataclass(frozen=True)
class Task:
    """One run of a study.

    Attributes
    ----------
    key
        With the study's identity, all that its record depends on, as plain data.
    name
        The name that users see while it runs.
    work
        Does the run and returns its record, as plain data.
    collect
        Adds the record, found or new, to the study's outcome.
    size
        Its part of the study's size.
    """

    key: Key
    name: str
    work: Callable[[Tick], Record]
    collect: Callable[[Record], None] = lambda _record: None
    size: float = 1


@dataclass(repr=False)
class Outcome(ABC):
    """The results of a study so far.

    Attributes
    ----------
    environment, settings
        The machine with its versions, and all that was set or chosen.
    interrupted
        Whether runs are missing.
    resumed
        Whether runs of an earlier attempt were taken over; then times come from more than one session.
    """

    environment: dict[str, Any]
    settings: dict[str, Any]
    interrupted: bool = field(default=False, kw_only=True)
    resumed: bool = field(default=False, kw_only=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.summary_text()}{', interrupted' if self.interrupted else ''})"

    def _repr_html_(self) -> str:
        record = self._for_reports()
        if record is None:
            return f"<p>{escape(repr(self))}</p>"
        tables = [grid(each.title, each.columns, each.rows, each.marked, each.note) for each in make_tables(record)]
        answers = [f"<p><b>{escape(question)}</b> {escape(reply)}</p>" for question, reply in headline.answers(record)]
        return "".join([*answers, *tables, self.curves_html()])

    def answer(self) -> str:
        """Return the main question of the study, and its answer; nothing if it answers none."""
        record = self._for_reports()
        return "" if record is None else " ".join(headline.answers(record)[0])

    def _for_reports(self) -> Record | None:
        """Return the record as reports take it; None if there are none of its kind."""
        record = json.loads(json.dumps(self.record()))
        return complete(record) if has_reports(record) else None

    def summary_text(self) -> str:
        """Return what has been done, in a few words."""
        return str(self.settings["data"]["name"]) if "data" in self.settings else "results"

    def curves_html(self) -> str:
        """Return curves for notebooks, if there are any."""
        return ""

    def head(self) -> dict[str, Any]:
        """Return the part of the record that all studies have."""
        found = {"environment": self.environment, "settings": self.settings, "interrupted": self.interrupted}
        return {**found, "resumed": True} if self.resumed else found

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""

    def finished(self) -> Sequence[tuple[str, Record]]:
        """Return the finished runs, each with the name of its group (all its seeds, say)."""
        return []

    def problems(self) -> list[str]:
        """Return a sentence for each group of runs in which some came to nothing; see `manyhands.training.outcome`."""
        groups: dict[str, list[str | None]] = {}
        for name, record in self.finished():
            groups.setdefault(name, []).append(record.get("problem"))
        wrong = {name: [text for text in found if text] for name, found in groups.items()}
        texts = [
            f"{name}, {len(found)} of {count(len(groups[name]), 'run')}: {found[0]}"
            for name, found in wrong.items()
            if found
        ]
        if (rest := len(texts) - _MOST_PROBLEMS) > 0:
            more = f"in runs of {rest:,} more, too, the model has learned nothing, or become worse"
            return [*texts[:_MOST_PROBLEMS], more]
        return texts

    def save(self, path: str | Path) -> None:
        """Write :meth:`record` as JSON with a checksum, whole or not at all (then OutputError)."""
        write_record(path, self.record())


Found = TypeVar("Found", bound=Outcome)


class Study(ABC, Generic[Found]):
    """A study, which runs once; all finished runs are in :attr:`outcome` at any time.

    Parameters
    ----------
    outcome
        Empty.
    checkpoint
        A file in which finished runs are kept; those that it has already are not done again, whatever else is asked
        for.

    Raises
    ------
    SettingsError
        If any of the runs is not possible, or the file is the checkpoint of another study; before the first one starts.
    FormatError, OutputError
        If the file is no checkpoint, or cannot be written.
    """

    kind: ClassVar[str]
    """The study's name in its checkpoint."""
    unit: ClassVar[str] = "runs"
    """The unit of :attr:`size`, in the plural."""
    answers: ClassVar[bool] = True
    """Whether a record of the study answers a question; see `manyhands.reports.headline`."""
    dataset: Dataset
    """The samples that it trains on."""

    def __init__(self, outcome: Found, checkpoint: str | Path | None = None) -> None:
        self.outcome, self.checkpoint = outcome, checkpoint
        if checkpoint is not None:
            self._ledger().close()  # fail fast: validate the checkpoint before training

    @property
    @abstractmethod
    def size(self) -> float:
        """The size of all runs together, in :attr:`unit`."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return, as plain data, all that the record of a run depends on beyond its key."""

    @abstractmethod
    def check(self, key: Key, record: Mapping[str, Any]) -> None:
        """Check a run that was read from a checkpoint; see :data:`manyhands.studies.base.ledger.Check`."""

    @abstractmethod
    def perform(self, runner: TaskRunner) -> None:
        """Give all tasks to ``runner``, in their order."""

    @abstractmethod
    def text(self, detail: Detail = BRIEF) -> str:
        """Return what is finished as tables."""

    def run(self, progress: Progress | None = None, finished: Finished | None = None) -> Found:
        """Do all runs that the checkpoint does not have.

        Warns
        -----
        TrainingWarning
            If runs have come to nothing; see `Outcome.problems`.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; :attr:`outcome` then holds the finished runs and says that it was interrupted.
        """
        with self._ledger() as ledger:
            found = self.run_in(TaskRunner(ledger, self, progress, finished=finished))
        for text in found.problems():
            warnings.warn(text, TrainingWarning, stacklevel=3)
        return found

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

    If the study is a part of another one, ``part`` is the beginning of all its keys, with its name as ``"part"``.
    """

    def __init__(
        self,
        ledger: Ledger,
        study: Study[Any],
        progress: Progress | None = None,
        part: Key | None = None,
        finished: Finished | None = None,
    ) -> None:
        self._ledger, self._study, self._progress, self._part = ledger, study, progress, part or {}
        self._finished = finished
        self._done = 0.0

    def part(self, name: str, study: Study[Any], **chosen: Any) -> TaskRunner:
        """Return a runner for the tasks of a part, with a progress of its own; ``chosen`` are the results of others."""
        return TaskRunner(self._ledger, study, self._progress, {"part": name, **chosen}, self._finished)

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
        """Collect the record of a task, and write it into the checkpoint, or raise OutputError."""
        self._ledger.add(self._key(task), record, lambda: task.collect(record))
        if self._finished is not None:
            self._finished(self._name(task), record)
        self._finish(task)

    def show(self, task: Task, done: float = 0) -> None:
        """Show that a task is running, and how much of it is done."""
        if self._progress is not None:
            self._progress(self._name(task), self._done + done, self._study.size)

    def _name(self, task: Task) -> str:
        return f"{self._part['part']}: {task.name}" if self._part else task.name

    def _key(self, task: Task) -> Key:
        return {**self._part, **task.key}

    def _finish(self, task: Task) -> None:
        self._done += task.size
        self.show(task)
