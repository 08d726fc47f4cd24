"""The compiled steps of a network that several workers hold together.

A step is a program: a list of operations, made by `manyhands.learners.mlp.slices.program`. Between two exchanges each
worker computes with what it has. Workers that share memory take many steps in one call, and wait for each other inside
of it; between processes, Python carries the messages, and calls the same machine code for what is in between. So both
have the same bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from manyhands.learners.mlp.activations import apply_activation, times_slopes
from manyhands.learners.mlp.blas import matrix_product
from manyhands.learners.mlp.elementwise import add_bias, add_bias_relu, gather
from manyhands.learners.mlp.kernel_args import LAMB, PIECE, Batches, Course, Network, Rule, Vectors, Work
from manyhands.learners.mlp.losses import loss_or_outputs
from manyhands.learners.mlp.optimizers import layer_sums, step_constants, update_range, update_scaled
from manyhands.learners.mlp.products import bias_gradient, layer_product, weight_gradient
from manyhands.learners.mlp.slices.kernel_args import (
    ACTIVATE,
    APPLY,
    BACK,
    BEGIN,
    CODE,
    DELTA,
    DELTA_AT,
    FORWARD,
    FUSED,
    GATHER,
    GRADIENT,
    LAYER,
    LOAD,
    LOSS,
    MAIL,
    NORMS,
    NUMBER,
    PITCH,
    SLOPES,
    SOURCE,
    SOURCE_AT,
    SUM,
    SUM_NORMS,
    TARGET,
    TARGET_AT,
    VALUES,
    Exchange,
    Slices,
)
from manyhands.learners.mlp.tiles import HEIGHTS
from manyhands.runtime.fp_mode import flush_denormals, restore_denormals
from manyhands.runtime.jit import compiled, inline_ir, inlined
from manyhands.runtime.shared_reduce import BLOCK, arrive_and_wait, now, pointer_to


@inline_ir
def memory_of(which: int, work: Work, exchange: Exchange) -> Any:
    """Return one of the three memories."""
    return work.values if which == VALUES else exchange.mail if which == MAIL else work.deltas


@inlined
def put_side_by_side(exchange: Exchange, number: int, rows: int, out: Any, out_at: int) -> None:
    """Copy all workers' columns into the rows of one matrix."""
    began = now(exchange.meeting.scratch)
    joint = exchange.joint[number]
    for rank in range(exchange.sources[number]):
        width, pitch, offset = (
            exchange.widths[number, rank],
            exchange.pitches[number, rank],
            exchange.offsets[number, rank],
        )
        source = pointer_to(exchange.addresses[number, rank], out)
        for i in range(rows):
            line = out[out_at + i * joint + offset : out_at + i * joint + offset + width]
            for j in range(len(line)):
                line[j] = source[i * pitch + j]
    exchange.meeting.nanoseconds[1] += now(exchange.meeting.scratch) - began


@inlined
def add_up(exchange: Exchange, number: int, rows: int, out: Any, out_at: int) -> None:
    """Add all workers' matrices, in rank order and double precision; the result is contiguous."""
    began = now(exchange.meeting.scratch)
    width, pitch, sums = exchange.widths[number, 0], exchange.pitches[number, 0], exchange.meeting.sums
    if width == pitch:  # one long row is faster than many short ones
        width, pitch, rows = width * rows, pitch * rows, 1
    for i in range(rows):
        for begin in range(0, width, BLOCK):
            end = min(begin + BLOCK, width)
            block = sums[: end - begin]
            for j in range(len(block)):
                block[j] = 0.0
            for rank in range(exchange.sources[number]):
                begins = exchange.addresses[number, rank] + np.uintp((i * pitch + begin) * out.itemsize)
                part = pointer_to(begins, out)
                for j in range(len(block)):
                    block[j] += part[j]
            line = out[out_at + i * width + begin : out_at + i * width + end]
            for j in range(len(block)):
                line[j] = block[j]
    exchange.meeting.nanoseconds[1] += now(exchange.meeting.scratch) - began


@inlined
def add_norms(exchange: Exchange, number: int) -> None:
    """Add all workers' sums of squares."""
    for j in range(len(exchange.norms)):
        total = 0.0
        for rank in range(exchange.sources[number]):
            total += pointer_to(exchange.addresses[number, rank], exchange.norms)[j]
        exchange.norms[j] = total


@inlined
def update_part(
    slopes: Any, vectors: Vectors, gradient_from: int, bias_at: int, rule: Rule, start: int, stop: int, constants: Any
) -> float:
    """Update parameters as `update_range`, which must stand in one place only."""
    return float(update_range(slopes, vectors, gradient_from, bias_at, rule, start, stop, constants))


@inline_ir
def update_layer(
    vectors: Vectors,
    network: Network,
    slices: Slices,
    rule: Rule,
    work: Work,
    constants: Any,
    layer: int,
    count: int,
    source: Any,
    source_at: int,
    pitch: int,
    deltas: Any,
    delta_at: int,
    fused: bool,
) -> float:
    """Compute a layer's gradient; if ``fused``, use each piece of it at once, and else write it whole.

    Returns the sum of the squares of the weights from before an update.
    """
    inner, outer, width = slices.inner[layer], slices.outer[layer], network.widths[layer + 1]
    at, biases_at, squares = network.weight_at[layer], network.bias_at[layer], 0.0
    piece = max(PIECE // outer // HEIGHTS, 1) * HEIGHTS if fused and network.tiled else inner
    for top in range(0, inner, piece):
        end = min(top + piece, inner)
        first, behind = at + top * outer, at + end * outer
        out_at = 0 if fused else first
        weight_gradient(
            network.tiled, layer == 0, slices.first_input, work, top, end, outer, count,
            source, source_at, pitch, deltas, delta_at, vectors.gradient, out_at,
        )  # fmt: skip
        if fused:
            squares += update_part(work.slopes, vectors, first, biases_at, rule, first, behind, constants)
    out_at = 0 if fused else biases_at
    bias_gradient(width, count, work.deltas, work.starts[layer + 1], vectors.gradient, out_at)
    if fused:
        update_part(work.slopes, vectors, biases_at, biases_at, rule, biases_at, biases_at + width, constants)
    return squares


@compiled
def run(
    vectors: Vectors,
    network: Network,
    slices: Slices,
    rule: Rule,
    work: Work,
    exchange: Exchange,
    batches: Batches,
    course: Course,
    out: Any,
    program: Any,
    first: int,
    last: int,
    begin_step: int,
    end_step: int,
) -> int:
    """Do the operations ``first`` to ``last - 1`` of a program for steps ``begin_step`` to ``end_step - 1``.

    Returns how many steps were done (fewer after ``course.stop``, or when a loss is not finite), or minus the result
    of `shared_reduce.wait` if another worker was lost.
    """
    before = flush_denormals()
    lost, done, ended = 0, 0, False
    layers = len(slices.inner)
    for step in range(begin_step, end_step):
        if course.stop[0] != 0:
            break
        begin = batches.bounds[step]
        count = batches.bounds[step + 1] - begin
        for index in range(first, last):
            code, layer, number = program[index, CODE], program[index, LAYER], program[index, NUMBER]
            source = memory_of(program[index, SOURCE], work, exchange)
            target = memory_of(program[index, TARGET], work, exchange)
            deltas = memory_of(program[index, DELTA], work, exchange)
            source_at, pitch = program[index, SOURCE_AT], program[index, PITCH]
            target_at, delta_at = program[index, TARGET_AT], program[index, DELTA_AT]
            if code == LOAD:
                if count == 0:  # the others that hold this network have none either
                    break
                gather(batches, work, begin, count)
            elif code == FORWARD:
                layer_product(
                    network.tiled, layer == 0, slices.first_input, work, count, slices.inner[layer],
                    slices.outer[layer], source, source_at, pitch, vectors.params, network.weight_at[layer],
                    target, target_at,
                )  # fmt: skip
            elif code == ACTIVATE:
                at, width, bias_at = work.starts[layer + 1], network.widths[layer + 1], network.bias_at[layer]
                if layer < layers - 1 and network.relu_at_once:
                    add_bias_relu(work.values, at, count, width, vectors.params, bias_at)
                else:
                    add_bias(work.values, at, count, width, vectors.params, bias_at)
                    if layer < layers - 1:
                        apply_activation(
                            work.slopes, network, work, layer + 1, batches.rows, batches.first_row, begin, count,
                            course.steps_taken[0], len(out) == 0,
                        )  # fmt: skip
            elif code == LOSS:
                course.losses[step] = loss_or_outputs(work.slopes, network, work, batches, begin, count, out)
                ended = len(out) == 0 and not math.isfinite(course.losses[step])
                if ended:
                    break
            elif code == BACK:
                matrix_product(
                    False, True, count, slices.inner[layer], slices.outer[layer], deltas, delta_at,
                    slices.outer[layer], vectors.params, network.weight_at[layer], target, target_at,
                )  # fmt: skip
            elif code == SLOPES:
                times_slopes(work.slopes, network, work, layer, count)
            elif code == BEGIN:
                course.steps_taken[0] += 1
                step_constants(
                    work.slopes, rule, course.rates[step], course.steps_taken[0], batches.global_rows[step], course
                )
            elif code in (FUSED, GRADIENT):
                found = update_layer(
                    vectors, network, slices, rule, work, course.constants, layer, count, source, source_at, pitch,
                    deltas, delta_at, code == FUSED,
                )  # fmt: skip
                exchange.squares[step] += slices.counted[layer] * found
            elif code == NORMS:
                start, stop = network.weight_at[layer], network.bias_at[layer]
                layer_sums(work.slopes, vectors, start, stop, rule, course.constants, exchange.own_norms, layer)
                exchange.own_norms[2 * layer] *= slices.counted[layer]
                exchange.own_norms[2 * layer + 1] *= slices.counted[layer]
            elif code == APPLY:
                start, bias_at = network.weight_at[layer], network.bias_at[layer]
                stop = bias_at + network.widths[layer + 1]
                if rule.kind < LAMB:
                    found = update_part(work.slopes, vectors, 0, bias_at, rule, start, stop, course.constants)
                else:
                    found = update_scaled(
                        work.slopes, vectors, start, bias_at, stop, rule, course.constants, exchange.norms, layer
                    )
                exchange.squares[step] += slices.counted[layer] * found
            else:
                if exchange.meets:
                    lost = arrive_and_wait(exchange.meeting)
                    if lost != 0:
                        break
                if code == GATHER:
                    put_side_by_side(exchange, number, count, target, target_at)
                elif code == SUM:
                    add_up(exchange, number, count, target, target_at)
                elif code == SUM_NORMS:
                    add_norms(exchange, number)
        if lost != 0:
            break
        done += 1
        if ended:
            break
        if last == len(program):
            course.progress[0] += 1
    restore_denormals(before)
    return done if lost == 0 else -lost
