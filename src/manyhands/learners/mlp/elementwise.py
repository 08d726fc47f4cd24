"""Compiled passes over a batch, element by element: gathering, activations, softmax and loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from manyhands.learners.mlp.kernel_args import IDENTITY, LOGISTIC, RELU, TANH, Batches, Network, Work
from manyhands.learners.mlp.tiles import prefetch
from manyhands.runtime.jit import inlined, overload, types


def _input(row: Any, scale: Any, shift: Any, center: Any, j: Any) -> Any:
    """Return what a row's stored value ``j`` becomes, for compiled code only; see below."""
    raise NotImplementedError("_input can be called from compiled code only")


@overload(_input)
def _input_of(row: Any, scale: Any, shift: Any, center: Any, j: Any) -> Callable[[Any, Any, Any, Any, Any], Any]:
    """Bytes are exact in any dtype; of 1.7e9 + 30 z, float32 keeps no z, so floats are scaled in double precision."""

    def of_bytes(row: Any, scale: Any, shift: Any, center: Any, j: Any) -> Any:
        return scale.dtype.type(row[j]) * scale[j] + shift[j]

    def of_floats(row: Any, scale: Any, shift: Any, center: Any, j: Any) -> Any:
        return (np.float64(row[j]) - center[j]) * scale[j] + shift[j]

    return of_bytes if isinstance(center, types.NoneType) else of_floats


def _byte(row: Any, inputs: Any, j: Any) -> Any:
    """Return a byte that is 0 if input ``j`` is, but for its shift; for compiled code only; see below."""
    raise NotImplementedError("_byte can be called from compiled code only")


@overload(_byte)
def _byte_of(row: Any, inputs: Any, j: Any) -> Callable[[Any, Any, Any], Any]:
    """Bytes are taken as they are stored: comparing them would cost as much again as copying them."""

    def stored(row: Any, inputs: Any, j: Any) -> Any:
        return row[j]

    def compared(row: Any, inputs: Any, j: Any) -> Any:
        return np.uint8(inputs[j] != 0)

    return stored if row.dtype == types.uint8 else compared


@inlined
def gather(batches: Batches, work: Work, first: int, count: int) -> None:
    """Bring ``count`` rows into A_0 and scale them, from bytes to inputs in one pass; list the inputs that are active.

    An input whose stored byte is zero in all rows is zero in all of them, if its shift is.
    """
    features, scale, shift, rows = batches.features, batches.scale, batches.shift, batches.rows
    width, flags = features.shape[1], work.flags
    row_bytes = width * features.itemsize
    flags[:] = 0
    for i in range(count):
        # Rows come in random order: what the processor cannot foresee, it is told four rows ahead.
        ahead = features.ctypes.data + rows[first + min(i + 4, count - 1)] * row_bytes
        for at in range(0, row_bytes, 64):
            prefetch(ahead + at)
        row = features[rows[first + i]]
        target = work.values[i * width : (i + 1) * width]
        for j in range(width):
            target[j] = _input(row, scale, shift, batches.center, j)
        for j in range(width):
            flags[j] |= _byte(row, target, j)
    for j in range(width):
        flags[j] |= np.uint8(shift[j] != 0)
    actives = np.uint64(0)
    for j in range(width):
        work.active[actives] = j
        actives += np.uint64(flags[j] != 0)  # no branch: which inputs are active, nobody foresees
    work.actives[0] = actives


@inlined
def add_bias(values: Any, at: int, rows: int, width: int, params: Any, bias_at: int) -> None:
    """Z += b."""
    bias = params[bias_at : bias_at + width]
    for i in range(rows):
        line = values[at + i * width : at + (i + 1) * width]
        for j in range(width):
            line[j] += bias[j]


@inlined
def add_bias_relu(values: Any, at: int, rows: int, width: int, params: Any, bias_at: int) -> None:
    """Compute A = max(Z + b, 0) in one pass; written so that NaN stays NaN."""
    bias = params[bias_at : bias_at + width]
    zero = bias[0] - bias[0]
    for i in range(rows):
        line = values[at + i * width : at + (i + 1) * width]
        for j in range(width):
            z = line[j] + bias[j]
            line[j] = zero if z < zero else z


def exponential(x: Any) -> Any:
    """exp(x), for compiled code only; see below."""
    raise NotImplementedError("exponential can be called from compiled code only")


@overload(exponential)
def _exponential(x: Any) -> Callable[[Any], Any]:
    """In float32 a polynomial that LLVM turns into vector code (2,000 of them in 0.4 instead of 4 microseconds).

    Cephes' expf (Moshier 1989): x = n ln 2 + r, exp(r) by a polynomial of degree 6; relative error below 3e-7.
    """

    def by_library(x: Any) -> Any:
        return math.exp(x)

    def by_polynomial(x: Any) -> Any:
        # The bounds keep 2^n a normal number, but hide NaN; x - x (NaN for NaN and infinities, else 0) brings it back,
        # so that a diverged network shows in its loss.
        bounded = min(max(x, np.float32(-87.0)), np.float32(88.0))
        n = np.floor(bounded * np.float32(1.44269504088896341) + np.float32(0.5))
        r = bounded - n * np.float32(0.693359375)
        r = r - n * np.float32(-2.12194440e-4)
        q = np.float32(1.9875691500e-4)
        q = q * r + np.float32(1.3981999507e-3)
        q = q * r + np.float32(8.3334519073e-3)
        q = q * r + np.float32(4.1665795894e-2)
        q = q * r + np.float32(1.6666665459e-1)
        q = q * r + np.float32(5.0000001201e-1)
        q = q * r * r + r + np.float32(1)
        power = (np.int32(n) + np.int32(127)) << np.int32(23)
        return q * np.int32(power).view(np.float32) + (x - x)

    return by_polynomial if x == types.float32 else by_library


@inlined
def activate(kind: int, values: Any, at: int, rows: int, width: int, real_width: int) -> None:
    """Compute A = f(Z) in place, for the activations that `add_bias_relu` does not cover."""
    if kind != TANH and kind != LOGISTIC:
        return
    block = values[at : at + rows * width]
    one = block.dtype.type(1)
    factor = one + one if kind == TANH else one  # tanh(z) = 2 logistic(2 z) - 1
    offset = factor - one
    for i in range(rows * width):
        block[i] = factor / (one + exponential(-factor * block[i])) - offset
    if kind == LOGISTIC:
        for i in range(rows):  # logistic(0) is not 0: silence the padding
            block[i * width + real_width : (i + 1) * width] = 0


@inlined
def times_slope(kind: int, values: Any, deltas: Any, at: int, count: int) -> None:
    """D *= f'(Z), with the slope computed from A = f(Z)."""
    a = values[at : at + count]
    d = deltas[at : at + count]
    if kind == RELU:
        zero = d.dtype.type(0)
        for i in range(count):
            d[i] = d[i] if a[i] > zero else zero
    elif kind != IDENTITY:
        one = d.dtype.type(1)
        offset = one if kind == TANH else one - one  # tanh: 1 - a^2 = (1 - a)(a + 1); logistic: (1 - a) a
        for i in range(count):
            d[i] *= (one - a[i]) * (a[i] + offset)


@inlined
def exponentials(values: Any, at: int, rows: int, width: int, classes: int) -> None:
    """Replace Z by exp(Z - max of the row); written in passes so that the exponentials run as vector code."""
    for i in range(rows):
        line = values[at + i * width : at + (i + 1) * width]
        largest = line[0]
        for j in range(1, classes):
            largest = max(largest, line[j])
        for j in range(classes):
            line[j] -= largest
    block = values[at : at + rows * width]
    for i in range(rows * width):
        block[i] = exponential(block[i])


@inlined
def probabilities(values: Any, at: int, rows: int, width: int, out: Any, first: int) -> None:
    """Write softmax(Z), of which `exponentials` has done a part, into rows ``first``.. of ``out``, shape (any, K)."""
    classes = out.shape[1]
    for i in range(rows):
        line = values[at + i * width : at + i * width + classes]
        total = line[0]
        for j in range(1, classes):
            total += line[j]
        for j in range(classes):
            out[first + i, j] = line[j] / total


@inlined
def minus_labels(network: Network, work: Work, batches: Batches, first: int, count: int) -> float:
    """Return the sum of max(Z) - Z_y over the batch, the first part of its cross-entropy.

    The loss is taken from Z, as log(sum exp(Z - max)) - (Z_y - max), which stays finite where log(P) would not.
    """
    last = len(network.widths) - 1
    width, classes, at = network.widths[last], network.real_widths[last], work.starts[last]
    loss = 0.0
    for i in range(count):
        line = work.values[at + i * width : at + i * width + classes]
        largest = line[0]
        for j in range(1, classes):
            largest = max(largest, line[j])
        loss -= line[batches.labels[batches.rows[first + i]]] - largest
    return loss


@inlined
def loss_and_delta(network: Network, work: Work, batches: Batches, first: int, count: int, loss: float) -> float:
    """Write D_L = (P - onehot(y)) / count into ``deltas``; return the mean cross-entropy of the batch.

    ``loss`` is what `minus_labels` has returned; `exponentials` has been done since.
    """
    last = len(network.widths) - 1
    width, classes, at = network.widths[last], network.real_widths[last], work.starts[last]
    inverse = work.values.dtype.type(1) / work.values.dtype.type(count)
    for i in range(count):
        line = work.values[at + i * width : at + i * width + classes]
        delta = work.deltas[at + i * width : at + i * width + classes]
        total = line[0]
        for j in range(1, classes):
            total += line[j]
        loss += math.log(total)
        share = inverse / total
        for j in range(classes):
            delta[j] = line[j] * share
        delta[batches.labels[batches.rows[first + i]]] -= inverse
    return float(loss / count)
