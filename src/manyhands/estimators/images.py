"""Samples of any shape, such as images, as the rows that scikit-learn's checks are made for."""

# ruff: noqa: N803, N806 - X is scikit-learn's name

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse

from manyhands.core.checks import shortened, whole
from manyhands.core.errors import DataError, SettingsError

Shape = tuple[int, ...]


def flattened(X: Any) -> tuple[Any, Shape]:
    """Return samples as rows, shape (rows, features), and the shape that each has had.

    What has no more than two dimensions stays as it is, for scikit-learn to judge; its shape is empty.
    """
    if isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) > 1:
        X = np.asarray(X)
    if sparse.issparse(X) or getattr(X, "ndim", 2) < 3:
        return X, ()
    array = np.asarray(X)
    return array.reshape(len(array), math.prod(array.shape[1:])), array.shape[1:]


def sample_shape(asked: Any, stored: Shape, features: int) -> Shape:
    """Return the shape of one sample as the network takes it.

    Parameters
    ----------
    asked
        The parameter of that name; None: as stored, with one channel where images have none.
    stored
        From `flattened`.
    features
        Number of values of a sample.

    Raises
    ------
    SettingsError
        If it is no shape, or not that of so many values, or of those that are stored.
    """
    if asked is None:
        return _with_channel(stored) or (features,)
    try:
        shape = tuple(whole("a side", side, least=1) for side in asked)
    except (TypeError, SettingsError) as error:
        raise SettingsError(
            f"sample_shape must be whole numbers, such as (1, 28, 28), not {shortened(asked)}"
        ) from error
    if math.prod(shape) != features or (stored and shape not in (stored, _with_channel(stored))):
        given = f"shape {stored}" if stored else f"{features} features"
        raise SettingsError(f"sample_shape={shape} does not fit X, whose samples have {given}")
    return shape


def check_shape(stored: Shape, fitted: Shape) -> None:
    """Check that samples are flat, or have the shape that a network was fitted to, with or without its one channel."""
    if stored and fitted not in (stored, _with_channel(stored)):
        raise DataError(f"X has samples of shape {stored}; the network was fitted to samples of shape {fitted}")


def _with_channel(stored: Shape) -> Shape:
    return (1, *stored) if len(stored) == 2 else stored
