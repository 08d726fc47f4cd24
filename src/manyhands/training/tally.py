"""What a worker has done in a run, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import Order


@dataclass
class Tally:
    """What one worker has done.

    Attributes
    ----------
    steps, rounds, examples
        Counts so far.
    losses
        Mean loss of each epoch over this worker's examples.
    examples_by_epoch
        How many these were.
    """

    steps: int = 0
    rounds: int = 0
    examples: int = 0
    losses: list[float] = field(default_factory=list)
    examples_by_epoch: list[int] = field(default_factory=list)


def weights_of(weights: NDArray[Any], order: Order) -> NDArray[np.float64]:
    """Return the sum of the weights of the rows of each step, shape (steps,)."""
    first = order.bounds[0]
    sums = np.zeros(order.examples + 1)
    np.cumsum(weights[order.rows[first : order.bounds[-1]]], out=sums[1:], dtype=np.float64)
    return np.diff(sums[order.bounds - first])


def joint_losses(tallies: Sequence[Tally]) -> list[float]:
    """Return the mean loss of each epoch over all workers' examples."""
    together = []
    for epoch in range(max(len(tally.losses) for tally in tallies)):  # what is made of sums has none
        there = [tally for tally in tallies if epoch < len(tally.losses)]  # a learner may have stopped early
        losses = np.array([tally.losses[epoch] for tally in there])
        weights = np.array([tally.examples_by_epoch[epoch] for tally in there], np.float64)
        together.append(float((losses * weights).sum() / weights.sum()))
    return together
