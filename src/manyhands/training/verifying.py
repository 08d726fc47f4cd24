"""Checking after every round that all workers hold the same, finite parameters: bits in memory do flip, if rarely."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import CorruptedError
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.core.words import count

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def fingerprint(vector: Vector) -> int:
    """Return a 64-bit hash of a vector's bits: a sum of its words times odd numbers, modulo 2**64.

    A single changed word always changes it, as an odd number has an inverse. Changes of several words do not cancel out
    but by a rare chance (multilinear hashing: Carter & Wegman 1979; Lemire & Kaser 2014, arXiv 1202.4961). Each word's
    upper half is mixed into its lower one before: twice the highest bit times an odd number is 0 modulo 2**64, so any
    two changed signs would cancel out.
    """
    content = vector.reshape(-1).view(np.uint8)
    words = np.zeros(-(-len(content) // 8), np.uint64)
    words.view(np.uint8)[: len(content)] = content
    words ^= words >> _HALF
    words *= _factors(len(words))
    return int(words.sum(dtype=np.uint64))


@lru_cache(maxsize=4)
def _factors(count: int) -> NDArray[np.uint64]:
    """Return odd numbers, the same in all processes."""
    return np.random.Generator(np.random.PCG64(0)).integers(0, 2**64, count, np.uint64) | np.uint64(1)


def check_finite(team: Team, vector: Vector, round_number: int, what: str) -> None:
    """Check that all workers bring finite numbers to a round: a collective; CorruptedError names those that do not."""
    bad = np.zeros(team.size)
    bad[team.rank] = not np.isfinite(vector).all()
    team.sum_(bad)
    if bad.any():
        raise CorruptedError(
            round_number, f"{_workers(np.flatnonzero(bad).tolist())} brought {what} that are not finite"
        )


def check_same(team: Team, vector: Vector, round_number: int) -> None:
    """Check that all workers hold the same parameters after a round: a collective; CorruptedError names the others.

    With two workers, or as many different vectors as workers, nobody knows whose are right.
    """
    halves = np.zeros(2 * team.size)
    mine = np.uint64(fingerprint(vector))
    halves[2 * team.rank : 2 * team.rank + 2] = float(mine >> _HALF), float(mine & _LOW)
    team.sum_(halves)
    pairs = list(zip(halves[::2].tolist(), halves[1::2].tolist(), strict=True))
    if len(set(pairs)) == 1:
        return
    most = max(pairs, key=pairs.count)
    others = [rank for rank, pair in enumerate(pairs) if pair != most]
    if 2 * pairs.count(most) > team.size:
        problem = f"{_workers(others)} held other parameters than the others afterwards"
    else:
        problem = f"the {count(team.size, 'worker')} held {count(len(set(pairs)), 'different vector')} afterwards"
    raise CorruptedError(round_number, f"{problem}: a bit has flipped in memory or on the way, or a rule is not exact")


def _workers(ranks: Sequence[int]) -> str:
    return f"worker{'s' if len(ranks) > 1 else ''} {' and '.join(map(str, ranks))}"
