"""Nodes are divided, by every worker for itself, and become a tree in depth-first order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from manyhands.learners.sums.trees.criteria import EPSILON, impurity_of
from manyhands.learners.sums.trees.kernel_args import (
    CODE,
    FEATURE,
    PLACE,
    PROXY,
    SQUARED,
    THRESHOLD,
    Coded,
    Members,
    Nodes,
    Rule,
)
from manyhands.runtime.jit import compiled_exactly, inlined_exactly


@inlined_exactly
def _make(nodes: Nodes, members: Members, node: int, start: int, count: int, depth: int, rule: Rule) -> bool:
    """Write a new node, a leaf; return whether it may be split."""
    weights, targets = members.weights[start : start + count], members.targets
    totals, weight = nodes.totals[node], 0.0
    for k in range(len(totals)):
        totals[k] = 0.0
    for i in range(count):
        weight += weights[i]
    if rule.kind >= SQUARED:
        targets = members.targets[start : start + count]
        for i in range(count):
            totals[0] += weights[i] * targets[i]
    else:
        labels = members.labels[start : start + count]
        for i in range(count):
            totals[np.uint32(labels[i])] += weights[i]
    nodes.left[node], nodes.right[node], nodes.feature[node], nodes.threshold[node] = -1, -1, -2, -2.0
    nodes.start[node], nodes.count[node], nodes.depth[node], nodes.weight[node] = start, count, depth, weight
    nodes.improvement[node] = 0.0
    nodes.impurity[node] = impurity_of(rule.kind, totals, weight, weights, targets)
    return bool(
        depth < rule.depth
        and count >= rule.least_split
        and count >= 2 * rule.least_rows
        and weight >= 2.0 * rule.least_weight
        and nodes.impurity[node] > EPSILON
    )


@compiled_exactly
def plant(nodes: Nodes, members: Members, rule: Rule) -> bool:
    """Write the root, of all members; return whether it may be split."""
    return _make(nodes, members, 0, 0, len(members.rows), 0, rule)


@inlined_exactly
def _divide(column: Any, code: int, members: Members, start: int, count: int) -> int:
    """Move the samples with larger codes behind the others, without changing their order; return how many stay."""
    stay, go = start, 0
    for i in range(start, start + count):
        row, label, weight = members.rows[i], members.labels[i], members.weights[i]
        if column[row] <= code:
            members.rows[stay], members.labels[stay], members.weights[stay] = row, label, weight
            if len(members.targets) > 0:
                members.targets[stay] = members.targets[i]
            stay += 1
        else:
            members.spare_rows[go], members.spare_labels[go], members.spare_weights[go] = row, label, weight
            if len(members.targets) > 0:
                members.spare_targets[go] = members.targets[i]
            go += 1
    for i in range(go):
        members.rows[stay + i], members.labels[stay + i] = members.spare_rows[i], members.spare_labels[i]
        members.weights[stay + i] = members.spare_weights[i]
        if len(members.targets) > 0:
            members.targets[stay + i] = members.spare_targets[i]
    return stay - start


@inlined_exactly
def _best(found: Any, j: int, rank: Any) -> int:
    """Return the worker that has found the best split of an open node; of equal ones, that of the first feature."""
    best = 0
    for worker in range(1, len(found)):
        here, there = found[worker, j], found[best, j]
        if here[PLACE] != there[PLACE]:
            better = here[PLACE] < there[PLACE]
        elif here[PROXY] != there[PROXY]:
            better = here[PROXY] > there[PROXY]
        else:
            better = here[FEATURE] >= 0 and rank[int(here[FEATURE])] < rank[int(there[FEATURE])]
        if better:
            best = worker
    return best


@compiled_exactly
def advance(
    coded: Coded, members: Members, nodes: Nodes, made: int, opened: Any, found: Any, rule: Rule, following: Any,
    parents: Any,
) -> tuple[int, int]:  # fmt: skip
    """Split the open nodes as all workers have found; return how many nodes there are, and how many are open now.

    Parameters
    ----------
    made
        How many nodes there are.
    found : ndarray of shape (n, open, FOUND)
        What each worker has found.
    following : ndarray of shape (2 * open,), int32
        Written: the nodes that are open now.
    parents : ndarray of the same shape, int32
        Written: which of the nodes in ``opened`` they come from.
    """
    opens = 0
    for j in range(len(opened)):
        node, choice = opened[j], found[_best(found, j, rule.rank), j]
        if choice[PROXY] == -math.inf:
            continue
        feature, start, count = int(choice[FEATURE]), nodes.start[node], nodes.count[node]
        staying = _divide(coded.codes[feature], int(choice[CODE]), members, start, count)
        depth = nodes.depth[node] + 1
        before = opens
        for side in range(2):
            begin, size = (start, staying) if side == 0 else (start + staying, count - staying)
            if _make(nodes, members, made + side, begin, size, depth, rule):
                following[opens], parents[opens] = made + side, j
                opens += 1
        weight, left, right = nodes.weight[node], nodes.weight[made], nodes.weight[made + 1]
        gain = nodes.impurity[node] - right / weight * nodes.impurity[made + 1] - left / weight * nodes.impurity[made]
        gain *= weight / rule.total
        if gain + EPSILON < rule.least_decrease:
            opens = before  # the next two nodes take the place of these
            continue
        nodes.improvement[node] = gain
        nodes.feature[node], nodes.threshold[node] = feature, choice[THRESHOLD]
        nodes.left[node], nodes.right[node] = made, made + 1
        made += 2
    return made, opens


@compiled_exactly
def depth_first(left: Any, right: Any, order: Any, stack: Any) -> int:
    """Write the nodes that can be reached to ``order``, each before its children, the left ones first; count them."""
    waiting, count = 1, 0
    stack[0] = 0
    while waiting > 0:
        waiting -= 1
        node = stack[waiting]
        order[count] = node
        count += 1
        if left[node] >= 0:
            stack[waiting], stack[waiting + 1] = right[node], left[node]
            waiting += 2
    return count
