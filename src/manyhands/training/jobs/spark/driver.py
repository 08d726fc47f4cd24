"""The driver's side of a job: one barrier stage, started again if Spark loses a task of it."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from manyhands.core.callbacks import Callback, CallbackLike, as_callbacks, finest, finish, send
from manyhands.core.checks import whole
from manyhands.core.errors import ManyhandsError, SettingsError, WorkerFailed, WorkerLost
from manyhands.core.events import Event, Granularity, from_record
from manyhands.core.extras import require
from manyhands.core.parameters import parameter
from manyhands.core.settings import ALL
from manyhands.training.jobs.exchange import refuse_worker_callbacks, revive
from manyhands.training.jobs.folder import temporary_folder
from manyhands.training.jobs.spark.files import EVENTS, MODEL, RESULT
from manyhands.training.jobs.spark.frames import prepared
from manyhands.training.jobs.spark.session import collected
from manyhands.training.jobs.spark.task import MARK, SCHEMA, run_task
from manyhands.training.loading import load_model
from manyhands.training.plan import Plan
from manyhands.training.reliability import ReliabilitySettings
from manyhands.training.result import TrainingResult
from manyhands.training.spec import RunSpec

TEAM = "spark"
DEFAULT_RESTARTS = 3
_FEW_SLOTS = "SPARK-24819"
_LOST = re.compile(
    r"(ExecutorLostFailure[^\n]*|Python worker exited unexpectedly[^\n]*|Executor heartbeat timed out[^\n]*"
    r"|Remote RPC client disassociated[^\n]*|worker lost[^\n]*)"
)
_PYTHON_ERROR = re.compile(r"^[A-Za-z_.]+(?:Error|Exception): [^\n]+$(?=\n\s*\n|\n\tat)", re.M)
_JAVA_ERROR = re.compile(r"^(?:: |Caused by: )?org\.apache\.spark\.\S*Exception: [^\n]+", re.M)
_MOST_SHOWN = 300


@dataclass(frozen=True)
class Outcome:
    """What a job has come to.

    Attributes
    ----------
    result
        As of any run.
    data
        The facts of `Dataset.describe`.
    events
        Rank 0's.
    """

    result: TrainingResult
    data: dict[str, Any]
    events: list[Event]

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Outcome:
        """Return what the files of the first worker say."""
        described = json.loads(files[RESULT])
        with temporary_folder() as folder:
            (folder / MODEL).write_bytes(files[MODEL])
            model = load_model(folder / MODEL)
        result = TrainingResult(plan=Plan.from_json(described["plan"]), model=model, **described["result"])
        lines = files.get(EVENTS, b"").decode("ascii").splitlines()
        return cls(result, described["data"], [from_record(json.loads(line)) for line in lines])

    def send(self, callbacks: Sequence[Callback]) -> None:
        """Give the events to callbacks, which would have received them on the way."""
        for event in self.events:
            send(callbacks, event)


@dataclass(frozen=True)
class SparkJob:
    """What is trained, and on which rows.

    Attributes
    ----------
    train, test : pyspark.sql.DataFrame
        The rows; without ``test``, the accuracy is NaN.
    features
        The columns of the features: one of bytes, lists or vectors, or several of numbers.
    label
        The column of the labels.
    name
        Of the data set, for messages.
    restarts
        How often a stage that has lost a task is started again, at most; None: as often as the spec says. It goes on
        from the checkpoints of the spec, in a folder that all executors share, or begins anew if there are none.
    given
        Classes and scaling, if they are not to be found in the rows: then labels are class numbers, and features are as
        they are stored; see `manyhands.training.jobs.spark.gathering.Given`.
    """

    train: Any
    test: Any | None
    features: Sequence[str]
    label: str
    name: str = "data"
    restarts: int | None = None
    given: Mapping[str, Any] | None = None

    def run(self, spec: RunSpec, callbacks: Sequence[CallbackLike] = ()) -> TrainingResult:
        """Train; see `manyhands.training.run.run`.

        Callbacks receive rank 0's events when the stage has ended.

        Raises
        ------
        SettingsError, DataError, DivergedError
            As in any run, from whichever task has found it; these are not tried again.
        WorkerLost
            If tasks were lost more often than the stage may be started again.
        """
        called = as_callbacks(callbacks)
        refuse_worker_callbacks(called)
        outcome = self.outcome(spec, finest(called))
        outcome.send(called)
        finish(called, outcome.result)
        return outcome.result

    def outcome(self, spec: RunSpec, granularity: Granularity = "end") -> Outcome:
        """Train, and return rank 0's events of that granularity beside the result; see :meth:`run`."""
        require("pyspark")
        spec = _checked(spec)
        restarts = spec.reliability.max_restarts if self.restarts is None else self.restarts
        whole("max_restarts", restarts, least=0)
        job = {
            "name": self.name,
            "hang_timeout": spec.hang_timeout,
            "granularity": granularity,
            "given": self.given,
            "secret": secrets.token_hex(32),  # it reaches the tasks with Spark's own messages
        }
        cores = self.train.sparkSession.sparkContext.defaultParallelism if spec.workers == ALL else 1
        return Outcome.of(
            self._attempts(job, spec, restarts, cores if spec.workers in (None, ALL) else int(spec.workers))
        )

    def _attempts(self, job: Mapping[str, Any], spec: RunSpec, restarts: int, workers: int) -> dict[str, bytes]:
        """Run the stage, again if it loses a task; return the first worker's files."""
        usual = ReliabilitySettings()
        for attempt in range(restarts + 1):
            again = spec.reliability.changed(on_loss=usual.on_loss, max_restarts=usual.max_restarts, attempt=attempt)
            try:
                return self._stage({**job, "spec": replace(spec, reliability=again).portable().to_json()}, workers)
            except WorkerLost as error:
                if attempt == restarts or (isinstance(error, WorkerFailed) and not spec.reliability.restarts):
                    raise
                logging.getLogger("manyhands").warning(
                    "%s; starting the stage again (%d of %d)", error, attempt + 1, restarts
                )
        raise AssertionError

    def _stage(self, job: Mapping[str, Any], workers: int) -> dict[str, bytes]:
        frame = prepared(self.train, self.test, self.features, self.label, workers)
        stage = frame.mapInArrow(partial(run_task, dict(job)), SCHEMA, barrier=True)
        try:
            pieces = collected(stage)
        except Exception as error:  # of Py4J and Spark, which have no class in common
            raise _explained(error, workers) from error
        files: dict[str, bytes] = {}
        for piece in pieces:
            files[piece["name"]] = files.get(piece["name"], b"") + bytes(piece["content"])
        if RESULT not in files:
            raise ManyhandsError(
                "Spark has returned nothing of the training: is there an error in the executors' logs?"
            )
        return files


def _checked(spec: RunSpec) -> RunSpec:
    """Return the spec with Spark's team; what needs memory in common, or none, is refused by `resolve` in the tasks."""
    if spec.team not in (TEAM, RunSpec().team):
        raise SettingsError(f"on Spark the team is {TEAM}: leave {parameter('team', spec.team)} out")
    if spec.labels is not None:
        raise SettingsError(f"{parameter('labels')} is about CIFAR's files: leave it out")
    if spec.partition is not None:
        raise SettingsError(f"{parameter('partition')} needs all training rows in every process: leave it out on Spark")
    if spec.reliability.continues:
        raise SettingsError(
            f"a barrier stage of Spark ends as a whole: use {parameter('on_loss', 'restart')}, which is what Spark does"
        )
    return spec.changed(team=TEAM)


def _explained(error: Exception, workers: int) -> ManyhandsError:
    """Return what has happened, without Java's stack: what a task says, or what Spark knows of it."""
    text = str(error)
    if MARK in text:
        found, _ = json.JSONDecoder().raw_decode(text[text.index(MARK) + len(MARK) :])
        return revive(found)
    if _FEW_SLOTS in text:
        return SettingsError(
            f"Spark has no {workers} slots (cores of executors) that are free at the same time: use fewer "
            f"{parameter('workers')}, or start more executors"
        )
    if found := _LOST.search(text):
        return WorkerLost(_rank_in(text), f"was lost: {found[0][:_MOST_SHOWN].strip()}")
    found_lines = (
        _PYTHON_ERROR.findall(text) or _JAVA_ERROR.findall(text) or text.splitlines() or [type(error).__name__]
    )
    hint = "; install it in the Python of all executors, too" if "No module named" in found_lines[0] else ""
    return ManyhandsError(f"Spark: {found_lines[0].strip()[:_MOST_SHOWN]}{hint}")


def _rank_in(text: str) -> int:
    """Return the number of the task that Spark names first; -1 if it names none."""
    found = re.search(r"[Tt]ask (?:\(?\d+, )?(\d+)(?:\.\d+)? in stage|ResultTask\(\d+, (\d+)\)", text)
    return -1 if found is None else int(found[1] or found[2])
