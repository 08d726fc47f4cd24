"""The treatment of denormals, numbers too small for their type's full precision, as zero in compiled code.

Under an L2 penalty, weights without gradient shrink until they are denormal; so do the moments of inputs that are
always 0, such as the margins of an image. Many processors handle each denormal in microcode, a hundred times as slowly:
training got three times slower within twenty epochs. Flushing them to zero (FTZ and DAZ in MXCSR, a register of each
thread) changes no other number.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir

from manyhands.runtime.jit import cgutils, inlined, intrinsic, types

_FLUSH_AND_ZERO = 0x8040
_X86 = platform.machine().lower() in ("x86_64", "amd64")


@intrinsic
def _exchange(_typing: Any, bits: Any, replace: Any) -> Any:
    """Set bits in the control register, or with ``replace`` all of it; return what it was. Elsewhere than on x86: 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        number = ir.IntType(32)
        if not _X86:
            return ir.Constant(number, 0)
        place = cgutils.alloca_once(builder, number)
        address = builder.bitcast(place, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
        store = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.stmxcsr")
        load = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.ldmxcsr")
        builder.call(store, [address])
        before = builder.load(place)
        wanted = builder.select(arguments[1], arguments[0], builder.or_(before, arguments[0]))
        builder.store(wanted, place)
        builder.call(load, [address])
        return before

    return types.int32(types.int32, types.boolean), generate


@inlined
def flush_denormals() -> int:
    """Treat denormals as zero in this thread from now on; return the mode from before, for `restore_denormals`."""
    return int(_exchange(_FLUSH_AND_ZERO, False))


@inlined
def restore_denormals(before: int) -> None:
    """Set the thread back to what it was."""
    _exchange(before, True)
