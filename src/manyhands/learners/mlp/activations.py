"""The compiled activations of the full variant, with their slopes, and dropout.

Unlike in the basic variant, f'(Z) is computed together with A = f(Z) and kept: GELU and SiLU cannot be undone. Dropout
(Srivastava et al. 2014) multiplies both by 0 or 1 / (1 - p), so that nothing else has to know of it. Who takes part is
a function of (seed, step, layer, row, neuron) and of nothing else: it is the same for every number of workers, whoever
has the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from manyhands.learners.mlp.elementwise import activate, exponential, times_slope
from manyhands.learners.mlp.kernel_args import (
    ELU,
    GELU,
    IDENTITY,
    LEAKY_RELU,
    LOGISTIC,
    RELU,
    SELU,
    SILU,
    SOFTPLUS,
    TANH,
    Network,
    Work,
)
from manyhands.learners.mlp.variants import variants
from manyhands.runtime.jit import inlined, overload, types

LEAK = 0.01
"""Slope of leaky ReLU below 0 (Maas et al. 2013)."""
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""Klambauer et al. 2017, eq. 2; ELU (Clevert et al. 2016) has 1 and 1."""


def error_function(x: Any) -> Any:
    """erf(x), for compiled code only; see below."""
    raise NotImplementedError("error_function can be called from compiled code only")


@overload(error_function)
def _error_function(x: Any) -> Callable[[Any], Any]:
    """In float32 a formula that becomes vector code: Abramowitz & Stegun 1964, 7.1.26, error below 2e-7."""

    def by_library(x: Any) -> Any:
        return math.erf(x)

    def by_formula(x: Any) -> Any:
        size = abs(x)
        t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * size)
        q = np.float32(1.061405429)
        q = q * t + np.float32(-1.453152027)
        q = q * t + np.float32(1.421413741)
        q = q * t + np.float32(-0.284496736)
        q = q * t + np.float32(0.254829592)
        found = np.float32(1) - q * t * exponential(-size * size)
        return -found if x < np.float32(0) else found

    return by_formula if x == types.float32 else by_library


def log_one_plus(x: Any) -> Any:
    """log(1 + x) for x from 0 to 1, for compiled code only; see below."""
    raise NotImplementedError("log_one_plus can be called from compiled code only")


@overload(log_one_plus)
def _log_one_plus(x: Any) -> Callable[[Any], Any]:
    """In float32 a series that becomes vector code: 2 artanh(s) with s = x / (2 + x) <= 1/3, error below 1e-8."""

    def by_library(x: Any) -> Any:
        return math.log1p(x)

    def by_series(x: Any) -> Any:
        s = x / (np.float32(2) + x)
        z = s * s
        q = np.float32(2 / 13)
        q = q * z + np.float32(2 / 11)
        q = q * z + np.float32(2 / 9)
        q = q * z + np.float32(2 / 7)
        q = q * z + np.float32(2 / 5)
        q = q * z + np.float32(2 / 3)
        q = q * z + np.float32(2)
        return q * s

    return by_series if x == types.float32 else by_library


@inlined
def bent(kind: int, a: Any, s: Any) -> None:
    """Compute A = f(Z), S = f'(Z) for activations that are two lines, or one."""
    one = a.dtype.type(1)
    zero = one - one
    below = one if kind == IDENTITY else a.dtype.type(LEAK) if kind == LEAKY_RELU else zero
    for i in range(len(a)):
        slope = one if a[i] > zero else below
        s[i] = slope
        a[i] = slope * a[i]  # NaN stays NaN


@inlined
def exponential_units(kind: int, a: Any, s: Any) -> None:
    """Compute A = f(Z), S = f'(Z) for ELU and SELU."""
    one = a.dtype.type(1)
    zero = one - one
    above = a.dtype.type(SELU_SCALE) if kind == SELU else one
    alpha = a.dtype.type(SELU_SCALE * SELU_ALPHA) if kind == SELU else one
    for i in range(len(a)):
        z = a[i]
        grown = alpha * exponential(zero if z > zero else z)  # NaN stays NaN
        a[i] = above * z if z > zero else grown - alpha
        s[i] = above if z > zero else grown


@inlined
def logistic_units(kind: int, a: Any, s: Any) -> None:
    """Compute A = f(Z), S = f'(Z) for those made of the logistic function: itself, tanh and SiLU."""
    one = a.dtype.type(1)
    two, zero = one + one, one - one
    factor = two if kind == TANH else one  # tanh(z) = 2 logistic(2 z) - 1
    for i in range(len(a)):
        z = a[i]
        g = one / (one + exponential(-factor * z))
        if kind == SILU:
            a[i] = z * g
            s[i] = g * (one + z * (one - g))
        else:
            value = factor * g - (factor - one)
            a[i] = value
            s[i] = (one - value) * (value + (one if kind == TANH else zero))


@inlined
def normal_units(a: Any, s: Any) -> None:
    """Compute A = z F(z), S = F(z) + z f(z), F the normal distribution: the exact GELU (Hendrycks & Gimpel 2016)."""
    one = a.dtype.type(1)
    half, root, scale = a.dtype.type(0.5), a.dtype.type(math.sqrt(0.5)), a.dtype.type(1 / math.sqrt(2 * math.pi))
    for i in range(len(a)):
        z = a[i]
        below = half * (one + error_function(z * root))
        a[i] = z * below
        s[i] = below + z * scale * exponential(-half * z * z)


@inlined
def soft_units(kind: int, a: Any, s: Any) -> None:
    """Compute A = f(Z), S = f'(Z) for softplus and softsign."""
    one = a.dtype.type(1)
    zero = one - one
    if kind == SOFTPLUS:
        for i in range(len(a)):
            z = a[i]
            e = exponential(-abs(z))
            a[i] = max(z, zero) + log_one_plus(e)
            s[i] = (one if z > zero else e) / (one + e)
    else:
        for i in range(len(a)):
            d = one / (one + abs(a[i]))
            a[i] = a[i] * d
            s[i] = d * d


@inlined
def bits_of(key: int, j: int) -> Any:
    """Return 32 random-looking bits for neuron ``j``: MurmurHash3's last mixing (Appleby 2008)."""
    x = np.uint32(np.uint32(key) + np.uint32(j) * np.uint32(0x9E3779B9))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x85EBCA6B))
    x = np.uint32(x ^ (x >> np.uint32(13)))
    x = np.uint32(x * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ (x >> np.uint32(16)))


@inlined
def key_of(seed: int, step: int, layer: int, row: int) -> Any:
    """Return the key of a row's bits in a step: splitmix64 (Steele et al. 2014) of all that they depend on."""
    x = np.uint64(seed)
    for part in (np.uint64(step), np.uint64(layer), np.uint64(row)):
        x = np.uint64(x + part + np.uint64(0x9E3779B97F4A7C15))
        x = np.uint64((x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
        x = np.uint64((x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
        x = np.uint64(x ^ (x >> np.uint64(31)))
    return np.uint32(x >> np.uint64(32))


@inlined
def drop_out(
    network: Network, work: Work, layer: int, rows: Any, first_row: int, first: int, count: int, step: int
) -> None:
    """Leave out neurons of layer ``layer`` in step number ``step`` (0-based), for each row of the batch."""
    at, width = work.starts[layer], network.widths[layer]
    zero = network.drop_scale - network.drop_scale
    below = np.uint32(network.drop_below)
    for i in range(count):
        key = key_of(network.seed, step, layer, first_row + rows[first + i])
        a = work.values[at + i * width : at + (i + 1) * width]
        s = work.slopes[at + i * width : at + (i + 1) * width]
        for j in range(width):
            factor = network.drop_scale if bits_of(key, network.first_unit[layer] + j) >= below else zero
            a[j] *= factor
            s[j] *= factor


def _basic_apply_activation(
    slopes: Any,
    network: Network,
    work: Work,
    layer: int,
    rows: Any,
    first_row: int,
    first: int,
    count: int,
    step: int,
    learns: bool,
) -> None:
    at, width = work.starts[layer], network.widths[layer]
    activate(network.activation, work.values, at, count, width, network.real_widths[layer])


def _full_apply_activation(
    slopes: Any,
    network: Network,
    work: Work,
    layer: int,
    rows: Any,
    first_row: int,
    first: int,
    count: int,
    step: int,
    learns: bool,
) -> None:
    at, width, kind = work.starts[layer], network.widths[layer], network.activation
    a, s = work.values[at : at + count * width], work.slopes[at : at + count * width]
    if kind in (IDENTITY, RELU, LEAKY_RELU):
        bent(kind, a, s)
    elif kind in (ELU, SELU):
        exponential_units(kind, a, s)
    elif kind in (LOGISTIC, TANH, SILU):
        logistic_units(kind, a, s)
    elif kind == GELU:
        normal_units(a, s)
    else:
        soft_units(kind, a, s)
    if kind in (LOGISTIC, SOFTPLUS):
        for i in range(count):  # f(0) is not 0: silence the padding
            a[i * width + network.real_widths[layer] : (i + 1) * width] = 0
    if learns and network.drop_below != 0:
        drop_out(network, work, layer, rows, first_row, first, count, step)


apply_activation = variants(_basic_apply_activation, _full_apply_activation)
"""Compute A_l = f(Z_l) in place, l from 1 on, for the batch ``rows[first : first + count]``.

``first_row`` is the number of the table's first row, among those of all processes. ``learns`` is False in predictions,
in which all neurons take part; else ``step`` is the number of the step.
"""


def _basic_times_slopes(slopes: Any, network: Network, work: Work, layer: int, count: int) -> None:
    at = work.starts[layer]
    times_slope(network.activation, work.values, work.deltas, at, count * network.widths[layer])


def _full_times_slopes(slopes: Any, network: Network, work: Work, layer: int, count: int) -> None:
    at, size = work.starts[layer], count * network.widths[layer]
    d, s = work.deltas[at : at + size], work.slopes[at : at + size]
    for i in range(size):
        d[i] *= s[i]


times_slopes = variants(_basic_times_slopes, _full_times_slopes)
"""Compute D_l *= f'(Z_l)."""
