"""The search for the best split of each open node, feature by feature.

A feature's codes are one row of memory, which stays in the second-level cache while all nodes are looked at. For a node,
three steps: its codes are read, and all samples but those of the feature's `common` code (the 0 of images) are noted;
they are counted by code (few of them: sorted by it); then one walk from the smallest code up to the common one, and one
from the largest down to it, try every place between two codes that occur. What has the common code is on the side
that is not walked, so nobody has to count it. With weights that are no whole numbers, sums depend on the order: then
there is no common code, and one walk from the smallest code to the largest.

What is found depends on the node and the feature alone, not on who looks at it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from manyhands.learners.sums.trees.criteria import classes_split, gini_split, numbers_split
from manyhands.learners.sums.trees.draws import draw, fraction, next_feature, put_back
from manyhands.learners.sums.trees.kernel_args import (
    CHUNK,
    CODE,
    CODES,
    FEATURE,
    GINI,
    PLACE,
    PROXY,
    SQUARED,
    THRESHOLD,
    Coded,
    Members,
    Nodes,
    Rule,
    Work,
)
from manyhands.runtime.jit import compiled_exactly, inlined_exactly

FEW = 256
"""So many samples are sorted by code; for more, weights of classes are summed up for each code."""
_CLOSE = np.float32(1e-7)  # scikit-learn does not tell such inputs apart


@inlined_exactly
def _note(column: Any, rows: Any, common: int, keys: Any) -> int:
    """Write code and place of each row that has not the common code; return how many these are."""
    count = np.uint64(0)
    for i in range(len(rows)):
        code = np.int32(column[rows[i]])
        keys[count] = (code << np.int32(16)) | np.int32(i)
        count += np.uint64(code != common)  # no branch: it could not be predicted
    return int(count)


@inlined_exactly
def _count(keys: Any, noted: int, counts: Any) -> None:
    """Count the noted rows by code."""
    for j in range(noted):
        counts[np.uint32(keys[j] >> 16)] += 1


@inlined_exactly
def _list_groups(counts: Any, groups: Any, ends: Any, sorts: bool) -> int:
    """List the codes that occur; return how many. With ``sorts``, a code's count becomes its first place."""
    found, end = 0, 0
    for code in range(CODES):
        if counts[code] != 0:
            count = counts[code]
            if sorts:
                counts[code] = end
            end += count
            groups[found], ends[found] = code, end
            found += 1
    return found


@inlined_exactly
def _sort(keys: Any, noted: int, counts: Any, places: Any) -> None:
    """Write the places of the noted rows by code; ``counts`` has each code's first place."""
    for j in range(noted):
        code = np.uint32(keys[j] >> 16)
        at = np.uint32(counts[code])
        places[at] = keys[j] & 0xFFFF
        counts[code] += 1


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
def _parts(low: Any, high: Any, wanted: float, a: int, b: int) -> bool:
    """Whether a split between the codes ``a`` and ``b``, which follow each other, is to be tried.

    ``wanted`` is a threshold drawn at random, or NaN for any.
    """
    if low[b] <= high[a] + _CLOSE:
        return False
    return bool(math.isnan(wanted) or high[a] <= wanted < high[b])


@inlined_exactly
def _walk(
    coded_low: Any, coded_high: Any, rule: Rule, work: Work, members: Members, begin: int, count: int, weight: Any,
    squares: Any, wanted: float, dense: bool, up: bool, first: int, last: int, edge: int,
) -> tuple[float, int, int]:  # fmt: skip
    """Walk through groups ``first`` to ``last - 1``, up or down, and try what is between any two of them.

    Behind the last is the code ``edge``, or none (-1). Returns how good the best split is, and the codes beside it.
    """
    classes = len(work.totals)
    moved, totals = work.moved, work.totals
    for k in range(classes):
        moved[k] = 0
    zero = moved[0]
    done, rows, here, there = zero, 0, zero, zero + squares
    best, best_a, best_b = -math.inf, -1, -1
    for step in range(last - first):
        group = first + step if up else last - 1 - step
        code, start = work.groups[group], work.ends[group - 1] if group > 0 else 0
        rows += work.ends[group] - start
        if dense:
            for k in range(classes):
                more = zero + work.sums[code * classes + k]
                here += more * (2 * moved[k] + more)
                there -= more * (2 * (totals[k] - moved[k]) - more)
                moved[k] += more
                done += more
                work.sums[code * classes + k] = 0
        else:
            for at in range(start, work.ends[group]):
                place = begin + work.sorted[at]
                k, more = np.uint32(members.labels[np.uint32(place)]), zero + members.weights[np.uint32(place)]
                before = moved[k]
                here += more * (2 * before + more)
                there -= more * (2 * (totals[k] - before) - more)
                moved[k] = before + more
                done += more
        beside = edge if step == last - first - 1 else work.groups[group + 1 if up else group - 1]
        a, b = (code, beside) if up else (beside, code)
        if beside < 0 or not _parts(coded_low, coded_high, wanted, a, b):
            continue
        if rows < rule.least_rows or count - rows < rule.least_rows:
            continue
        one, other = float(done), float(weight - done)
        if one < rule.least_weight or other < rule.least_weight:
            continue
        if rule.kind == GINI and rule.integral:
            if up:
                proxy = gini_split(float(here), float(there), one, other)
            else:
                proxy = gini_split(float(there), float(here), other, one)
        else:
            proxy = classes_split(rule.kind, rule.integral, moved, totals, work.logs, one, other)
        if proxy > best or (proxy == best and not up):  # of equal ones, the lowest threshold
            best, best_a, best_b = proxy, a, b
    return best, best_a, best_b


@inlined_exactly
def _walk_numbers(
    low: Any, high: Any, rule: Rule, work: Work, count: int, weight: float, total: float, wanted: float, groups: int
) -> tuple[float, int, int]:
    """Walk through all groups of targets; see `_walk`."""
    rows, done, here = 0, 0.0, 0.0
    best, best_a, best_b = -math.inf, -1, -1
    for group in range(groups):
        code = work.groups[group]
        rows = work.ends[group]
        done += work.sums[2 * code]
        here += work.sums[2 * code + 1]
        work.sums[2 * code], work.sums[2 * code + 1] = 0.0, 0.0
        if group + 1 == groups or not _parts(low, high, wanted, code, work.groups[group + 1]):
            continue
        other = weight - done
        if min(rows, count - rows) < rule.least_rows or min(done, other) < rule.least_weight:
            continue
        proxy = numbers_split(rule.kind, here, total - here, done, other)
        if proxy > best:
            best, best_a, best_b = proxy, code, work.groups[group + 1]
    return best, best_a, best_b


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
def look(
    coded: Coded, feature: int, members: Members, nodes: Nodes, node: int, rule: Rule, work: Work, found: Any
) -> bool:
    """Find a feature's best split of a node, and write it to ``found`` if it is the best so far.

    Of equal ones the first stays. Returns whether the feature has different inputs in the node. ``work.totals`` has the
    node's totals.
    """
    begin, count = nodes.start[node], nodes.count[node]
    column, low, high, common = coded.codes[feature], coded.low[feature], coded.high[feature], coded.common[feature]
    numbers, classes, noted = rule.kind >= SQUARED, len(work.totals), 0
    dense = numbers or count > CHUNK
    for start in range(begin, begin + count, CHUNK):
        stop = min(start + CHUNK, begin + count)
        new = _note(column, members.rows[start:stop], common, work.keys)
        noted += new
        _count(work.keys, new, work.counts)
        dense = dense or new > FEW
        if numbers:
            _sum_targets(work.keys, new, members.weights[start:stop], members.targets[start:stop], work.sums)
        elif dense:
            _sum_classes(work.keys, new, members.labels[start:stop], members.weights[start:stop], classes, work.sums)
    if noted == 0:
        return False
    groups = _list_groups(work.counts, work.groups, work.ends, not dense)
    if not dense:
        _sort(work.keys, noted, work.counts, work.sorted)
    for group in range(groups):
        work.counts[work.groups[group]] = 0
    below = 0  # groups below the common code
    while below < groups and work.groups[below] < common:
        below += 1
    middle = common if noted < count else -1
    lowest, highest = work.groups[0], work.groups[groups - 1]
    if middle >= 0:
        lowest, highest = min(lowest, middle), max(highest, middle)
    differs = high[highest] > low[lowest] + _CLOSE
    if not differs and not dense:
        return False
    wanted = math.nan
    if rule.random:
        key = draw(draw(rule.key, node), len(work.permutation) + feature)
        wanted = _drawn_threshold(low, high, lowest, highest, key)
    if numbers:
        weight, total = nodes.weight[node], nodes.totals[node, 0]
        best, a, b = _walk_numbers(low, high, rule, work, count, weight, total, wanted, groups)
    else:
        weight, squares = work.totals[0] * 0, work.totals[0] * 0
        for k in range(classes):
            weight += work.totals[k]
            squares += work.totals[k] * work.totals[k]
        edge = middle if middle >= 0 or below == groups else work.groups[below]
        best, a, b = _walk(low, high, rule, work, members, begin, count, weight, squares, wanted, dense, True, 0,
                           below, edge)  # fmt: skip
        if below < groups:
            above, above_a, above_b = _walk(low, high, rule, work, members, begin, count, weight, squares, wanted,
                                            dense, False, below, groups, middle)  # fmt: skip
            if above > best:
                best, a, b = above, above_a, above_b
    if best > found[PROXY]:
        found[PROXY], found[FEATURE], found[CODE] = best, feature, a
        found[THRESHOLD] = _threshold(low, high, wanted, a, b)
    return bool(differs)


@inlined_exactly
def _take_totals(nodes: Nodes, node: int, work: Work) -> None:
    """Get ready to look at a node."""
    for k in range(len(work.totals)):
        work.totals[k] = nodes.totals[node, k]


@inlined_exactly
def _look_further(
    coded: Coded, members: Members, nodes: Nodes, node: int, known: Any, rule: Rule, work: Work, first: int, last: int,
    found: Any,
) -> None:  # fmt: skip
    """Go on drawing where all features drawn so far have the same input in all of the node's samples."""
    one, features = np.uint64(1), len(work.permutation)
    key = draw(rule.key, node)
    place = 0
    while place < features and found[PLACE] == math.inf:
        feature = next_feature(work.permutation, work.swaps, place, key)
        place += 1
        bit, word = one << np.uint64(feature & 63), feature >> 6
        if place <= rule.drawn or feature < first or feature >= last or known[word] & bit != 0:
            continue
        if look(coded, feature, members, nodes, node, rule, work, found):
            found[PLACE] = place
        else:
            known[word] |= bit
    put_back(work.permutation, work.swaps, place)


@compiled_exactly
def search(
    coded: Coded,
    members: Members,
    nodes: Nodes,
    opened: Any,
    looks: Any,
    known: Any,
    rule: Rule,
    work: Work,
    first: int,
    last: int,
    found: Any,
    stop: Any,
) -> None:
    """Find the best split of each open node over the features ``first`` to ``last - 1``.

    Parameters
    ----------
    opened : ndarray of shape (open,), int32
        The nodes.
    looks : ndarray of shape (open, words), uint64
        A bit for each feature that is drawn for a node; no rows mean all.
    known : ndarray of shape (open, words), uint64
        A bit for each feature known to have one input only in a node; it gets more.
    found : ndarray of shape (open, FOUND), float64
        Written: how good the best split is (-inf: there is none), its feature, the largest code on the left, the
        threshold, and the place of that feature in the order of drawing if it is behind those that are always drawn (0
        if it is not, inf if all features have one input only).
    """
    one = np.uint64(1)
    for j in range(len(opened)):
        found[j, PROXY], found[j, FEATURE], found[j, CODE], found[j, THRESHOLD] = -math.inf, -1.0, -1.0, 0.0
        found[j, PLACE] = math.inf
    for feature in range(first, last):
        if stop[0] != 0:
            return
        bit, word = one << np.uint64(feature & 63), feature >> 6
        for j in range(len(opened)):
            if known[j, word] & bit != 0 or (len(looks) > 0 and looks[j, word] & bit == 0):
                continue
            _take_totals(nodes, opened[j], work)
            if look(coded, feature, members, nodes, opened[j], rule, work, found[j]):
                found[j, PLACE] = 0.0
            else:
                known[j, word] |= bit
    for j in range(len(opened) if len(looks) > 0 else 0):
        if found[j, PLACE] == math.inf and stop[0] == 0:
            _take_totals(nodes, opened[j], work)
            _look_further(coded, members, nodes, opened[j], known[j], rule, work, first, last, found[j])
