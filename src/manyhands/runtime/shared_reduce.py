"""Compiled collectives for workers that share memory: a barrier without the GIL, and sums over their vectors.

Teams hold rounds with them between runs of a learner, and a learner's kernel can do so between two of its steps,
without going back to Python.

Python's own barrier needs the GIL, for which all workers would queue at every round. This one is a counter in shared
memory. If every worker has a core, a waiting worker first polls: the others come within microseconds. Then it sleeps
until the last one wakes it (Linux: futex; elsewhere it naps), and leaves within milliseconds when the team is called
off. With more workers than cores it sleeps at once, so that the others get its core.
"""

from __future__ import annotations

import platform
import sys
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from manyhands.runtime.affinity import allowed_cores
from manyhands.runtime.fp_mode import flush_denormals, restore_denormals
from manyhands.runtime.jit import cgutils, compiled, inline_ir, inlined, intrinsic, types

# Cells of the shared int64 array, a cache line apart so that waiting does not slow down arriving.
_LINE = 8
ARRIVED, GENERATION, LOST, _SLEEPERS, _CONSTANTS = (number * _LINE for number in range(5))
_CELLS = 5 * _LINE
_PATIENCE, _SECONDS, _NANOSECONDS = _CONSTANTS, _CONSTANTS + 1, _CONSTANTS + 2
_LOOKS, _LOOKS_CROWDED = 20_000, 50  # looks before sleeping: about a tenth of a millisecond, or next to nothing
_LONGEST_SLEEP = 10_000_000  # nanoseconds; then it looks whether the team was called off
_NAP_MICROSECONDS = 50
BLOCK = 2048
"""Elements summed at once: the double-precision partial sums stay in the first-level cache."""

_CLOCK_MONOTONIC = 6 if sys.platform == "darwin" else 1

_clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))
_nap = types.ExternalFunction("usleep", types.int32(types.uint32))
_syscall = types.ExternalFunction(
    "syscall", types.int64(types.int64, types.uintp, types.int64, types.int64, types.uintp, types.uintp, types.int64)
)
_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), 0) if sys.platform == "linux" else 0
_WAIT_PRIVATE, _WAKE_PRIVATE = 128, 129


def new_barrier_state(size: int = 1) -> NDArray[np.int64]:
    """Return the cells that one team of ``size`` workers shares."""
    cells = np.zeros(_CELLS, np.int64)
    cells[_PATIENCE] = _LOOKS if size <= len(allowed_cores()) else _LOOKS_CROWDED
    cells[_NANOSECONDS] = _LONGEST_SLEEP
    return cells


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
def pointer_to(_typing: Any, address: Any, like: Any) -> Any:
    """Turn an address into a pointer to elements of the dtype of ``like``."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = ir.FloatType() if like.dtype == types.float32 else ir.DoubleType()
        return builder.inttoptr(arguments[0], element.as_pointer())

    return types.CPointer(like.dtype)(types.uintp, like), generate


@inlined
def _sleep_until_changed(cells: Any, index: int, value: int) -> None:
    """Sleep until somebody wakes the sleepers, for at most some milliseconds; not at all if the cell has changed."""
    if _FUTEX == 0:
        _nap(np.uint32(_NAP_MICROSECONDS))
        return
    begin = cells.ctypes.data
    _fetch_add(cells, _SLEEPERS, 1)
    # The system compares the cell's lower half itself, so that nobody falls asleep just after the others were woken.
    _syscall(_FUTEX, begin + 8 * index, _WAIT_PRIVATE, value, begin + 8 * _SECONDS, np.uintp(0), 0)
    _fetch_add(cells, _SLEEPERS, -1)


@inlined
def _wake_all(cells: Any, index: int) -> None:
    if _FUTEX != 0 and _load(cells, _SLEEPERS) > 0:
        nothing = np.uintp(0)
        _syscall(_FUTEX, cells.ctypes.data + 8 * index, _WAKE_PRIVATE, 1 << 30, nothing, nothing, 0)


@inlined
def _wait(cells: Any, size: int) -> int:
    """Wait until all ``size`` workers are here; return 0, or 1 + the rank whose loss called the team off."""
    generation = _load(cells, GENERATION)
    if _fetch_add(cells, ARRIVED, 1) == size - 1:
        lost = _load(cells, LOST)
        if lost != 0:  # those who have given up here were counted, too
            return int(lost)
        _store(cells, ARRIVED, 0)
        _fetch_add(cells, GENERATION, 1)
        _wake_all(cells, GENERATION)
        return 0
    looks = 0
    while _load(cells, GENERATION) == generation:
        lost = _load(cells, LOST)
        # Whoever is lost may have left this meeting after all had come to it: then it is complete, for all alike.
        if lost != 0 and _load(cells, GENERATION) == generation:
            return int(lost)
        looks += 1
        if looks > cells[_PATIENCE]:
            _sleep_until_changed(cells, GENERATION, generation & 0xFFFFFFFF)
    return 0


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
def combine(addresses: Any, weights: Any, total: float, like: Any, start: int, stop: int, sums: Any) -> None:
    """Write sum_r weights[r] / total * vector_r into elements start..stop-1 of ``like``.

    The vectors are added in rank order and in double precision: any slices give the same bits. A weight of 0 leaves a
    vector out, NaN and all.

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
                part = pointer_to(addresses[rank] + np.uintp(begin * like.itemsize), like)
                for i in range(len(block)):
                    block[i] += weight * part[i]
        part = like[begin:end]
        for i in range(len(block)):
            part[i] = block[i]


class SharedReduction(NamedTuple):
    """One worker's way into rounds: what it shares with the others, and its own part and scratch memory.

    Attributes
    ----------
    cells : int64, addresses : uintp (n,), weights : float64 (n,)
        Shared: the barrier, where each worker's vector begins, and how much it counts.
    targets : uintp (n,), partials : float64 (n,)
        Shared: where each worker's parameters begin, if others write parts of them, and sums that all add up.
    rank : int, bounds : int64 (n + 1,)
        This worker, and the parts of the vector: worker r computes elements bounds[r] to bounds[r + 1] - 1 for all.
    sums : float64 (BLOCK,), scratch : int64 (2,)
        Its scratch memory.
    nanoseconds : int64 (2,)
        Time it has spent waiting and combining so far.
    """

    cells: Any
    addresses: Any
    weights: Any
    targets: Any
    partials: Any
    rank: int
    bounds: Any
    sums: Any
    scratch: Any
    nanoseconds: Any


def no_peers() -> SharedReduction:
    """Return a reduction for kernels that hold no round: of the same types, and never used."""
    return SharedReduction(
        new_barrier_state(),
        np.zeros(1, np.uintp),
        np.zeros(1),
        np.zeros(1, np.uintp),
        np.zeros(1),
        0,
        np.zeros(2, np.int64),
        np.zeros(BLOCK),
        np.zeros(2, np.int64),
        np.zeros(2, np.int64),
    )


@inlined
def arrive_and_wait(meeting: SharedReduction) -> int:
    """Wait for the others, and count the time. Returns as `wait` does."""
    began = now(meeting.scratch)
    lost = _wait(meeting.cells, len(meeting.addresses))
    meeting.nanoseconds[0] += now(meeting.scratch) - began
    return int(lost)


@inlined
def combine_range(meeting: SharedReduction, normalize: bool, like: Any, start: int, stop: int) -> None:
    """Write the sum, divided by the sum of the weights or by 1, into elements ``start`` to ``stop - 1`` of ``like``.

    It is the first half of a round, `spread_range` the second; each worker does both for its part. So what is done with
    the sum in between is divided among the workers, too (an optimizer's step: Rajbhandari et al. 2020, arXiv
    1910.02054, sec. 5).
    """
    began = now(meeting.scratch)
    total = 0.0
    for rank in range(len(meeting.weights)):
        total += meeting.weights[rank]
    combine(meeting.addresses, meeting.weights, total if normalize else 1.0, like, start, stop, meeting.sums)
    meeting.nanoseconds[1] += now(meeting.scratch) - began


@inlined
def spread_range(meeting: SharedReduction, mine: Any, start: int, stop: int) -> None:
    """Copy elements ``start`` to ``stop - 1`` of ``mine`` into everyone's targets."""
    if stop <= start:
        return
    began = now(meeting.scratch)
    part = mine[start:stop]
    for rank in range(len(meeting.targets)):
        if rank != meeting.rank:
            other = pointer_to(meeting.targets[rank] + np.uintp(start * mine.itemsize), mine)
            for i in range(len(part)):
                other[i] = part[i]
    meeting.nanoseconds[1] += now(meeting.scratch) - began


@inline_ir
def total_of(meeting: SharedReduction) -> float:
    """Return the sum of all partial sums, in rank order."""
    total = 0.0
    for rank in range(len(meeting.partials)):
        total += meeting.partials[rank]
    return total


@compiled
def reduce(meeting: SharedReduction, normalize: bool, like: Any) -> int:
    """Hold a round from Python: meet, combine this worker's part, give it to everyone, meet again.

    Returns as `wait` does.
    """
    before = flush_denormals()  # as kernels do, for the same bits
    lost = arrive_and_wait(meeting)
    if lost == 0:
        start, stop = meeting.bounds[meeting.rank], meeting.bounds[meeting.rank + 1]
        combine_range(meeting, normalize, like, start, stop)
        spread_range(meeting, like, start, stop)
        lost = arrive_and_wait(meeting)
    restore_denormals(before)
    return int(lost)


@compiled
def combine_here(meeting: SharedReduction, normalize: bool, like: Any) -> None:
    """Combine vectors that are all in this worker's memory already, into ``like``; nobody is met."""
    before = flush_denormals()
    combine_range(meeting, normalize, like, meeting.bounds[meeting.rank], meeting.bounds[meeting.rank + 1])
    restore_denormals(before)
