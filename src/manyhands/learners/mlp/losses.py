"""The compiled losses and outputs of both kernel variants.

The basic variant has softmax and the cross-entropy of one class per row. The full one adds weights of rows, targets
that are any numbers, and other outputs: logistic ones with binary cross-entropy (independent labels), linear ones with
half the squared error, exponential ones with half the Poisson deviance. In each of them the loss and the output fit
each other so that D_L = w (output - target) / (sum of w); the values reported are scikit-learn's, which means that
squared errors are averaged over the outputs, and the gradient's are not.
"""

from __future__ import annotations

import math
from typing import Any

from manyhands.learners.mlp.elementwise import exponentials, loss_and_delta, minus_labels, probabilities
from manyhands.learners.mlp.kernel_args import BINARY, CROSS_ENTROPY, POISSON, SQUARED, Batches, Network, Work
from manyhands.learners.mlp.variants import variants
from manyhands.runtime.jit import inlined

_TINY = 1e-300
"""What counts as the weight of a batch whose rows have none: enough to divide by."""


@inlined
def target_of(batches: Batches, row: int, output: int) -> float:
    """Return what an output shall be."""
    if len(batches.targets) > 0:
        return float(batches.targets[row, output])
    return 1.0 if batches.labels[row] == output else 0.0


@inlined
def weight_of(batches: Batches, row: int) -> float:
    """Return how much a row counts."""
    return float(batches.weights[row]) if len(batches.weights) > 0 else 1.0


@inlined
def output_activation(kind: int, line: Any, out: Any) -> float:
    """Write the outputs for Z_L of one row; return the logarithm of softmax's divisor, where there is one."""
    if kind == CROSS_ENTROPY:
        largest, total = float(line[0]), 0.0
        for j in range(1, len(line)):
            largest = max(largest, float(line[j]))
        for j in range(len(line)):
            total += math.exp(float(line[j]) - largest)
        for j in range(len(line)):
            out[j] = math.exp(float(line[j]) - largest) / total
        return largest + math.log(total)
    for j in range(len(line)):
        z = float(line[j])
        if kind == BINARY:
            e = math.exp(-abs(z))
            z = (1.0 if z > 0.0 else e) / (1.0 + e) + (z - z)  # NaN stays NaN
        elif kind == POISSON:
            z = math.exp(z)
        out[j] = z
    return 0.0


@inlined
def loss_of(kind: int, z: float, target: float, divisor: float) -> float:
    """Return the part that one output has in its row's loss, from z = Z_L, where it stays finite."""
    if kind == CROSS_ENTROPY:
        return target * (divisor - z)
    if kind == BINARY:
        return max(z, 0.0) - z * target + math.log1p(math.exp(-abs(z)))
    if kind == SQUARED:
        return 0.5 * (z - target) * (z - target)
    return math.exp(z) - target * z - target + (target * math.log(target) if target > 0.0 else 0.0)


@inlined
def weigh(network: Network, work: Work, batches: Batches, first: int, count: int) -> float:
    """Write D_L; return the batch's loss. ``work.mass`` becomes the sum of its weights."""
    last = len(network.widths) - 1
    width, outputs, at = network.widths[last], network.real_widths[last], work.starts[last]
    mass, loss = 0.0, 0.0
    for i in range(count):
        mass += weight_of(batches, batches.rows[first + i])
    work.mass[0] = max(mass, _TINY)
    for i in range(count):
        row = batches.rows[first + i]
        line = work.values[at + i * width : at + i * width + outputs]
        delta = work.deltas[at + i * width : at + i * width + outputs]
        divisor = output_activation(network.loss, line, delta)
        share = weight_of(batches, row) / work.mass[0]
        for j in range(outputs):
            target = target_of(batches, row, j)
            loss += share * loss_of(network.loss, float(line[j]), target, divisor)
            delta[j] = share * (float(delta[j]) - target)
    return loss / outputs if network.loss == SQUARED else loss


def _basic_loss_or_outputs(
    slopes: Any, network: Network, work: Work, batches: Batches, first: int, count: int, out: Any
) -> float:
    last, loss = len(network.widths) - 1, 0.0
    if len(out) == 0:
        loss = minus_labels(network, work, batches, first, count)
    exponentials(work.values, work.starts[last], count, network.widths[last], network.real_widths[last])
    if len(out) > 0:
        probabilities(work.values, work.starts[last], count, network.widths[last], out, first)
    else:
        loss = loss_and_delta(network, work, batches, first, count, loss)
    return loss


def _full_loss_or_outputs(
    slopes: Any, network: Network, work: Work, batches: Batches, first: int, count: int, out: Any
) -> float:
    last = len(network.widths) - 1
    width, at = network.widths[last], work.starts[last]
    if len(out) == 0:
        return weigh(network, work, batches, first, count)
    for i in range(count):
        line = work.values[at + i * width : at + i * width + network.real_widths[last]]
        output_activation(network.loss, line, out[first + i])
    return 0.0


loss_or_outputs = variants(_basic_loss_or_outputs, _full_loss_or_outputs)
"""Return the mean loss of a batch, of which Z_L is in ``work``, and write D_L there; or write outputs.

``out`` has shape (any, outputs): rows for the outputs; none there means that the loss is wanted.
"""


def _basic_mass_of(slopes: Any, work: Work, count: int) -> float:
    return float(count)


def _full_mass_of(slopes: Any, work: Work, count: int) -> float:
    return float(work.mass[0]) if count > 0 else 0.0


mass_of = variants(_basic_mass_of, _full_mass_of)
"""Return how much a worker's gradient counts: its rows, or their weights."""
