"""The compiled update rules: SGD with momentum or Nesterov's, and Adam, in one pass over the parameters.

Adam (Kingma & Ba 2015) has its bias corrections folded into the rate (their section 2); momentum and Nesterov's follow
Sutskever et al. 2013, eq. 3-4.
"""

from __future__ import annotations

import math
from typing import Any

from manyhands.compiling import inlined
from manyhands.learners.mlp.forms import ADAM, NESTEROV, Network, Rule


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


@inlined
def update_whole(
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
