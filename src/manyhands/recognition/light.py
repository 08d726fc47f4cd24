"""From colours and shadows to ink on even paper: grey, illumination flattened, noise softened."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Grey = NDArray[np.float32]
"""Shape (height, width); 0 is black and 1 is white."""

_COARSE = 128
"""Pixels of the longer side at which the paper's light is estimated: ink is thin there, and shadows are not."""
_REACH = 23
"""Pixels of that coarse picture: what is narrower than this is ink, what is wider is light and shadow."""
_DARKEST = 0.02
"""A ground that is darker is taken for this bright, so that noise in black corners stays noise."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_NOISY = 0.02
"""Standard deviation of the noise, relative to the paper, from which on a picture is softened."""


def grey(picture: NDArray[np.uint8]) -> Grey:
    """Return how bright a picture is; coloured ink is darker than its luminance, as a pen's colour is one of ink.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3), uint8
    """
    values = picture.astype(np.float32) * np.float32(1 / 255)
    out: Grey = 0.5 * (values @ _LUMA) + 0.5 * values.min(axis=2)
    return out


def is_negative(brightness: Grey) -> bool:
    """Return whether bright strokes stand on dark ground, as in MNIST itself or on a blackboard."""
    small = _shrunk(brightness, 96)
    ground = ndimage.median_filter(small, size=max(3, min(small.shape) // 5) | 1, mode="nearest")
    apart = small - ground
    brighter, darker = apart[apart > 0.15].sum(), -apart[apart < -0.15].sum()
    # Paper is bright, even in the dark of a room: only where ink is found rather above the ground than below it.
    return bool(brighter > 2 * darker and np.median(small) < 0.5)


def background(brightness: Grey) -> Grey:
    """Return how bright the paper would be without ink: the brightest values around, smoothed."""
    small = _shrunk(brightness, _COARSE)
    softened = ndimage.gaussian_filter(small, 0.7, mode="nearest")
    closed = ndimage.grey_closing(softened, size=(_REACH, _REACH), mode="nearest")
    smooth = ndimage.gaussian_filter(closed, _REACH / 3, mode="nearest")
    return np.maximum(_enlarged(smooth, brightness.shape), np.float32(_DARKEST))


def flattened(brightness: Grey) -> Grey:
    """Return a picture as if its light were even: 1 is paper, and ink is what it was beside its paper."""
    out: Grey = np.clip(brightness / background(brightness), 0, 1)
    return out


def noise_of(flat: Grey) -> float:
    """Return the standard deviation of a picture's noise, by the median of its second differences (Immerkaer 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    differences = np.abs(ndimage.convolve(flat, kernel, mode="nearest"))
    return float(np.median(differences) / 0.6745 / 6)


def denoised(flat: Grey) -> Grey:
    """Return a picture softened as far as its noise asks for; a clean one stays as it is."""
    noise = noise_of(flat)
    if noise < _NOISY:
        return flat
    out: Grey = ndimage.gaussian_filter(flat, min(2.0, 0.6 + 12 * (noise - _NOISY)), mode="nearest")
    return out


def _shrunk(image: Grey, longest: int) -> Grey:
    """Return a picture made smaller by a whole number, as means of blocks; a small one stays as it is."""
    factor = max(image.shape) // longest
    if factor < 2:
        return image
    down, across = (min(factor, side) for side in image.shape)  # a strip is narrower than a block
    height, width = image.shape[0] // down, image.shape[1] // across
    out: Grey = image[: height * down, : width * across].reshape(height, down, width, across).mean(axis=(1, 3))
    return out


def _enlarged(image: Grey, shape: tuple[int, ...]) -> Grey:
    """Return a coarse picture in a finer one's size, with straight ramps between its values."""
    rows, columns = (
        np.clip((np.arange(side) + 0.5) * (small / side) - 0.5, 0, small - 1)
        for side, small in zip(shape, image.shape, strict=True)
    )
    down = _ramps(image, rows, axis=0)
    return _ramps(down, columns, axis=1)


def _ramps(image: Grey, places: NDArray[np.float64], axis: int) -> Grey:
    first = np.floor(places).astype(int)
    second = np.minimum(first + 1, image.shape[axis] - 1)
    part = (places - first).astype(np.float32)
    part = part[:, None] if axis == 0 else part[None, :]
    out: Grey = np.take(image, first, axis) * (1 - part) + np.take(image, second, axis) * part
    return out
