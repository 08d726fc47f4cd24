"""Compressed rounds: numbers are sent in 16 or 8 bits, and rounding errors are added to what is sent next.

- ``float16``, ``bfloat16``: each number rounded to 16 bits.
- ``int8``: blocks of 256 numbers, each as a whole number from -127 to 127 times the block's scale (its largest
  magnitude / 127): 260 bytes instead of 1,024.

A round is compressed in both of its halves: every worker sends the others their parts of its vector, and receives the
others' parts of the mean. The worker that has rounded keeps the error and adds it to what it sends next (error
feedback: Seide et al. 2014, 1-bit SGD; Karimireddy et al. 2019, arXiv 1901.09847), so that nothing is lost for good.
Parameters are sent as differences to the last round's mean, which all workers have: these are small, and so are their
rounding errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.runtime.partition import part_of

BLOCK = 256
_INT8 = np.dtype([("scale", "<f4"), ("values", "i1", (BLOCK,))])


class Codec(NamedTuple):
    """How numbers become bytes and numbers again.

    Attributes
    ----------
    elements
        How many numbers one element of the encoded vector holds.
    encode
        From float (any,) to elements.
    decode
        From elements (m,) or (n, m) to float32 (..., m * elements).
    """

    elements: int
    encode: Callable[[Vector], Vector]
    decode: Callable[[Vector], NDArray[np.float32]]


def _to_float16(values: Vector) -> Vector:
    with np.errstate(over="ignore"):  # beyond 65504: infinite, and detected later
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
    # Multiples of the scale that is sent; a block of zeros stays zero.
    scale = np.where(encoded["scale"] > 0, encoded["scale"], np.float32(1))
    with np.errstate(invalid="ignore"):  # not finite: the scale is not either, and the values do not matter
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


@dataclass(frozen=True)
class Residuals:
    """The rounding errors that one worker still has to send.

    Attributes
    ----------
    vector : ndarray of shape (size,)
        Those of its own vector.
    mean : ndarray of float64
        Those of its part of the mean.
    """

    vector: Vector
    mean: Vector


def residuals_for(team: Team, vector: Vector, send: str) -> Residuals | None:
    """Return residuals of zero for vectors like ``vector``; None if these are sent as they are."""
    if send == "full":
        return None
    codec, nothing = CODECS[send], np.zeros_like(vector)
    encoded = codec.encode(nothing)
    part = part_of(len(encoded), team.size, team.rank, encoded.itemsize)
    return Residuals(nothing, np.zeros((part.stop - part.start) * codec.elements))


def mean_(team: Team, vector: Vector, weight: float, send: str, residuals: Residuals) -> None:
    """Replace ``vector`` on all workers by the weighted mean, sent as ``send`` says; all get the same bits.

    ``weight`` is that of this worker's vector. The residuals, from `residuals_for`, are updated.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # infinities and NaN are sent as such, and detected later
        _mean_(team, vector, weight, CODECS[send], residuals)


def _mean_(team: Team, vector: Vector, weight: float, codec: Codec, residuals: Residuals) -> None:
    length = len(vector)
    with team.clock.phase("merge"):
        vector += residuals.vector
        # A worker of weight 0 keeps all of its residual for a round in which it counts.
        encoded = codec.encode(vector if weight else np.zeros_like(vector))
        residuals.vector[:] = vector - codec.decode(encoded)[:length]

    weights = np.zeros(team.size)
    weights[team.rank] = weight
    team.sum_(weights)
    mine, rows = team.exchange(encoded)
    with team.clock.phase("merge"):
        part: NDArray[Any] = np.zeros(rows.shape[1] * codec.elements)
        for row, each in zip(rows, weights / weights.sum(), strict=True):  # in rank order: the same bits on every team
            if each:
                part += each * codec.decode(row)
        part += residuals.mean
        encoded[mine] = codec.encode(part)
        residuals.mean[:] = part - codec.decode(encoded[mine])
    sent = team.bytes_sent
    team.all_gather_(encoded)
    team.bytes_sent = sent  # one round, not two: counted as any other mean
    with team.clock.phase("merge"):
        vector[:] = codec.decode(encoded)[:length]
