"""The search for the best split of each open node, feature by feature.

A feature's codes are one row of memory, which stays in the second-level cache while all nodes are looked at. For each
node, its codes are read, and all samples but those of the feature's `common` code (the 0 of images) are noted; many of
them are summed up by code and class, few are sorted by code; then one walk from the smallest code up to the common one,
and one from the largest down to it, try every place between two codes that occur. What has the common code is always
on the side that is not walked, so nobody has to count it. With weights that are no whole numbers, sums depend on the
order: then there is no common code, and one walk from the smallest code to the largest.

What is found depends on the node and the feature alone, not on who looks at it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from manyhands.learners.sums.trees.bits import LANES, smaller_ones
from manyhands.learners.sums.trees.draws import draw, fraction, next_feature, put_back
from manyhands.learners.sums.trees.kernel_args import (
    CHUNK,
    CODE,
    CODES,
    FEATURE,
    PLACE,
    PROXY,
    SQUARED,
    THRESHOLD,
    Coded,
    Members,
    Node,
    Nodes,
    Rule,
    Work,
)
from manyhands.learners.sums.trees.walks import CLOSE, best_of_few, best_of_many, walk_numbers
from manyhands.runtime.jit import compiled_exactly, inlined_exactly

FEW = 256
"""So many samples are sorted by code; for more, weights of classes are summed up for each code."""
_LARGEST = np.int32(2**31 - 1)


@inlined_exactly
def _note(column: Any, rows: Any, common: int, keys: Any) -> Any:
    """Write code and place of each row that has not the common code; return how many these are."""
    count = np.uint64(0)
    for i in range(len(rows)):
        code = np.int32(column[rows[i]])
        keys[count] = (code << np.int32(16)) | np.int32(i)
        count += np.uint64(code != common)  # no branch: it could not be predicted
    return np.int64(count)


@inlined_exactly
def _count(keys: Any, noted: int, counts: Any) -> None:
    """Count the noted rows by code."""
    for j in range(noted):
        counts[np.uint32(keys[j] >> 16)] += 1


@inlined_exactly
def _sort(keys: Any, noted: int, into: Any) -> None:
    """Sort the keys of few samples, which are all different: each goes to the place that is its rank.

    Comparing all with all is faster than counting codes, as long as they are few: counters that were just written, and
    are read again, are what a processor waits for.
    """
    groups = (noted + LANES - 1) // LANES
    for j in range(noted, groups * LANES):
        keys[j] = _LARGEST
    for j in range(noted):
        into[np.uint32(smaller_ones(keys, groups, keys[j]))] = keys[j]


@inlined_exactly
def _list_groups(counts: Any, groups: Any, ends: Any) -> int:
    """List the codes that occur, and how many samples have each or a smaller one; the counts become zeros."""
    found, end = 0, 0
    for code in range(CODES):
        if counts[code] != 0:
            end += counts[code]
            groups[found], ends[found] = code, end
            found += 1
            counts[code] = 0
    return found


@inlined_exactly
def _sum_classes(keys: Any, noted: int, labels: Any, weights: Any, classes: int, sums: Any) -> None:
    """Add up the weights of each class for each code."""
    for j in range(noted):
        place = np.uint32(keys[j] & 0xFFFF)
        sums[np.uint32((keys[j] >> 16) * classes + labels[place])] += weights[place]


@inlined_exactly
def _sum_targets(keys: Any, noted: int, weights: Any, targets: Any, sums: Any) -> None:
    """Add up weights, and weighted targets, for each code."""
    for j in range(noted):
        place, at = np.uint32(keys[j] & 0xFFFF), np.uint32((keys[j] >> 16) * 2)
        sums[at] += weights[place]
        sums[at + np.uint32(1)] += weights[place] * targets[place]


@inlined_exactly
def _drawn_threshold(low: Any, high: Any, lowest: int, highest: int, bits: Any) -> float:
    """Return a random threshold between the inputs of a node."""
    smallest, largest = float(low[lowest]), float(high[highest])
    wanted = (largest - smallest) * fraction(bits) + smallest
    if wanted == largest:
        wanted = smallest
    return max(wanted, float(high[lowest]))  # of binned features: a bin cannot be divided


@inlined_exactly
def _threshold(low: Any, high: Any, wanted: float, a: int, b: int) -> float:
    """Return the threshold between two codes: the middle, or the one that was drawn."""
    if wanted < low[b]:  # not for NaN
        return wanted
    smaller, larger = float(high[a]), float(low[b])
    middle = smaller / 2.0 + larger / 2.0
    return smaller if middle == larger or math.isinf(middle) else middle


@inlined_exactly
def look(coded: Coded, feature: int, members: Members, node: Node, rule: Rule, work: Work, found: Any) -> bool:
    """Find a feature's best split of a node, and write it to ``found`` if it is the best so far.

    Of equal ones the first stays. Returns whether the feature has different inputs in the node.
    """
    begin, end = node.begin, node.begin + node.samples
    column, low, high, common = coded.codes[feature], coded.low[feature], coded.high[feature], coded.common[feature]
    numbers, noted, groups = rule.kind >= SQUARED, 0, 0
    dense = numbers or node.samples > CHUNK
    labels, weights = members.labels, members.weights
    for start in range(begin, end, CHUNK):
        stop = min(start + CHUNK, end)
        labels, weights = members.labels[start:stop], members.weights[start:stop]
        new = _note(column, members.rows[start:stop], common, work.keys)
        noted += new
        dense = dense or new > FEW
        if dense:
            _count(work.keys, new, work.counts)
        if numbers:
            _sum_targets(work.keys, new, weights, members.targets[start:stop], work.sums)
        elif dense:
            _sum_classes(work.keys, new, labels, weights, len(node.totals), work.sums)
    if noted == 0:
        return False
    if dense:
        groups = _list_groups(work.counts, work.groups, work.ends)
        lowest, highest = work.groups[0], work.groups[groups - 1]
    else:
        _sort(work.keys, noted, work.sorted)
        lowest, highest = work.sorted[0] >> 16, work.sorted[noted - 1] >> 16
    if noted < node.samples:
        lowest, highest = min(lowest, common), max(highest, common)
    differs = bool(high[highest] > low[lowest] + CLOSE)
    if not differs and not dense:  # else the sums must be cleared
        return False
    wanted = math.nan
    if rule.random:
        key = draw(draw(rule.key, node.number), len(work.permutation) + feature)
        wanted = _drawn_threshold(low, high, lowest, highest, key)
    if numbers:
        best, a, b = walk_numbers(low, high, rule, work, node, wanted, groups)
    elif dense:
        best, a, b = best_of_many(low, high, rule, work, node, wanted, groups, common, noted == node.samples)
    else:
        best, a, b = best_of_few(low, high, rule, work, node, labels, weights, wanted, noted, common)
    if best > found[PROXY]:
        found[PROXY], found[FEATURE], found[CODE] = best, feature, a
        found[THRESHOLD] = _threshold(low, high, wanted, a, b)
    return differs


@inlined_exactly
def _node_of(nodes: Nodes, number: int, totals: Any) -> Node:
    """Return an open node; ``totals`` is memory for its totals, their sum, and the sum of their squares."""
    classes = len(totals) - 2
    return Node(
        number, nodes.start[number], nodes.count[number], totals[classes], totals[classes + 1], totals[:classes]
    )


@inlined_exactly
def _sum_up(nodes: Nodes, number: int, totals: Any, numbers: bool) -> None:
    """Write a node's totals, see `_node_of`."""
    classes = len(totals) - 2
    totals[classes], totals[classes + 1] = 0, 0
    for k in range(classes):
        totals[k] = nodes.totals[number, k]
        totals[classes] += totals[k]
        totals[classes + 1] += totals[k] * totals[k]
    if numbers:
        totals[classes] = nodes.weight[number]


@inlined_exactly
def _differs(column: Any, low: Any, high: Any, rows: Any) -> bool:
    """Whether a feature has different inputs in these rows."""
    smallest, largest = CODES, -1
    for i in range(len(rows)):
        code = np.int64(column[rows[i]])
        smallest, largest = min(smallest, int(code)), max(largest, int(code))
    return bool(high[largest] > low[smallest] + CLOSE)


@compiled_exactly
def draw_further(
    coded: Coded, members: Members, nodes: Nodes, opened: Any, known: Any, rule: Rule, permutation: Any, swaps: Any,
    first: int, last: int, step: int, found: Any, looks: Any,
) -> int:  # fmt: skip
    """Go on drawing for nodes in which all features drawn so far have the same input in all samples.

    Only features at the places ``range(first, last, step)`` of the order are found. Marks one in ``looks`` for such a
    node, and writes its place; returns how many nodes have one.
    """
    one, marked = np.uint64(1), 0
    for j in range(len(opened)):
        if found[j, PLACE] != math.inf:
            continue
        key, place, begin = draw(rule.key, opened[j]), 0, nodes.start[opened[j]]
        rows = members.rows[begin : begin + nodes.count[opened[j]]]
        while place < len(permutation) and found[j, PLACE] == math.inf:
            feature = next_feature(permutation, swaps, place, key)
            place += 1
            bit, word = one << np.uint64(feature & 63), feature >> 6
            at = rule.rank[feature]
            mine = first <= at < last and (at - first) % step == 0
            if place <= rule.drawn or not mine or known[j, word] & bit != 0:
                continue
            if _differs(coded.codes[feature], coded.low[feature], coded.high[feature], rows):
                found[j, PLACE] = place
                looks[j, word] |= bit
                marked += 1
            else:
                known[j, word] |= bit
        put_back(permutation, swaps, place)
    return marked


@compiled_exactly
def search(
    coded: Coded,
    members: Members,
    nodes: Nodes,
    opened: Any,
    totals: Any,
    looks: Any,
    known: Any,
    rule: Rule,
    work: Work,
    first: int,
    last: int,
    step: int,
    found: Any,
    stop: Any,
) -> None:
    """Find the best split of each open node over the features at the places ``range(first, last, step)``.

    Parameters
    ----------
    opened : ndarray of shape (open,), int32
        The nodes.
    totals : ndarray of shape (open, K + 2), int64 or float64
        Room for the nodes' totals.
    looks : ndarray of shape (open, words), uint64
        A bit for each feature that is drawn for a node; no rows mean all.
    known : ndarray of shape (open, words), uint64
        A bit for each feature known to have one input only in a node; it gets more.
    found : ndarray of shape (open, FOUND), float64
        How good the best split so far is (-inf: there is none), its feature, the largest code on the left, the
        threshold, and its place in the order of drawing if it is behind those that are always drawn (0 if it is not,
        inf if all features so far have one input only).
    """
    one = np.uint64(1)
    for j in range(len(opened)):
        _sum_up(nodes, opened[j], totals[j], rule.kind >= SQUARED)
    for at in range(first, last, step):
        if stop[0] != 0:
            return
        feature = rule.order[at]
        bit, word = one << np.uint64(feature & 63), feature >> 6
        for j in range(len(opened)):
            if known[j, word] & bit != 0 or (len(looks) > 0 and looks[j, word] & bit == 0):
                continue
            if not look(coded, feature, members, _node_of(nodes, opened[j], totals[j]), rule, work, found[j]):
                known[j, word] |= bit
            elif found[j, PLACE] == math.inf:
                found[j, PLACE] = 0.0
