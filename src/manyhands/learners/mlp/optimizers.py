"""The compiled update rules, in one pass over the parameters.

The basic variant has SGD, momentum and Nesterov's (Sutskever et al. 2013, eq. 3-4), and Adam (Kingma & Ba 2015, with
the bias corrections folded into the rate, their section 2). The full one adds, in the versions that PyTorch has:
Adagrad (Duchi et al. 2011), RMSprop (Hinton 2012), Adadelta (Zeiler 2012), Adamax (Kingma & Ba 2015, section 7.1),
NAdam (Dozat 2016), AdamW (Loshchilov & Hutter 2019); and for large batches LAMB (You et al. 2020, algorithm 2) and LARS
(You et al. 2017), which scale the step of each weight matrix by how large its weights are. The `l2` penalty is part of
the gradient; `weight_decay` of AdamW, LAMB and LARS is not. Biases have neither.
"""

from __future__ import annotations

import math
from typing import Any

from manyhands.learners.mlp.kernel_args import (
    ADADELTA,
    ADAGRAD,
    ADAM,
    ADAMAX,
    ADAMW,
    CORRECTION,
    DECAY,
    LAMB,
    NADAM,
    NESTEROV,
    RATE,
    RATIO,
    SECOND_RATE,
    ZERO,
    Course,
    Rule,
    Vectors,
)
from manyhands.learners.mlp.variants import variants
from manyhands.runtime.jit import inline_ir, inlined

TRUST = 0.001
"""LARS's coefficient."""
MOMENTUM_DECAY = 0.004
"""NAdam's."""


@inlined
def update_block(vectors: Vectors, gradient_at: int, start: int, stop: int, rule: Rule, rate: Any, decay: Any) -> float:
    """Update the parameters ``start`` to ``stop - 1`` in one pass; return the sum of their squares from before.

    The gradient of these parameters begins at ``gradient_at``.
    """
    p, g = vectors.params[start:stop], vectors.gradient[gradient_at : gradient_at + stop - start]
    m = vectors.first[start:stop]
    squares = rate - rate
    one = p.dtype.type(1)
    if rule.kind == ADAM:
        v = vectors.second[start:stop]
        for i in range(stop - start):
            slope = g[i] + decay * p[i]
            squares += p[i] * p[i]
            m[i] = rule.beta_1 * m[i] + (one - rule.beta_1) * slope
            v[i] = rule.beta_2 * v[i] + (one - rule.beta_2) * slope * slope
            p[i] -= rate * m[i] / (math.sqrt(v[i]) + rule.epsilon)
    else:
        zero = rate - rate
        # Nesterov's step goes on along the new velocity; without it the velocity is the step.
        ahead, again = (rule.momentum, rate) if rule.kind == NESTEROV else (one, zero)
        for i in range(stop - start):
            slope = g[i] + decay * p[i]
            squares += p[i] * p[i]
            m[i] = rule.momentum * m[i] - rate * slope
            p[i] += ahead * m[i] - again * slope
    return float(squares)


@inlined
def by_squares(
    vectors: Vectors, gradient_at: int, start: int, stop: int, rule: Rule, constants: Any, decay: Any
) -> None:
    """Update as Adagrad, RMSprop or Adadelta, which look at squares of slopes only."""
    p, g = vectors.params[start:stop], vectors.gradient[gradient_at : gradient_at + stop - start]
    d, v = vectors.first[start:stop], vectors.second[start:stop]
    rate, one = constants[RATE], p.dtype.type(1)
    if rule.kind == ADADELTA:
        for i in range(stop - start):
            slope = g[i] + decay * p[i]
            v[i] = rule.rho * v[i] + (one - rule.rho) * slope * slope
            step = slope * math.sqrt(d[i] + rule.epsilon) / math.sqrt(v[i] + rule.epsilon)
            d[i] = rule.rho * d[i] + (one - rule.rho) * step * step
            p[i] -= rate * step
        return
    kept, new = (one, one) if rule.kind == ADAGRAD else (rule.rho, one - rule.rho)
    for i in range(stop - start):
        slope = g[i] + decay * p[i]
        v[i] = kept * v[i] + new * slope * slope
        p[i] -= rate * slope / (math.sqrt(v[i]) + rule.epsilon)


@inlined
def by_moments(
    vectors: Vectors, gradient_at: int, start: int, stop: int, rule: Rule, constants: Any, decay: Any, decoupled: Any
) -> None:
    """Update as Adam's relatives: Adamax, NAdam, AdamW."""
    p, g = vectors.params[start:stop], vectors.gradient[gradient_at : gradient_at + stop - start]
    m, v = vectors.first[start:stop], vectors.second[start:stop]
    rate, second, correction, one = constants[RATE], constants[SECOND_RATE], constants[CORRECTION], p.dtype.type(1)
    if rule.kind == ADAMAX:
        for i in range(stop - start):
            slope = g[i] + decay * p[i]
            m[i] = rule.beta_1 * m[i] + (one - rule.beta_1) * slope
            v[i] = max(rule.beta_2 * v[i], abs(slope) + rule.epsilon)
            p[i] -= rate * m[i] / v[i]
        return
    # NAdam's step has a part along the slope itself; AdamW's shrinks the weights first.
    along, kept = (rate, one) if rule.kind == NADAM else (constants[ZERO], one - rate * decoupled)
    for i in range(stop - start):
        slope = g[i] + decay * p[i]
        m[i] = rule.beta_1 * m[i] + (one - rule.beta_1) * slope
        v[i] = rule.beta_2 * v[i] + (one - rule.beta_2) * slope * slope
        p[i] = kept * p[i] - (along * slope + second * m[i]) / (math.sqrt(v[i]) * correction + rule.epsilon)


@inlined
def trust_sums(
    vectors: Vectors, gradient_from: int, start: int, stop: int, rule: Rule, constants: Any
) -> tuple[float, float]:
    """Return the sums of the squares of a layer's weights ``start`` to ``stop - 1``, and of their steps.

    LAMB's moments change.
    """
    p, g = vectors.params[start:stop], vectors.gradient[start - gradient_from : stop - gradient_from]
    m, v = vectors.first[start:stop], vectors.second[start : stop if rule.kind == LAMB else start]
    one = p.dtype.type(1)
    weights, steps = 0.0, 0.0
    for i in range(stop - start):
        slope = g[i] + constants[DECAY] * p[i]
        step = slope
        if rule.kind == LAMB:
            m[i] = rule.beta_1 * m[i] + (one - rule.beta_1) * slope
            v[i] = rule.beta_2 * v[i] + (one - rule.beta_2) * slope * slope
            step = constants[SECOND_RATE] * m[i] / (math.sqrt(v[i]) * constants[CORRECTION] + rule.epsilon)
            step += rule.weight_decay * p[i]
        weights += float(p[i]) * float(p[i])
        steps += float(step) * float(step)
    return weights, steps


@inlined
def trust_ratio(rule: Rule, weights: float, steps: float) -> float:
    """Return by what the step of a layer's weights is multiplied, from their `trust_sums`."""
    weights, steps = math.sqrt(weights), math.sqrt(steps)
    if rule.kind != LAMB:
        steps = (steps + float(rule.weight_decay) * weights) / TRUST
    return weights / steps if weights > 0.0 and steps > 0.0 else 1.0


@inlined
def by_layer(
    vectors: Vectors, gradient_at: int, start: int, stop: int, rule: Rule, constants: Any, biases: int
) -> None:
    """Update as LAMB or LARS, once a layer's `trust_ratio` is known; LAMB's moments of biases change here."""
    p, g = vectors.params[start:stop], vectors.gradient[gradient_at : gradient_at + stop - start]
    m, one = vectors.first[start:stop], p.dtype.type(1)
    ratio = one if biases else constants[RATIO]
    decay = constants[DECAY + biases]
    decoupled = constants[ZERO] if biases else rule.weight_decay
    rate = constants[RATE] * ratio
    if rule.kind == LAMB:
        v = vectors.second[start:stop]
        for i in range(stop - start):
            if biases:
                m[i] = rule.beta_1 * m[i] + (one - rule.beta_1) * g[i]
                v[i] = rule.beta_2 * v[i] + (one - rule.beta_2) * g[i] * g[i]
            step = constants[SECOND_RATE] * m[i] / (math.sqrt(v[i]) * constants[CORRECTION] + rule.epsilon)
            p[i] -= rate * (step + decoupled * p[i])
        return
    for i in range(stop - start):
        m[i] = rule.momentum * m[i] - rate * (g[i] + (decay + decoupled) * p[i])
        p[i] += m[i]


@inlined
def sum_of_squares(vector: Any, start: int, stop: int) -> float:
    """Return the sum of the squares of elements ``start`` to ``stop - 1``."""
    part = vector[start:stop]
    total = part.dtype.type(0)
    for i in range(stop - start):
        total += part[i] * part[i]
    return float(total)


@inlined
def set_constants(rule: Rule, rate: float, step: int, global_rows: int, constants: Any) -> None:
    """Write the rate of step number ``step`` (1-based), the weight decay and a zero into ``constants``.

    They get the vector's dtype this way: writing and reading an array is how a double becomes a float32.
    """
    if rule.kind == ADAM:
        rate *= math.sqrt(1.0 - float(rule.beta_2) ** step) / (1.0 - float(rule.beta_1) ** step)
    constants[RATE] = rate
    constants[DECAY] = rule.l2 / global_rows
    constants[ZERO] = 0


@inlined
def resolve_more(rule: Rule, rate: float, step: int, constants: Any, course: Course) -> None:
    """Write what Adam's relatives need besides."""
    beta_1, beta_2 = float(rule.beta_1), float(rule.beta_2)
    constants[CORRECTION] = 1.0 / math.sqrt(1.0 - beta_2**step)
    constants[SECOND_RATE] = 1.0 / (1.0 - beta_1**step) if rule.kind == LAMB else rate / (1.0 - beta_1**step)
    if rule.kind == ADAMAX:
        constants[RATE] = rate / (1.0 - beta_1**step)
    if rule.kind == NADAM:
        now = beta_1 * (1.0 - 0.5 * 0.96 ** (step * MOMENTUM_DECAY))
        ahead = beta_1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * MOMENTUM_DECAY))
        course.momenta[0] *= now
        constants[RATE] = rate * (1.0 - now) / (1.0 - course.momenta[0])
        constants[SECOND_RATE] = rate * ahead / (1.0 - course.momenta[0] * ahead)


def _basic_step_constants(slopes: Any, rule: Rule, rate: float, step: int, global_rows: int, course: Course) -> None:
    set_constants(rule, rate, step, global_rows, course.constants)


def _full_step_constants(slopes: Any, rule: Rule, rate: float, step: int, global_rows: int, course: Course) -> None:
    set_constants(rule, rate, step, global_rows, course.constants)
    resolve_more(rule, rate, step, course.constants, course)


step_constants = variants(_basic_step_constants, _full_step_constants)
"""Write the constants of a step, see `set_constants`."""


def _basic_update(
    slopes: Any, vectors: Vectors, at: int, start: int, stop: int, rule: Rule, constants: Any, biases: int
) -> float:
    return update_block(vectors, at, start, stop, rule, constants[RATE], constants[DECAY + biases])


def _full_update(
    slopes: Any, vectors: Vectors, at: int, start: int, stop: int, rule: Rule, constants: Any, biases: int
) -> float:
    decay = constants[DECAY + biases]
    if rule.kind <= ADAM:
        return update_block(vectors, at, start, stop, rule, constants[RATE], decay)
    squares = sum_of_squares(vectors.params, start, stop)
    if rule.kind <= ADADELTA:
        by_squares(vectors, at, start, stop, rule, constants, decay)
    elif rule.kind <= ADAMW:
        decoupled = constants[ZERO] if biases else rule.weight_decay
        by_moments(vectors, at, start, stop, rule, constants, decay, decoupled)
    else:
        if biases == 0:
            weights, steps = trust_sums(vectors, start - at, start, stop, rule, constants)
            constants[RATIO] = trust_ratio(rule, weights, steps)
        by_layer(vectors, at, start, stop, rule, constants, biases)
    return squares


update = variants(_basic_update, _full_update)
"""Update parameters that are all weights or all biases; see `update_block`."""


@inline_ir
def update_range(
    slopes: Any, vectors: Vectors, gradient_from: int, bias_at: int, rule: Rule, start: int, stop: int, constants: Any
) -> float:
    """Take the optimizer's step, which `set_constants` has prepared, for parameters ``start`` to ``stop - 1``.

    The gradient's first element belongs to parameter ``gradient_from``; from ``bias_at`` on the parameters are biases,
    which have no penalty. Returns the sum of the squares of the weights from before.
    """
    squares = 0.0
    at = start
    while at < stop:
        biases = int(at >= bias_at)
        end = stop if biases else min(stop, bias_at)
        found = update(slopes, vectors, at - gradient_from, at, end, rule, constants, biases)
        squares += 0.0 if biases else found
        at = end
    return squares


def _basic_layer_sums(
    slopes: Any, vectors: Vectors, start: int, stop: int, rule: Rule, constants: Any, sums: Any, layer: int
) -> None:
    pass


def _full_layer_sums(
    slopes: Any, vectors: Vectors, start: int, stop: int, rule: Rule, constants: Any, sums: Any, layer: int
) -> None:
    weights, steps = trust_sums(vectors, 0, start, stop, rule, constants)
    sums[2 * layer], sums[2 * layer + 1] = weights, steps


layer_sums = variants(_basic_layer_sums, _full_layer_sums)
"""Write the `trust_sums` of a part of a layer's weights, whose gradient is whole, into places of ``sums``."""


def _basic_update_scaled(
    slopes: Any,
    vectors: Vectors,
    start: int,
    bias_at: int,
    stop: int,
    rule: Rule,
    constants: Any,
    sums: Any,
    layer: int,
) -> float:
    return 0.0


def _full_update_scaled(
    slopes: Any,
    vectors: Vectors,
    start: int,
    bias_at: int,
    stop: int,
    rule: Rule,
    constants: Any,
    sums: Any,
    layer: int,
) -> float:
    squares = sum_of_squares(vectors.params, start, bias_at)
    constants[RATIO] = trust_ratio(rule, sums[2 * layer], sums[2 * layer + 1])
    for biases in range(2):
        begin, end = (bias_at, stop) if biases else (start, bias_at)
        by_layer(vectors, begin, begin, end, rule, constants, biases)
    return squares


update_scaled = variants(_basic_update_scaled, _full_update_scaled)
"""Update a layer as LAMB or LARS from its whole gradient; the layer's `trust_sums` are in ``sums``."""
