"""What is no character, made from characters: two that touch, and parts of one.

A network that has seen characters only is sure of everything. One that has also seen what a wrong cut leaves says so,
and a page can be divided into characters by asking it (the "non-characters" of LeCun et al. 1998, section VII).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import NO_CHARACTER
from manyhands.core.randomness import generator
from manyhands.data.dataset import Examples
from manyhands.data.normalized import cropped, normalized

_PAIRS, _PARTS = 0.07, 0.05
"""How many of each there are, in parts of the number of characters."""
_INK = 100
_LEAST_LEFT, _MOST_LEFT = 0.2, 0.72
"""How much of a character's ink a part has."""
_TALL = 40


def made_from(characters: Examples, purpose: str) -> Examples:
    """Return samples that are no characters, with the label `manyhands.core.choices.NO_CHARACTER`.

    Parameters
    ----------
    characters
        Upright normalized characters, of shape (rows, 28, 28).
    purpose
        Of the random numbers; others for test samples than for training samples.
    """
    rng = generator(0, purpose)
    images, rows = characters.features, len(characters)
    made = [_pair(images[rng.integers(rows)], images[rng.integers(rows)], rng) for _ in range(round(_PAIRS * rows))]
    parts = (_part(images[rng.integers(rows)], rng) for _ in range(round(_PARTS * rows)))
    made += [part for part in parts if part is not None]
    return Examples(np.stack(made), np.full(len(made), NO_CHARACTER))


def _pair(left: NDArray[np.uint8], right: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return two characters side by side that touch, or nearly, as one image."""
    one, other = cropped(left), cropped(right)
    canvas = np.zeros((_TALL, 2 * _TALL), np.uint8)
    top, beside = (_TALL - 20) // 2 + 20 - len(one), (_TALL - 20) // 2 + 20 - len(other) + int(rng.integers(-3, 4))
    top, beside = max(0, top), max(0, min(beside, _TALL - len(other)))
    canvas[top : top + len(one), : one.shape[1]] = one
    start = one.shape[1] + 2
    for place in range(start, max(0, start - 14), -1):  # until ink meets ink
        under = canvas[beside : beside + len(other), place : place + other.shape[1]]
        start = place
        if ((under > _INK) & (other > _INK)).any():
            break
    part = canvas[beside : beside + len(other), start : start + other.shape[1]]
    np.maximum(part, other, out=part)
    return normalized(canvas)


def _part(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8] | None:
    """Return what a slanted cut from top to bottom leaves of a character; None if that is nearly all or nothing."""
    found = cropped(image)
    height, width = found.shape
    if width < 8:  # what is left of a 1 is a 1
        return None
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    across = (x - width * rng.uniform(0.3, 0.7)) + (y - height / 2) * rng.normal(0, 0.25)
    kept = np.where((across > 0) if rng.random() < 0.5 else (across < 0), found, 0).astype(np.uint8)
    share = float((kept > _INK).sum() / max(1, (found > _INK).sum()))
    rows = np.flatnonzero((kept > _INK).any(axis=1))
    if not _LEAST_LEFT < share < _MOST_LEFT or len(rows) < 2:
        return None
    # Small parts stay small beside a whole character: they are normalized in its height.
    return normalized(kept)
