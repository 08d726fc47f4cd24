"""How far lines of writing, or ruled ones, are from level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manyhands.recognition.binarization import Mask

Values = NDArray[np.float64]

_MOST = 15.0
"""Degrees."""
_POINTS = 20_000
_LEAST_GAIN = 1.02
"""What the best angle must gain over none."""


def skew_of(ink: Mask) -> float:
    """Return by how many degrees lines rise to the right; turning the picture by minus this levels them.

    The rows' sums of ink are as uneven as possible where lines are level (Postl 1986): sharp peaks and empty rows.

    Parameters
    ----------
    ink : ndarray of shape (height, width), bool
    """
    y, x = np.nonzero(ink)
    if len(y) < 50:
        return 0.0
    step = max(1, len(y) // _POINTS)
    across, down = x[::step].astype(float), y[::step].astype(float)
    coarse = _best(across, down, np.arange(-_MOST, _MOST + 0.1, 1.0))
    fine = _best(across, down, coarse + np.arange(-1.0, 1.01, 0.2))
    if _unevenness(across, down, fine) < _LEAST_GAIN * _unevenness(across, down, 0.0):
        return 0.0
    return fine


def _best(x: Values, y: Values, angles: Values) -> float:
    return float(angles[int(np.argmax([_unevenness(x, y, float(angle)) for angle in angles]))])


def _unevenness(x: Values, y: Values, angle: float) -> float:
    """Return the sum of squares of ink by rows, when a picture is turned by an angle."""
    radians = np.deg2rad(angle)
    rows = y * np.cos(radians) + x * np.sin(radians)
    height = max(2.0, (y.max() - y.min()) / 200)
    counts = np.bincount(((rows - rows.min()) / height).astype(int)).astype(float)
    return float((counts**2).sum() / counts.sum() ** 2)
