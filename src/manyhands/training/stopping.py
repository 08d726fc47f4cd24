"""Early stopping, decided by all workers together: each adds what it has seen, and all get the same sum.

- ``loss:0.0001,patience=10``: the mean training loss of all workers has not fallen by tol for more than ``patience``
  epochs in a row (scikit-learn's tol and n_iter_no_change).
- ``accuracy:98.2%``: the network recognizes so many of the validation rows. Each worker evaluates its part of them,
  after epochs at whose end all workers are synchronized.
- ``unchanged:0``: no weight of any worker has changed by more than that during a full epoch (Todorov et al. 2021).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from manyhands.core import grammar
from manyhands.core.callbacks import EpochSummary, RunView, WorkerCallback
from manyhands.core.errors import SettingsError
from manyhands.core.settings import accuracy
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.core.words import count


def mean_loss(team: Team, epoch: EpochSummary) -> float:
    """Return the mean loss of the epoch over all workers; every worker gets the same. A collective.

    Of rows with weights as scikit-learn's: in a global batch the weighted mean, and of these the mean by size.
    """
    if epoch.weights is None:
        sums = np.array([epoch.loss * epoch.examples, epoch.examples], np.float64)
        team.sum_(sums)
        return float(sums[0] / max(sums[1], 1))
    both = np.concatenate([epoch.losses * epoch.weights, epoch.weights])
    team.sum_(both)
    steps = len(epoch.weights)
    batches = both[:steps] / np.where(both[steps:] == 0, 1, both[steps:])
    return float(batches @ epoch.global_rows / epoch.global_rows.sum())


class Stop(WorkerCallback):
    """A stopping rule: a value object without state; what it returns for a worker keeps the state.

    Attributes
    ----------
    validates : bool
        Whether it evaluates validation rows.
    """

    validates: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Canonical text."""
        raise NotImplementedError

    @property
    def reason(self) -> str:
        """Why a run has ended early, as a sentence without its full stop."""
        raise NotImplementedError


@dataclass(frozen=True)
class LossStop(Stop):
    """Stop when the loss has not fallen by ``tol`` or more for more than ``patience`` epochs in a row."""

    tol: float = 1e-4
    patience: int = 10

    @property
    def name(self) -> str:
        """As ``"loss:0.0001,patience=10"``."""
        return f"loss:{grammar.number(self.tol)},patience={self.patience}"

    @property
    def reason(self) -> str:
        """See `Stop`."""
        epochs = count(self.patience, "epoch")
        return f"the training loss had not fallen by {self.tol:g} or more for more than {epochs}"

    def for_worker(self, run: RunView) -> WorkerCallback:
        """Return what follows the loss."""
        return _LossWatch(self)


class _LossWatch(WorkerCallback):
    """Counts as `sklearn.neural_network.MLPClassifier` does."""

    def __init__(self, rule: LossStop) -> None:
        self._rule = rule
        self._best, self._failures = np.inf, 0

    def state(self) -> dict[str, Any]:
        """Return the best loss, and how many epochs have failed to improve it."""
        return {"best": self._best, "failures": self._failures}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self._best, self._failures = state["best"], state["failures"]

    def after_epoch(self, run: RunView, epoch: EpochSummary) -> bool:
        """Return whether the loss has not fallen for too long."""
        if epoch.last:
            return False
        mean = mean_loss(run.team, epoch)
        self._failures = self._failures + 1 if mean > self._best - self._rule.tol else 0
        self._best = min(self._best, mean)
        return self._failures > self._rule.patience


@dataclass(frozen=True)
class UnchangedStop(Stop):
    """Stop when the weights do not change any more: by at most ``tol``."""

    tol: float = 0.0

    @property
    def name(self) -> str:
        """As ``"unchanged:0"``."""
        return f"unchanged:{grammar.number(self.tol)}"

    @property
    def reason(self) -> str:
        """See `Stop`."""
        return f"no weight of any worker changed by more than {self.tol:g} in the epoch"

    def for_worker(self, run: RunView) -> WorkerCallback:
        """Return what follows the weights."""
        return _WeightWatch(self, run.learner.parameters.copy())


class _WeightWatch(WorkerCallback):
    def __init__(self, rule: UnchangedStop, before: Vector) -> None:
        self._rule, self._before = rule, before

    def state(self) -> dict[str, Any]:
        """Return the parameters after the last epoch."""
        return {"before": self._before}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self._before = state["before"]

    def after_epoch(self, run: RunView, epoch: EpochSummary) -> bool:
        """Return whether no weight of any worker has changed."""
        if epoch.last:
            return False
        now = run.learner.parameters.copy()  # read once: with a shared vector others go on writing
        changed = np.array([np.abs(now - self._before).max(initial=0) > self._rule.tol], np.float64)
        self._before = now
        run.team.sum_(changed)
        return not changed[0]


@dataclass(frozen=True)
class AccuracyStop(Stop):
    """Stop when the network is good enough: when its accuracy on validation rows is at ``least`` that, 0..1."""

    least: float
    validates: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """As ``"accuracy:98.2%"``, or without the sign where percent would be another number."""
        percent = f"{grammar.number(round(100 * self.least, 9))}%"
        same = float(percent.removesuffix("%")) / 100 == self.least
        return f"accuracy:{percent if same else grammar.number(self.least)}"

    @property
    def reason(self) -> str:
        """See `Stop`."""
        return f"{100 * self.least:g} % of the validation samples or more were recognized"

    def after_epoch(self, run: RunView, epoch: EpochSummary) -> bool:
        """Return whether enough validation rows are recognized; each worker evaluates its part of them."""
        table, team = run.validation, run.team
        if table is None or not run.synchronized or epoch.last:
            return False
        mine = slice(team.rank * table.rows // team.size, (team.rank + 1) * table.rows // team.size)
        part = table.take(mine)
        right = np.array([(run.learner.predict_proba(part).argmax(axis=1) == part.labels).sum()], np.float64)
        team.sum_(right)
        return bool(right[0] >= self.least * table.rows)


def _accuracy(least: str) -> Stop:
    try:
        return AccuracyStop(accuracy(least))
    except SettingsError as error:
        raise SettingsError(f"stop, accuracy: {error}") from None


def _loss(tol: str = "0.0001", *, patience: str = "10") -> Stop:
    if not re.fullmatch(r"[0-9]{1,9}", patience.strip()):
        raise SettingsError(f"stop, loss:patience={patience}: it must be a whole number of epochs")
    return LossStop(_amount(tol, "loss"), int(patience))


def _unchanged(tol: str = "0") -> Stop:
    return UnchangedStop(_amount(tol, "unchanged"))


STOPS: dict[str, Callable[..., Stop]] = {"loss": _loss, "accuracy": _accuracy, "unchanged": _unchanged}
"""Every rule by name; its maker takes what follows the colon."""

EXAMPLES = "loss, loss:0.0001,patience=10, accuracy:98.2%, unchanged, unchanged:1e-6"


def _amount(text: str, where: str) -> float:
    return grammar.not_negative(text, f"stop, {where}:", "on", fits=np.isfinite)


def parse_stop(text: str) -> Stop:
    """Return the rule that ``text`` names.

    Examples
    --------
    >>> parse_stop("loss:patience=5").name
    'loss:0.0001,patience=5'

    Raises
    ------
    SettingsError
        If there is no such rule, or the arguments do not fit.
    """
    name, values, keys = grammar.split(text, "stop", STOPS, EXAMPLES)
    return grammar.make(STOPS[name], values, keys, f"stop {text!r}", grammar.examples_of(name, EXAMPLES))
