"""Compiled meeting points for workers that share memory: a barrier without the GIL, and sums over their vectors.

On the ground floor, because both sides need it: teams hold rounds between runs of a learner, and a learner's kernel can
hold them itself, between two of its steps, without going back to Python.

Python's own barrier needs the GIL, for which all workers would queue at every round. This one is a counter in shared
memory. A waiting worker first spins (every worker has a core: the others come within
microseconds), then offers its core to others at every look (more workers than cores), then sleeps in between (a round
that is far away), and in each case leaves at once when the team is called off.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numpy.typing import NDArray

from manyhands.compiling import compiled, inlined, intrinsic

# Cells of the shared int64 array, a cache line apart so that waiting does not slow down arriving.
_LINE = 8
ARRIVED, GENERATION, LOST = 0, _LINE, 2 * _LINE
_CELLS = 3 * _LINE
_SPINS, _YIELDS, _NAP_MICROSECONDS = 4000, 8000, 50
BLOCK = 2048
"""Elements summed at once: the double-precision partial sums stay in the first-level cache."""

_CLOCK_MONOTONIC = 6 if sys.platform == "darwin" else 1

_clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))
_yield = types.ExternalFunction("sched_yield", types.int32())
_sleep = types.ExternalFunction("usleep", types.int32(types.uint32))


def new_cells() -> NDArray[np.int64]:
    """Return the cells that one team shares."""
    return np.zeros(_CELLS, np.int64)


def _element(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Return the address of an array's element."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return cgutils.get_item_pointer(context, builder, signature.args[0], array, [arguments[1]])


@intrinsic
def _fetch_add(_typing: Any, array: Any, index: Any, amount: Any) -> Any:
    """Atomically add to an element; return the value from before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _element(context, builder, signature, arguments), arguments[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def _load(_typing: Any, array: Any, index: Any) -> Any:
    """Read an element that another thread may be writing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_element(context, builder, signature, arguments), "seq_cst", 8)

    return types.int64(array, types.intp), generate


@intrinsic
def _store(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write an element that another thread may be reading."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[2], _element(context, builder, signature, arguments), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), generate


@intrinsic
def _pointer(_typing: Any, address: Any, like: Any) -> Any:
    """Turn an address into a pointer to elements of the dtype of ``like``."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = ir.FloatType() if like.dtype == types.float32 else ir.DoubleType()
        return builder.inttoptr(arguments[0], element.as_pointer())

    return types.CPointer(like.dtype)(types.uintp, like), generate


@inlined
def _wait(cells: Any, size: int) -> int:
    """Wait until all ``size`` workers are here; return 0, or 1 + the rank whose loss called the team off."""
    generation = _load(cells, GENERATION)
    if _fetch_add(cells, ARRIVED, 1) == size - 1:
        _store(cells, ARRIVED, 0)
        _fetch_add(cells, GENERATION, 1)
        return int(_load(cells, LOST))
    looks = 0
    while _load(cells, GENERATION) == generation:
        lost = _load(cells, LOST)
        if lost != 0:
            return int(lost)
        looks += 1
        if looks > _SPINS + _YIELDS:
            _sleep(np.uint32(_NAP_MICROSECONDS))
        elif looks > _SPINS:
            _yield()
    return int(_load(cells, LOST))


@compiled
def wait(cells: Any, size: int) -> int:
    """Wait until all ``size`` workers are here; return 0, or 1 + the rank whose loss called the team off."""
    return int(_wait(cells, size))


@inlined
def now(scratch: Any) -> int:
    """Return nanoseconds of a clock that only goes forward; ``scratch`` is int64 (2,)."""
    _clock_gettime(_CLOCK_MONOTONIC, scratch.ctypes.data)
    return int(scratch[0] * 1_000_000_000 + scratch[1])


@inlined
def combine(
    addresses: Any, weights: Any, total: float, like: Any, start: int, stop: int, sums: Any, everyone: bool
) -> None:
    """Write sum_r weights[r] / total * vector_r into elements start..stop-1 of all vectors, or of ``like`` alone.

    The workers are taken in rank order and added in double precision: whoever computes this, in whatever slices, gets
    the same bits. A weight of 0 leaves a vector out, NaN and all.

    Parameters
    ----------
    addresses : uintp (n,)
        Where each worker's vector begins.
    weights : float64 (n,)
        Each worker's.
    total
        What they are divided by: their sum for a mean, 1 for a sum.
    like : floating (size,)
        The calling worker's vector.
    sums : float64 (BLOCK,)
        Scratch.
    everyone
        Whether all vectors are written.
    """
    for begin in range(start, stop, BLOCK):
        # Slices, and indices from 0: the compiler then knows that no index is negative, and uses vector code.
        end = min(begin + BLOCK, stop)
        block = sums[: end - begin]
        for i in range(len(block)):
            block[i] = 0.0
        for rank in range(len(addresses)):
            weight = weights[rank] / total
            if weight != 0.0:
                part = carray(_pointer(addresses[rank], like), len(like))[begin:end]
                for i in range(len(block)):
                    block[i] += weight * part[i]
        if everyone:
            for rank in range(len(addresses)):
                part = carray(_pointer(addresses[rank], like), len(like))[begin:end]
                for i in range(len(block)):
                    part[i] = block[i]
        else:
            part = like[begin:end]
            for i in range(len(block)):
                part[i] = block[i]


class Meeting(NamedTuple):
    """One worker's way into rounds: what it shares with the others, and its own part and scratch memory.

    Attributes
    ----------
    cells : int64, addresses : uintp (n,), weights : float64 (n,)
        Shared: the barrier, where each worker's vector begins, and how much it counts.
    rank, start, stop : int
        This worker, and the part of the vector that it computes for everyone.
    sums : float64 (BLOCK,), scratch : int64 (2,)
        Its scratch memory.
    nanoseconds : int64 (2,)
        Time it has spent waiting and combining so far.
    """

    cells: Any
    addresses: Any
    weights: Any
    rank: int
    start: int
    stop: int
    sums: Any
    scratch: Any
    nanoseconds: Any


def nobody() -> Meeting:
    """Return a meeting for kernels that hold no round: of the same types, and never entered."""
    return Meeting(
        new_cells(),
        np.zeros(1, np.uintp),
        np.zeros(1),
        0,
        0,
        0,
        np.zeros(BLOCK),
        np.zeros(2, np.int64),
        np.zeros(2, np.int64),
    )


@inlined
def _combine_all(meeting: Meeting, normalize: bool, like: Any, everyone: bool) -> None:
    """Combine this worker's part of all vectors, divided by the sum of the weights or by 1."""
    total = 1.0
    if normalize:
        total = 0.0
        for rank in range(len(meeting.weights)):
            total += meeting.weights[rank]
    combine(meeting.addresses, meeting.weights, total, like, meeting.start, meeting.stop, meeting.sums, everyone)


@inlined
def meet_and_combine(meeting: Meeting, normalize: bool, like: Any, everyone: bool) -> int:
    """Meet, combine this worker's part of all vectors, meet again: a whole round. Returns as `wait` does."""
    began = now(meeting.scratch)
    lost = _wait(meeting.cells, len(meeting.addresses))
    if lost != 0:
        return int(lost)
    met = now(meeting.scratch)
    _combine_all(meeting, normalize, like, everyone)
    combined = now(meeting.scratch)
    lost = _wait(meeting.cells, len(meeting.addresses))
    meeting.nanoseconds[0] += met - began + now(meeting.scratch) - combined
    meeting.nanoseconds[1] += combined - met
    return int(lost)


@compiled
def reduce(meeting: Meeting, normalize: bool, like: Any, everyone: bool) -> int:
    """Hold a round from Python; see `meet_and_combine`."""
    return int(meet_and_combine(meeting, normalize, like, everyone))


@compiled
def combine_here(meeting: Meeting, normalize: bool, like: Any) -> None:
    """Combine vectors that are all in this worker's memory already, into ``like``; nobody is met."""
    _combine_all(meeting, normalize, like, False)
