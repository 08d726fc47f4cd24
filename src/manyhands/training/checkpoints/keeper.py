"""When a run writes checkpoints, and how it ends when it is asked to: all workers together, at the same step.

Now and then, a few times a second, all workers look together whether a checkpoint is due or one of them has been asked
to end; between two looks the training is as it is without checkpoints. Rank 0 decides, and chooses the step of the next
look. It also counts what checkpoints cost: the time in which workers hand over their states, and the processor time of
writing. Where that would be more than the share of the training time that the user allows, the next one waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from manyhands.core.cadence import Cadence
from manyhands.core.callbacks import Callback
from manyhands.core.errors import Suspended, shown
from manyhands.core.learner import Model
from manyhands.core.parameters import parameter
from manyhands.core.samples import Control
from manyhands.core.team import Team
from manyhands.core.words import count
from manyhands.data.dataset import Dataset
from manyhands.teams.agreement import together
from manyhands.teams.environment import restarts
from manyhands.teams.job import leads
from manyhands.training.checkpoints.folder import CheckpointFolder, Found
from manyhands.training.checkpoints.identity import check_same_run, check_workers, identity_of
from manyhands.training.checkpoints.state import PARAMETERS, State, broadcast_text, for_other_team, gather, scatter
from manyhands.training.checkpoints.writer import Writer
from manyhands.training.plan import Plan, PlannedStage
from manyhands.training.verifying import check_same

_LOOK_SECONDS = 0.25
_FIRST_STEPS = 16
"""Steps before the first look, when nobody knows yet how long a step takes."""
_LEAST_COST, _BYTES_PER_SECOND = 1e-3, 3e8
"""What a checkpoint is expected to cost before one has been written."""


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a run writes checkpoints, and what they belong to.

    Attributes
    ----------
    folder
        Where they are.
    identity
        What they belong to; see `manyhands.training.checkpoints.identity.identity_of`.
    cadence, keep
        How often, and how many remain.
    share
        The largest part of the training time that they may cost.
    source
        Where to go on from; None: at the beginning.
    verify
        Whether what all workers have in common is compared before it is written.
    """

    folder: CheckpointFolder
    identity: dict[str, Any]
    cadence: Cadence
    keep: int
    share: float
    source: CheckpointFolder | None
    verify: bool = False


def checkpoints_of(
    plan: Plan,
    dataset: Dataset,
    start: Mapping[str, NDArray[Any]] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Checkpoints | None:
    """Return where and how often a run writes checkpoints; None if it does not. Called by all workers' processes.

    For ``start`` and ``callbacks`` see `manyhands.training.checkpoints.identity.identity_of`.

    Raises
    ------
    SettingsError
        If there are checkpoints of another run where this one is to write its own.
    OutputError
        If nothing can be written there.
    """
    asked = plan.reliability
    if asked.folder is None:
        return None
    folder = CheckpointFolder(asked.folder)
    source = None if asked.resume is None else CheckpointFolder(asked.resume)
    if (asked.attempt or restarts()) and folder.files():
        source = folder
    with together(plan.team):
        if leads(plan.team):
            folder.make()
            if _is_new(folder, source):
                folder.check_new()
    identity = identity_of(plan, dataset, start, callbacks)
    return Checkpoints(folder, identity, asked.cadence, asked.keep, asked.checkpoint_cost, source, asked.verify)


def _is_new(folder: CheckpointFolder, source: CheckpointFolder | None) -> bool:
    """Return whether a run does not go on from the folder into which it writes."""
    return source is None or source.path.resolve() != folder.path.resolve()


class Course(Protocol):
    """How far a worker has come, as far as the time of a checkpoint depends on it."""

    team: Team
    whole: Team
    plan: Plan
    stage: PlannedStage

    @property
    def learner(self) -> Model:
        """The worker's learner."""

    @property
    def step(self) -> int:
        """Steps taken so far."""

    @property
    def step_in_stage(self) -> int:
        """Steps taken in the present stage."""

    @property
    def epoch(self) -> float:
        """Epochs so far, parts of one included."""

    @property
    def rounds(self) -> int:
        """Rounds held so far."""

    @property
    def syncs_gradients(self) -> bool:
        """Whether every step holds a round between its gradient and its update."""


class Keeper:
    """One worker's part in the checkpoints of its run.

    Parameters
    ----------
    checkpoints
        Where and how often; None: never.
    team_name
        The kind of team, for errors that all processes of a job must hear of.
    control
        Whether the run is asked to end is in its cell ``ending``.

    Attributes
    ----------
    until : int
        The step of the run after which all workers look next.
    incidents : list of dict
        On rank 0, what there is to say about going on, as plain data.
    """

    def __init__(self, checkpoints: Checkpoints | None, team_name: str, control: Control) -> None:
        self._checkpoints, self._team_name, self._control = checkpoints, team_name, control
        self.until = 0 if checkpoints is not None else np.iinfo(np.int64).max
        self.incidents: list[dict[str, Any]] = []
        self._writer = Writer(self._write)
        self._reserved: CheckpointFolder | None = None
        self._began = self._written = time.monotonic()
        self._looked = (time.monotonic(), 0)
        self._marks = (0.0, 0)
        self._handing_over, self._count = 0.0, 0

    def load(self, course: Course) -> State | None:
        """Return this worker's state from the newest checkpoint, if the run goes on from one; called by all workers.

        Raises
        ------
        SettingsError
            If there is none that can be read, or it is of another run.
        """
        if self._checkpoints is None:
            return None
        team, shares = course.whole, course.team
        self._looked, sent = (time.monotonic(), 0), team.bytes_sent
        states = None
        with together(self._team_name):
            if team.rank == 0:
                self._reserve(self._checkpoints)
            if team.rank == 0 and self._checkpoints.source is not None:
                found = self._checkpoints.source.newest()
                states, note = self._fitting(found, shares.size)
                self._note(found, note)
        there = broadcast_text(team, "yes" if states else "no") == "yes"
        state = scatter(team, states, shares.rank) if there else None
        self._written, team.bytes_sent = time.monotonic(), sent
        if state is None:
            return None
        rounds = state.facts["tally"]["rounds"] if shares.size > 1 else state.facts["tally"]["steps"]
        self._marks = self._marks_at(state.epoch, int(rounds))
        self.until = int(state.facts["tally"]["steps"])
        self._looked = (time.monotonic(), self.until)  # what was done before says nothing about the pace of now
        return state

    def _reserve(self, checkpoints: Checkpoints) -> None:
        """Keep other runs out of the folder; one may have begun, and even ended, since this one has looked into it."""
        checkpoints.folder.reserve()
        self._reserved = checkpoints.folder
        if _is_new(checkpoints.folder, checkpoints.source):
            checkpoints.folder.check_new()

    def _note(self, found: Found, note: str | None) -> None:
        """Note, and say, from where the run goes on."""
        first = found.states[0]
        steps = f" and {count(first.step, 'step')}" if first.step else ""
        said = f"going on from {shown(found.path)}: {count(first.epoch, 'epoch')}{steps} done"
        text = said + (f"; {note}" if note else "")
        self.incidents = [{"kind": "resumed", "checkpoint": found.path.name, "exact": note is None, "text": text}]
        logging.getLogger("manyhands").info("%s", text)

    def _fitting(self, found: Found, workers: int) -> tuple[list[State], str | None]:
        """Return the states of a checkpoint for this run, and what there is to say about them."""
        assert self._checkpoints is not None
        check_same_run(found, self._checkpoints.identity)
        note = check_workers(found, workers)
        if note is None:
            return list(found.states), None
        return for_other_team(found.states, workers), note

    def look(self, course: Course, state: Callable[[], State]) -> None:
        """Write a checkpoint if one is due, and end the run if it shall end; called by all workers at the same step.

        Raises
        ------
        Suspended
            If the run was asked to end; its state is written then, unless that is impossible.
        """
        team = course.whole
        said, sent = np.zeros(3), team.bytes_sent
        said[0] = self._control.ending[0] != 0
        if team.rank == 0:
            said[1:] = self._decided(course)
        team.sum_(said)
        team.bytes_sent = sent  # of rounds alone, as without checkpoints
        ends, due, self.until = bool(said[0]), bool(said[1]), int(said[2])
        if ends or due:
            self._hand_over(course, state())
            team.bytes_sent = sent
        if ends:
            self._end(team, course.step)

    def look_at(self, step: int) -> None:
        """Look at this step of the run, whatever was agreed before."""
        if self._checkpoints is not None:
            self.until = step

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.finish()
        if self._reserved is not None:
            self._reserved.release()
            self._reserved = None

    def _hand_over(self, course: Course, state: State) -> None:
        """Bring the states of all workers to rank 0, where they are written beside the training."""
        began = time.perf_counter()
        assert self._checkpoints is not None
        if self._checkpoints.verify and state.synchronized:  # what is kept once must be what all have
            check_same(course.team, state.arrays[PARAMETERS], course.rounds)
        # Those that hold a network together have put it together, and one of them hands it over.
        speaks = course.plan.grid.place_of(course.whole.rank)[1] == 0
        states = gather(course.team, state) if speaks else None
        if states is not None:
            self._writer.begin(course.step, states)
        self._written = time.monotonic()
        self._marks = self._marks_at(course.epoch, _rounds(course))
        self._count += 1
        self._handing_over += time.perf_counter() - began

    def _write(self, steps: int, states: Any) -> Path:
        assert self._checkpoints is not None
        return self._checkpoints.folder.write(steps, self._checkpoints.identity, states, self._checkpoints.keep)

    def _end(self, team: Team, step: int) -> None:
        """End the run, when its state is on the disk."""
        assert self._checkpoints is not None
        self._writer.finish()
        place = parameter("resume", str(self._checkpoints.folder.path))
        text = f"ended after step {step:,}, as asked; {place} goes on from there"
        if self._writer.problem is not None:
            text = f"ended after step {step:,}, as asked, but its state could not be written: {self._writer.problem}"
        raise Suspended(broadcast_text(team, text))  # nobody ends the job before it is written

    def _decided(self, course: Course) -> tuple[float, float]:
        """Return whether to write now, and the step of the run at which to look next; on rank 0."""
        now, step = time.monotonic(), course.step
        then, before = self._looked
        self._looked = (now, step)
        waits = self._waits(now, course) if self._thrifty else 0.0
        ready = waits <= 0 and not (self._thrifty and self._writer.busy)
        due = ready and self._is_due(now, course)
        first = step == before
        pace = _FIRST_STEPS / _LOOK_SECONDS if first else (step - before) / max(now - then, 1e-6)
        return due, self._next_look(course, max(int(pace * _LOOK_SECONDS), 1), max(waits, 0.0) * pace)

    @property
    def _thrifty(self) -> bool:
        """Whether a checkpoint may have to wait; if they may cost all the time there is, none does."""
        assert self._checkpoints is not None
        return self._checkpoints.share < 1

    def _waits(self, now: float, course: Course) -> float:
        """Return for how many seconds the next checkpoint has to wait, because those before it have cost so much."""
        assert self._checkpoints is not None
        spent = self._handing_over + self._writer.seconds
        size = course.learner.parameters.nbytes * (1 + len(course.learner.optimizer_state))
        guess = _LEAST_COST + course.team.size * size / _BYTES_PER_SECOND
        expected = spent / self._count if self._count else guess
        return (spent + expected) / self._checkpoints.share - (now - self._began)

    def _is_due(self, now: float, course: Course) -> bool:
        assert self._checkpoints is not None
        cadence = self._checkpoints.cadence
        if cadence.unit == "second":
            return now - self._written >= cadence.every
        epochs, rounds = self._marks_at(course.epoch, _rounds(course))
        return epochs > self._marks[0] if cadence.unit == "epoch" else rounds > self._marks[1]

    def _marks_at(self, epoch: float, rounds: int) -> tuple[float, int]:
        """Return how many times a checkpoint has been due so far, if its time is that of epochs, and of rounds."""
        assert self._checkpoints is not None
        every = self._checkpoints.cadence.every
        return (epoch + 1e-9) // every, int(rounds // every)

    def _next_look(self, course: Course, steps: int, waiting: float) -> int:
        """Return the step of the run at which to look next: in so many steps, but not past the next time that is due.

        Whole epochs are left whole if they are short enough.
        """
        stage, at = course.stage, course.step_in_stage
        per_epoch = stage.steps_per_epoch
        end = at + steps
        if end // per_epoch > at // per_epoch:
            end = end // per_epoch * per_epoch
        due = self._next_due(course, max(at + 1, at + int(waiting)))
        return stage.first_step + max(min(end, due, stage.steps), at + 1)

    def _next_due(self, course: Course, least: int) -> int:
        """Return the first step of the stage, from ``least`` on, at which a checkpoint is due by epochs or rounds."""
        assert self._checkpoints is not None
        cadence, stage = self._checkpoints.cadence, course.stage
        if cadence.unit == "second":
            return stage.steps
        if cadence.unit == "epoch":
            every, epoch = int(cadence.every), -(-least // stage.steps_per_epoch) + stage.first_epoch
            return (-(-epoch // every) * every - stage.first_epoch) * stage.steps_per_epoch
        missing, step = int(cadence.every - _rounds(course) % cadence.every), course.step_in_stage
        if course.team.size == 1 or course.syncs_gradients:
            return max(step + missing, least)
        while missing > 0 and step < stage.steps:
            step, missing = stage.next_round(step), missing - 1
        return max(step, least)


def _rounds(course: Course) -> int:
    """Return how many rounds have been held; a single worker holds none, and its steps count."""
    return course.rounds if course.team.size > 1 else course.step
