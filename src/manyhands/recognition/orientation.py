"""Which way is up: a photo may lie on its side, whatever its camera has noted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manyhands.recognition.reader import Reader

_LEAST = 4
"""Characters that are needed to tell."""
MOST = 120
"""Characters that are enough to look at."""
_CLEARLY, _ON_THE_WHOLE = 0.06, 4.0
"""So much more probable another orientation must be to be believed, in natural logarithms, for each and for all."""


_READABLE = -0.5
"""The mean logarithm of the probability of characters that stand upright: what cannot be read in any way tells nothing.
"""


def quarters_of(images: NDArray[np.uint8], reader: Reader, characters: str) -> int:
    """Return by how many quarters, counter-clockwise, a picture must be turned to be upright: 0 to 3.

    The characters are read in all four orientations, and the one is right in which they are most probable.

    Parameters
    ----------
    images : ndarray of shape (rows, 28, 28), uint8
        Characters as they stand in the picture.
    reader, characters
        What reads them, and as what.
    """
    if len(images) < _LEAST:
        return 0
    scores = []
    for quarters in range(4):
        turned = np.ascontiguousarray(np.rot90(images, quarters, axes=(1, 2)))
        best = reader.probabilities(turned, characters).max(axis=1)
        scores.append(float(np.log(np.maximum(best, 1e-3)).mean()))
    found = int(np.argmax(scores))
    gain = scores[found] - scores[0]
    clear = gain > _CLEARLY and gain * len(images) > _ON_THE_WHOLE and scores[found] > _READABLE
    return found if clear else 0
