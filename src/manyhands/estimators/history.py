"""The history of a fit, noted after every epoch, and when the fit ends: scikit-learn's rules, for all workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.callbacks import EpochSummary, RunView, WorkerCallback
from manyhands.core.learner import Model
from manyhands.core.samples import Samples
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.training.checkpoints.identity import fingerprint
from manyhands.training.stopping import mean_loss

Score = Callable[[NDArray[Any]], float]
"""From the outputs for all validation rows, shape (rows, outputs), to their score."""

_VECTORS = ("parameters", "buffers")
Network = dict[str, Vector]
"""What a learner predicts with, by the names that its state has: ``parameters``, and ``buffers`` if there are any."""


def network_of(learner: Model) -> Network:
    """Return copies of a learner's parameters and buffers."""
    vectors = {name: getattr(learner, name) for name in _VECTORS}
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

    def counts(self) -> dict[str, Any]:
        """Return everything but networks, as plain data."""
        best = {"best_loss": float(self.best_loss), "best_score": float(self.best_score)}
        return {**best, "failures": self.failures, "losses": list(self.losses), "scores": list(self.scores)}

    def fingerprint(self, early_stopping: bool) -> str:
        """Return what tells this history from others, as text; the best network counts with early stopping only."""
        counts = np.frombuffer(repr(self.counts()).encode(), np.uint8)
        return fingerprint({"counts": counts, **((self.best or {}) if early_stopping else {})})

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
    identity
        What else the course of the run depends on, as plain data; see `Callback.identity`.
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
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.before, self.tol, self.patience = history, tol, patience
        self.score, self.verbose, self.processes = score, verbose, processes
        self._identity, self._workers = identity or {}, list[_WorkerHistory]()

    def for_worker(self, run: RunView) -> WorkerCallback:
        """Return what follows one worker's run."""
        worker = _WorkerHistory(self, run)
        self._workers.append(worker)
        return worker

    def identity(self) -> dict[str, Any]:
        """Return when the run ends, and what was before."""
        patience = self.patience if self.patience == np.inf else int(self.patience)
        early = self.score is not None
        ends = {"tol": float(self.tol), "n_iter_no_change": patience, "early_stopping": early}
        return {**self._identity, **ends, "history": self.before.fingerprint(early)}

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
        self._alone, self._keeps = run.team.size == 1, self.rank == 0 or shared.processes
        self.history = shared.before.copy()

    def state(self) -> dict[str, Any]:
        """Return the history as data; all workers the same names, and those that keep no networks empty vectors."""
        return {**self.history.counts(), **self._packed("best"), **self._packed("synchronized")}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from such a history; the learner has its own state already."""
        history = self.history
        for name in history.counts():
            setattr(history, name, state[name])
        for name in ("best", "synchronized"):
            if network := {
                each: np.array(state[f"{name}.{each}"]) for each in _VECTORS if len(state[f"{name}.{each}"])
            }:
                setattr(history, name, network)
        if self._alone and history.losses:
            history.learner = self.learner

    def _packed(self, name: str) -> dict[str, Vector]:
        """Return one of the networks by names of its own; empty vectors in the place of what is not kept."""
        network: Network | None = getattr(self.history, name)
        wanted = self._keeps and (name != "best" or self._shared.score is not None)
        empty = np.zeros(0, self.learner.parameters.dtype)
        return {f"{name}.{each}": (network or {}).get(each, empty) if wanted else empty for each in _VECTORS}

    def after_epoch(self, run: RunView, epoch: EpochSummary) -> bool:
        """Note loss and score; return whether neither improves any more."""
        shared, history = self._shared, self.history
        loss, score = mean_loss(run.team, epoch), self._score(run)  # both first: an interrupt leaves whole epochs
        history.losses.append(loss)
        self._print(f"Iteration {len(history.losses)}, loss = {loss:.8f}")
        if shared.score is None:
            history.note_loss(loss, shared.tol)
        elif score is not None:
            self._print(f"Validation score: {score:f}")
            if history.note_score(score, shared.tol) and self._keeps:
                history.best = network_of(run.learner)
        if self._alone:
            history.learner = run.learner
        elif run.synchronized and self._keeps:
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
