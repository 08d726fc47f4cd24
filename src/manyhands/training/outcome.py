"""Whether a finished training has come to anything: models at chance level, and losses that have risen."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from manyhands.core.parameters import parameter
from manyhands.data.dataset import Dataset
from manyhands.training.model import accuracy
from manyhands.training.result import TrainingResult

_FEW_ROWS, _FEW_STEPS = 10, 100
_MOST_ROWS = 2000
"""How many training samples are looked at if there are no test samples."""
_START_STEPS = 30
_TINY = 1e-6
"""Changes of a loss below this share of it are rounding."""


def judged(result: TrainingResult, dataset: Dataset) -> TrainingResult:
    """Return a result that says in its ``problem`` if the training has come to nothing."""
    return replace(result, problem=problem_of(result, dataset))


def problem_of(result: TrainingResult, dataset: Dataset) -> str | None:
    """Return what is wrong with a finished training, and what the likely cause is; None if nothing seems to be.

    Wrong is an accuracy that one answer for all samples would reach too (that of a constant output is never higher),
    on the test samples or, if there are none, on training samples; and a training loss that has risen.
    """
    guessing = _guessing(result, dataset)
    rose = _rose(result)
    if guessing is not None:
        return f"the model has learned nothing: {guessing}; {_cause(result, dataset)}"
    if rose:
        return f"training has made the model worse: {_cause(result, dataset)}"
    return None


def _guessing(result: TrainingResult, dataset: Dataset) -> str | None:
    """Return the accuracy beside that of one answer for all samples, if it is not higher."""
    name, labels, reached = "test", dataset.test.labels, result.accuracy
    if not dataset.test.rows:
        if result.plan.needs.sums:  # nothing was searched for, and a look may take longer than the sums
            return None
        rows = dataset.train.take(slice(0, _MOST_ROWS))
        name, labels = "training", rows.labels
        if len(labels) >= _FEW_ROWS:
            reached = accuracy(result.model.learner.predict_proba(rows), labels)
    if len(labels) < _FEW_ROWS:
        return None
    most = _largest_share(labels)
    if most == 1 or not reached <= most + _TINY:
        return None
    return (
        f"{100 * reached:.2f} % of the {name} samples are no more than the same answer for all would get "
        f"({100 * most:.2f} %)"
    )


def _largest_share(labels: NDArray[np.int32]) -> float:
    """Return the share of the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))


def _rose(result: TrainingResult) -> bool:
    if len(result.losses) < 2:
        return False
    first, last = result.losses[0], result.losses[-1]
    return last > first + _TINY * abs(first)


def _limit(result: TrainingResult, classes: int) -> float:
    """Return the loss above which a training has left the way down: first steps begin above the loss of guessing."""
    guessing = math.log(max(classes, 2))
    if result.steps < _START_STEPS:
        return 1.5 * guessing
    falls = all(later < earlier for earlier, later in itertools.pairwise(result.losses))
    return 1.1 * guessing if falls else guessing


def _cause(result: TrainingResult, dataset: Dataset) -> str:
    """Return the likely cause, and what to try."""
    plan, rate = result.plan, result.plan.network.learning_rate
    if not result.losses:
        return f"check the labels, the inputs and the settings of the learner {plan.learner}"
    first, last = result.losses[0], result.losses[-1]
    if _rose(result):
        fact = f"the training loss rose from {first:.3g} to {last:.3g}"
    elif plan.network.loss == "cross_entropy" and last > _limit(result, len(dataset.classes)):
        fact = f"the training loss, {last:.3g}, is worse than that of guessing"
    elif result.steps < _FEW_STEPS:
        return f"it took few optimizer steps ({result.steps}): try {parameter('epochs', 10 * max(plan.epochs, 1))}"
    else:
        return (
            f"check the learning rate ({rate:g}), the labels, and the scaling of the inputs "
            f"({parameter('scale', 'auto')})"
        )
    return f"{fact}, so the learning rate ({rate:g}) is probably too high: try {parameter('learning_rate', rate / 10)}"
