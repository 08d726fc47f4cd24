"""The matrix product of a batch, by whichever of our two ways is faster."""

from __future__ import annotations

from typing import Any

from manyhands.compiling import inlined
from manyhands.learners.mlp.blas import matrix_product
from manyhands.learners.mlp.tiles import WIDEST, tiled_product


@inlined
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
    """C = op(A) B; ``tiled`` (float32 only) allows `tiles`, everything else is BLAS. Arguments as `tiled_product`."""
    if tiled and n <= WIDEST:
        tiled_product(transpose_a, m, n, k, a, at, pitch, b, bt, c, ct)
    else:
        matrix_product(transpose_a, False, m, n, k, a, at, pitch, b, bt, c, ct)
