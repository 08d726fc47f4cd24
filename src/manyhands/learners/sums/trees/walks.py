"""Walks through the codes of one feature in one node, which try every place between two codes that occur."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from manyhands.learners.sums.trees.criteria import classes_split, gini_split, numbers_split
from manyhands.learners.sums.trees.kernel_args import GINI, Node, Rule, Work
from manyhands.runtime.jit import inlined_exactly

CLOSE = np.float32(1e-7)
"""Inputs that are so close are the same for scikit-learn."""


@inlined_exactly
def _parts(low: Any, high: Any, random: bool, wanted: float, a: int, b: int) -> bool:
    """Whether a split between the codes ``a`` and ``b``, which follow each other, is to be tried; no branch.

    ``wanted`` is the threshold where it is drawn at random.
    """
    return bool((low[b] > high[a] + CLOSE) & ((not random) | ((high[a] <= wanted) & (wanted < high[b]))))


@inlined_exactly
def _enough(rule: Rule, rows: int, count: int, one: float, other: float) -> bool:
    """Whether both sides of a split have the samples and the weight that a leaf needs."""
    return bool(
        (rows >= rule.least_rows)
        & (count - rows >= rule.least_rows)
        & (one >= rule.least_weight)
        & (other >= rule.least_weight)
    )


@inlined_exactly
def _walk_few(
    low: Any, high: Any, rule: Rule, work: Work, node: Node, labels: Any, weights: Any, wanted: float, up: bool,
    first: int, last: int, edge: int,
) -> tuple[float, int, int]:  # fmt: skip
    """Walk through sorted samples ``first`` to ``last - 1``, up or down, and try what is between any two of them.

    Behind the last is the code ``edge``, or none (-1). Returns how good the best split is, and the codes beside it.
    """
    moved, totals = work.moved, node.totals
    for k in range(len(totals)):
        moved[k] = 0
    zero = moved[0]
    done, here, there = zero, zero, node.squares
    best, best_a, best_b = -math.inf, -1, -1
    exact = rule.kind == GINI and rule.integral
    for step in range(last - first):
        at = np.uint32(first + step if up else last - 1 - step)
        code, place = work.sorted[at] >> 16, np.uint32(work.sorted[at] & 0xFFFF)
        label, more = np.uint32(labels[place]), zero + weights[place]
        before = moved[label]
        here += more * (2 * before + more)
        there -= more * (2 * (totals[label] - before) - more)
        moved[label] = before + more
        done += more
        beside = edge
        if step < last - first - 1:
            beside = work.sorted[at + np.uint32(1) if up else at - np.uint32(1)] >> 16
        a, b = (code, beside) if up else (beside, code)
        one, other = float(done), float(node.weight - done)
        # Hardly predictable: so everything is computed for every sample, and there is one branch at the end.
        tried = (beside >= 0) & _parts(low, high, rule.random, wanted, a, b)
        tried &= _enough(rule, step + 1, node.samples, one, other)
        proxy = -math.inf
        if exact:
            proxy = gini_split(here if up else there, there if up else here, one if up else other, other if up else one)
        elif tried:
            proxy = classes_split(rule.kind, rule.integral, moved, totals, work.logs, one, other)
        if tried & ((proxy > best) | ((proxy == best) & (not up))):  # of equal ones, the lowest threshold
            best, best_a, best_b = proxy, a, b
    return best, best_a, best_b


@inlined_exactly
def _walk_many(
    low: Any, high: Any, rule: Rule, work: Work, node: Node, wanted: float, up: bool, first: int, last: int, edge: int
) -> tuple[float, int, int]:
    """Walk through the codes ``first`` to ``last - 1`` of those that occur; see `_walk_few`. Clears their sums."""
    classes, moved, totals = len(node.totals), work.moved, node.totals
    for k in range(classes):
        moved[k] = 0
    zero = moved[0]
    done, rows, here, there = zero, 0, zero, node.squares
    best, best_a, best_b = -math.inf, -1, -1
    for step in range(last - first):
        group = first + step if up else last - 1 - step
        code = work.groups[group]
        rows += work.ends[group] - (work.ends[group - 1] if group > 0 else 0)
        sums = work.sums[code * classes : (code + 1) * classes]
        for k in range(classes):
            more = zero + sums[k]
            here += more * (2 * moved[k] + more)
            there -= more * (2 * (totals[k] - moved[k]) - more)
            moved[k] += more
            done += more
            sums[k] = 0
        beside = edge if step == last - first - 1 else work.groups[group + 1 if up else group - 1]
        a, b = (code, beside) if up else (beside, code)
        one, other = float(done), float(node.weight - done)
        if (
            beside < 0
            or not _parts(low, high, rule.random, wanted, a, b)
            or not _enough(rule, rows, node.samples, one, other)
        ):
            continue
        if rule.kind == GINI and rule.integral:
            proxy = gini_split(here if up else there, there if up else here, one if up else other, other if up else one)
        else:
            proxy = classes_split(rule.kind, rule.integral, moved, totals, work.logs, one, other)
        if proxy > best or (proxy == best and not up):
            best, best_a, best_b = proxy, a, b
    return best, best_a, best_b


@inlined_exactly
def walk_numbers(
    low: Any, high: Any, rule: Rule, work: Work, node: Node, wanted: float, groups: int
) -> tuple[float, int, int]:
    """Walk through all codes that occur, with targets; see `_walk_few`. Clears the sums."""
    done, here = 0.0, 0.0
    best, best_a, best_b = -math.inf, -1, -1
    for group in range(groups):
        code = work.groups[group]
        done += work.sums[2 * code]
        here += work.sums[2 * code + 1]
        work.sums[2 * code], work.sums[2 * code + 1] = 0.0, 0.0
        if group + 1 == groups or not _parts(low, high, rule.random, wanted, code, work.groups[group + 1]):
            continue
        other = node.weight - done
        if not _enough(rule, work.ends[group], node.samples, done, other):
            continue
        proxy = numbers_split(rule.kind, here, node.totals[0] - here, done, other)
        if proxy > best:
            best, best_a, best_b = proxy, code, work.groups[group + 1]
    return best, best_a, best_b


@inlined_exactly
def best_of_few(
    low: Any, high: Any, rule: Rule, work: Work, node: Node, labels: Any, weights: Any, wanted: float, noted: int,
    common: int,
) -> tuple[float, int, int]:  # fmt: skip
    """Return the best split of a node that has few samples without the common code; these are sorted."""
    below = 0
    while below < noted and work.sorted[below] >> 16 < common:
        below += 1
    middle = common if noted < node.samples else -1
    best = (-math.inf, -1, -1)
    for way in range(2):  # one walk in the machine code, for both
        first, last, edge = 0, below, middle
        if way == 1:
            first, last = below, noted
        elif middle < 0 and below < noted:
            edge = work.sorted[below] >> 16
        if first < last:
            found = _walk_few(low, high, rule, work, node, labels, weights, wanted, way == 0, first, last, edge)
            if found[0] > best[0]:
                best = found
    return best


@inlined_exactly
def best_of_many(
    low: Any, high: Any, rule: Rule, work: Work, node: Node, wanted: float, groups: int, common: int, all_noted: bool
) -> tuple[float, int, int]:
    """Return the best split of a node whose classes are summed up for each code."""
    below = 0
    while below < groups and work.groups[below] < common:
        below += 1
    middle = -1 if all_noted else common
    best = (-math.inf, -1, -1)
    for way in range(2):
        first, last, edge = 0, below, middle
        if way == 1:
            first, last = below, groups
        elif middle < 0 and below < groups:
            edge = work.groups[below]
        if first < last:
            found = _walk_many(low, high, rule, work, node, wanted, way == 0, first, last, edge)
            if found[0] > best[0]:
                best = found
    return best
