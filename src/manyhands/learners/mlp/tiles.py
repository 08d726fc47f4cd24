"""A matrix product for batches: C = op(A) B with B's rows whole registers wide, without packing.

A general BLAS first copies both matrices into a layout that its kernel likes. For the shapes of mini-batch training
(a few hundred rows, at most about a thousand columns) that copying, not the arithmetic, is what a step waits for; and
it does not shrink with the batch, which is what limits how many workers can share one. Here a tile of C, a few rows
by a few vectors, stays in registers while one pass over k reads B as it lies and broadcasts single elements of A
(Goto & van de Geijn 2008, without their packing; for B that fits the second-level cache nothing is lost).

Measured against OpenBLAS on AVX-512 servers (GFLOP/s, float32): AMD, forward, 784 x 80 at 200 rows 236 : 196, at 50
rows 240 : 140; 784 x 512 at 200 rows 215 : 210; Intel, 784 x 1040 at 200 rows 144 : 152, at 50 rows 139 : 117; 2064 x
2064 at 200 rows 103 : 160, hence `WIDEST`. In weight gradients B is a batch and fits the cache whatever its width: 2064
x 2064 at 200 rows 160 : 172, at 50 rows 159 : 128, and there what is not multiplied (inactive inputs) and not written
to memory (the gradient) outweighs the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from manyhands.runtime.jit import cgutils, inline_ir, inlined, intrinsic, types

LANES = 16
"""Float32 numbers in a 512-bit register."""
WIDEST = 1024
"""Columns up to which the tiles beat a packing BLAS in forward products."""

_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)
_SPLAT = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)


def available() -> bool:
    """Whether this CPU has the 32 registers of 512 bits that the tiles are made for."""
    return bool(llvm.get_host_cpu_features().get("avx512f", False))


def _make_tile(height: int, vectors: int, transposed: bool) -> Callable[..., Any]:
    """Return compiled code for one tile of C of ``height`` rows and ``vectors`` registers.

    Its arguments: address of A and the bytes from one of its stored rows to the next; the same of B and of C; address
    of a list of int64; k > 0, how many terms are summed. If not ``transposed``, rows of C are consecutive rows of A,
    and the list says over which columns of A to sum. If it is, the list says which columns of A, and rows of C, are
    meant, and the sum goes over all rows of A.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        a, a_pitch, b, b_pitch, c, c_pitch, numbers, k = arguments
        rows = [_number_at(builder, numbers, ir.Constant(_INT, i)) for i in range(height)] if transposed else []
        if transposed:
            a_rows = [builder.add(a, _times(builder, row, 4)) for row in rows]
        else:
            rows = [ir.Constant(_INT, i) for i in range(height)]
            a_rows = [builder.add(a, builder.mul(a_pitch, row)) for row in rows]
        before, loop = builder.block, builder.append_basic_block("tile")
        after = builder.append_basic_block("store")
        builder.branch(loop)
        builder.position_at_end(loop)
        zero = ir.Constant(_INT, 0)
        done, *offsets = counters = [builder.phi(_INT) for _ in range(3 if transposed else 1)]
        sums = [[builder.phi(_VECTOR) for _ in range(vectors)] for _ in range(height)]
        if not transposed:
            term = _number_at(builder, numbers, done)
            offsets = [_times(builder, term, 4), builder.mul(term, b_pitch)]
        row_of_b = builder.inttoptr(builder.add(b, offsets[1]), _VECTOR.as_pointer())
        loaded = [_load(builder, builder.gep(row_of_b, [ir.Constant(_INT, j)])) for j in range(vectors)]
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f32"
        )
        results = []
        for i in range(height):
            if i > 0:
                _keep_order(builder)
            element = _broadcast(builder, builder.add(a_rows[i], offsets[0]))
            results.append([builder.call(fma, [element, loaded[j], sums[i][j]]) for j in range(vectors)])
        following = builder.add(done, ir.Constant(_INT, 1))
        for counter, step in zip(counters, [ir.Constant(_INT, 1), a_pitch, b_pitch], strict=False):
            counter.add_incoming(zero, before)
            counter.add_incoming(following if counter is done else builder.add(counter, step), loop)
        for row, result in zip(sums, results, strict=True):
            for old, new in zip(row, result, strict=True):
                old.add_incoming(_ZERO, before)
                old.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", following, k), loop, after)
        builder.position_at_end(after)
        for number, result in zip(rows, results, strict=True):
            row_of_c = builder.inttoptr(builder.add(c, builder.mul(c_pitch, number)), _VECTOR.as_pointer())
            for j in range(vectors):
                builder.store(result[j], builder.gep(row_of_c, [ir.Constant(_INT, j)])).align = 4
        return context.get_dummy_value()

    def tile(
        _typing: Any, a: Any, a_pitch: Any, b: Any, b_pitch: Any, c: Any, c_pitch: Any, numbers: Any, k: Any
    ) -> tuple[Any, Any]:
        address, size = types.uintp, types.intp
        return types.void(address, size, address, size, address, size, address, size), generate

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


def _number_at(builder: Any, array: Any, index: Any) -> Any:
    """Load an int64 from an array at an address."""
    return builder.load(builder.gep(builder.inttoptr(array, _INT.as_pointer()), [index]))


def _keep_order(builder: Any) -> None:
    """Forbid the compiler to load later elements of A earlier: they would push sums out of the registers."""
    nothing = ir.FunctionType(ir.VoidType(), [])
    builder.call(ir.InlineAsm(nothing, "", "~{memory}", side_effect=True), [])


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


_WIDEST_TILE = 5
HEIGHTS = 60
"""Rows of C that most tiles divide."""


def _make_columns(transposed: bool) -> Callable[..., None]:
    """Return a function that computes some vectors of columns of C, as many rows at once as registers allow."""
    # height * vectors sums, `vectors` of B and one of A must fit 32 registers.
    tile_5x5 = _make_tile(5, 5, transposed)
    tile_6x4 = _make_tile(6, 4, transposed)
    tile_8x3 = _make_tile(8, 3, transposed)
    tile_12x2 = _make_tile(12, 2, transposed)
    tile_12x1 = _make_tile(12, 1, transposed)
    tile_1x1 = _make_tile(1, 1, transposed)

    @inlined
    def columns(
        wide: int,
        a: Any,
        a_pitch: int,
        b: Any,
        b_pitch: int,
        c: Any,
        c_pitch: int,
        numbers: Any,
        count: int,
        k: int,
    ) -> None:
        # Per row: how far A and C go on, and the list. Where the list is of terms, it is the same for all rows.
        a_step, c_step, n_step = (0, 0, 8) if transposed else (a_pitch, c_pitch, 0)
        i = 0
        # The last tile begins earlier, if rows are left over: what is computed twice comes to the same.
        if wide == 5:
            while i < count >= 5:
                tile_5x5(a + i * a_step, a_pitch, b, b_pitch, c + i * c_step, c_pitch, numbers + i * n_step, k)
                i = min(i + 5, count - 5) if i + 5 < count else count
        elif wide == 4:
            while i < count >= 6:
                tile_6x4(a + i * a_step, a_pitch, b, b_pitch, c + i * c_step, c_pitch, numbers + i * n_step, k)
                i = min(i + 6, count - 6) if i + 6 < count else count
        elif wide == 3:
            while i < count >= 8:
                tile_8x3(a + i * a_step, a_pitch, b, b_pitch, c + i * c_step, c_pitch, numbers + i * n_step, k)
                i = min(i + 8, count - 8) if i + 8 < count else count
        elif wide == 2:
            while i < count >= 12:
                tile_12x2(a + i * a_step, a_pitch, b, b_pitch, c + i * c_step, c_pitch, numbers + i * n_step, k)
                i = min(i + 12, count - 12) if i + 12 < count else count
        elif wide == 1:
            while i < count >= 12:
                tile_12x1(a + i * a_step, a_pitch, b, b_pitch, c + i * c_step, c_pitch, numbers + i * n_step, k)
                i = min(i + 12, count - 12) if i + 12 < count else count
        for row in range(i, count):  # fewer rows than a tile has
            for vector in range(wide):
                shift = 4 * LANES * vector
                tile_1x1(
                    a + row * a_step,
                    a_pitch,
                    b + shift,
                    b_pitch,
                    c + row * c_step + shift,
                    c_pitch,
                    numbers + row * n_step,
                    k,
                )

    return columns


_forward_columns, _backward_columns = _make_columns(transposed=False), _make_columns(transposed=True)


@inline_ir
def forward_product(
    rows: int, terms: Any, k: int, n: int, a: Any, at: int, pitch: int, b: Any, bt: int, c: Any, ct: int
) -> None:
    """C = A B for float32, summing over listed columns of A only; n a multiple of `LANES`.

    Parameters
    ----------
    rows
        Of A and C.
    terms, k
        The first k elements of this list, int64, are the columns of A, and rows of B, to sum over.
    n
        Columns of B and C.
    a, b, c
        Flat contiguous arrays.
    pitch
        Elements from one row of A to the next.
    at, bt, ct
        Where in them the matrices begin.
    """
    vectors = n // LANES
    blocks = (vectors + _WIDEST_TILE - 1) // _WIDEST_TILE
    if k == 0:
        c[ct : ct + rows * n] = 0
        blocks = 0
    for block in range(blocks):
        begin = block * vectors // blocks
        shift = 4 * LANES * begin
        _forward_columns(
            (block + 1) * vectors // blocks - begin,
            a.ctypes.data + 4 * at,
            4 * pitch,
            b.ctypes.data + 4 * bt + shift,
            4 * n,
            c.ctypes.data + 4 * ct + shift,
            4 * n,
            terms.ctypes.data,
            rows,
            k,
        )


@inlined
def pack_stripes(b: Any, bt: int, n: int, k: int, packed: Any) -> None:
    """Copy B, shape (k, n), stripe by stripe, those of `backward_product`, each contiguous."""
    vectors = n // LANES
    blocks = (vectors + _WIDEST_TILE - 1) // _WIDEST_TILE
    for block in range(blocks):
        begin, end = LANES * (block * vectors // blocks), LANES * ((block + 1) * vectors // blocks)
        for row in range(k):
            source = b[bt + row * n + begin : bt + row * n + end]
            target = packed[begin * k + row * (end - begin) : begin * k + (row + 1) * (end - begin)]
            for j in range(len(source)):
                target[j] = source[j]


@inlined
def pack_columns(a: Any, at: int, pitch: int, count: int, k: int, packed: Any, begin: int) -> None:
    """Copy ``count`` columns of A, from element ``at`` of its first row on, into contiguous rows."""
    for row in range(k):
        source = a[at + row * pitch : at + row * pitch + count]
        target = packed[begin + row * count : begin + (row + 1) * count]
        for j in range(len(source)):
            target[j] = source[j]


@inlined
def stripes_product(
    k: int,
    numbers: Any,
    count: int,
    n: int,
    a: Any,
    a_pitch: int,
    b: Any,
    packed: bool,
    c: Any,
) -> None:
    """Compute listed rows of C, stripe by stripe of columns; a, b, c are addresses, and so is the list."""
    vectors = n // LANES
    blocks = (vectors + _WIDEST_TILE - 1) // _WIDEST_TILE
    for block in range(blocks):
        begin = block * vectors // blocks
        wide = (block + 1) * vectors // blocks - begin
        shift = 4 * LANES * begin
        stripe, pitch = (b + shift * k, 4 * LANES * wide) if packed else (b + shift, 4 * n)
        _backward_columns(wide, a, a_pitch, stripe, pitch, c + shift, 4 * n, numbers, count, k)


@inline_ir
def backward_product(
    k: int,
    numbers: Any,
    first: int,
    last: int,
    n: int,
    a: Any,
    at: int,
    pitch: int,
    b: Any,
    bt: int,
    c: Any,
    ct: int,
    listed: bool,
    fresh: bool,
    packed: Any,
) -> None:
    """C = A^T B for float32, listed rows of C only; n a multiple of `LANES`.

    Rows of wide matrices lie on other pages of memory each, and looking these up would take as long as multiplying. So
    B, and of A what a few tiles need, are copied to where they lie together; the sums are the same.

    Parameters
    ----------
    k
        Rows of A and B, at least 1.
    numbers, first, last
        Elements ``first`` to ``last - 1`` of this list, int64, are the columns of A, and rows of C, to compute.
    n, a, at, pitch, b, bt, c, ct
        As for `forward_product`.
    listed
        Whether the list leaves some out; else it is 0, 1, 2, ...
    fresh
        Whether B is another one than in the last call.
    packed
        Room for k (n + `HEIGHTS`) numbers, if n is larger than `WIDEST`.
    """
    packs = n > WIDEST
    if packs and fresh:
        pack_stripes(b, bt, n, k, packed)
    source = packed.ctypes.data if packs else b.ctypes.data + 4 * bt
    if packs and not listed:
        for top in range(first, last, HEIGHTS):
            count = min(HEIGHTS, last - top)
            pack_columns(a, at + top, pitch, count, k, packed, k * n)
            stripes_product(
                k, numbers.ctypes.data, count, n, packed.ctypes.data + 4 * k * n, 4 * count, source, packs,
                c.ctypes.data + 4 * (ct + top * n),
            )  # fmt: skip
    else:
        stripes_product(
            k, numbers.ctypes.data + 8 * first, last - first, n, a.ctypes.data + 4 * at, 4 * pitch, source, packs,
            c.ctypes.data + 4 * ct,
        )  # fmt: skip
