"""The matrix products of a layer, by our own tiles or by BLAS, whichever suits its shape; for compiled code only.

A layer's weights are (inputs, width), row-major. Its batch of inputs may be columns of wider rows: they begin at an
element, and ``pitch`` elements lie between rows. Deltas, outputs and gradients are contiguous.
"""

from __future__ import annotations

from typing import Any

from manyhands.learners.mlp.blas import matrix_product
from manyhands.learners.mlp.kernel_args import Work
from manyhands.learners.mlp.tiles import WIDEST, backward_product, forward_product
from manyhands.runtime.jit import inline_ir, inlined


@inlined
def place_of(value: int, numbers: Any, count: int) -> int:
    """Return how many of the first ``count`` ascending numbers are less than ``value``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if numbers[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@inline_ir
def layer_product(
    tiled: bool,
    sparse: bool,
    first_input: int,
    work: Work,
    rows: int,
    inputs: int,
    width: int,
    a: Any,
    at: int,
    pitch: int,
    params: Any,
    weight_at: int,
    c: Any,
    ct: int,
) -> None:
    """Write A W, shape (rows, width), without biases.

    If ``sparse``, A is the batch as it came, of which only inputs listed in ``work.active`` are not zero; the layer has
    its inputs from ``first_input`` on.
    """
    terms, k, begin = work.every[0:], inputs, weight_at
    if sparse:
        first = place_of(first_input, work.active, work.actives[0])
        terms = work.active[first:]
        k = place_of(first_input + inputs, work.active, work.actives[0]) - first
        begin = weight_at - first_input * width
    if tiled and width * k <= WIDEST * inputs:  # BLAS can leave no input out
        forward_product(rows, terms, k, width, a, at, pitch, params, begin, c, ct)
    else:
        matrix_product(
            False, False, rows, width, inputs, a, at + (first_input if sparse else 0), pitch, params, weight_at, c, ct
        )


@inline_ir
def weight_gradient(
    tiled: bool,
    sparse: bool,
    first_input: int,
    work: Work,
    begin: int,
    end: int,
    width: int,
    count: int,
    a: Any,
    at: int,
    pitch: int,
    deltas: Any,
    delta_at: int,
    out: Any,
    out_at: int,
) -> None:
    """Write rows ``begin`` to ``end - 1`` of dW = A^T D, of ``count`` samples; ``sparse`` as for `layer_product`.

    Of a layer, the rows from 0 on are written first.
    """
    shift = first_input if sparse else 0
    if not tiled:
        matrix_product(
            True, False, end - begin, width, count, a, at + shift + begin, pitch, deltas, delta_at, out, out_at
        )
        return
    rows, first, last = work.every, begin, end
    if sparse:
        rows, first = work.active, place_of(shift + begin, work.active, work.actives[0])
        last = place_of(shift + end, work.active, work.actives[0])
        written = shift + begin
        for i in range(first, last):  # inputs that are zero have no gradient
            out[out_at + (written - shift - begin) * width : out_at + (work.active[i] - shift - begin) * width] = 0
            written = work.active[i] + 1
        out[out_at + (written - shift - begin) * width : out_at + (end - begin) * width] = 0
    backward_product(
        count, rows, first, last, width, a, at, pitch, deltas, delta_at, out, out_at - (shift + begin) * width,
        sparse, begin == 0, work.packed,
    )  # fmt: skip


@inlined
def bias_gradient(width: int, count: int, deltas: Any, delta_at: int, out: Any, out_at: int) -> None:
    """Write db, the column sums of D, shape (count, width)."""
    sums = out[out_at : out_at + width]
    sums[:] = 0
    fours = count - count % 4
    for i in range(0, fours, 4):  # four rows a pass: the sums go through memory once for all of them
        at = delta_at + i * width
        one, two = deltas[at : at + width], deltas[at + width : at + 2 * width]
        three, four = deltas[at + 2 * width : at + 3 * width], deltas[at + 3 * width : at + 4 * width]
        for j in range(width):
            sums[j] += (one[j] + two[j]) + (three[j] + four[j])
    for i in range(fours, count):
        line = deltas[delta_at + i * width : delta_at + (i + 1) * width]
        for j in range(width):
            sums[j] += line[j]
