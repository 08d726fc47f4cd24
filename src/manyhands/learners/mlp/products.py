"""The matrix product of a batch, by whichever of our two ways is faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types

from manyhands.compiling import overload
from manyhands.learners.mlp.blas import matrix_product
from manyhands.learners.mlp.tiles import WIDEST, tiled_product


def batch_product(
    tiled: bool,
    transpose_a: bool,
    m: int,
    n: int,
    k: int,
    a: Any,
    at: int,
    pitch: int,
    b: Any,
    bt: int,
    c: Any,
    ct: int,
) -> None:
    """C = op(A) B by tiles or by BLAS, whichever is faster; for compiled code only."""
    raise NotImplementedError("batch_product can be called from compiled code only")


@overload(batch_product)
def _batch_product(
    tiled: Any,
    transpose_a: Any,
    m: Any,
    n: Any,
    k: Any,
    a: Any,
    at: Any,
    pitch: Any,
    b: Any,
    bt: Any,
    c: Any,
    ct: Any,
) -> Callable[..., None]:
    def by_blas(
        tiled: Any,
        transpose_a: Any,
        m: Any,
        n: Any,
        k: Any,
        a: Any,
        at: Any,
        pitch: Any,
        b: Any,
        bt: Any,
        c: Any,
        ct: Any,
    ) -> None:
        matrix_product(transpose_a, False, m, n, k, a, at, pitch, b, bt, c, ct)

    def by_either(
        tiled: Any,
        transpose_a: Any,
        m: Any,
        n: Any,
        k: Any,
        a: Any,
        at: Any,
        pitch: Any,
        b: Any,
        bt: Any,
        c: Any,
        ct: Any,
    ) -> None:
        if tiled and n <= WIDEST:
            tiled_product(transpose_a, m, n, k, a, at, pitch, b, bt, c, ct)
        else:
            matrix_product(transpose_a, False, m, n, k, a, at, pitch, b, bt, c, ct)

    return by_either if a.dtype == types.float32 else by_blas
