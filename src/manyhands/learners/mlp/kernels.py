"""The compiled mathematics of the multilayer perceptron, in reading order.

forward:    A_0 = X;  Z_l = A_{l-1} W_l + b_l;  A_l = f(Z_l) for hidden layers;  P = softmax(Z_L)
loss:       mean of -log P[i, y_i]  +  l2 / (2 B) sum W^2          (scikit-learn's MLPClassifier; B: global batch)
backward:   D_L = (P - onehot(y)) / b;  dW_l = A_{l-1}^T D_l;  db_l = column sums of D_l;
            D_{l-1} = (D_l W_l^T) * f'(A_{l-1})
update:     Adam (Kingma & Ba 2015, with the bias corrections folded into the rate, their section 2) or
            SGD with momentum, or Nesterov's (Sutskever et al. 2013, eq. 3-4)

All parameters stand in one flat vector, layer after layer: W_l (in, out) row-major, then b_l. Nothing here allocates:
`Work` holds the activations and deltas of one batch. Mind the types: in compiled code a Python literal is double
precision and would pull whole loops out of float32, therefore constants come in as values of the vector's own dtype.

Layers are stored a little wider than they are (`manyhands.learners.mlp.network.padded`), because matrix products like
multiples of a register. The added columns of W_l and b_l and rows of W_{l+1} start as zero, and stay zero: their
activations (behind the last layer: their deltas) are zero, hence their gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from manyhands.compiling import compiled, inlined, overload
from manyhands.learners.mlp.blas import matrix_product
from manyhands.learners.mlp.tiles import HEIGHTS, WIDEST, prefetch, tiled_product
from manyhands.synchronization import Meeting, meet_and_combine

IDENTITY, LOGISTIC, TANH, RELU = range(4)
SGD, NESTEROV, ADAM = range(3)
PIECE = 8192
"""Elements of the gradient that are computed and used at once: 32 KiB of float32."""


class Network(NamedTuple):
    """Shape of the network and where each layer's blocks begin in the flat vector."""

    widths: Any
    """int64 (L + 1,): inputs, hidden layers, classes; as stored, with padding."""
    real_widths: Any
    """int64 (L + 1,): without padding."""
    weight_at: Any
    """int64 (L,)."""
    bias_at: Any
    """int64 (L,)."""
    tiled: bool
    """Whether `tiles` may be used on this CPU."""
    activation: int
    """IDENTITY, LOGISTIC, TANH or RELU."""


class Rule(NamedTuple):
    """The update rule and its constants, all of the vector's dtype."""

    kind: int
    l2: Any
    momentum: Any
    beta_1: Any
    beta_2: Any
    epsilon: Any


class Work(NamedTuple):
    """Memory for one batch, used again in every step."""

    values: Any
    """Flat: A_0, A_1, ..., each with room for `capacity` rows."""
    deltas: Any
    """Flat, laid out like `values`."""
    starts: Any
    """int64 (L + 1,): where A_l begins."""


class Batches(NamedTuple):
    """A table and the rows to use, see `manyhands.protocols`."""

    features: Any
    labels: Any
    scale: Any
    shift: Any
    rows: Any
    bounds: Any
    global_rows: Any


@inlined
def gather(features: Any, scale: Any, shift: Any, rows: Any, first: int, count: int, out: Any) -> None:
    """Copy ``count`` rows into ``out`` and scale them: from bytes to inputs in one pass."""
    width = features.shape[1]
    row_bytes = width * features.itemsize
    for i in range(count):
        # Rows come in random order: what the processor cannot foresee, it is told four rows ahead.
        ahead = features.ctypes.data + rows[first + min(i + 4, count - 1)] * row_bytes
        for at in range(0, row_bytes, 64):
            prefetch(ahead + at)
        row = features[rows[first + i]]
        target = out[i * width : (i + 1) * width]
        for j in range(width):
            target[j] = scale.dtype.type(row[j]) * scale[j] + shift[j]


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
    """In float32 a polynomial that LLVM turns into vector code (ten times faster than calls of expf).

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
    block = values[at : at + rows * width]
    one = block.dtype.type(1)
    if kind == TANH:
        two = one + one
        for i in range(rows * width):
            block[i] = two / (one + exponential(-two * block[i])) - one
    elif kind == LOGISTIC:
        for i in range(rows * width):
            block[i] = one / (one + exponential(-block[i]))
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
    elif kind == TANH:
        one = d.dtype.type(1)
        for i in range(count):
            d[i] *= one - a[i] * a[i]
    elif kind == LOGISTIC:
        one = d.dtype.type(1)
        for i in range(count):
            d[i] *= a[i] * (one - a[i])


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


@inlined
def forward(params: Any, network: Network, work: Work, rows: int) -> None:
    """Compute A_1 .. A_{L-1} and Z_L from A_0 (already in ``work.values``)."""
    layers = len(network.widths) - 1
    for layer in range(layers):
        before, width = network.widths[layer], network.widths[layer + 1]
        at = work.starts[layer + 1]
        batch_product(
            network.tiled,
            False,
            rows,
            width,
            before,
            work.values,
            work.starts[layer],
            before,
            params,
            network.weight_at[layer],
            work.values,
            at,
        )
        if layer < layers - 1 and network.activation == RELU:
            add_bias_relu(work.values, at, rows, width, params, network.bias_at[layer])
            continue
        add_bias(work.values, at, rows, width, params, network.bias_at[layer])
        if layer < layers - 1:
            activate(network.activation, work.values, at, rows, width, network.real_widths[layer + 1])


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
    """Write softmax(Z) into rows ``first``.. of ``out``, shape (any, K)."""
    classes = out.shape[1]
    exponentials(values, at, rows, width, classes)
    for i in range(rows):
        line = values[at + i * width : at + i * width + classes]
        total = line[0]
        for j in range(1, classes):
            total += line[j]
        for j in range(classes):
            out[first + i, j] = line[j] / total


@inlined
def loss_and_delta(network: Network, work: Work, labels: Any, rows: Any, first: int, count: int) -> float:
    """Write D_L = (P - onehot(y)) / count into ``deltas``; return the mean cross-entropy of the batch.

    The loss is taken from Z, as log(sum exp(Z - max)) - (Z_y - max), which stays finite where log(P) would not.
    """
    last = len(network.widths) - 1
    width, classes, at = network.widths[last], network.real_widths[last], work.starts[last]
    inverse = work.values.dtype.type(1) / work.values.dtype.type(count)
    loss = 0.0
    for i in range(count):
        line = work.values[at + i * width : at + i * width + classes]
        largest = line[0]
        for j in range(1, classes):
            largest = max(largest, line[j])
        loss -= line[labels[rows[first + i]]] - largest
    exponentials(work.values, at, count, width, classes)
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
        delta[labels[rows[first + i]]] -= inverse
    return float(loss / count)


@inlined
def weight_gradient(
    network: Network, work: Work, layer: int, begin: int, rows: int, count: int, out: Any, out_at: int
) -> None:
    """Write ``rows`` rows of dW = A^T D, from row ``begin`` on."""
    batch_product(
        network.tiled,
        True,
        rows,
        network.widths[layer + 1],
        count,
        work.values,
        work.starts[layer] + begin,
        network.widths[layer],
        work.deltas,
        work.starts[layer + 1],
        out,
        out_at,
    )


@inlined
def bias_gradient(network: Network, work: Work, layer: int, count: int, out: Any, out_at: int) -> None:
    """Write db, the column sums of D."""
    width, delta_at = network.widths[layer + 1], work.starts[layer + 1]
    sums = out[out_at : out_at + width]
    sums[:] = 0
    fours = count - count % 4
    for i in range(0, fours, 4):  # four rows a pass: the sums go through memory once for all of them
        at = delta_at + i * width
        one, two = work.deltas[at : at + width], work.deltas[at + width : at + 2 * width]
        three, four = work.deltas[at + 2 * width : at + 3 * width], work.deltas[at + 3 * width : at + 4 * width]
        for j in range(width):
            sums[j] += (one[j] + two[j]) + (three[j] + four[j])
    for i in range(fours, count):
        line = work.deltas[delta_at + i * width : delta_at + (i + 1) * width]
        for j in range(width):
            sums[j] += line[j]


@inlined
def delta_below(params: Any, network: Network, work: Work, layer: int, count: int) -> None:
    """Write D_{l-1} = (D_l W_l^T) * f'(A_{l-1})."""
    before, width = network.widths[layer], network.widths[layer + 1]
    matrix_product(
        False,
        True,
        count,
        before,
        width,
        work.deltas,
        work.starts[layer + 1],
        width,
        params,
        network.weight_at[layer],
        work.deltas,
        work.starts[layer],
    )
    times_slope(network.activation, work.values, work.deltas, work.starts[layer], count * before)


@inlined
def batch_loss(params: Any, network: Network, work: Work, batches: Batches, first: int, count: int) -> float:
    """Go forward with ``count`` > 0 rows: activations and D_L into ``work``; return the mean data loss."""
    gather(batches.features, batches.scale, batches.shift, batches.rows, first, count, work.values)
    forward(params, network, work, count)
    return loss_and_delta(network, work, batches.labels, batches.rows, first, count)


@inlined
def _batch_gradient(
    params: Any, network: Network, work: Work, batches: Batches, first: int, count: int, gradient: Any
) -> float:
    """Write the mean gradient of the data loss over ``count`` > 0 rows; return that loss."""
    loss = batch_loss(params, network, work, batches, first, count)
    for layer in range(len(network.widths) - 2, -1, -1):
        weight_gradient(network, work, layer, 0, network.widths[layer], count, gradient, network.weight_at[layer])
        bias_gradient(network, work, layer, count, gradient, network.bias_at[layer])
        if layer > 0:
            delta_below(params, network, work, layer, count)
    return loss


@compiled
def batch_gradient(
    params: Any, network: Network, work: Work, batches: Batches, first: int, count: int, gradient: Any
) -> float:
    """Write the mean gradient of the data loss over ``count`` > 0 rows; return that loss."""
    return float(_batch_gradient(params, network, work, batches, first, count, gradient))


@inlined
def update_block(
    params: Any,
    gradient: Any,
    gradient_at: int,
    first: Any,
    second: Any,
    start: int,
    stop: int,
    rule: Rule,
    rate: Any,
    decay: Any,
) -> float:
    """Update ``params[start:stop]`` in one pass; return sum(params^2) from before.

    The gradient of these parameters begins at ``gradient_at``. ``first``: SGD's velocity or Adam's first moment;
    ``second``: Adam's second moment.
    """
    p, g = params[start:stop], gradient[gradient_at : gradient_at + stop - start]
    m = first[start:stop]
    squares = rate - rate
    one = p.dtype.type(1)
    if rule.kind == ADAM:
        v = second[start:stop]
        for i in range(stop - start):
            slope = g[i] + decay * p[i]
            squares += p[i] * p[i]
            m[i] = rule.beta_1 * m[i] + (one - rule.beta_1) * slope
            v[i] = rule.beta_2 * v[i] + (one - rule.beta_2) * slope * slope
            p[i] -= rate * m[i] / (math.sqrt(v[i]) + rule.epsilon)
    elif rule.kind == NESTEROV:
        for i in range(stop - start):
            slope = g[i] + decay * p[i]
            squares += p[i] * p[i]
            m[i] = rule.momentum * m[i] - rate * slope
            p[i] += rule.momentum * m[i] - rate * slope
    else:
        for i in range(stop - start):
            slope = g[i] + decay * p[i]
            squares += p[i] * p[i]
            m[i] = rule.momentum * m[i] - rate * slope
            p[i] += m[i]
    return float(squares)


@inlined
def resolve(rule: Rule, rate: float, step: int, global_rows: int, constants: Any) -> None:
    """Write the rate of step number ``step`` (1-based), the weight decay and a zero into ``constants`` (3,).

    They get the vector's dtype this way: writing and reading an array is how a double becomes a float32.
    """
    if rule.kind == ADAM:
        rate *= math.sqrt(1.0 - float(rule.beta_2) ** step) / (1.0 - float(rule.beta_1) ** step)
    constants[0] = rate
    constants[1] = rule.l2 / global_rows
    constants[2] = 0


@compiled
def update(
    params: Any,
    gradient: Any,
    first: Any,
    second: Any,
    network: Network,
    rule: Rule,
    rate: float,
    step: int,
    global_rows: int,
    constants: Any,
) -> float:
    """Take one optimizer step from Python; see `_update`."""
    return float(_update(params, gradient, first, second, network, rule, rate, step, global_rows, constants))


@inlined
def _update(
    params: Any,
    gradient: Any,
    first: Any,
    second: Any,
    network: Network,
    rule: Rule,
    rate: float,
    step: int,
    global_rows: int,
    constants: Any,
) -> float:
    """Take optimizer step number ``step`` along a whole gradient; return the penalty part of the loss from before."""
    resolve(rule, rate, step, global_rows, constants)
    rate, decay, nothing = constants[0], constants[1], constants[2]
    squares = 0.0
    for layer in range(len(network.widths) - 1):
        begin, middle = network.weight_at[layer], network.bias_at[layer]
        end = middle + network.widths[layer + 1]
        squares += update_block(params, gradient, begin, first, second, begin, middle, rule, rate, decay)
        update_block(params, gradient, middle, first, second, middle, end, rule, rate, nothing)
    return float(0.5 * squares * rule.l2 / global_rows)


@inlined
def backward_and_update(
    params: Any,
    scratch: Any,
    first: Any,
    second: Any,
    network: Network,
    rule: Rule,
    work: Work,
    count: int,
    rate: float,
    step: int,
    global_rows: int,
    constants: Any,
) -> float:
    """Do what `batch_gradient` does after the loss, and `update`, piece by piece; return as `update`.

    A piece of the gradient is used while it is in the first-level cache and never written to memory: with small
    batches a step waits for memory, not for arithmetic. BLAS wants whole matrices, so its piece is a whole layer.
    """
    resolve(rule, rate, step, global_rows, constants)
    rate, decay, nothing = constants[0], constants[1], constants[2]
    squares = 0.0
    for layer in range(len(network.widths) - 2, -1, -1):
        before, width = network.widths[layer], network.widths[layer + 1]
        weight_at, bias_at = network.weight_at[layer], network.bias_at[layer]
        if layer > 0:
            delta_below(params, network, work, layer, count)  # from the weights before they change
        piece = before
        if network.tiled and width <= WIDEST:
            piece = max(PIECE // width // HEIGHTS, 1) * HEIGHTS
        for begin in range(0, before, piece):
            rows = min(piece, before - begin)
            weight_gradient(network, work, layer, begin, rows, count, scratch, 0)
            start = weight_at + begin * width
            squares += update_block(params, scratch, 0, first, second, start, start + rows * width, rule, rate, decay)
        bias_gradient(network, work, layer, count, scratch, 0)
        update_block(params, scratch, 0, first, second, bias_at, bias_at + width, rule, rate, nothing)
    return float(0.5 * squares * rule.l2 / global_rows)


@compiled
def train(
    params: Any,
    scratch: Any,
    first: Any,
    second: Any,
    network: Network,
    rule: Rule,
    work: Work,
    batches: Batches,
    rates: Any,
    steps_taken: Any,
    constants: Any,
    losses: Any,
    stop: Any,
    progress: Any,
    meeting: Meeting,
    due: Any,
    seen: int,
) -> int:
    """Take many steps alone, and average the parameters with the others when a round is ``due``.

    Returns how many steps were done (fewer after ``stop``, or when a loss is not finite), or minus the answer of
    `synchronization.wait` if another worker was lost. ``steps_taken`` (1,), the optimizer's step count, goes on
    counting; ``seen`` are the examples since the last round.
    """
    held = 0
    for step in range(len(losses)):
        if stop[0] != 0:
            return step
        begin = batches.bounds[step]
        count = batches.bounds[step + 1] - begin
        loss = 0.0
        if count > 0:  # an empty share of a short last batch: this worker has nothing to learn from it
            loss = batch_loss(params, network, work, batches, begin, count)
            if not math.isfinite(loss):
                losses[step] = loss
                return step + 1
            steps_taken[0] += 1
            loss += backward_and_update(
                params,
                scratch,
                first,
                second,
                network,
                rule,
                work,
                count,
                rates[step],
                steps_taken[0],
                batches.global_rows[step],
                constants,
            )
        losses[step] = loss
        progress[0] += 1
        seen += count
        if held < len(due) and step + 1 == due[held]:
            meeting.weights[meeting.rank] = seen
            lost = meet_and_combine(meeting, True, params, True)
            if lost != 0:
                return -lost
            held, seen = held + 1, 0
    return len(losses)


@compiled
def train_together(
    params: Any,
    gradient: Any,
    first: Any,
    second: Any,
    network: Network,
    rule: Rule,
    work: Work,
    batches: Batches,
    rates: Any,
    steps_taken: Any,
    constants: Any,
    losses: Any,
    stop: Any,
    progress: Any,
    meeting: Meeting,
) -> int:
    """Take many steps, averaging the gradients with the others inside every one; returns as `train`."""
    for step in range(len(losses)):
        if stop[0] != 0:
            return step
        begin = batches.bounds[step]
        count = batches.bounds[step + 1] - begin
        loss = 0.0
        if count > 0:
            loss = _batch_gradient(params, network, work, batches, begin, count, gradient)
        else:
            gradient[:] = 0
        losses[step] = loss
        if not math.isfinite(loss):
            return step + 1
        meeting.weights[meeting.rank] = count
        lost = meet_and_combine(meeting, True, gradient, True)
        if lost != 0:
            return -lost
        steps_taken[0] += 1
        losses[step] += _update(
            params,
            gradient,
            first,
            second,
            network,
            rule,
            rates[step],
            steps_taken[0],
            batches.global_rows[step],
            constants,
        )
        progress[0] += 1
    return len(losses)


@compiled
def predict(
    params: Any,
    network: Network,
    work: Work,
    features: Any,
    scale: Any,
    shift: Any,
    rows: Any,
    out: Any,
    capacity: int,
) -> None:
    """Write class probabilities of ``rows`` into ``out``, shape (rows, K), ``capacity`` rows at a time."""
    last = len(network.widths) - 1
    for begin in range(0, len(rows), capacity):
        count = min(capacity, len(rows) - begin)
        gather(features, scale, shift, rows, begin, count, work.values)
        forward(params, network, work, count)
        probabilities(work.values, work.starts[last], count, network.widths[last], out, begin)
