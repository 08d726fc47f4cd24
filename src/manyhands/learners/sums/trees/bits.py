"""Ranks in short lists, with vector instructions."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from manyhands.runtime.jit import cgutils, intrinsic, types

LANES = 16


@intrinsic
def smaller_ones(_typing: Any, values: Any, groups: Any, limit: Any) -> Any:
    """Return how many of the first ``LANES * groups`` values are smaller than a limit, all int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, wide = ir.IntType(32), ir.IntType(64)
        vector, mask = ir.VectorType(number, LANES), ir.IntType(LANES)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        lanes = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[2], ir.Constant(number, 0))
        zeros = ir.Constant(ir.VectorType(number, LANES), [0] * LANES)
        limits = builder.shuffle_vector(lanes, ir.Constant(vector, ir.Undefined), zeros)
        count = cgutils.alloca_once_value(builder, ir.Constant(wide, 0))
        population = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(mask, [mask]), f"llvm.ctpop.i{LANES}"
        )
        with cgutils.for_range(builder, arguments[1]) as loop:
            place = builder.gep(data, [builder.mul(loop.index, ir.Constant(loop.index.type, LANES))])
            loaded = builder.load(builder.bitcast(place, vector.as_pointer()), align=4)
            bits = builder.bitcast(builder.icmp_signed("<", loaded, limits), mask)
            more = builder.zext(builder.call(population, [bits]), wide)
            builder.store(builder.add(builder.load(count), more), count)
        return builder.load(count)

    return types.int64(values, types.int64, types.int32), generate
