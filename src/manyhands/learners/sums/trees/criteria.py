"""How impure samples are, and how good a split is: scikit-learn's formulas, operation by operation.

Where two splits are equally good, the last bit decides, so nothing here may be rounded in another order.
"""

from __future__ import annotations

import math
from typing import Any

from manyhands.learners.sums.trees.kernel_args import ENTROPY, GINI, SQUARED
from manyhands.runtime.jit import inlined_exactly

EPSILON = 2.220446049250313e-16
_LOG_2 = math.log(2.0)


@inlined_exactly
def x_log_x(x: float) -> float:
    """Return x log x, 0 for 0."""
    return x * math.log(x) if x > 0.0 else 0.0


@inlined_exactly
def gini_split(squares_left: float, squares_right: float, left: float, right: float) -> float:
    """Return how good a split is, from the sums of squares and the weights on both sides."""
    gini_left = 1.0 - squares_left / (left * left)
    gini_right = 1.0 - squares_right / (right * right)
    return -right * gini_right - left * gini_left


@inlined_exactly
def classes_split(kind: int, integral: bool, moved: Any, totals: Any, logs: Any, one: float, other: float) -> float:
    """Return how good a split is, from the weights of the classes on one side and of all; the better, the larger."""
    first, second = 0.0, 0.0
    if kind == GINI:
        for k in range(len(totals)):
            here, there = float(moved[k]), float(totals[k] - moved[k])
            first += here * here
            second += there * there
        return gini_split(first, second, one, other)
    if integral:
        for k in range(len(totals)):
            first += logs[int(moved[k])]
            second += logs[int(totals[k] - moved[k])]
        return float(first - logs[int(one)] + (second - logs[int(other)]))
    for k in range(len(totals)):
        first += x_log_x(float(moved[k]))
        second += x_log_x(float(totals[k] - moved[k]))
    return first - x_log_x(one) + (second - x_log_x(other))


@inlined_exactly
def numbers_split(kind: int, sum_left: float, sum_right: float, left: float, right: float) -> float:
    """Return how good a split is, from the weighted sums of targets and the weights on both sides."""
    if kind == SQUARED:
        return sum_left * sum_left / left + sum_right * sum_right / right
    if sum_left <= EPSILON or sum_right <= EPSILON:
        return -math.inf  # no prediction may be 0
    return sum_left * math.log(sum_left / left) + sum_right * math.log(sum_right / right)


@inlined_exactly
def impurity_of(kind: int, totals: Any, weight: float, weights: Any, targets: Any) -> float:
    """Return the impurity of a node, from its totals, and its samples where these are needed."""
    found = 0.0
    if kind == GINI:
        for k in range(len(totals)):
            found += totals[k] * totals[k]
        return float(1.0 - found / (weight * weight))
    if kind == ENTROPY:
        for k in range(len(totals)):
            if totals[k] > 0.0:
                share = totals[k] / weight
                found -= share * (math.log(share) / _LOG_2)
        return found
    mean = totals[0] / weight
    if kind == SQUARED:
        for i in range(len(weights)):
            found += weights[i] * targets[i] * targets[i]
        return float(found / weight - mean * mean)
    if totals[0] <= EPSILON:
        return math.inf
    for i in range(len(weights)):
        if targets[i] > 0.0:
            found += weights[i] * (targets[i] * math.log(targets[i] / mean))
    return found / weight
