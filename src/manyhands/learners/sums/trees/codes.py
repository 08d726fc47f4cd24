"""Inputs become codes of one byte, feature by feature, with the inputs that each code stands for.

Bytes are their own codes. Of floats, a feature with at most 256 different inputs (in float32, in which scikit-learn's
trees compare) has their ranks; one with more is binned: each bin has about as many samples as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.core.learner import Statistic
from manyhands.core.samples import Samples
from manyhands.learners.sums.trees.kernel_args import CODES, NONE, Coded
from manyhands.runtime.jit import compiled_exactly

_SEEN = 4096
"""So many rows say which code of a feature is frequent: being wrong costs time only."""
_GROUP = 16
"""Columns of floats that are read together: a row's part of them is a cache line or two."""
_BLOCK = 64


def asks(features: int, rows: int) -> dict[str, Statistic]:
    """Return what the pass that makes codes needs."""
    return {
        "codes": Statistic((features, rows), "parts", np.uint8),
        "low": Statistic((features, CODES), "parts", np.float32),
        "high": Statistic((features, CODES), "parts", np.float32),
        "common": Statistic((features,), "parts", np.int32),
        "binned": Statistic((features,), "parts", np.uint8),
    }


def inputs_of(table: Samples, values: NDArray[Any], features: slice | NDArray[Any]) -> NDArray[np.float32]:
    """Return stored values of these features, the last axis, as inputs in float32."""
    center = 0.0 if table.center is None else table.center[features]
    with np.errstate(over="ignore"):
        inputs = (values - center) * table.scale[features] + table.shift[features]
        return np.asarray(inputs, np.float64).astype(np.float32)


@compiled_exactly
def transpose(table: Any, first: int, last: int, codes: Any) -> None:
    """Write columns ``first`` to ``last - 1`` of the table to rows of ``codes``."""
    rows = len(table)
    for top in range(0, rows, _BLOCK):
        bottom = min(top + _BLOCK, rows)
        for begin in range(first, last, _BLOCK):
            for feature in range(begin, min(begin + _BLOCK, last)):
                for row in range(top, bottom):
                    codes[feature, row] = table[row, feature]


@compiled_exactly
def find_codes(inputs: Any, uppers: Any, count: int, codes: Any) -> None:
    """Write the number of the first of ``count`` ascending bounds that each input does not exceed."""
    for i in range(len(inputs)):
        value, low = inputs[i], 0
        size = count
        while size > 1:  # no branch but the loop's: the next half is chosen by arithmetic
            half = size // 2
            low += half if uppers[low + half - 1] < value else 0
            size -= half
        codes[i] = low


def collect(table: Samples, part: slice, into: Mapping[str, NDArray[Any]]) -> None:
    """Write the codes of a part of the features, and what belongs to them.

    Raises
    ------
    DataError
        If an input is not finite as float32.
    """
    if table.features.dtype == np.uint8:
        transpose(table.features, part.start, part.stop, into["codes"])
        values = np.arange(CODES, dtype=np.float64)
        for feature in range(part.start, part.stop):
            inputs = inputs_of(table, values[:, None], slice(feature, feature + 1))[:, 0]
            into["low"][feature], into["high"][feature] = inputs, inputs
    else:
        for begin in range(part.start, part.stop, _GROUP):
            group = slice(begin, min(begin + _GROUP, part.stop))
            columns = np.ascontiguousarray(inputs_of(table, table.features[:, group], group).T)
            for feature, column in zip(range(group.start, group.stop), columns, strict=True):
                _code(table, feature, column, into)
    for feature in range(part.start, part.stop):
        counts = np.bincount(into["codes"][feature, :_SEEN], minlength=CODES)
        into["common"][feature] = counts.argmax()


def _code(table: Samples, feature: int, column: NDArray[np.float32], into: Mapping[str, NDArray[Any]]) -> None:
    """Write the codes of a feature whose inputs are floats."""
    if not np.isfinite(column).all():
        row = int(np.flatnonzero(~np.isfinite(column))[0])
        raise DataError(
            f"row {table.first_row + row + 1} has {table.features[row, feature]} as feature {feature + 1}; trees need "
            "finite numbers, of float32's range"
        )
    ascending = np.sort(column)
    new = np.append(True, ascending[1:] != ascending[:-1])
    distinct = ascending[new]
    if len(distinct) <= CODES:
        lows = highs = distinct
    else:
        ends = (np.arange(1, CODES + 1) * len(column)) // CODES - 1
        highs = np.unique(ascending[ends])  # the last is the largest input
        lows = ascending[np.append(0, np.searchsorted(ascending, highs[:-1], side="right"))]
        into["binned"][feature] = 1
    count = len(highs)
    into["low"][feature, :count], into["high"][feature, :count] = lows, highs
    into["low"][feature, count:], into["high"][feature, count:] = lows[-1], highs[-1]
    find_codes(column, into["high"][feature], count, into["codes"][feature])


def coded(found: Mapping[str, NDArray[Any]], integral: bool) -> Coded:
    """Return the codes as compiled code takes them; only whole weights can do without counting a common code."""
    common = found["common"] if integral else np.full_like(found["common"], NONE)
    return Coded(found["codes"], found["low"], found["high"], common)
