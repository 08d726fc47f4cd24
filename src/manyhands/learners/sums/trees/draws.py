"""What is random in trees: hashes of a key (seed and tree) and counters, so nothing depends on who draws, or when."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.randomness import generator
from manyhands.learners.sums.trees.kernel_args import Rule
from manyhands.runtime.jit import compiled_exactly, inlined_exactly

_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32), np.uint64(11)


def key_of(seed: int, purpose: str, tree: int = 0) -> np.uint64:
    """Return the key of a tree."""
    return np.uint64(generator(seed, purpose, tree).integers(0, 2**64, dtype=np.uint64))


@inlined_exactly
def draw(key: Any, counter: Any) -> Any:
    """Return 64 random bits (SplitMix64's generator, at any place)."""
    x = key + (np.uint64(counter) + np.uint64(1)) * _STEP
    x = (x ^ (x >> _30)) * _FIRST
    x = (x ^ (x >> _27)) * _SECOND
    return x ^ (x >> _31)


@inlined_exactly
def below(bits: Any, count: int) -> Any:
    """Return a number from 0 to ``count - 1``, from random bits."""
    return np.int64(((bits >> _32) * np.uint64(count)) >> _32)


@inlined_exactly
def fraction(bits: Any) -> float:
    """Return a number from 0 to below 1."""
    return float(np.int64(bits >> _11)) * (1.0 / 9007199254740992.0)


@inlined_exactly
def next_feature(permutation: Any, swaps: Any, place: int, key: Any) -> int:
    """Return the feature at a place of a random order, the places before it being drawn already."""
    other = place + below(draw(key, place), len(permutation) - place)
    swaps[place] = other
    permutation[place], permutation[other] = permutation[other], permutation[place]
    return int(permutation[place])


@inlined_exactly
def put_back(permutation: Any, swaps: Any, places: int) -> None:
    """Put the permutation in ascending order again."""
    for back in range(places):
        place = places - 1 - back
        other = swaps[place]
        permutation[place], permutation[other] = permutation[other], permutation[place]


def random_order(key: np.uint64, features: int) -> NDArray[np.int32]:
    """Return the features in a random order.

    Without it, splits that are equally good would always be made at the first features, which are the upper margin of
    images: a tree of MNIST's first 6,000 was half a percentage point worse for it.
    """
    bits = np.empty(features, np.uint64)
    _draw_all(key, bits)
    return np.argsort(bits, kind="stable").astype(np.int32)


@compiled_exactly
def _draw_all(key: Any, bits: Any) -> None:
    for feature in range(len(bits)):
        bits[feature] = draw(draw(key, -1), feature)


@compiled_exactly
def draw_features(rule: Rule, opened: Any, permutation: Any, swaps: Any, looks: Any) -> None:
    """Mark the features that are drawn for each open node in ``looks``, a bit for each."""
    one, six, mask = np.uint64(1), 6, 63
    for j in range(len(opened)):
        key = draw(rule.key, opened[j])
        for place in range(rule.drawn):
            feature = next_feature(permutation, swaps, place, key)
            looks[j, feature >> six] |= one << np.uint64(feature & mask)
        put_back(permutation, swaps, rule.drawn)


@compiled_exactly
def _count_draws(key: Any, draws: int, cumulated: Any, counts: Any) -> None:
    """Count how often each row is drawn; with cumulated weights, in proportion to these."""
    for i in range(draws):
        if len(cumulated) == 0:
            counts[below(draw(key, i), len(counts))] += 1
            continue
        wanted = fraction(draw(key, i)) * cumulated[-1]
        low, high = 0, len(cumulated) - 1  # the first row whose sum is larger
        while low < high:
            middle = (low + high) // 2
            if cumulated[middle] > wanted:
                high = middle
            else:
                low = middle + 1
        counts[low] += 1


def bootstrap(seed: int, tree: int, rows: int, draws: int, weights: NDArray[Any] | None) -> NDArray[np.int32]:
    """Return how often each row is in a tree's sample, drawn with replacement, in proportion to weights if there are.

    This is what scikit-learn does since 1.9: weights say how likely a row is, and counts are the tree's weights.
    """
    counts = np.zeros(rows, np.int32)
    cumulated = np.zeros(0) if weights is None else np.cumsum(weights, dtype=np.float64)
    _count_draws(key_of(seed, "bootstrap", tree), draws, cumulated, counts)
    return counts
