"""Which part of a vector each worker of a team is responsible for."""

from __future__ import annotations

_GRAIN = 16  # elements: a cache line of float32, so that two workers never write to the same line


def part_of(length: int, size: int, rank: int) -> slice:
    """Return the part of a vector of ``length`` that worker ``rank`` of ``size`` sums up.

    Parts are as equal as whole cache lines allow, and cover the vector without overlap; some may be empty.
    """
    grains = -(-length // _GRAIN)
    begin, end = rank * grains // size * _GRAIN, (rank + 1) * grains // size * _GRAIN
    return slice(min(begin, length), min(end, length))
