"""Ruled lines, and those of open boxes: found, and taken away without breaking the strokes that cross them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from manyhands.recognition.binarization import Mask

_LEAST_LENGTH, _LEAST_PART = 60, 1 / 7
"""A line has so many pixels at least, and this part of the picture's side."""
_FULL = 0.85
"""How much of a window along a line is ink, where it is broken."""
_SLIM = 25
"""A line is so many times as long as it is thick."""
_THICKER = 1.5
"""A stroke across a line is thicker, along it, than the line times this."""


def without_lines(ink: Mask) -> tuple[Mask, Mask]:
    """Return ink without level and upright lines, and those lines.

    A pixel of a line goes unless ink goes on across the line there: then a stroke crosses it, which stays whole.

    Parameters
    ----------
    ink : ndarray of shape (height, width), bool
        Of a picture that is not askew.
    """
    level = _lines(ink)
    upright = _lines(ink.T).T
    lines = level | upright
    cleaned = ink & ~level & ~upright
    if not lines.any() or not _anything_left(cleaned, lines):
        return ink, np.zeros_like(ink)
    return cleaned, lines


def _lines(ink: Mask) -> Mask:
    """Return the pixels of level lines where no stroke crosses them."""
    length = max(_LEAST_LENGTH, round(ink.shape[1] * _LEAST_PART))
    if ink.shape[1] < length:
        return np.zeros_like(ink)
    thick = ndimage.maximum_filter1d(ink.astype(np.float32), 3, axis=0)
    full = ndimage.uniform_filter1d(thick, length, axis=1, mode="constant") >= _FULL
    reach = ndimage.maximum_filter1d(full.astype(np.uint8), length, axis=1) > 0
    candidates = ndimage.binary_dilation(reach, np.ones((3, 1))) & ink
    runs = _runs(ink)
    out = np.zeros_like(ink)
    labels, _ = ndimage.label(candidates, np.ones((3, 3)))
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        high, wide = (axis.stop - axis.start for axis in place)
        if wide < length * 0.6:
            continue
        own = labels[place] == number
        thickness = float(np.median(runs[place][own]))
        if wide < _SLIM * thickness or high > max(4 * thickness + 6, wide / 8):
            continue
        out[place] |= own & (runs[place] <= _THICKER * thickness + 1)
    return out


def _runs(ink: Mask) -> NDArray[np.int32]:
    """Return, for each pixel of ink, how many pixels of ink lie on each other there, itself included."""
    height = len(ink)
    rows = np.arange(height, dtype=np.int32)[:, None]
    ground = np.where(ink, np.int32(-1), rows)
    above = np.maximum.accumulate(ground, axis=0)
    below = np.minimum.accumulate(np.where(ink, np.int32(height), rows)[::-1], axis=0)[::-1]
    out: NDArray[np.int32] = np.where(ink, below - above - 1, 0).astype(np.int32)
    return out


def _anything_left(cleaned: Mask, lines: Mask) -> bool:
    """Return whether ink is left beside the lines: a single long 1 is no line."""
    return int(cleaned.sum()) > 0.15 * int(lines.sum())
