"""The result of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manyhands.core.html import curves, facts
from manyhands.core.words import count
from manyhands.training.model import TrainedModel
from manyhands.training.plan import Plan

Progress = Callable[[int], None]
"""Called, a few times a second, with the number of steps that the slowest worker has done."""


@dataclass(frozen=True)
class TrainingResult:
    """The result of a run.

    Attributes
    ----------
    plan : Plan
        What was run.
    model : TrainedModel
        The merged network.
    accuracy : float
        On the test rows, 0..1.
    steps, rounds, bytes_sent, examples : int
        Per worker; the largest over the workers.
    seconds : dict of str to float
        Wall-clock seconds of each phase (the largest over the workers), ``train`` and ``total``.
    losses : list of float
        Mean training loss of each epoch over all workers.
    curve : list of dict
        If the plan says so, the measurements on the way (`manyhands.core.events.Measured`).
    reports : list of dict
        What each worker's learner says about its training (`manyhands.core.learner.Model.report`), e.g. the hits of
        speculative back-propagation.
    worker_seconds : list of float
        Seconds that each worker has computed, without waiting for others.
    worker_peaks : list of int
        Peak of the resident memory of each worker's process so far, in bytes, as the operating system measures it.
    slow : list of dict
        The workers that were far slower than the others, in the whole run or a part of it, each with the fields of
        `manyhands.training.stragglers.Straggler`.
    incidents : list of dict
        What has happened on the way: a checkpoint that the run went on from, workers lost, restarts; each with its
        ``kind`` and a ``text``.
    problem : str or None
        What is wrong if the training has come to nothing, with the likely cause; see `manyhands.training.outcome`.
    """

    plan: Plan
    model: TrainedModel
    accuracy: float
    steps: int
    rounds: int
    bytes_sent: int
    examples: int
    seconds: dict[str, float]
    losses: list[float]
    curve: list[dict[str, float]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    worker_seconds: list[float] = field(default_factory=list)
    worker_peaks: list[int] = field(default_factory=list)
    slow: list[dict[str, Any]] = field(default_factory=list)
    incidents: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None

    def __repr__(self) -> str:
        return f"TrainingResult({', '.join(f'{name} {text}' for name, text in self._facts().items())})"

    def _repr_html_(self) -> str:
        lines = {"of the training": list(enumerate(self.losses, 1))}
        measured = {"on test samples": [(point["train_s"], point["accuracy"]) for point in self.curve]}
        shown = curves("epoch", "loss", lines) + curves("seconds of training", "accuracy", measured)
        return facts("Training", {**self._facts(), "plan": str(self.plan)}) + shown

    @property
    def passes(self) -> int | None:
        """How often a learner that is made of sums has gone over the samples; None for others, which take steps."""
        if not self.plan.needs.sums:
            return None
        return self.rounds if self.plan.workers > 1 else self.examples // self.plan.rows

    def _facts(self) -> dict[str, str]:
        """Return what it has come to, for readers."""
        passes = {"epochs": f"{len(self.losses)}"} if self.passes is None else {"passes": f"{self.passes}"}
        return {
            "accuracy": f"{100 * self.accuracy:.2f} %",
            "time": f"{self.seconds['train']:.3f} s",
            "strategy": f"{self.plan.label}, {count(self.plan.workers, 'worker')}",
            "model": f"{self.model.network} of {self.model.name or 'unknown data'}",
            **passes,
        }

    def seconds_to(self, target: float) -> float | None:
        """Return the training seconds after which the accuracy was first measured to be ``target`` or more.

        None if it never was.
        """
        return next((point["train_s"] for point in self.curve if point["accuracy"] >= target), None)

    def save(self, path: str | Path) -> None:
        """Write the model; see :meth:`TrainedModel.save`."""
        self.model.save(path)
