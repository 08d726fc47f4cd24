"""A matrix product for batches: C = op(A) B with B's rows whole registers wide, without packing.

A general BLAS first copies both matrices into a layout that its kernel likes. For the shapes of mini-batch training
(a few hundred rows, at most about a thousand columns) that copying, not the arithmetic, is what a step waits for; and
it does not shrink with the batch, which is what limits how many workers can share one. Here a tile of C, a few rows
by a few vectors, stays in registers while one pass over k reads B as it lies and broadcasts single elements of A
(Goto & van de Geijn 2008, without their packing; for B that fits the second-level cache nothing is lost).

Measured against OpenBLAS on an AVX-512 server (GFLOP/s, float32): 784 x 80 at 200 rows 236 : 196, at 50 rows
240 : 140; 784 x 512 at 200 rows 215 : 210; 2048 x 2048 at 200 rows 150 : 190, hence `WIDEST`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils

from manyhands.compiling import inlined, intrinsic

LANES = 16
"""Float32 numbers in a 512-bit register."""
WIDEST = 1024
"""Columns up to which the tiles beat a packing BLAS."""

_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)
_SPLAT = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)


def available() -> bool:
    """Whether this CPU has the 32 registers of 512 bits that the tiles are made for."""
    return bool(llvm.get_host_cpu_features().get("avx512f", False))


def _make_tile(height: int, vectors: int) -> Callable[..., Any]:
    """Return compiled code for one tile of C of ``height`` rows and ``vectors`` registers.

    Its arguments: address of A, its strides along the rows of C and along k; address of B, its row stride; address of
    C, its row stride; k > 0. Addresses are integers, strides count elements.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        a, a_row, a_step, b, b_step, c, c_row, k = arguments
        a_rows = [builder.add(a, _times(builder, a_row, 4 * i)) for i in range(height)]
        before, loop = builder.block, builder.append_basic_block("tile")
        after = builder.append_basic_block("store")
        builder.branch(loop)
        builder.position_at_end(loop)
        counters = [builder.phi(_INT) for _ in range(3)]  # k, and the byte offsets in A and in B
        sums = [[builder.phi(_VECTOR) for _ in range(vectors)] for _ in range(height)]
        done, a_at, b_at = counters
        row_of_b = builder.inttoptr(builder.add(b, b_at), _VECTOR.as_pointer())
        loaded = [_load(builder, builder.gep(row_of_b, [ir.Constant(_INT, j)])) for j in range(vectors)]
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f32"
        )
        results = []
        for i in range(height):
            element = _broadcast(builder, builder.add(a_rows[i], a_at))
            results.append([builder.call(fma, [element, loaded[j], sums[i][j]]) for j in range(vectors)])
        steps = [ir.Constant(_INT, 1), _times(builder, a_step, 4), _times(builder, b_step, 4)]
        for counter, step in zip(counters, steps, strict=True):
            counter.add_incoming(ir.Constant(_INT, 0), before)
            counter.add_incoming(builder.add(counter, step), loop)
        for row, result in zip(sums, results, strict=True):
            for old, new in zip(row, result, strict=True):
                old.add_incoming(_ZERO, before)
                old.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", builder.add(done, steps[0]), k), loop, after)
        builder.position_at_end(after)
        for i in range(height):
            row_of_c = builder.inttoptr(builder.add(c, _times(builder, c_row, 4 * i)), _VECTOR.as_pointer())
            for j in range(vectors):
                builder.store(results[i][j], builder.gep(row_of_c, [ir.Constant(_INT, j)])).align = 4
        return context.get_dummy_value()

    def tile(
        _typing: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_step: Any, c: Any, c_row: Any, k: Any
    ) -> tuple[Any, Any]:
        address, stride = types.uintp, types.intp
        signature = types.void(address, stride, stride, address, stride, address, stride, stride)
        return signature, generate

    return intrinsic(tile)


@intrinsic
def prefetch(_typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address, an integer, and go on."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, number, number, number]), "llvm.prefetch.p0"
        )
        reading, keep, data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(function, [builder.inttoptr(arguments[0], byte), reading, keep, data])
        return context.get_dummy_value()

    return types.void(types.uintp), generate


def _times(builder: Any, value: Any, factor: int) -> Any:
    return builder.mul(value, ir.Constant(_INT, factor))


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 4
    return value


def _broadcast(builder: Any, address: Any) -> Any:
    """Load one float into all lanes."""
    element = _load(builder, builder.inttoptr(address, _FLOAT.as_pointer()))
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, element, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, _SPLAT)


# height * vectors sums, `vectors` of B and one of A must fit 32 registers; a single row takes what is left over.
_tile_12x1, _tile_1x1 = _make_tile(12, 1), _make_tile(1, 1)
_tile_12x2, _tile_1x2 = _make_tile(12, 2), _make_tile(1, 2)
_tile_8x3, _tile_1x3 = _make_tile(8, 3), _make_tile(1, 3)
_tile_6x4, _tile_1x4 = _make_tile(6, 4), _make_tile(1, 4)
_tile_5x5, _tile_1x5 = _make_tile(5, 5), _make_tile(1, 5)
_WIDEST_TILE = 5
HEIGHTS = 60
"""Rows of C that most tiles divide."""


@inlined
def tiled_product(
    transpose_a: bool, m: int, n: int, k: int, a: Any, at: int, pitch: int, b: Any, bt: int, c: Any, ct: int
) -> None:
    """C = op(A) B for float32 blocks inside flat arrays, n a multiple of `LANES`, k > 0.

    Parameters
    ----------
    transpose_a
        Whether op transposes: A is stored (k, m) then.
    m, n, k
        op(A) is (m, k), B is (k, n), C is (m, n).
    a, b, c
        Flat contiguous float32 arrays.
    pitch
        Elements from one stored row of A to the next.
    at, bt, ct
        Where in them the matrices begin.
    """
    row, step = (1, pitch) if transpose_a else (pitch, 1)
    address_a, address_b, address_c = a.ctypes.data + 4 * at, b.ctypes.data + 4 * bt, c.ctypes.data + 4 * ct
    vectors = n // LANES
    blocks = (vectors + _WIDEST_TILE - 1) // _WIDEST_TILE
    for block in range(blocks):
        first = block * vectors // blocks
        wide = (block + 1) * vectors // blocks - first
        _columns(wide, address_a, row, step, address_b + 4 * LANES * first, n, address_c + 4 * LANES * first, m, k)


@inlined
def _columns(wide: int, a: Any, row: int, step: int, b: Any, n: int, c: Any, m: int, k: int) -> None:
    """Compute ``wide`` vectors of columns, as many rows at once as registers allow."""
    i = 0
    if wide == 5:
        while i + 5 <= m:
            _tile_5x5(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 5
        while i < m:
            _tile_1x5(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 1
    elif wide == 4:
        while i + 6 <= m:
            _tile_6x4(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 6
        while i < m:
            _tile_1x4(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 1
    elif wide == 3:
        while i + 8 <= m:
            _tile_8x3(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 8
        while i < m:
            _tile_1x3(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 1
    elif wide == 2:
        while i + 12 <= m:
            _tile_12x2(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 12
        while i < m:
            _tile_1x2(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 1
    elif wide == 1:
        while i + 12 <= m:
            _tile_12x1(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 12
        while i < m:
            _tile_1x1(a + 4 * i * row, row, step, b, n, c + 4 * i * n, n, k)
            i += 1
