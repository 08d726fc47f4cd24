"""The history of a fit, noted after every epoch, and when the fit ends: scikit-learn's rules, for all workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.callbacks import EpochSummary, RunView, WorkerCallback
from manyhands.core.learner import Model
from manyhands.core.samples import Samples
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.training.stopping import mean_loss

Score = Callable[[NDArray[Any]], float]
"""From the outputs for all validation rows, shape (rows, outputs), to their score."""

Network = dict[str, Vector]
"""What a learner predicts with, by the names that its state has: ``parameters``, and ``buffers`` if there are any."""


def network_of(learner: Model) -> Network:
    """Return copies of a learner's parameters and buffers."""
    vectors = {"parameters": learner.parameters, "buffers": learner.buffers}
    return {name: vector.copy() for name, vector in vectors.items() if len(vector)}


@dataclass
class History:
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
        Of each epoch of this fit; the scores are those of epochs after which the workers were synchronized.
    best
        The network with the best score; see `network_of`.
    synchronized
        With several workers, the network after the last epoch at whose end it was the same on all.
    learner
        With one worker, its learner, after the first epoch.
    """

    best_loss: float = np.inf
    best_score: float = -np.inf
    failures: int = 0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: Network | None = None
    synchronized: Network | None = None
    learner: Model | None = None

    def copy(self) -> History:
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


class HistoryCallback(WorkerCallback):
    """Notes loss and score after every epoch; ends the run when neither improves any more.

    Parameters
    ----------
    history
        What was before.
    tol, patience
        scikit-learn's ``tol`` and ``n_iter_no_change``.
    score
        With early stopping: from outputs for the validation rows to their score.
    verbose
        Whether this process prints about epochs.
    processes
        Whether every worker is a process of its own, which keeps its own history.
    """

    def __init__(
        self,
        history: History,
        *,
        tol: float,
        patience: float,
        score: Score | None = None,
        verbose: bool = False,
        processes: bool = False,
    ) -> None:
        self.before, self.tol, self.patience = history, tol, patience
        self.score, self.verbose, self.processes = score, verbose, processes
        self._workers: list[_WorkerHistory] = []

    def for_worker(self, run: RunView) -> WorkerCallback:
        """Return what follows one worker's run."""
        worker = _WorkerHistory(self, run)
        self._workers.append(worker)
        return worker

    @property
    def history(self) -> History:
        """What rank 0 has noted, if it is here; the same as on all other workers."""
        return min(self._workers, key=lambda each: each.rank).history if self._workers else self.before

    @property
    def begun(self) -> Model | None:
        """The learner of a single worker, which trains or has trained."""
        return self._workers[0].learner if len(self._workers) == 1 else None


class _WorkerHistory(WorkerCallback):
    """One worker's history."""

    def __init__(self, shared: HistoryCallback, run: RunView) -> None:
        self._shared = shared
        self.learner, self.rank = run.learner, run.team.rank
        self.history = shared.before.copy()

    def after_epoch(self, run: RunView, epoch: EpochSummary) -> bool:
        """Note loss and score; return whether neither improves any more."""
        shared, history = self._shared, self.history
        keeps = self.rank == 0 or shared.processes
        loss, score = mean_loss(run.team, epoch), self._score(run)  # both first: an interrupt leaves whole epochs
        history.losses.append(loss)
        self._print(f"Iteration {len(history.losses)}, loss = {loss:.8f}")
        if shared.score is None:
            history.note_loss(loss, shared.tol)
        elif score is not None:
            self._print(f"Validation score: {score:f}")
            if history.note_score(score, shared.tol) and keeps:
                history.best = network_of(run.learner)
        if run.team.size == 1:
            history.learner = run.learner
        elif run.synchronized and keeps:
            history.synchronized = network_of(run.learner)
        return history.failures > shared.patience

    def _score(self, run: RunView) -> float | None:
        """Return the score on validation rows, if it is asked for and the workers are synchronized."""
        score = self._shared.score
        if score is None or run.validation is None or not run.synchronized:
            return None
        if run.team.size > 1 and len(run.learner.buffers):  # where gradients are averaged, each worker has its own
            run.team.mean_(run.learner.buffers)
        return score(_outputs_together(run.team, run.learner, run.validation))

    def _print(self, text: str) -> None:
        if self._shared.verbose and self.rank == 0:
            print(text)


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
