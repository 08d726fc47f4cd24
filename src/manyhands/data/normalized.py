"""A character as MNIST has it: 20 x 20 pixels at most, in a square of 28 x 28, by its centre of mass.

LeCun et al. 1998 write: "the original black and white images were size normalized to fit in a 20 x 20 pixel box while
preserving their aspect ratio; the images were centered in a 28 x 28 image by computing the center of mass of the
pixels". EMNIST's (Cohen et al. 2017) are larger, and in the middle by their box: normalized again, they are like these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE, BOX = 28, 20
"""Of the square, and of what the character fits into; in pixels."""
_LEAST_INK = 40
"""Of 255: what is fainter is ground, where the box of a character is sought."""
_CENTRE = 14.0
"""Where the mean centre of mass of MNIST's images is, in pixels of the index."""


def normalized(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a character in the form of MNIST's images.

    Parameters
    ----------
    ink : ndarray of shape (height, width), uint8
        Bright on a ground of 0; anything larger than the character.

    Returns
    -------
    ndarray of shape (28, 28), uint8
        All zero where there is no ink.
    """
    image = np.zeros((SIDE, SIDE), np.uint8)
    found = cropped(ink)
    if found.size == 0:
        return image
    factor = BOX / max(found.shape)
    height, width = (max(1, round(side * factor)) for side in found.shape)
    small = resized(found.astype(np.float32), height, width)
    small *= 255.0 / max(float(small.max()), 1.0)
    top, left = (_corner(small, axis) for axis in (0, 1))
    image[top : top + height, left : left + width] = np.clip(np.rint(small), 0, 255)
    return image


def cropped(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the smallest part of an image that has all of its ink; without any, one of no pixels."""
    rows, columns = (np.flatnonzero((ink > _LEAST_INK).any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return ink[:0, :0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _corner(small: NDArray[np.float32], axis: int) -> int:
    """Return where a character begins along an axis, such that its centre of mass is in the middle of the square."""
    side = small.shape[axis]
    mass = small.sum(axis=1 - axis, dtype=np.float64)
    centre = float(mass @ np.arange(side)) / float(mass.sum())
    return int(np.clip(round(_CENTRE - centre), 0, SIDE - side))


def resized(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return an image of another size: each new pixel is the mean of what it covers, which is what a scanner sees.

    Parameters
    ----------
    image : ndarray of shape (rows, columns), float32
    height, width
        Of the new one, at least 1.
    """
    down, across = _coverage(image.shape[0], height), _coverage(image.shape[1], width)
    out: NDArray[np.float32] = (down @ image @ across.T).astype(np.float32)
    return out


def _coverage(old: int, new: int) -> NDArray[np.float32]:
    """Return how much of each new pixel each old one covers, shape (new, old); rows sum to 1."""
    scale = old / new
    if scale < 1:  # pixels of a small image are drawn larger, with straight ramps between their middles
        at = np.clip((np.arange(new) + 0.5) * scale - 0.5, 0, old - 1)
        ramps: NDArray[np.float32] = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old))).astype(np.float32)
        return ramps
    first = np.arange(new)[:, None] * scale
    start = np.arange(old)[None, :]
    covered: NDArray[np.float64] = np.minimum(first + scale, start + 1) - np.maximum(first, start)
    out: NDArray[np.float32] = (np.maximum(covered, 0) / scale).astype(np.float32)
    return out
