"""Training of learners that are made of sums, by n workers that take turns: the contract, without its loop."""

import numpy as np

from manyhands.core.learner import Share
from manyhands.core.samples import Control, Order, Samples


def samples(features, labels=None, targets=None, weights=None, scale=None, shift=None, center=None):
    """Return a table, unscaled unless said otherwise."""
    rows, width = features.shape
    labels = np.zeros(rows, np.int32) if labels is None else np.asarray(labels, np.int32)
    scale = np.ones(width) if scale is None else scale
    shift = np.zeros(width) if shift is None else shift
    targets = None if targets is None else np.asarray(targets, np.float64).reshape(rows, 1)
    return Samples(features, labels, scale, shift, targets=targets, weights=weights, center=center)


def train(make, table, workers=1):
    """Return the learners of all workers after training; ``make(rank)`` makes one."""
    learners = [make(rank) for rank in range(workers)]
    rows = np.arange(table.rows, dtype=np.int32)
    order = Order(rows, np.array([0, table.rows]), np.array([table.rows], np.int32))
    control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
    for learner in learners:
        learner.begin(table, table.rows)
    while (asked := learners[0].asks()) is not None:
        own = []
        shared = {name: np.zeros(each.shape, each.dtype) for name, each in asked.items() if each.how == "parts"}
        for rank, learner in enumerate(learners):
            assert learner.asks() == asked
            into = {name: shared[name] if name in shared else np.zeros(each.shape, each.dtype)
                    for name, each in asked.items()}  # fmt: skip
            learner.collect(table, Share(order, rank, workers), into, control)
            own.append(into)
        found = dict(shared)
        for name, each in asked.items():
            if each.how == "gather":
                found[name] = np.stack([into[name] for into in own])
            elif each.how == "sum":
                found[name] = sum(into[name] for into in own)
        for learner in learners:
            learner.conclude(found)
    return learners
