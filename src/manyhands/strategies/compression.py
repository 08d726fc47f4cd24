"""Fewer bytes in a round: numbers in 16 or 8 bits, and what that loses is sent along the next time.

- ``float16``, ``bfloat16``: each number rounded to 16 bits.
- ``int8``: blocks of 256 numbers, each as a whole number from -127 to 127 times the block's scale (its largest
  magnitude / 127): 260 bytes instead of 1,024.

A round is compressed in both of its halves: every worker sends the others their parts of its vector, and everyone's
part of the mean comes back. What rounding has taken away is kept by who rounded, and added to what it sends next (error
feedback: Seide et al. 2014, 1-bit SGD; Karimireddy et al. 2019, arXiv 1901.09847), so that nothing is lost for good.
Parameters travel as differences to the last round's mean, which everyone has: these are small, and so are their
rounding errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.team import Team
from manyhands.core.types import Vector

BLOCK = 256
_INT8 = np.dtype([("scale", "<f4"), ("values", "i1", (BLOCK,))])


class Codec(NamedTuple):
    """How numbers become bytes and numbers again.

    Attributes
    ----------
    elements
        How many numbers stand in one element of the encoded vector.
    encode
        From float (any,) to elements.
    decode
        From elements (m,) or (n, m) to float32 (..., m * elements).
    """

    elements: int
    encode: Callable[[Vector], Vector]
    decode: Callable[[Vector], NDArray[np.float32]]


def _to_float16(values: Vector) -> Vector:
    with np.errstate(over="ignore"):  # beyond 65504: infinite, and found as such
        return values.astype(np.float16)


def _to_bfloat16(values: Vector) -> Vector:
    """Keep the upper half of a float32, rounded to nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + ((bits >> 16) & 1) + np.uint32(0x7FFF)) >> 16
    return np.where(np.isfinite(values), rounded, (bits >> 16) | (bits & 0xFFFF != 0)).astype(np.uint16)


def _from_bfloat16(elements: Vector) -> NDArray[np.float32]:
    return (elements.astype(np.uint32) << 16).view(np.float32)


def _to_int8(values: Vector) -> Vector:
    blocks = np.zeros((-(-len(values) // BLOCK), BLOCK), np.float32)
    blocks.reshape(-1)[: len(values)] = values
    encoded = np.zeros(len(blocks), _INT8)
    encoded["scale"] = np.abs(blocks).max(axis=1, initial=0) / np.float32(127)
    # As whole numbers of the scale that is sent; a block without any size stays zero.
    scale = np.where(encoded["scale"] > 0, encoded["scale"], np.float32(1))
    with np.errstate(invalid="ignore"):  # not finite: the scale says so, whatever the numbers become
        encoded["values"] = np.clip(np.rint(blocks / scale[:, None]), -127, 127)
    return encoded


def _from_int8(elements: Vector) -> NDArray[np.float32]:
    blocks = elements["values"] * elements["scale"][..., None]
    return np.asarray(blocks.reshape(*elements.shape[:-1], -1))


CODECS = {
    "float16": Codec(1, _to_float16, lambda elements: elements.astype(np.float32)),
    "bfloat16": Codec(1, _to_bfloat16, _from_bfloat16),
    "int8": Codec(BLOCK, _to_int8, _from_int8),
}
"""Every way to send a vector, except as it is."""


def mean_(team: Team, vector: Vector, weight: float, send: str, memory: dict[str, Vector]) -> None:
    """Replace ``vector`` on all workers by the weighted mean, sent in fewer bytes.

    Parameters
    ----------
    team
        Who talks.
    vector : ndarray of shape (size,)
        Each worker's own; afterwards the same bits everywhere.
    weight
        How much this worker's counts.
    send
        One of :data:`CODECS`.
    memory
        Where rounding errors are kept from one round to the next.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite arrives as such, and is found as such
        _mean_(team, vector, weight, CODECS[send], memory)


def _mean_(team: Team, vector: Vector, weight: float, codec: Codec, memory: dict[str, Vector]) -> None:
    length = len(vector)
    own = memory.setdefault("rounded off", np.zeros_like(vector))
    with team.clock.phase("merge"):
        vector += own
        # Who does not count in this round sends nothing of what it has kept.
        encoded = codec.encode(vector if weight else np.zeros_like(vector))
        own[:] = vector - codec.decode(encoded)[:length]

    weights = np.zeros(team.size)
    weights[team.rank] = weight
    team.sum_(weights)
    mine, rows = team.exchange(encoded)
    with team.clock.phase("merge"):
        part: NDArray[Any] = np.zeros(rows.shape[1] * codec.elements)
        for row, each in zip(rows, weights / weights.sum(), strict=True):  # in rank order: the same bits on every team
            if each:
                part += each * codec.decode(row)
        kept = memory.setdefault("rounded off the mean", np.zeros_like(part))
        part += kept
        encoded[mine] = codec.encode(part)
        kept[:] = part - codec.decode(encoded[mine])
    sent = team.bytes_sent
    team.all_gather_(encoded)
    team.bytes_sent = sent  # one round, not two: counted as any other mean
    with team.clock.phase("merge"):
        vector[:] = codec.decode(encoded)[:length]
