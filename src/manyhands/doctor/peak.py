"""The peak rate of multiply-adds on one core, with which training is compared."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from llvmlite import ir

from manyhands.learners.mlp.tiles import available
from manyhands.runtime.jit import cgutils, compiled, intrinsic, types

_CHAINS = 12
"""Independent sums: enough to hide the latency of every multiply-add unit, few enough for the registers."""
_ROUNDS = 200_000


def _lanes() -> int:
    """Return the float32 numbers in this CPU's widest register, at least AVX2's."""
    return 16 if available() else 8


@intrinsic
def _multiply_add(_typing: Any, values: Any, rounds: Any) -> Any:
    """Do ``rounds`` times a multiply-add in each chain; add the sums to ``values``, of shape (16,)."""
    lanes = _lanes()

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, number = ir.VectorType(ir.FloatType(), lanes), ir.IntType(64)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(array.data, vector.as_pointer())
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32"
        )
        given = builder.load(place)
        given.align = 4
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        counter, sums = builder.phi(number), [builder.phi(vector) for _ in range(_CHAINS)]
        results = [builder.call(fma, [given, given, each]) for each in sums]
        following = builder.add(counter, ir.Constant(number, 1))
        counter.add_incoming(ir.Constant(number, 0), before)
        counter.add_incoming(following, loop)
        for each, result in zip(sums, results, strict=True):
            each.add_incoming(given, before)
            each.add_incoming(result, loop)
        builder.cbranch(builder.icmp_signed("<", following, arguments[1]), loop, after)
        builder.position_at_end(after)
        total = results[0]
        for each in results[1:]:  # all sums are used, or the compiler would leave them out
            total = builder.fadd(total, each)
        builder.store(total, place).align = 4
        return context.get_dummy_value()

    return types.void(types.float32[::1], types.int64), generate


@compiled
def _multiply_add_loop(values: Any, rounds: int) -> None:
    _multiply_add(values, rounds)


def multiply_add_rate(seconds: float = 0.2) -> float:
    """Return the float32 operations per second of one core that only multiplies and adds, in registers.

    It is the best of several rounds within about these seconds.
    """
    values = np.full(16, 1e-3, np.float32)
    _multiply_add_loop(values, 1)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        values[:] = 1e-3
        began = time.perf_counter()
        _multiply_add_loop(values, _ROUNDS)
        best = min(best, time.perf_counter() - began)
    return 2 * _lanes() * _CHAINS * _ROUNDS / best
