"""What stands in a cell of a table: its ink without the lines around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from manyhands.recognition.binarization import Mask
from manyhands.recognition.cells import Cell
from manyhands.recognition.components import Piece, pieces_of
from manyhands.recognition.geometry import Points
from manyhands.recognition.page import Box

_LEAST_HEIGHT = 0.2
"""A character has this part of its cell's height, or a part of it does."""
_SPECK = 0.1
_RIM = 0.14
"""Part of a cell along its lines in which ink may be a line's."""
_SLIM = 0.09
"""Thickness of a line's rest, in heights of the cell."""


def content_of(ink: Mask, cell: Cell, *, alone: bool = False) -> list[Piece]:
    """Return the pieces of ink of what is written in a cell; none if it is empty.

    Parameters
    ----------
    ink : ndarray of shape (height, width), bool
        Of the picture.
    cell
        One of `manyhands.recognition.cells.find_tables`.
    alone
        Whether no other cell lies beside it: it may be the hole of a 0, so what touches its outline is not in it.
    """
    box = _box_of(cell.outline, ink.shape)
    if box.width < 3 or box.height < 3:
        return []
    inside = _within(cell.outline, box)
    own = ink[box.top : box.bottom, box.left : box.right] & inside
    width, height = cell.sides
    edge = inside & ~ndimage.binary_erosion(inside, np.ones((3, 3)))
    pieces = [piece for piece in pieces_of(own) if not (alone and _touches(piece, edge))]
    pieces = [piece for piece in pieces if not _is_rest_of_line(piece, inside, edge, min(width, height))]
    pieces = [piece for piece in pieces if max(piece.box.width, piece.box.height) >= _SPECK * min(width, height)]
    if not pieces or max(piece.box.height for piece in pieces) < _LEAST_HEIGHT * height:
        return []
    moved = [Piece(_moved(piece.box, box.left, box.top), piece.mask) for piece in pieces]
    return _near_the_main(moved, height)


def _box_of(outline: Points, shape: tuple[int, ...]) -> Box:
    low, high = np.floor(outline.min(axis=0)).astype(int), np.ceil(outline.max(axis=0)).astype(int)
    return Box(max(0, int(low[0])), max(0, int(low[1])), min(shape[1], int(high[0])), min(shape[0], int(high[1])))


def _moved(box: Box, right: int, down: int) -> Box:
    return Box(box.left + right, box.top + down, box.right + right, box.bottom + down)


def _within(outline: Points, box: Box) -> Mask:
    """Return which pixels of a box lie inside a convex outline, a pixel away from it."""
    x, y = np.meshgrid(np.arange(box.left, box.right) + 0.5, np.arange(box.top, box.bottom) + 0.5)
    inside = np.ones(x.shape, bool)
    middle = outline.mean(axis=0)
    for one, other in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        way = other - one
        length = float(np.hypot(*way))
        if length < 1e-9:
            continue
        distance = (way[0] * (y - one[1]) - way[1] * (x - one[0])) / length
        sign = np.sign(way[0] * (middle[1] - one[1]) - way[1] * (middle[0] - one[0]))
        inside &= distance * sign > 0.7
    return inside


def _touches(piece: Piece, edge: Mask) -> bool:
    """Return whether a piece lies on the edge of its cell."""
    return bool((edge[_place(piece)] & piece.mask).any())


def _place(piece: Piece) -> tuple[slice, slice]:
    return np.s_[piece.box.top : piece.box.bottom, piece.box.left : piece.box.right]


def _is_rest_of_line(piece: Piece, inside: Mask, edge: Mask, side: float) -> bool:
    """Return whether a piece is what is left of a line: slim, at the rim of its cell, and touching its outline."""
    if not _touches(piece, edge):
        return False
    rim = max(2.0, _RIM * side)
    deep = ndimage.distance_transform_edt(inside)[_place(piece)]
    slim = min(piece.box.width, piece.box.height) <= max(2.0, _SLIM * side)
    return bool(deep[piece.mask].max() < rim and (slim or deep[piece.mask].mean() < rim / 2))


def _near_the_main(pieces: Sequence[Piece], height: float) -> list[Piece]:
    """Return pieces that are large, or near a large one: a speck in a corner is none."""
    large = [piece for piece in pieces if piece.box.height >= _LEAST_HEIGHT * height]
    kept = []
    for piece in pieces:
        aside = min(_apart(piece.box, other.box) for other in large)
        if piece in large or aside < 0.12 * height:
            kept.append(piece)
    return kept


def _apart(one: Box, other: Box) -> int:
    """Return how far two boxes are from each other, in pixels along an axis."""
    return max(0, one.left - other.right, other.left - one.right, one.top - other.bottom, other.top - one.bottom)
