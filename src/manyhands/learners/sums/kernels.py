"""Compiled passes over rows: sums by class, extreme values, and blocks of rows as a matrix product takes them.

Bytes are added as whole numbers, which is exact in any order; everything else in double precision, block by block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.runtime.jit import compiled

MOST_ROWS = 65_536
"""Of bytes, whose squares then add up in 32 bits."""
SHIFT = 128
"""Subtracted from bytes whose products are added up in float32."""


@compiled
def add_bytes(
    features: NDArray[Any],
    labels: NDArray[np.int32],
    rows: NDArray[np.int32],
    counts: NDArray[np.int64],
    sums: NDArray[np.uint32],
    squares: NDArray[np.uint32],
) -> None:
    """Add rows of bytes, at most `MOST_ROWS`, to their classes' sums, shapes (K,), (K, F), (K, F) or (0, 0)."""
    width = features.shape[1]
    squared = len(squares) > 0
    for place in range(len(rows)):
        row = rows[place]
        label = labels[row]
        counts[label] += 1
        if squared:
            for each in range(width):
                value = np.uint32(features[row, each])
                sums[label, each] += value
                squares[label, each] += value * value
        else:
            for each in range(width):
                sums[label, each] += np.uint32(features[row, each])


@compiled
def moments_of_bytes(
    counts: NDArray[np.float64],
    stored: NDArray[np.float64],
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    sums: NDArray[np.float64],
    means: NDArray[np.float64],
    squares: NDArray[np.float64],
    constant: NDArray[np.bool_],
) -> None:
    """Write sums and means of inputs, and make sums of squares of bytes those of distances from the means of inputs.

    ``stored`` are the sums of bytes; ``squares`` and ``constant`` may be empty. What is 0 is exactly 0.
    """
    for label in range(stored.shape[0]):
        rows = counts[label]
        for each in range(stored.shape[1]):
            total = stored[label, each]
            sums[label, each] = total * scale[each] + rows * shift[each]
            means[label, each] = total / rows * scale[each] + shift[each] if rows > 0 else 0.0
        for each in range(squares.shape[1]):
            # Exact up to 2**53, then to rounding; of values that are not all the same, it is at least the rows less 1.
            apart = rows * squares[label, each] - stored[label, each] * stored[label, each]
            constant[label, each] = apart < max(rows, 1.0) / 2
            squares[label, each] = 0.0 if constant[label, each] else apart / rows * scale[each] * scale[each]


@compiled
def count_above(
    features: NDArray[Any],
    labels: NDArray[np.int32],
    rows: NDArray[np.int32],
    thresholds: NDArray[np.int16],
    counts: NDArray[np.int64],
    found: NDArray[np.uint32],
) -> None:
    """Count, by class, the rows of bytes, and those in which a feature is larger than its threshold."""
    for place in range(len(rows)):
        row = rows[place]
        label = labels[row]
        counts[label] += 1
        for each in range(features.shape[1]):
            found[label, each] += np.uint32(1) if features[row, each] > thresholds[each] else np.uint32(0)


@compiled
def weigh_above(
    inputs: NDArray[np.float64],
    labels: NDArray[np.int32],
    rows: NDArray[np.int32],
    weights: NDArray[np.float64],
    threshold: float,
    counts: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Add the weights of a block's rows, and of those in which an input is larger than a threshold, to their classes'.

    ``weights`` has the shape (L, rows): as many parts of weights are added up apart, in the first axis of the sums.
    """
    for level in range(len(weights)):
        for place in range(len(rows)):
            label = labels[rows[place]]
            weight = weights[level, rows[place]]
            counts[level, label] += weight
            for each in range(inputs.shape[1]):
                found[level, label, each] += weight if inputs[place, each] > threshold else 0.0


@compiled
def weigh_values(
    values: NDArray[Any],
    labels: NDArray[np.int32],
    rows: NDArray[np.int32],
    weights: NDArray[np.float64],
    starts: NDArray[np.int64],
    counts: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Add the weights of a block's rows, and those with each value, to their classes'; see `weigh_above`.

    ``values`` has the rows of the block; those of a feature begin at its start in the last axis of ``found``.
    """
    for level in range(len(weights)):
        for place in range(len(rows)):
            label = labels[rows[place]]
            weight = weights[level, rows[place]]
            counts[level, label] += weight
            for each in range(values.shape[1]):
                found[level, label, starts[each] + np.int64(values[place, each])] += weight


@compiled
def to_inputs(
    features: NDArray[Any],
    rows: NDArray[np.int32],
    center: NDArray[np.float64],
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write the inputs of rows: (stored - center) * scale + shift, in double precision."""
    for place in range(len(rows)):
        for each in range(features.shape[1]):
            out[place, each] = (features[rows[place], each] - center[each]) * scale[each] + shift[each]


@compiled
def shifted_bytes(
    features: NDArray[Any], rows: NDArray[np.int32], used: NDArray[np.int32], out: NDArray[np.float32]
) -> None:
    """Write some features of rows of bytes, less `SHIFT`, as float32."""
    for place in range(len(rows)):
        for each in range(len(used)):
            out[place, each] = np.float32(np.int32(features[rows[place], used[each]]) - SHIFT)


@compiled
def add_triangle(product: NDArray[Any], into: NDArray[np.float64]) -> None:
    """Add the upper triangle of a matrix to one that is stored row by row, without what is below the diagonal."""
    width, at = product.shape[0], 0
    for row in range(width):
        for column in range(row, width):
            into[at + column - row] += product[row, column]
        at += width - row


@compiled
def fill_symmetric(triangle: NDArray[np.float64], used: NDArray[np.int32], out: NDArray[np.float64]) -> None:
    """Write a triangle of some features into both halves of a matrix of all."""
    at = 0
    for row in range(len(used)):
        for column in range(row, len(used)):
            value = triangle[at]
            out[used[row], used[column]] = value
            out[used[column], used[row]] = value
            at += 1


@compiled
def take_means_off(
    triangle: NDArray[np.float64],
    shift: float,
    counts: NDArray[np.float64],
    sums: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> None:
    """Make products of numbers less ``shift``, summed, to those of distances from the means of their classes, scaled.

    ``counts`` and ``sums``, shapes (K,) and (K, width), are those of the numbers themselves. As long as these and their
    products are whole numbers that doubles can hold, so is everything here, but for the quotients.
    """
    at, width, rows = 0, sums.shape[1], 0.0
    for group in range(len(counts)):
        rows += counts[group]
    for row in range(width):
        # Columns inside, so that they are computed several at once.
        for column in range(row, width):
            place = at + column - row
            triangle[place] = triangle[place] - shift * shift * rows
        for group in range(len(counts)):
            own = sums[group, row]
            for column in range(row, width):
                triangle[at + column - row] += shift * (own + sums[group, column])
        for group in range(len(counts)):
            part = sums[group, row] / counts[group]
            for column in range(row, width):
                triangle[at + column - row] -= part * sums[group, column]
        for column in range(row, width):
            triangle[at + column - row] *= scale[row] * scale[column]
        at += width - row


@compiled
def unpivoted(factor: NDArray[np.float64], pivots: NDArray[np.int32], out: NDArray[np.float64]) -> None:
    """Write the lower triangle of a pivoted factor with its rows back in their places; pivots count from 1."""
    for row in range(out.shape[0]):
        place = pivots[row] - 1
        for column in range(out.shape[1]):
            out[place, column] = factor[row, column] if column <= row else 0.0


@compiled
def add_inputs(
    inputs: NDArray[np.float64],
    labels: NDArray[np.int32],
    rows: NDArray[np.int32],
    weights: NDArray[np.float64],
    center: NDArray[np.float64],
    squared: bool,
    counts: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add a block of inputs less their classes' centers, or the squares of that, to the sums of their classes.

    ``inputs`` has the rows of the block, ``weights`` is empty for weights of 1, ``center`` has the shape (K, F).
    """
    for place in range(len(rows)):
        label = labels[rows[place]]
        weight = weights[rows[place]] if len(weights) else 1.0
        counts[label] += weight
        if weight == 0.0:
            continue
        for each in range(inputs.shape[1]):
            value = inputs[place, each] - center[label, each]
            sums[label, each] += weight * value * value if squared else weight * value


@compiled
def extend_ranges(
    inputs: NDArray[np.float64],
    labels: NDArray[np.int32],
    rows: NDArray[np.int32],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> None:
    """Extend the least and largest inputs of each class, shape (K, F), by those of a block."""
    for place in range(len(rows)):
        label = labels[rows[place]]
        for each in range(inputs.shape[1]):
            value = inputs[place, each]
            low[label, each] = min(low[label, each], value)
            high[label, each] = max(high[label, each], value)


@compiled
def gaussian_scores(
    inputs: NDArray[np.float64],
    theta: NDArray[np.float64],
    inverse: NDArray[np.float64],
    constant: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write log(prior * density) of independent normal distributions: constant - sum((x - theta)^2 * inverse) / 2."""
    for row in range(inputs.shape[0]):
        for label in range(theta.shape[0]):
            distance = 0.0
            for each in range(inputs.shape[1]):
                apart = inputs[row, each] - theta[label, each]
                distance += apart * apart * inverse[label, each]
            out[row, label] = constant[label] - 0.5 * distance


@compiled
def categorical_scores(
    inputs: NDArray[np.float64],
    sizes: NDArray[np.int64],
    logs: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add the logarithms of the values' probabilities to ``out``, shape (rows, K).

    ``logs`` has a row for each value of each feature, and behind those of a feature one for all values it never had.
    """
    for row in range(inputs.shape[0]):
        start = 0
        for each in range(inputs.shape[1]):
            value, size = inputs[row, each], sizes[each]
            place = start + (np.int64(value) if 0 <= value < size else size)
            for label in range(out.shape[1]):
                out[row, label] += logs[place, label]
            start += size + 1


@compiled
def add_sparse(
    values: NDArray[np.float64],
    columns: NDArray[Any],
    pointers: NDArray[Any],
    labels: NDArray[np.int32],
    into: NDArray[np.float64],
) -> None:
    """Add rows of a CSR matrix to their classes' sums, shape (K, F); ``values`` begin with those of the first row."""
    first = pointers[0]
    for row in range(len(labels)):
        label = labels[row]
        for place in range(pointers[row] - first, pointers[row + 1] - first):
            into[label, columns[place]] += values[place]
