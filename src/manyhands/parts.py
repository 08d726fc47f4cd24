"""Which part of a vector each worker of a team is responsible for."""

from __future__ import annotations

_LINE = 64  # bytes: a cache line, so that two workers never write to the same one


def part_of(length: int, size: int, rank: int, itemsize: int = 4) -> slice:
    """Return the part of a vector of ``length`` elements that worker ``rank`` of ``size`` sums up.

    Parts are as equal as whole cache lines allow, and cover the vector without overlap; some may be empty.

    Parameters
    ----------
    itemsize
        Bytes of an element.
    """
    grain = max(1, _LINE // itemsize)
    grains = -(-length // grain)
    begin, end = rank * grains // size * grain, (rank + 1) * grains // size * grain
    return slice(min(begin, length), min(end, length))
