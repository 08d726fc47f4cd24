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
from typing import Any

from manyhands.compiling import compiled, inlined
from manyhands.learners.mlp.blas import matrix_product
from manyhands.learners.mlp.elementwise import (
    activate,
    add_bias,
    add_bias_relu,
    gather,
    loss_and_delta,
    probabilities,
    times_slope,
)
from manyhands.learners.mlp.forms import GRADIENT, PIECE, RELU, ROUND, UPDATE, Batches, Network, Rule, Work
from manyhands.learners.mlp.optimizers import resolve, update_block, update_whole
from manyhands.learners.mlp.products import batch_product
from manyhands.learners.mlp.tiles import HEIGHTS, WIDEST
from manyhands.synchronization import Meeting, meet_and_combine


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
def batch_gradient(
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
    """Do what `batch_gradient` does after the loss, and `update_whole`, piece by piece; return as it.

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
    parts: Any,
) -> int:
    """Take many steps, averaging the gradients with the others inside every one; returns as `train`.

    ``parts`` (1,) says which of a step's parts are done: all, or one of them, when the round in between is held by
    someone else. Every part stands here once, and its choice is read from memory in every step, so that there is one
    piece of machine code for it: steps in parts have the bits of whole ones.
    """
    for step in range(len(losses)):
        if stop[0] != 0:
            return step
        begin = batches.bounds[step]
        count = batches.bounds[step + 1] - begin
        if parts[0] & GRADIENT:
            loss = 0.0
            if count > 0:
                loss = batch_gradient(params, network, work, batches, begin, count, gradient)
            else:
                gradient[:] = 0
            losses[step] = loss
            if not math.isfinite(loss):
                return step + 1
        if parts[0] & ROUND:
            meeting.weights[meeting.rank] = count
            lost = meet_and_combine(meeting, True, gradient, True)
            if lost != 0:
                return -lost
        if parts[0] & UPDATE:
            steps_taken[0] += 1
            losses[step] += update_whole(
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
