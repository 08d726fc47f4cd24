"""What an estimator follows during training, and when it ends: scikit-learn's rules, decided by all workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Model
from manyhands.core.samples import Samples
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.training.stopping import Epoch, mean_loss

Score = Callable[[NDArray[Any]], float]
"""From the outputs for all validation rows, shape (rows, outputs), to their score."""


@dataclass
class Progress:
    """How far a fit has come; the same on all workers, as it comes from sums over all of them.

    Attributes
    ----------
    best_loss
        The lowest loss of an epoch so far.
    best_score
        The highest score on validation rows so far.
    failures
        How many epochs in a row have failed to improve it.
    losses, scores
        Of each epoch of this fit; the scores are those of epochs after which the workers were alike.
    best
        The parameters with the best score, shape (size,).
    alike
        With several workers, the parameters after the last epoch at whose end they were the same on all, shape (size,).
    learner
        With one worker, who trains or has trained.
    """

    best_loss: float = np.inf
    best_score: float = -np.inf
    failures: int = 0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: Vector | None = None
    alike: Vector | None = None
    learner: Model | None = None

    def copy(self) -> Progress:
        """Return one that goes on alone."""
        return replace(self, losses=list(self.losses), scores=list(self.scores))

    def note_loss(self, loss: float, tol: float) -> None:
        """Count as scikit-learn does without early stopping."""
        self.failures = self.failures + 1 if loss > self.best_loss - tol else 0
        self.best_loss = min(self.best_loss, loss)

    def note_score(self, score: float, tol: float) -> bool:
        """Count as scikit-learn does with early stopping; return whether it is the best score so far."""
        self.scores.append(score)
        self.failures = self.failures + 1 if score < self.best_score + tol else 0
        better = score > self.best_score
        if better:
            self.best_score = score
        return better


class Course:
    """The rule of an estimator (see `manyhands.training.stopping.Stop`), and what its watchers have seen.

    Parameters
    ----------
    progress
        What was before.
    tol, patience
        scikit-learn's ``tol`` and ``n_iter_no_change``.
    score
        With early stopping: what the validation rows are for.
    speaks
        Whether this process tells about epochs.
    processes
        Whether every worker is a process of its own, which keeps its own record.
    """

    name = "estimator"

    def __init__(
        self,
        progress: Progress,
        *,
        tol: float,
        patience: float,
        score: Score | None = None,
        speaks: bool = False,
        processes: bool = False,
    ) -> None:
        self.before, self.tol, self.patience = progress, tol, patience
        self.score, self.speaks, self.processes = score, speaks, processes
        self._watchers: list[_Watcher] = []

    @property
    def validates(self) -> bool:
        """Whether it looks at validation rows."""
        return self.score is not None

    def watch(self, parameters: Vector) -> _Watcher:
        """Return what follows one worker's run."""
        watcher = _Watcher(self, parameters)
        self._watchers.append(watcher)
        return watcher

    @property
    def progress(self) -> Progress:
        """What has been seen, by rank 0 if it is here."""
        return min(self._watchers, key=lambda each: each.rank).progress if self._watchers else self.before

    @property
    def begun(self) -> Vector | None:
        """The vector that a single worker trains, or has trained."""
        return self._watchers[0].parameters if len(self._watchers) == 1 else None


class _Watcher:
    """See `manyhands.training.stopping.Watcher`."""

    def __init__(self, course: Course, parameters: Vector) -> None:
        self._course = course
        self.parameters, self.progress, self.rank = parameters, course.before.copy(), 0

    def ended(self, epoch: Epoch) -> bool:
        """Note loss and score; tell whether neither improves any more."""
        course, progress, learner = self._course, self.progress, epoch.learner
        self.rank = epoch.team.rank
        keeps = self.rank == 0 or course.processes
        loss = mean_loss(epoch)
        progress.losses.append(loss)
        if course.speaks and self.rank == 0:
            print(f"Iteration {len(progress.losses)}, loss = {loss:.8f}")
        if course.score is None:
            progress.note_loss(loss, course.tol)
        elif epoch.alike and epoch.validation is not None:
            score = course.score(_outputs_together(epoch.team, learner, epoch.validation))
            if course.speaks and self.rank == 0:
                print(f"Validation score: {score:f}")
            if progress.note_score(score, course.tol) and keeps:
                progress.best = learner.parameters.copy()
        if epoch.team.size == 1:
            progress.learner = learner
        elif epoch.alike and keeps:
            progress.alike = learner.parameters.copy()
        return progress.failures > course.patience


def _outputs_together(team: Team, learner: Any, table: Samples) -> NDArray[Any]:
    """Return the outputs for all rows, every worker computing its part of them."""
    begin, end = team.rank * table.rows // team.size, (team.rank + 1) * table.rows // team.size
    part = table.take(slice(begin, end))
    with team.watchdog_paused():
        mine = np.asarray(learner.outputs(part), np.float64)
    if team.size == 1:
        return mine
    everyone = np.zeros((table.rows, mine.shape[1]))
    everyone[begin:end] = mine
    team.sum_(everyone.reshape(-1))
    return everyone
