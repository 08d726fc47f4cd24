"""What a run has come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from manyhands.training.model import TrainedModel
from manyhands.training.plan import Plan

Progress = Callable[[int], None]
"""Told, a few times a second, how many steps the slowest worker has done."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run has come to.

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

    def save(self, path: str | Path) -> None:
        """Write the model; see :meth:`TrainedModel.save`."""
        self.model.save(path)
