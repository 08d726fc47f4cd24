"""Bits of a word, with the processor's instruction."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from manyhands.runtime.jit import intrinsic, types


@intrinsic
def trailing_zeros(_typing: Any, bits: Any) -> Any:
    """Return the number of the lowest bit that is set; there must be one."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate
