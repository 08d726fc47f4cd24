"""The compiled mathematics of the multilayer perceptron, in reading order.

forward:    A_0 = X;  Z_l = A_{l-1} W_l + b_l;  A_l = f(Z_l) for hidden layers;  P = softmax(Z_L)
loss:       mean of -log P[i, y_i]  +  l2 / (2 B) sum W^2          (scikit-learn's MLPClassifier; B: global batch)
            or one of the others in `losses`, whose D_L looks alike
backward:   D_L = (P - onehot(y)) / b;  dW_l = A_{l-1}^T D_l;  db_l = column sums of D_l;
            D_{l-1} = (D_l W_l^T) * f'(A_{l-1})
update:     one of `optimizers`

All parameters stand in one flat vector, layer after layer: W_l (in, out) row-major, then b_l. Nothing here allocates:
`Work` holds the activations and deltas of one batch. Mind the types: in compiled code a Python literal is double
precision and would pull whole loops out of float32, therefore constants come in as values of the vector's own dtype.

Inputs that are zero in all rows of a batch (the margins of images) take part in no product: `Work.active` lists the
others. Nothing but time changes by that, as what is left out is zero.

Layers are stored a little wider than they are (`manyhands.learners.mlp.settings.padded`), because matrix products like
multiples of a register. The added columns of W_l and b_l and rows of W_{l+1} start as zero, and stay zero: their
activations (behind the last layer: their deltas) are zero, hence their gradients.
"""

from __future__ import annotations

import math
from typing import Any

from manyhands.learners.mlp.activations import apply_activation, times_slopes
from manyhands.learners.mlp.blas import matrix_product
from manyhands.learners.mlp.elementwise import add_bias, add_bias_relu, gather
from manyhands.learners.mlp.kernel_args import (
    GRADIENT,
    LAMB,
    LOCAL,
    PIECE,
    PREDICTION,
    ROUND,
    UPDATE,
    Batches,
    Course,
    Network,
    Rule,
    Vectors,
    Work,
)
from manyhands.learners.mlp.losses import loss_or_outputs, mass_of
from manyhands.learners.mlp.optimizers import step_constants, update_range
from manyhands.learners.mlp.products import bias_gradient, layer_product, weight_gradient
from manyhands.learners.mlp.tiles import HEIGHTS
from manyhands.runtime.fp_mode import flush_denormals, restore_denormals
from manyhands.runtime.jit import compiled, inline_ir, inlined
from manyhands.runtime.shared_reduce import SharedReduction, arrive_and_wait, combine_range, now, spread_range, total_of


@inline_ir
def forward(
    params: Any, network: Network, work: Work, batches: Batches, begin: int, rows: int, step: int, learns: bool
) -> None:
    """Compute A_1 .. A_{L-1} and Z_L from A_0 (already in ``work.values``)."""
    layers = len(network.widths) - 1
    for layer in range(layers):
        before, width = network.widths[layer], network.widths[layer + 1]
        at, source, weight_at = work.starts[layer + 1], work.starts[layer], network.weight_at[layer]
        layer_product(
            network.tiled, layer == 0, 0, work, rows, before, width,
            work.values, source, before, params, weight_at, work.values, at,
        )  # fmt: skip
        if layer < layers - 1 and network.relu_at_once:
            add_bias_relu(work.values, at, rows, width, params, network.bias_at[layer])
            continue
        add_bias(work.values, at, rows, width, params, network.bias_at[layer])
        if layer < layers - 1:
            apply_activation(
                work.slopes, network, work, layer + 1, batches.rows, batches.first_row, begin, rows, step, learns
            )


@inline_ir
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
    times_slopes(work.slopes, network, work, layer, count)


@inline_ir
def piece_of(network: Network, rule: Rule, layer: int, computes: bool, fused: bool) -> int:
    """Return how many rows of a layer's gradient are treated at once.

    A piece stays in the first-level cache while it is computed and used, or combined, used and spread: with small
    batches a step waits for memory, not for arithmetic. BLAS wants whole matrices, so the piece that it computes is a
    whole layer: the rows of W, and b behind them. So is one that nobody uses yet, and one whose step depends on all of
    the layer.
    """
    width, together = network.widths[layer + 1], rule.kind >= LAMB
    if not computes and not together:
        return int(max(PIECE // width, 1))
    if fused and network.tiled and not together:
        return int(max(PIECE // width // HEIGHTS, 1) * HEIGHTS)
    return int(network.widths[layer] + 1)


@inline_ir
def forward_and_loss(
    vectors: Vectors, network: Network, work: Work, batches: Batches, begin: int, count: int, step: int, out: Any
) -> float:
    """Go forward with ``count`` > 0 rows; return their mean loss with D_L in ``work``, or write outputs.

    Rows of ``out`` are for the outputs; none there means that the loss of step number ``step`` is wanted.
    """
    gather(batches, work, begin, count)
    forward(vectors.params, network, work, batches, begin, count, step, len(out) == 0)
    return loss_or_outputs(work.slopes, network, work, batches, begin, count, out)


@inline_ir
def backward_and_update(
    vectors: Vectors,
    network: Network,
    rule: Rule,
    work: Work,
    constants: Any,
    meeting: SharedReduction,
    shared: Any,
    count: int,
    computes: bool,
    meets: bool,
    applies: bool,
    fused: bool,
    start: int,
    stop: int,
) -> float:
    """Go through all layers, the last one first, in pieces; return the sum of the squares of weights before an update.

    Parameters
    ----------
    computes
        Whether the gradient is computed, of ``count`` rows; ``fused``, it is used at once, and nowhere written whole.
    meets
        Whether everyone's ``shared`` vectors are combined in elements ``start`` to ``stop - 1``, and then, updated if
        need be, the parameters there given to everyone.
    applies
        Whether parameters ``start`` to ``stop - 1`` are updated.
    """
    squares = 0.0
    layers = len(network.widths) - 1
    for number in range(layers if computes or applies or meets else 0):
        layer = layers - 1 - number
        lines, width = network.widths[layer] + 1, network.widths[layer + 1]
        if computes and layer > 0:
            delta_below(vectors.params, network, work, layer, count)  # from the weights before they change
        piece = piece_of(network, rule, layer, computes, fused)
        for top in range(0, lines, piece):
            end = min(top + piece, lines)
            at, behind = network.weight_at[layer] + top * width, network.weight_at[layer] + end * width
            out_at = 0 if fused and computes else at
            if computes:
                weight_gradient(
                    network.tiled, layer == 0, 0, work, top, min(end, lines - 1), width, count,
                    work.values, work.starts[layer], lines - 1, work.deltas, work.starts[layer + 1],
                    vectors.gradient, out_at,
                )  # fmt: skip
                if end == lines:
                    biases_at = out_at + (lines - 1 - top) * width
                    bias_gradient(width, count, work.deltas, work.starts[layer + 1], vectors.gradient, biases_at)
            first, behind = max(at, start), min(behind, stop)
            if meets:
                combine_range(meeting, True, shared, first, behind)
            if applies:
                squares += update_range(
                    work.slopes, vectors, at - out_at, network.bias_at[layer], rule, first, behind, constants
                )
            if meets:
                spread_range(meeting, vectors.params, first, behind)
    return squares


@inlined
def keep_copy(course: Course, params: Any, number: int, nanoseconds: int) -> None:
    """Copy the parameters to place ``number`` in the course: they are whole, and nobody writes them now."""
    kept = course.kept[number]
    for i in range(len(kept)):
        kept[i] = params[i]
    course.kept_after[number] = nanoseconds


@compiled
def run(
    vectors: Vectors,
    network: Network,
    rule: Rule,
    work: Work,
    batches: Batches,
    course: Course,
    meeting: SharedReduction,
    out: Any,
) -> int:
    """Take many steps, or parts of them, as ``course.parts`` says; or predict.

    Every part of a step stands here once, and the choice is read from memory in every step, so that there is one piece
    of machine code for it: steps in parts have the bits of whole ones (but for the penalty in the reported loss, a sum
    in single precision over pieces of other sizes). One entry for everything: what is compiled
    twice costs a first run twice.

    Returns how many steps were done (fewer after ``course.stop``, or when a loss is not finite), or minus the result
    of `shared_reduce.wait` if another worker was lost.
    """
    before = flush_denormals()
    lost, done, held, kept = 0, 0, 0, 0
    began = now(meeting.scratch)
    for step in range(len(course.losses)):
        if course.stop[0] != 0:
            break
        does = course.parts[0]
        begin = batches.bounds[step]
        count = batches.bounds[step + 1] - begin
        loss = 0.0
        if does & (GRADIENT | PREDICTION) and count > 0:
            loss = forward_and_loss(vectors, network, work, batches, begin, count, course.steps_taken[0], out)
            course.losses[step] = loss
            if not math.isfinite(loss):
                done += 1
                break
        fused = does & LOCAL == LOCAL
        # A share of a short last batch may be empty: such a worker has nothing to learn alone.
        updates = does & UPDATE and not (fused and count == 0)
        if updates:
            course.steps_taken[0] += 1
            number, global_rows = course.steps_taken[0], batches.global_rows[step]
            step_constants(work.slopes, rule, course.rates[step], number, global_rows, course)
        course.seen[0] += count
        talks = does & ROUND or (held < len(course.due) and step + 1 == course.due[held])
        # Phase 0 computes the gradient and, in a local step, updates with it. Then comes the round, of parameters or
        # gradients, and the other phases update one worker's part of the parameters each: who meets the others only
        # its own, for all; else all of them, so that sums have the same bits either way.
        mine = meeting.rank if talks else 0
        phases = 2 if talks else 1 if fused else len(meeting.bounds)
        if does & GRADIENT and not fused and count == 0:
            vectors.gradient[:] = 0
        shared = vectors.gradient if does & ROUND else vectors.params
        squares = 0.0
        for phase in range(phases):
            computes = phase == 0 and does & GRADIENT and count > 0
            meets = phase == 1 and talks
            applies = updates and fused == (phase == 0)
            start, stop = 0, len(vectors.params)
            if phase > 0:
                start, stop = meeting.bounds[mine + phase - 1], meeting.bounds[mine + phase]
            if meets:
                mass = mass_of(work.slopes, work, count)
                meeting.weights[meeting.rank] = mass if does & ROUND else course.seen[0]
                lost = arrive_and_wait(meeting)
                if lost != 0:
                    break
            squares += backward_and_update(  # part by part: the same sum, whoever has made the parts
                vectors, network, rule, work, course.constants, meeting, shared, count,
                computes, meets, applies, fused, start, stop,
            )  # fmt: skip
        if talks and lost == 0:
            meeting.partials[meeting.rank] = squares
            lost = arrive_and_wait(meeting)
        if lost != 0:
            break
        if does & ROUND:
            squares = total_of(meeting)
        if does & UPDATE:
            loss += 0.5 * squares * rule.l2 / batches.global_rows[step]
            course.progress[0] += 1
        course.losses[step] = loss
        if talks and not does & ROUND:
            held += 1
            course.seen[0] = 0
        if kept < len(course.kept_at) and step + 1 == course.kept_at[kept]:
            keep_copy(course, vectors.params, kept, now(meeting.scratch) - began)
            kept += 1
        done += 1
    restore_denormals(before)
    return done if lost == 0 else -lost
