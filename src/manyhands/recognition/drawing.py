"""One character drawn with a finger or a mouse, read while it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from manyhands.core.errors import DataError
from manyhands.data.normalized import cropped, normalized
from manyhands.recognition.page import Candidate
from manyhands.recognition.reader import CHARACTERS, reader_for

_SOFT = 1 / 60
"""Strokes of a screen have edges that no pen makes: they are softened by this part of the character's longer side."""


@dataclass(frozen=True)
class Drawing:
    """What a drawn character is read as.

    Attributes
    ----------
    image : ndarray of shape (28, 28), uint8
        What the network sees.
    candidates : tuple of Candidate
        All characters of the alphabet, the most probable first; empty while nothing is drawn.
    """

    image: NDArray[np.uint8]
    candidates: tuple[Candidate, ...]


def recognize_drawing(ink: NDArray[np.uint8], alphabet: str = "digits") -> Drawing:
    """Return what a drawn character is.

    Parameters
    ----------
    ink : ndarray of shape (height, width), uint8
        Bright strokes on a ground of 0.
    alphabet
        ``"digits"``, ``"letters"`` or ``"all"``.

    Raises
    ------
    DataError
        If this is no such array.
    SettingsError
        If there is no such alphabet.
    """
    if not isinstance(ink, np.ndarray) or ink.ndim != 2 or ink.dtype != np.uint8 or ink.size == 0:
        raise DataError("a drawing is an array of bytes (uint8) of shape (height, width)")
    reader = reader_for(alphabet)
    side = max((0, *cropped(ink).shape))
    image = normalized(ndimage.gaussian_filter(ink, side * _SOFT)) if side else normalized(ink)
    if not image.any():
        return Drawing(image, ())
    characters = CHARACTERS[alphabet]
    found = reader.probabilities(image[None], characters)[0]
    order = np.argsort(-found, kind="stable")
    return Drawing(image, tuple(Candidate(characters[at], float(found[at])) for at in order))
