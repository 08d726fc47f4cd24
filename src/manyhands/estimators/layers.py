"""Weights and biases by layer: scikit-learn's lists, and the named blocks of a learner."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Model

State = dict[str, NDArray[Any]]
"""What `Model.state` and `Model.weights` return."""


def start_as_theirs(blocks: State, activation: str, seed: int) -> State:
    """Return the numbers that scikit-learn's estimator begins with if ``random_state=seed``.

    ``blocks`` are layers of the right shapes, in order: weights, then biases.
    """
    rng, drawn, bound = np.random.RandomState(seed), {}, 0.0
    for name, block in blocks.items():
        if block.ndim == 2:
            bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / sum(block.shape))
        drawn[name] = rng.uniform(-bound, bound, block.shape)
    return drawn


def blocks_of(coefs: Any, intercepts: Any) -> State:
    """Return layers by the names that learners use."""
    named: State = {}
    for layer, (weights, biases) in enumerate(zip(coefs, intercepts, strict=True)):
        named[f"weights.{layer}"], named[f"biases.{layer}"] = np.asarray(weights), np.asarray(biases)
    return named


def holds(learner: Model, coefs: Any, intercepts: Any) -> bool:
    """Return whether the learner's parameters are these, but for the dtype they are shown in."""
    blocks = blocks_of(coefs, intercepts)
    return all(
        name in blocks
        and blocks[name].shape == own.shape
        and np.array_equal(own.astype(blocks[name].dtype), blocks[name])
        for name, own in learner.weights().items()
    )


def same_shapes(one: State, other: State) -> bool:
    """Return whether two states have the same names and shapes."""
    return one.keys() == other.keys() and all(one[name].shape == other[name].shape for name in one)
