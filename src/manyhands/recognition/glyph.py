"""From the pixels of one character to the image that a network takes: MNIST's form, and strokes as wide as a pen's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from manyhands.data.normalized import BOX, normalized
from manyhands.recognition.binarization import Mask
from manyhands.recognition.light import Grey

_EDGE, _FULL = 0.3, 0.85
"""Darkness at which a stroke begins, and is complete, in parts of the character's usual darkness."""
_THINNEST = 1.9 / BOX
"""Width of strokes in parts of the character's longer side; MNIST's have 2 to 3 of 20 pixels."""
_LARGEST = 160
"""Pixels: larger characters are looked at more coarsely."""


def glyph_of(flat: Grey, mask: Mask) -> NDArray[np.uint8]:
    """Return a character as a network takes it, shape (28, 28), bright on 0.

    Parameters
    ----------
    flat : ndarray of shape (height, width), float32
        The picture with even light around the character.
    mask : ndarray of the same shape, bool
        The pixels of the character, and of nothing else.
    """
    step = max(1, max(mask.shape) // _LARGEST)
    flat, mask = flat[::step, ::step], mask[::step, ::step]
    if not mask.any():
        return np.zeros((28, 28), np.uint8)
    return normalized(_thickened(strokes_of(flat, mask), mask))


def strokes_of(flat: Grey, mask: Mask) -> NDArray[np.uint8]:
    """Return strokes with smooth edges: as dark as ink is there, in parts of the usual darkness of this character."""
    darkness = 1 - flat
    usual = max(float(np.median(darkness[mask])), 1e-3)
    soft = np.clip((darkness / usual - _EDGE) / (_FULL - _EDGE), 0, 1)
    near = ndimage.binary_dilation(mask, np.ones((3, 3)))
    out: NDArray[np.uint8] = np.rint(255 * np.where(mask, np.maximum(soft, 0.5), soft * near)).astype(np.uint8)
    return out


def stroke_width(mask: Mask) -> float:
    """Return the mean width of strokes in pixels: four times the mean distance from their edges."""
    distances = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return float(max(1.0, 4 * distances[mask].mean() - 1))


def _thickened(ink: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    """Return thin strokes as wide as those of a pen of MNIST's; others as they are."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    lacking = _THINNEST * side - stroke_width(mask)
    radius = round(lacking / 2)
    if radius < 1:
        return ink
    padded = np.pad(ink, radius)
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    out: NDArray[np.uint8] = ndimage.grey_dilation(padded, footprint=x * x + y * y <= radius * radius + 0.5)
    return out
