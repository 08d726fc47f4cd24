"""The compiled update rules: SGD with momentum or Nesterov's, and Adam, in one pass over the parameters.

Adam (Kingma & Ba 2015) has its bias corrections folded into the rate (their section 2); momentum and Nesterov's follow
Sutskever et al. 2013, eq. 3-4.
"""

from __future__ import annotations

import math
from typing import Any

from manyhands.compiling import inlined, spliced
from manyhands.learners.mlp.forms import ADAM, NESTEROV, Rule, Vectors


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
def resolve(rule: Rule, rate: float, step: int, global_rows: int, constants: Any) -> None:
    """Write the rate of step number ``step`` (1-based), the weight decay and a zero into ``constants`` (3,).

    They get the vector's dtype this way: writing and reading an array is how a double becomes a float32.
    """
    if rule.kind == ADAM:
        rate *= math.sqrt(1.0 - float(rule.beta_2) ** step) / (1.0 - float(rule.beta_1) ** step)
    constants[0] = rate
    constants[1] = rule.l2 / global_rows
    constants[2] = 0


@spliced
def update_range(
    vectors: Vectors, gradient_from: int, bias_at: int, rule: Rule, start: int, stop: int, constants: Any
) -> float:
    """Take the optimizer's step, which `resolve` has prepared, for parameters ``start`` to ``stop - 1`` of a layer.

    The gradient's first element belongs to parameter ``gradient_from``; from ``bias_at`` on the parameters are biases,
    which have no penalty. Returns the sum of the squares of the weights from before.
    """
    squares = 0.0
    at = start
    while at < stop:
        biases = int(at >= bias_at)
        end = stop if biases else min(stop, bias_at)
        found = update_block(vectors, at - gradient_from, at, end, rule, constants[0], constants[1 + biases])
        squares += 0.0 if biases else found
        at = end
    return squares
