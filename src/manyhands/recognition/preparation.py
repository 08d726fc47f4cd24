"""From a picture to the ink on it: light, paper, orientation and skew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.recognition.binarization import Mask, binarized
from manyhands.recognition.geometry import straightened
from manyhands.recognition.light import Grey, denoised, flattened, grey, is_negative
from manyhands.recognition.loading import Picture
from manyhands.recognition.paper import corners_of_paper, sides_of
from manyhands.recognition.steps import Steps

_LEVEL = 0.3
"""Degrees from which on a picture is turned."""


@dataclass(frozen=True)
class Sheet:
    """A picture with the ink that was found on it; all three have the same size.

    Attributes
    ----------
    picture : ndarray of shape (height, width, 3), uint8
        Red, green and blue.
    flat : ndarray of shape (height, width), float32
        With even light: 1 is paper.
    ink : ndarray of shape (height, width), bool
        Where there is ink.
    notes : tuple of str
        What was done to the picture that its owner should know.
    """

    picture: Picture
    flat: Grey
    ink: Mask
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.ink.shape
        return height, width

    def turned(self, quarters: int) -> Sheet:
        """Return it turned counter-clockwise by quarters of a whole turn."""
        return Sheet(
            np.ascontiguousarray(np.rot90(self.picture, quarters)),
            np.ascontiguousarray(np.rot90(self.flat, quarters)),
            np.ascontiguousarray(np.rot90(self.ink, quarters)),
            self.notes,
        )

    def leveled(self, degrees: float) -> Sheet:
        """Return it turned counter-clockwise by some degrees; what comes in at the corners is paper."""
        if abs(degrees) < _LEVEL:
            return self
        flat = 1 - _rotated(1 - self.flat, degrees)
        return Sheet(_rotated(self.picture, degrees), flat, binarized(flat), self.notes)

    def noted(self, note: str) -> Sheet:
        """Return it with one note more."""
        return Sheet(self.picture, self.flat, self.ink, (*self.notes, note))


def prepared(picture: Picture, steps: Steps) -> Sheet:
    """Return a picture's sheet of paper, seen from straight above and with even light, and its ink."""
    brightness = grey(picture)
    steps.show("grey", brightness)
    notes = []
    if is_negative(brightness):
        brightness = 1 - brightness
        notes.append("bright writing on dark ground was taken as ink")
    corners = corners_of_paper(brightness)
    if corners is not None:
        width, height = sides_of(corners)
        picture = np.rint(straightened(picture, corners, width, height)).astype(np.uint8)
        brightness = straightened(brightness, corners, width, height).astype(np.float32)
        notes.append("the sheet of paper was cut out and straightened by its edges")
        steps.show("paper", brightness)
    flat = denoised(flattened(brightness))
    steps.show("even-light", flat)
    ink = binarized(flat)
    steps.show("ink", ink)
    return Sheet(picture, flat, ink, tuple(notes))


def _rotated(picture: NDArray[Any], degrees: float) -> NDArray[Any]:
    """Return a picture turned counter-clockwise, with room for all of it; Pillow does it in a tenth of SciPy's time."""
    from PIL import Image

    ground = 0 if picture.ndim == 2 else (255,) * picture.shape[2]
    grown = Image.fromarray(picture).rotate(degrees, Image.Resampling.BILINEAR, expand=True, fillcolor=ground)
    return np.array(grown)
