"""What wrong cuts between touching characters leave, made from characters: what is none, and what is one nearly.

A network that has seen characters only is sure of everything. One that has also seen what a wrong cut leaves says so,
and a page can be divided into characters by asking it (the "non-characters" of LeCun et al. 1998, section VII). A
character with a sliver of its neighbour is still one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import NO_CHARACTER
from manyhands.core.randomness import generator
from manyhands.data.dataset import Examples
from manyhands.data.normalized import cropped, normalized

_PAIRS, _HALVES, _PARTS, _SLIVERS = 0.10, 0.05, 0.06, 0.10
"""How many of each there are, in parts of the number of characters: two characters, one with a half of its neighbour,
parts of one; and characters with a sliver of their neighbour, which keep their labels."""
_HALF, _SLIVER = (0.4, 0.9), (0.03, 0.14)
"""How much of a neighbour's width is left of it."""
_INK = 100
_LEAST_LEFT, _MOST_LEFT = 0.2, 0.72
"""How much of a character's ink a part has."""
_SLIM = 0.45
"""Parts of less than this width, in heights, are left out."""
_TALL = 40


def made_from(characters: Examples, purpose: str) -> Examples:
    """Return samples as wrong cuts leave them; `manyhands.core.choices.NO_CHARACTER` is the label of what is none.

    Parameters
    ----------
    characters
        Upright normalized characters, of shape (rows, 28, 28).
    purpose
        Of the random numbers; others for test samples than for training samples.
    """
    rng = generator(0, purpose)
    images, rows = characters.features, len(characters)

    def drawn() -> int:
        return int(rng.integers(rows))

    made = [_beside(images[drawn()], images[drawn()], 1.0, rng) for _ in range(round(_PAIRS * rows))]
    made += [_beside(images[drawn()], images[drawn()], rng.uniform(*_HALF), rng) for _ in range(round(_HALVES * rows))]
    parts = (_part(images[drawn()], rng) for _ in range(round(_PARTS * rows)))
    made += [part for part in parts if part is not None]
    kept = rng.integers(rows, size=round(_SLIVERS * rows))
    nearly = [_beside(images[at], images[drawn()], rng.uniform(*_SLIVER), rng) for at in kept]
    labels = np.concatenate([np.full(len(made), NO_CHARACTER), characters.labels[kept]])
    return Examples(np.stack([*made, *nearly]), labels)


def _beside(
    image: NDArray[np.uint8], neighbour: NDArray[np.uint8], share: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a character and, on either side, what is left of one that touches it: a share of its width."""
    mirrored = rng.random() < 0.5
    one, other = (cropped(each)[:, :: -1 if mirrored else 1] for each in (image, neighbour))
    canvas = np.zeros((_TALL, 3 * _TALL), np.uint8)
    foot = (_TALL + 20) // 2
    top, beside = foot - len(one), max(0, min(foot - len(other) + int(rng.integers(-3, 4)), _TALL - len(other)))
    canvas[top : top + len(one), : one.shape[1]] = one
    start = one.shape[1] + 2
    for place in range(start, max(0, start - 14), -1):  # until ink meets ink
        under = canvas[beside : beside + len(other), place : place + other.shape[1]]
        start = place
        if ((under > _INK) & (other > _INK)).any():
            break
    left = other[:, : max(1, round(share * other.shape[1]))]
    part = canvas[beside : beside + len(other), start : start + left.shape[1]]
    np.maximum(part, left, out=part)
    return normalized(canvas[:, :: -1 if mirrored else 1])


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
    left = cropped(kept)
    # What is slim looks like a 1 or an I, and often is the stroke of one.
    slim = left.size == 0 or left.shape[1] < _SLIM * left.shape[0]
    return normalized(kept) if _LEAST_LEFT < share < _MOST_LEFT and not slim else None
