"""One watched training: its runs, one after the other, and the events that tell about them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyhands.core.errors import ManyhandsError, SettingsError
from manyhands.core.samples import Control
from manyhands.core.words import count
from manyhands.data.dataset import Dataset
from manyhands.runtime import hardware
from manyhands.runtime.affinity import usable_cores
from manyhands.training.api import load_and_resolve
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.result import TrainingResult
from manyhands.training.run import run
from manyhands.training.stepping import StoppedError
from manyhands.web import verdict
from manyhands.web.choices import DataChoice, TrainingRequest
from manyhands.web.live import EVERY_SECONDS, Live

Emit = Callable[[Mapping[str, Any]], None]
_CALL = "manyhands serve"
_EXPLAINED = (
    "While it trains, the accuracy is measured on up to 1,000 validation samples; the test samples are looked at once, "
    "at the end."
)


@dataclass(frozen=True)
class Part:
    """One run of a training: with how many workers and which seed."""

    number: int
    workers: int
    seed: int

    @property
    def record(self) -> dict[str, Any]:
        """What the page knows about it."""
        return {"workers": self.workers, "seed": self.seed}


class Session:
    """Carries out trainings, one at a time.

    Parameters
    ----------
    emit
        Receives events.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._stop = np.zeros(1, np.int64)
        self._loaded: tuple[object, Dataset] | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Stop the training, between two steps."""
        self._stop[0] = 1

    def allow(self) -> None:
        """Forget that the last training was stopped."""
        self._stop[0] = 0

    def train(self, request: TrainingRequest, choice: DataChoice) -> None:
        """Carry out a training; whatever happens is told as events."""
        try:
            self._train(request, choice)
        except StoppedError:
            self._emit({"kind": "stopped"})
        except (ManyhandsError, OSError, MemoryError) as error:
            self._emit({"kind": "failed", "text": str(error) or type(error).__name__})

    def _train(self, request: TrainingRequest, choice: DataChoice) -> None:
        parts, doubts = parts_of(request), _doubts()
        plan, dataset = self._planned(request, choice, parts[0])
        held_out = dataset.validation
        if held_out is None:
            raise SettingsError("these data have no samples to spare for validation; choose others")
        rows = f"{plan.rows:,} training, {held_out.rows:,} validation and {count(dataset.test.rows, 'test sample')}"
        text = f"{dataset.name}: {rows}. {_EXPLAINED}"
        self._emit({"kind": "ready", "data": text, "parts": [part.record for part in parts]})
        ended: dict[Part, verdict.Ended] = {}
        for part in parts:
            plan, dataset = self._planned(request, choice, part)
            result = self._run(part, plan, dataset)
            ended[part] = verdict.Ended(part.seed, result.seconds["train"], result.accuracy)
        found = _verdict(request, ended, dataset.test.rows)
        self._emit({"kind": "verdict", **found, "notes": [*found["notes"], *doubts]})

    def _planned(self, request: TrainingRequest, choice: DataChoice, part: Part) -> tuple[Plan, Dataset]:
        """Return the plan of a run, and its data, read once."""
        spec = request.spec(choice, workers=part.workers, seed=part.seed)
        asked = spec.changed(seed=0).request(choice.data, None, None, None, None, None)
        with self._lock:
            if self._loaded is None or self._loaded[0] != asked:
                self._loaded = None  # two large ones need not be there at once
                self._loaded = asked, load_and_resolve(_CALL, spec, asked)[1]
            dataset = self._loaded[1]
        return resolve(spec, dataset), dataset

    def _run(self, part: Part, plan: Plan, dataset: Dataset) -> TrainingResult:
        """Carry out one run under the eyes of those who watch."""
        if self._stop[0]:
            raise StoppedError
        assert dataset.validation is not None
        live = Live(dataset.validation)
        controls = [Control(self._stop, np.zeros(1, np.int64)) for _ in range(plan.workers)]
        text = f"{plan.label}, {plan.rows:,} samples an epoch"
        self._emit({"kind": "run", "run": part.number, "steps": plan.total_steps, "text": text})

        def tell() -> None:
            done = [int(control.progress[0]) for control in controls]
            self._emit({"kind": "tick", "run": part.number, "done": done, **live.sheet.take()})

        tick = _seldom(tell, EVERY_SECONDS)
        began = time.perf_counter()
        result = run(plan, dataset, progress=lambda _steps: tick(), callbacks=[live], controls=controls)
        took = time.perf_counter() - began
        tell()
        self._emit({"kind": "ended", "run": part.number, "took": took, **_facts(result)})
        self._emit({"kind": "curve", "run": part.number, "points": live.curve(result.model.learner)})
        return result


def parts_of(request: TrainingRequest) -> list[Part]:
    """Return the runs of a training. Who comes first changes from seed to seed: a machine may become slower."""
    parts: list[tuple[int, int]] = []
    for seed in range(request.seeds):
        pair = [request.workers, 1] if request.compares else [request.workers]
        parts += [(workers, seed) for workers in (reversed(pair) if seed % 2 else pair)]
    return [Part(number, workers, seed) for number, (workers, seed) in enumerate(parts)]


def _seldom(action: Callable[[], None], seconds: float) -> Callable[[], None]:
    """Return what does something at most once in some time, however often it is called."""
    done_at = [time.monotonic()]

    def act() -> None:
        if time.monotonic() - done_at[0] >= 0.9 * seconds:  # callers come regularly: not too late by one of them
            done_at[0] = time.monotonic()
            action()

    return act


def _doubts() -> list[str]:
    """Return why times are not to be trusted, if other programs keep the cores busy before a training begins."""
    found, total = hardware.load(), os.cpu_count() or 1
    if not hardware.is_busy(found, total, usable_cores()):
        return []
    text = hardware.busy_text(found, total)
    return [f"{text[0].upper()}{text[1:]}."]


def _facts(result: TrainingResult) -> dict[str, Any]:
    """Return what the page shows of a run that has ended."""
    return {
        "accuracy": result.accuracy,
        "seconds": result.seconds["train"],
        "rounds": result.rounds,
        "bytes_sent": result.bytes_sent,
        "losses": result.losses,
        "problem": result.problem,
    }


def _verdict(request: TrainingRequest, ended: Mapping[Part, verdict.Ended], test_rows: int) -> dict[str, Any]:
    """Return what all runs have come to."""
    first = [end for part, end in ended.items() if part.workers == request.workers]
    if not request.compares:
        return verdict.alone(first, test_rows)
    others = [end for part, end in ended.items() if part.workers == 1]
    return verdict.compared(request.workers, first, others, test_rows)
