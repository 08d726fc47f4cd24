"""Early stopping, decided by all workers together: everyone adds what it has seen, and everyone sees the same sum.

- ``loss:0.0001,patience=10``: the mean training loss of all workers has not fallen by tol for more than ``patience``
  epochs in a row (scikit-learn's tol and n_iter_no_change).
- ``accuracy:98.2%``: the network recognizes so many of the validation rows. Each worker tries its part of them, after
  epochs at whose end all workers are alike.
- ``unchanged:0``: no weight of any worker has changed by more than that during a full epoch (Todorov et al. 2021).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from manyhands.core import grammar
from manyhands.core.errors import SettingsError
from manyhands.core.learner import Model
from manyhands.core.samples import Samples
from manyhands.core.team import Team
from manyhands.core.types import Vector


@dataclass(frozen=True)
class Epoch:
    """What a worker knows at the end of an epoch.

    Attributes
    ----------
    team
        Whom to ask.
    learner
        This worker's.
    loss, examples
        Its mean loss of the epoch, and over how many examples.
    alike
        Whether all workers have the same parameters now.
    validation
        Rows that no training sees, if there are any.
    last
        Whether it was the last that is planned: then the answer does not matter.
    losses, global_rows : ndarray of shape (steps,)
        Its loss of each step, and the size of the global batch. Needed with ``weights`` only.
    weights : ndarray of shape (steps,) or None
        What each of these losses counts for: the sum of its rows' weights; None if rows have none.
    """

    team: Team
    learner: Model
    loss: float
    examples: int
    alike: bool = False
    validation: Samples | None = None
    last: bool = False
    losses: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    global_rows: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    weights: NDArray[np.float64] | None = None


def mean_loss(epoch: Epoch) -> float:
    """Return the mean loss of the epoch over all workers; every worker gets the same. A collective.

    Of rows with weights as scikit-learn's: in a global batch the weighted mean, and of these the mean by size.
    """
    if epoch.weights is None:
        sums = np.array([epoch.loss * epoch.examples, epoch.examples], np.float64)
        epoch.team.sum_(sums)
        return float(sums[0] / max(sums[1], 1))
    both = np.concatenate([epoch.losses * epoch.weights, epoch.weights])
    epoch.team.sum_(both)
    steps = len(epoch.weights)
    batches = both[:steps] / np.where(both[steps:] == 0, 1, both[steps:])
    return float(batches @ epoch.global_rows / epoch.global_rows.sum())


class Watcher(Protocol):
    """Follows one worker's run."""

    def ended(self, epoch: Epoch) -> bool:
        """Tell, after an epoch, whether the run shall end; all workers are told the same.

        Asked after every epoch. After the last the run ends whatever the answer is.
        """
        ...


class Stop(Protocol):
    """A rule: a value object without state."""

    @property
    def name(self) -> str:
        """Canonical text."""
        ...

    @property
    def validates(self) -> bool:
        """Whether it looks at validation rows."""
        ...

    def watch(self, parameters: Vector) -> Watcher:
        """Return what follows a run that begins with these parameters."""
        ...


@dataclass(frozen=True)
class LossStop:
    """Stop when the loss does not fall any more.

    Attributes
    ----------
    tol
        By how much it must fall to count as falling.
    patience
        How many epochs in a row it may fail to.
    """

    tol: float = 1e-4
    patience: int = 10
    validates: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As ``"loss:0.0001,patience=10"``."""
        return f"loss:{grammar.number(self.tol)},patience={self.patience}"

    def watch(self, parameters: Vector) -> Watcher:
        """Return what follows the loss."""
        return _LossWatcher(self)


class _LossWatcher:
    def __init__(self, rule: LossStop) -> None:
        self._rule = rule
        self._best, self._failures = np.inf, 0

    def ended(self, epoch: Epoch) -> bool:
        """See :class:`Watcher`; counts as `sklearn.neural_network.MLPClassifier` does."""
        if epoch.last:
            return False
        mean = mean_loss(epoch)
        self._failures = self._failures + 1 if mean > self._best - self._rule.tol else 0
        self._best = min(self._best, mean)
        return self._failures > self._rule.patience


@dataclass(frozen=True)
class UnchangedStop:
    """Stop when the weights do not change any more.

    Attributes
    ----------
    tol
        The largest change that counts as none.
    """

    tol: float = 0.0
    validates: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As ``"unchanged:0"``."""
        return f"unchanged:{grammar.number(self.tol)}"

    def watch(self, parameters: Vector) -> Watcher:
        """Return what follows the weights."""
        return _WeightWatcher(self, parameters.copy())


class _WeightWatcher:
    def __init__(self, rule: UnchangedStop, before: Vector) -> None:
        self._rule, self._before = rule, before

    def ended(self, epoch: Epoch) -> bool:
        """See :class:`Watcher`."""
        if epoch.last:
            return False
        now = epoch.learner.parameters.copy()  # one look: with a shared vector others go on writing
        changed = np.array([np.abs(now - self._before).max(initial=0) > self._rule.tol], np.float64)
        self._before = now
        epoch.team.sum_(changed)
        return not changed[0]


@dataclass(frozen=True)
class AccuracyStop:
    """Stop when the network is good enough.

    Attributes
    ----------
    least
        The accuracy on validation rows that is enough, 0..1.
    """

    least: float
    validates: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """As ``"accuracy:98.2%"``, or without the sign where percent would be another number."""
        percent = f"{grammar.number(round(100 * self.least, 9))}%"
        return f"accuracy:{percent if _share_of(percent) == self.least else grammar.number(self.least)}"

    def watch(self, parameters: Vector) -> Watcher:
        """Return what tries the validation rows."""
        return _AccuracyWatcher(self)


class _AccuracyWatcher:
    def __init__(self, rule: AccuracyStop) -> None:
        self._rule = rule

    def ended(self, epoch: Epoch) -> bool:
        """See :class:`Watcher`."""
        table, team = epoch.validation, epoch.team
        if table is None or not epoch.alike or epoch.last:
            return False
        mine = slice(team.rank * table.rows // team.size, (team.rank + 1) * table.rows // team.size)
        part = table.take(mine)
        right = np.array([(epoch.learner.predict_proba(part).argmax(axis=1) == part.labels).sum()], np.float64)
        team.sum_(right)
        return bool(right[0] >= self._rule.least * table.rows)


def _share_of(text: str) -> float:
    """Return the number that ``98.2%`` or ``0.982`` stands for."""
    return _amount(text.removesuffix("%"), "accuracy") / (100 if text.endswith("%") else 1)


def _accuracy(least: str) -> Stop:
    value = _share_of(least.strip())
    if not 0 < value <= 1:
        raise SettingsError(f"stop, accuracy:{least}: it must lie above 0 and at most at 100%")
    return AccuracyStop(value)


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
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < np.inf:
        raise SettingsError(f"stop, {where}:{text}: it must be a number from 0 on")
    return value


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
    return grammar.make(STOPS[name], values, keys, f"stop {text!r}", EXAMPLES)
