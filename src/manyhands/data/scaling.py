"""How stored values become inputs: ``stored * scale + shift``, per feature, always from training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import SettingsError

SCALINGS = ("auto", "255", "standard", "none")
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Scaling:
    """A per-feature linear map.

    Attributes
    ----------
    name : str
        What was done, e.g. ``"x / 255"``.
    scale, shift : ndarray of shape (features,), float64
    """

    name: str
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def make_scaling(kind: str, features: NDArray[Any]) -> Scaling:
    """Return the scaling ``kind`` for training rows ``features``, shape (rows, features).

    Parameters
    ----------
    kind
        ``"255"`` divides by 255; ``"standard"`` gives each feature mean 0 and variance 1 (constant features become
        0); ``"none"`` leaves values as they are. ``"auto"``: bytes are divided by the largest training value (255 for
        MNIST, 16 for scikit-learn's digits), anything else is standardized.

    Raises
    ------
    SettingsError
        If the kind is unknown.
    """
    count = features.shape[1]
    if kind == "auto":
        if features.dtype != np.uint8:
            return _standard(features)
        return _divide(max(int(features.max(initial=0)), 1), count)
    if kind == "255":
        return _divide(255, count)
    if kind == "standard":
        return _standard(features)
    if kind == "none":
        return Scaling("none", np.ones(count), np.zeros(count))
    raise SettingsError(f"unknown scaling {kind!r}; choose one of {', '.join(SCALINGS)}")


def _divide(by: int, count: int) -> Scaling:
    return Scaling(f"x / {by}", np.full(count, 1 / by), np.zeros(count))


def _standard(features: NDArray[Any]) -> Scaling:
    """Compute means and deviations in two passes over blocks, so that bytes are never all widened at once."""
    rows, count = features.shape
    blocks = [slice(begin, begin + _ROWS_AT_ONCE) for begin in range(0, rows, _ROWS_AT_ONCE)]
    mean = np.sum([features[block].sum(axis=0, dtype=np.float64) for block in blocks], axis=0) / rows
    squares = np.zeros(count)
    for block in blocks:
        squares += np.square(features[block] - mean).sum(axis=0)
    deviation = np.sqrt(squares / rows)
    # What varies by rounding alone is constant; and of a constant, the mean of many rows may be off by more than that.
    varies = (features.max(axis=0) > features.min(axis=0)) & (
        deviation > 10 * np.finfo(np.float64).eps * np.maximum(np.abs(mean), 1e-300)
    )
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0.0)
    return Scaling("standard", scale, -mean * scale)
