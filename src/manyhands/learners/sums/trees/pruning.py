"""Trees become smaller: the leaves that best-first order has, and minimal cost-complexity pruning."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.learners.sums.trees.arrays import TreeArrays
from manyhands.learners.sums.trees.dividing import depth_first
from manyhands.runtime.jit import compiled_exactly


def in_depth_first_order(tree: TreeArrays, leaves: NDArray[np.bool_] | None = None) -> TreeArrays:
    """Return a tree with its nodes in scikit-learn's order; where ``leaves``, its nodes become leaves."""
    if leaves is None:
        leaves = tree.children_left < 0
    left = np.where(leaves, np.int32(-1), tree.children_left)
    order, stack = np.empty(tree.node_count, np.int32), np.empty(tree.node_count + 2, np.int32)
    count = depth_first(left, tree.children_right, order, stack)
    return tree.picked(order[:count], leaves)


def best_first(tree: TreeArrays, improvement: NDArray[np.float64], most: int) -> TreeArrays:
    """Return a tree with at most so many leaves: the splits with the largest improvements, from the root on.

    A node's best split does not depend on when it is split, so this is the tree that scikit-learn grows in that order.
    Its nodes are numbered in the order in which they are made, as scikit-learn's are.
    """
    order, leaves = [0], np.ones(tree.node_count, bool)
    waiting = [(-improvement[0], 0)]
    while waiting and most > 1:
        _, node = heapq.heappop(waiting)
        if tree.children_left[node] < 0:
            continue
        leaves[node] = False
        most -= 1
        for child in (int(tree.children_left[node]), int(tree.children_right[node])):
            order.append(child)
            heapq.heappush(waiting, (-improvement[child], child))
    return tree.picked(np.array(order, np.int32), leaves)


def never_expanded(keys: NDArray[np.float64], splits: int, opened: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which open nodes best-first order can never come to, because there are enough better splits.

    ``keys`` has the smallest improvement on the way to each split found so far, itself included; ``opened`` that of the
    parents of open nodes. Best-first order takes splits by these keys.
    """
    if len(keys) < splits:
        return np.zeros(len(opened), bool)
    least = np.partition(keys, len(keys) - splits)[len(keys) - splits]
    return np.asarray(opened < least)


@compiled_exactly
def _prune(
    left: Any, right: Any, cost: Any, alpha: float, parents: Any, leaf: Any, inside: Any, candidate: Any,
    branch_cost: Any, branch_leaves: Any, stack: Any, alphas: Any, costs: Any,
) -> int:  # fmt: skip
    """Take away the weakest branches, one after the other; return how many alphas and costs were written.

    Step by step as scikit-learn's `_cost_complexity_prune`, so that equal alphas are decided alike.
    """
    nodes = len(left)
    parents[0] = -1
    for node in range(nodes):
        leaf[node], inside[node], branch_cost[node], branch_leaves[node] = left[node] < 0, True, 0.0, 0
        if left[node] >= 0:
            parents[left[node]], parents[right[node]] = node, node
    for node in range(nodes):
        candidate[node] = not leaf[node]
        if leaf[node]:
            branch_cost[node] = cost[node]
            above = parents[node]
            while above >= 0:
                branch_cost[above] += cost[node]
                branch_leaves[above] += 1
                above = parents[above]
    alphas[0], costs[0], written = 0.0, branch_cost[0], 1
    while candidate[0]:
        least, weakest = 1.7976931348623157e308, 0
        for node in range(nodes):
            if candidate[node]:
                found = (cost[node] - branch_cost[node]) / (branch_leaves[node] - 1)
                if found < least:
                    least, weakest = found, node
        if alpha < least:
            break
        stack[0], waiting = weakest, 1
        while waiting > 0:
            waiting -= 1
            node = stack[waiting]
            if inside[node]:
                candidate[node], leaf[node], inside[node] = False, False, False
                if left[node] >= 0:
                    stack[waiting], stack[waiting + 1] = left[node], right[node]
                    waiting += 2
        leaf[weakest], inside[weakest] = True, True
        fewer, more = branch_leaves[weakest] - 1, cost[weakest] - branch_cost[weakest]
        branch_leaves[weakest], branch_cost[weakest] = 0, cost[weakest]
        above = parents[weakest]
        while above >= 0:
            branch_leaves[above] -= fewer
            branch_cost[above] += more
            above = parents[above]
        alphas[written], costs[written] = least, branch_cost[0]
        written += 1
    return written


def _pruned(tree: TreeArrays, alpha: float) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Return which nodes are leaves after pruning, and the alphas and costs on the way."""
    count = tree.node_count
    cost = tree.weighted_n_node_samples * tree.impurity / tree.weighted_n_node_samples[0]
    leaf, inside, candidate = (np.empty(count, bool) for _ in range(3))
    parents, branch_leaves, stack = (np.empty(count + 2, np.int64) for _ in range(3))
    branch_cost, alphas, costs = np.empty(count), np.empty(count + 1), np.empty(count + 1)
    written = _prune(
        tree.children_left, tree.children_right, cost, alpha, parents, leaf, inside, candidate,
        branch_cost, branch_leaves, stack, alphas, costs,
    )  # fmt: skip
    return leaf, alphas[:written], costs[:written]


def pruned(tree: TreeArrays, alpha: float) -> TreeArrays:
    """Return the smallest subtree of least cost, if every leaf costs ``alpha``; depth first, as scikit-learn's."""
    if alpha == 0.0:
        return tree
    leaves, _, _ = _pruned(tree, alpha)
    return in_depth_first_order(tree, leaves)


def pruning_path(tree: TreeArrays) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the alphas at which the pruned tree changes, and the impurities of its leaves there."""
    _, alphas, costs = _pruned(tree, np.inf)
    return alphas, costs
