"""Which pixels are ink: a threshold for every place, from the mean and the contrast around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from manyhands.recognition.light import Grey

Mask = NDArray[np.bool_]

_K = 0.25
"""How far below the local mean ink is, where the contrast is full: lower finds fainter ink."""
_WINDOWS = 10
"""The window is this part of the longer side."""
_LEAST_WINDOW = 25
_LEAST_CONTRAST = 0.06
"""Standard deviations below this are noise of paper and no ink, however even the rest is."""
_DARK = 0.3
"""What is darker than this, from the darkest ink to paper, is ink whatever lies around it."""
_SURE, _LEAST_SURE = 0.55, 0.12
"""A patch of ink has a pixel that is so dark: a share of the darkest ink's, and at least so much of the paper's."""


def binarized(flat: Grey) -> Mask:
    """Return the ink of a picture with even light.

    The threshold is Wolf and Jolion's (2003), which is Sauvola and Pietikainen's (2000) with contrasts relative to the
    picture's own: T = m - k (1 - s / R) (m - M), with the mean m and standard deviation s around a pixel, R the largest
    s and M the darkest value. Ink of dim photos, which is never black, is found as well as that of scans. Patches
    without one pixel that is surely ink are shadows and the print of the other side of the paper.

    Parameters
    ----------
    flat : ndarray of shape (height, width), float32
        See `manyhands.recognition.light.flattened`.
    """
    window = max(_LEAST_WINDOW, max(flat.shape) // _WINDOWS) | 1
    mean = ndimage.uniform_filter(flat, window, mode="nearest")
    square = ndimage.uniform_filter(flat * flat, window, mode="nearest")
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    most, darkest = (
        max(float(np.percentile(deviation, 99.5)), _LEAST_CONTRAST),
        float(ndimage.uniform_filter(flat, 3).min()),
    )
    threshold = mean - _K * (1 - deviation / most) * (mean - darkest)
    ink = (flat < threshold) & (deviation > _LEAST_CONTRAST * most) & (flat < 1 - _LEAST_SURE / 2)
    # Inside of a stroke that is wider than the window, there is no contrast.
    ink |= flat < darkest + _DARK * (1 - darkest)
    return _sure_patches(ink, flat, darkest)


def _sure_patches(ink: Mask, flat: Grey, darkest: float) -> Mask:
    """Return the patches of ink that have a pixel which is dark enough to be sure."""
    sure = 1 - max(_SURE * (1 - darkest), _LEAST_SURE)
    labels, count = ndimage.label(ink, np.ones((3, 3)))
    if count == 0:
        return ink
    keep = np.zeros(count + 1, bool)
    keep[np.unique(labels[ink & (flat < sure)])] = True
    keep[0] = False
    out: Mask = keep[labels]
    return out
