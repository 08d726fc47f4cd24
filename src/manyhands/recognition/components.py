"""Connected pieces of ink, each with its place, and what is no part of a character among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from manyhands.recognition.binarization import Mask
from manyhands.recognition.page import Box

_SPECK = 0.16
"""Pieces smaller than this part of the usual height, on both sides, are specks."""
_LEAST_PIXELS = 6
_MOST = 1200
"""Pieces of a page: of more, which are a pattern or noise, only the largest are looked at."""
_TALLEST, _WIDEST = 4.0, 12.0
"""In usual heights: what is larger is a line, a frame, a shadow or a picture."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Ink that belongs together.

    Attributes
    ----------
    box : Box
        Its place.
    mask : ndarray of shape (height, width) of the box, bool
        Its pixels.
    """

    box: Box
    mask: Mask

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.mask))

    @staticmethod
    def of(pieces: Sequence[Piece]) -> Piece:
        """Return several pieces, of which there is at least one, as one."""
        if len(pieces) == 1:
            return pieces[0]
        box = Box.around([piece.box for piece in pieces])
        mask = np.zeros((box.height, box.width), bool)
        for piece in pieces:
            left, top = piece.box.left - box.left, piece.box.top - box.top
            mask[top : top + piece.box.height, left : left + piece.box.width] |= piece.mask
        return Piece(box, mask)


def pieces_of(ink: Mask) -> list[Piece]:
    """Return the connected pieces of ink; diagonal neighbours are connected."""
    labels, _ = ndimage.label(ink, np.ones((3, 3)))
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        box = Box(columns.start, rows.start, columns.stop, rows.stop)
        if box.width * box.height >= _LEAST_PIXELS:
            found.append(Piece(box, labels[rows, columns] == number))
    return found


def usual_height(pieces: Sequence[Piece]) -> float:
    """Return the height of a usual character in pixels: the median over the area that pieces cover; 0 without any."""
    if not pieces:
        return 0.0
    heights = np.array([piece.box.height for piece in pieces], float)
    areas = np.array([piece.area for piece in pieces], float)
    order = np.argsort(heights)
    half = np.searchsorted(np.cumsum(areas[order]), areas.sum() / 2)
    return float(heights[order][min(int(half), len(order) - 1)])


def without_strangers(pieces: Sequence[Piece], shape: tuple[int, ...]) -> list[Piece]:
    """Return pieces that may be characters or parts of them.

    Left out are specks, pieces far larger than a character, and long thin ones and large ones at the picture's edge,
    which are what lies beside the paper.

    Parameters
    ----------
    pieces
        All of a picture.
    shape
        Height and width of the picture.
    """
    kept = [piece for piece in pieces if not _cut_off(piece, shape) and not _is_line(piece, shape)]
    kept = sorted(kept, key=lambda piece: piece.area, reverse=True)[:_MOST]
    height = usual_height(kept)
    return [
        piece
        for piece in kept
        if max(piece.box.height, piece.box.width) >= max(2.0, _SPECK * height)
        and piece.area >= max(_LEAST_PIXELS, (_SPECK * height) ** 2 / 3)
        and piece.box.height <= _TALLEST * height
        and piece.box.width <= _WIDEST * height
    ]


def _cut_off(piece: Piece, shape: tuple[int, ...]) -> bool:
    """Return whether a piece is large and lies at the edge of the picture."""
    left, top, right, bottom = piece.box
    edges = (left <= 1) + (top <= 1) + (right >= shape[1] - 1) + (bottom >= shape[0] - 1)
    large = piece.box.height > 0.3 * shape[0] or piece.box.width > 0.3 * shape[1]
    # A drawing may fill its picture from edge to edge; paper's shadows lie in corners and along one side.
    return edges > 0 and (edges >= 2 or large) and piece.area < 0.98 * piece.mask.size and _hugs(piece, shape)


def _hugs(piece: Piece, shape: tuple[int, ...]) -> bool:
    """Return whether a good part of a piece's extent lies on the picture's edge itself."""
    left, top, right, bottom = piece.box
    along = 0
    if left <= 1:
        along = max(along, int(piece.mask[:, 0].sum()))
    if right >= shape[1] - 1:
        along = max(along, int(piece.mask[:, -1].sum()))
    if top <= 1:
        along = max(along, int(piece.mask[0].sum()))
    if bottom >= shape[0] - 1:
        along = max(along, int(piece.mask[-1].sum()))
    return along > 0.25 * max(piece.box.height, piece.box.width)


def _is_line(piece: Piece, shape: tuple[int, ...]) -> bool:
    """Return whether a piece is the rest of a rule or of a frame: very long, with hardly any ink in its box."""
    box = piece.box
    long, short = max(box.width, box.height), min(box.width, box.height)
    if long > 0.6 * max(shape) and short > 0.2 * min(shape):
        return piece.area < 0.2 * box.width * box.height
    return box.width > 0.25 * shape[1] and box.width > 12 * box.height
