"""Faults on purpose, at a given step of a given worker: for tests, and for rehearsing what a run does about them.

The variable MANYHANDS_FAULTS names a folder; each file in it is one fault, named as ``kill(2,130)``:

- ``kill(rank,step)``: SIGKILL, right after the worker's step (a third number: so many microseconds later).
- ``stop(rank,step)``: SIGSTOP: the process hangs.
- ``fail(rank,step)``: an exception.
- ``slow(rank,step,seconds)``: every step from this one on takes so much longer.
- ``nan(rank,step)``: a parameter becomes NaN.
- ``flip(rank,step)``: the lowest bit of a parameter flips.

A fault happens once: its file is renamed first, so a run that is started again does not meet it a second time. Only
``slow`` remains.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from manyhands.core.callbacks import RunView, WorkerCallback
from manyhands.core.errors import SettingsError, shown
from manyhands.core.events import Event, Granularity, StepTaken
from manyhands.training.worker_run import WorkerRun

VARIABLE = "MANYHANDS_FAULTS"
_FAULT = re.compile(r"(kill|stop|fail|slow|nan|flip)\((\d+),(\d+)(?:,(\d+(?:\.\d+)?))?\)")
_HAPPENED = "happened-"


class RehearsedError(Exception):
    """The exception of ``fail(rank,step)``."""


@dataclass(frozen=True)
class Fault:
    """One fault: what happens to which worker after which of its steps, with one more number."""

    kind: str
    rank: int
    step: int
    amount: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read ``kill(2,130)``; anything else is a SettingsError."""
        match = _FAULT.fullmatch(text)
        if match is None:
            raise SettingsError(f"{VARIABLE}: {text!r} is no fault; one is written as kill(2,130)")
        return cls(match[1], int(match[2]), int(match[3]), float(match[4] or 0))

    def __str__(self) -> str:
        return f"{self.kind}({self.rank},{self.step}{f',{self.amount:.12g}' if self.amount else ''})"


def put(folder: Path, *faults: str) -> dict[str, str]:
    """Write faults into a folder; return the environment in which they happen."""
    for each in faults:
        Fault.parse(each)
        (folder / each).touch()
    return {VARIABLE: str(folder)}


def planned() -> list[WorkerCallback]:
    """Return what makes the faults of the environment happen; nothing without the variable."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return []
    try:
        names = sorted(path.name for path in Path(folder).iterdir() if not path.name.startswith(_HAPPENED))
    except OSError as error:
        raise SettingsError(f"{VARIABLE}: the folder {shown(folder)} cannot be read: {error.strerror}") from error
    return [_Faults(Path(folder), [Fault.parse(name) for name in names])] if names else []


class _Faults(WorkerCallback):
    """Lets the faults of one worker happen."""

    granularity: Granularity = "step"

    def __init__(self, folder: Path, faults: Sequence[Fault], run: WorkerRun | None = None) -> None:
        self._folder, self._faults, self._run = folder, faults, run

    def for_worker(self, run: RunView) -> WorkerCallback:
        """Return what belongs to one worker."""
        own = [each for each in self._faults if each.rank == run.team.rank]
        return _Faults(self._folder, own, cast(WorkerRun, run))

    def notify(self, event: Event) -> None:
        """Let those happen whose step this is."""
        assert self._run is not None
        if isinstance(event, StepTaken):
            for fault in self._faults:
                if fault.kind == "slow" and event.step >= fault.step:
                    with self._run.clock.phase("compute"):
                        time.sleep(fault.amount)
                elif event.step == fault.step and self._is_new(fault):
                    self._happen(fault)

    def _is_new(self, fault: Fault) -> bool:
        """Return whether a fault has not happened yet, and note that it does now."""
        try:
            (self._folder / str(fault)).rename(self._folder / f"{_HAPPENED}{fault}")
        except FileNotFoundError:
            return False
        return True

    def _happen(self, fault: Fault) -> None:
        assert self._run is not None
        parameters = self._run.learner.parameters
        if fault.kind == "fail":
            raise RehearsedError(f"a fault on purpose: {fault}")
        if fault.kind == "nan":
            parameters[len(parameters) // 2] = np.nan
        elif fault.kind == "flip":
            parameters.view(np.uint8)[len(parameters) // 2 * parameters.itemsize] ^= 1
        else:
            number = signal.SIGKILL if fault.kind == "kill" else signal.SIGSTOP
            if fault.amount:
                threading.Timer(fault.amount * 1e-6, os.kill, (os.getpid(), number)).start()
            else:
                os.kill(os.getpid(), number)
