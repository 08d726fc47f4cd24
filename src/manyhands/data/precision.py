"""Dtypes that distinguish all values of a feature: float32 has 24 bits, too few for a time stamp, float64 has 53."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError

_ROWS_AT_ONCE = 4096
_COARSE = 0.01
"""Steps between neighbouring numbers that are larger than this share of a feature's deviation can cost accuracy."""
_SINGLE = np.finfo(np.float32)


def storable(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in the smallest dtype of uint8, float32 and float64 that loses nothing.

    Doubles stay doubles, without a copy. Integers of 64 bits and long doubles become the nearest doubles; see
    :func:`check_whole`.

    Parameters
    ----------
    values : ndarray of shape (rows, features)
        Boolean, integer or floating, in any byte order.
    """
    if values.dtype in (np.uint8, np.float64):
        return values
    if values.dtype.kind in "iu" and values.dtype.itemsize > 2:
        return narrowed(values.astype(np.float64))
    if values.dtype.kind != "f" or values.dtype.itemsize <= 4:
        exact = values.astype(np.float32, copy=False)
        # Compiled code takes numbers below the smallest normal one for zero.
        return exact.astype(np.float64) if exact.dtype.kind == "f" and _is_tiny(exact) else exact
    return values.astype(np.float64)


def narrowed(table: NDArray[np.float64]) -> NDArray[np.float32] | NDArray[np.float64]:
    """Return doubles as float32 if that changes none of them, else as they are."""
    single = np.empty(table.shape, np.float32)
    for begin in range(0, len(table), _ROWS_AT_ONCE):
        block, narrow = table[begin : begin + _ROWS_AT_ONCE], single[begin : begin + _ROWS_AT_ONCE]
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            narrow[:] = block
        if not (((narrow == block) & (np.abs(narrow) >= _SINGLE.tiny)) | (block == 0)).all():
            return table
    return single


def _is_tiny(values: NDArray[np.float32]) -> bool:
    """Return whether a feature has other numbers than zero, but hardly any normal one."""
    if not len(values):
        return False
    largest = np.maximum(values.max(axis=0), -values.min(axis=0))
    return bool(((largest > 0) & (largest < 1e6 * _SINGLE.tiny)).any())


def check_whole(values: NDArray[Any], source: Path | None = None) -> None:
    """Check that doubles still distinguish the training rows' integers of 64 bits, or long doubles.

    Raises
    ------
    DataError
        If the differences within a feature are lost; names it.
    """
    if values.dtype.kind not in "iuf" or values.dtype.itemsize < 8 or values.dtype == np.float64 or not len(values):
        return
    high = np.maximum(np.abs(values.max(axis=0).astype(np.float64)), np.abs(values.min(axis=0).astype(np.float64)))
    for column in np.flatnonzero(high > 2**53):
        from_low = values[:, column] - values[:, column].min()
        if values.dtype.kind == "i":  # which may exceed their own type, but never 64 bits without a sign
            from_low = from_low.astype(np.uint64)
        if np.spacing(high[column]) > _COARSE * from_low.astype(np.float64).std() > 0:
            raise DataError(
                f"feature {column + 1} has numbers near {high[column]:.3g} that double precision cannot tell apart; "
                "subtract the column's smallest value from it",
                path=source,
            )


def coarse(features: NDArray[Any], dtype: Any) -> NDArray[np.bool_]:
    """Return for each feature, shape (features,), whether a floating dtype is too coarse to distinguish its values.

    It is not for constant features. There must be at least one row.
    """
    low, high = (end.astype(np.float64) for end in (features.min(axis=0), features.max(axis=0)))
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(dtype)).astype(np.float64)
        step[np.isnan(step)] = np.inf  # beyond the dtype's range
        step = np.maximum(step, float(np.finfo(dtype).tiny))  # compiled code takes what is smaller for zero
        # No deviation is less than this share of the range, so that hardly ever one has to be computed.
        found = (low < high) & (step > _COARSE * np.sqrt(2 / len(features)) * (high / 2 - low / 2))
        for column in np.flatnonzero(found & np.isfinite(step)):
            halves = features[:, column].astype(np.float64) / 2 - low[column] / 2  # whose differences are finite
            found[column] = step[column] > _COARSE * 2 * halves.std()
    return np.asarray(found)


def numbered(what: str, found: NDArray[np.bool_]) -> str:
    """Return the numbers of the features or columns that were found, from 1, in words."""
    numbers = [str(column + 1) for column in np.flatnonzero(found)]
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(numbers[:5])}{more}"


@lru_cache(maxsize=100)
def say_once(text: str) -> None:
    """Warn of something that may cost accuracy, once: studies make many plans, and estimators many fits."""
    logging.getLogger("manyhands").warning(text)


def say_what_is_lost(features: NDArray[Any]) -> None:
    """Warn of features that may have been rounded too much before they came here."""
    found = coarse(features, features.dtype)
    if found.any():
        other = "" if features.dtype == np.float64 else ", or give them in double precision"
        say_once(
            f"the values of {numbered('feature', found)} differ by little more than {features.dtype} numbers do where "
            f"they lie: they may have been rounded before; subtract an offset where they come from{other}"
        )
