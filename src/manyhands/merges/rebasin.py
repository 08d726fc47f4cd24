"""Re-basin: permute hidden units into one order before averaging (Ainsworth et al. 2022, arXiv 2209.04836).

Networks that differ only in the order of their hidden units are the same function, so a mean unit by unit is
meaningless unless the units correspond. Weight matching (their algorithm 1): for one layer after the other, find the
permutation P of its units that maximizes

    <W_l, P W_l'> + <b_l, P b_l'> + <W_{l+1}, W_{l+1}' P^T>

a linear assignment problem, until no layer changes any more. All workers are matched to rank 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Model
from manyhands.core.strategy import RoundContext
from manyhands.core.types import Vector

Blocks = dict[str, NDArray[Any]]
_ROUNDS = 100


def rebasin_(context: RoundContext[Any]) -> None:
    """Match this worker's hidden units to those of rank 0, then average the parameters."""
    team, learner = context.team, context.learner
    own, first = learner.parameters.copy(), learner.parameters.copy()
    team.broadcast_(first)
    if team.rank:
        with team.clock.phase("merge"), team.watchdog_paused():
            _adapt_(learner, first, own)
    learner.parameters[:] = own
    team.mean_(learner.parameters, context.examples)


def _adapt_(learner: Model, first: Vector, own: Vector) -> None:
    """Permute the hidden units of ``own`` and of the optimizer's vectors into the order of ``first``."""
    orders = match(_blocks(learner, first), _blocks(learner, own))
    for vector in (own, *learner.optimizer_state.values()):
        _permute_(learner, vector, orders)


def match(first: Blocks, second: Blocks) -> list[NDArray[np.int64]]:
    """Return, for each hidden layer, the permutation of the units of ``second`` that is most similar to ``first``.

    Both are layers as `Learner.weights` returns them: ``weights.l`` (in, out) and ``biases.l`` (out,).
    """
    from scipy.optimize import linear_sum_assignment

    # In double precision: what is finite in single precision has finite products, and ties are rarer.
    first, second = ({name: block.astype(np.float64) for name, block in each.items()} for each in (first, second))
    layers = len(first) // 2
    orders = [np.arange(len(first[f"biases.{layer}"])) for layer in range(layers - 1)]
    for _ in range(_ROUNDS):
        changed = False
        for layer in range(layers - 1):
            # All layers but this one in the order found so far.
            like = permuted(second, [*orders[:layer], np.arange(len(orders[layer])), *orders[layer + 1 :]])
            gain = first[f"weights.{layer}"].T @ like[f"weights.{layer}"]
            gain = gain + np.outer(first[f"biases.{layer}"], like[f"biases.{layer}"])
            gain = gain + first[f"weights.{layer + 1}"] @ like[f"weights.{layer + 1}"].T
            if not np.isfinite(gain).all():
                return orders  # diverged: whoever checks the parameters reports it
            order = linear_sum_assignment(gain, maximize=True)[1]
            better = gain[np.arange(len(order)), order].sum() > gain[np.arange(len(order)), orders[layer]].sum() + 1e-9
            if better:
                orders[layer], changed = order, True
        if not changed:
            break
    return orders


def permuted(blocks: Blocks, orders: list[NDArray[np.int64]]) -> Blocks:
    """Return the layers with their hidden units in another order, which is the same function."""
    changed = dict(blocks)
    for layer, order in enumerate(orders):
        changed[f"weights.{layer}"] = changed[f"weights.{layer}"][:, order]
        changed[f"biases.{layer}"] = changed[f"biases.{layer}"][order]
        changed[f"weights.{layer + 1}"] = changed[f"weights.{layer + 1}"][order]
    return changed


def _blocks(learner: Model, vector: Vector) -> Blocks:
    """Return the layers in any vector with the layout of the parameters."""
    bound = learner.parameters
    learner.bind(vector)
    try:
        return learner.weights()
    finally:
        learner.bind(bound)


def _permute_(learner: Model, vector: Vector, orders: list[NDArray[np.int64]]) -> None:
    """Change the order of hidden units in any vector with the layout of the parameters."""
    bound = learner.parameters
    learner.bind(vector)
    try:
        learner.load_weights(permuted(learner.weights(), orders))
    finally:
        learner.bind(bound)
