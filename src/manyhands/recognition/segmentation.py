"""Pieces of ink into characters: broken strokes joined, touching characters cut, the best way chosen by the network.

Pieces of a line are ordered from left to right, and wide ones are cut in several places. Then a way through all of
them is chosen, by dynamic programming, whose characters the network finds most probable, and whose shapes are likely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from manyhands.recognition.binarization import Mask
from manyhands.recognition.components import Piece
from manyhands.recognition.page import Box

Scorer = Callable[[Sequence[Piece]], NDArray[np.float64]]
"""Returns the logarithm of the probability of the best character, for each piece."""

_JOINED = 9
"""So many parts at most are one character."""
_CUT_FROM = (0.1, 0.5, 0.9, 0.99), (0.82, 1.05, 1.3, 2.3)
"""A piece that is a character with this probability is cut if it is as wide as this, in usual widths."""
_CUTS, _MOST_CUTS = 7.0, 24
"""A piece is cut in so many places for each usual height of its width, and at most."""
_SLIVER = 0.2
"""What is smaller than this part of the largest of what a cut leaves on one side may belong to the other."""
_APART = 0.09
"""Between cuts, and to the ends of a piece: this part of the usual height."""
_WIDEST = 1.8
"""Characters are at most so wide, in usual widths."""
_OVERLAP = 0.5
"""Parts that lie above each other for so much of the narrower one's width are one character."""
_OF_A_CUT, _OF_CUT_INK = 0.9, 1.0
"""What a cut costs, in natural logarithms of probability, and for each usual height of ink that it goes through."""
_OF_A_GAP, _OF_WIDTH, _OF_LOWNESS = 9.0, 4.0, 4.0
"""What it costs to join over a gap of a usual height; a width above a usual one, in heights; a height of nothing."""
_LOW = 0.5
_INK = 4.0
"""What a pixel of ink costs a cut, beside one step to the side."""


class Usual(NamedTuple):
    """The usual size of characters: the height in pixels, and the width that few exceed, in heights."""

    height: float
    breadth: float

    @property
    def width(self) -> float:
        """The width that few exceed, in pixels."""
        return self.height * self.breadth


@dataclass(frozen=True, eq=False)
class _Part:
    """A piece, or what a cut has made of one; ``cut`` is how much ink, in pixels, the cut that it begins at has cut."""

    piece: Piece
    cut: int | None = None


def characters_of(pieces: Sequence[Piece], usual: Usual, score: Scorer) -> list[Piece]:
    """Return the characters of one line, from left to right, each as one piece.

    Parameters
    ----------
    pieces
        Of the line.
    usual
        The usual size of a character of it.
    score
        Says how probable it is that a piece is a character.
    """
    height = usual.height
    joined = _overlapping(sorted(pieces, key=_middle), height)
    if not joined:
        return []
    least = np.interp(np.exp(score(joined)), *_CUT_FROM) * usual.width
    doubtful = {piece for piece, width in zip(joined, least, strict=True) if piece.box.width >= width}
    groups = [(parts, _candidates(parts, usual)) for parts in _groups(joined, height, doubtful)]
    # One call for the line: the network takes many pieces in hardly more time than one.
    gains = iter(score([piece for _, candidates in groups for _, piece in candidates]))
    return [
        character
        for parts, candidates in groups
        for character in _best_way(parts, candidates, [float(next(gains)) for _ in candidates], usual)
    ]


def _middle(piece: Piece) -> float:
    return (piece.box.left + piece.box.right) / 2


def _overlapping(pieces: Sequence[Piece], height: float) -> list[Piece]:
    """Return pieces, those joined of which one lies above the other: the dot of an i, the bar of a 5."""
    kept: list[Piece] = []
    for piece in pieces:
        while kept and _is_above(kept[-1].box, piece.box, height):
            piece = Piece.of([kept.pop(), piece])
        kept.append(piece)
    return kept


def _is_above(one: Box, other: Box, height: float) -> bool:
    common = min(one.right, other.right) - max(one.left, other.left)
    narrower = min(one.width, other.width)
    joined = Box.around([one, other])
    # Slanted neighbours overlap, too: only what is low is a part of something.
    low = min(one.height, other.height) < _LOW * height
    fits = joined.width < max(1.0 * height, 1.1 * max(one.width, other.width)) and joined.height < 1.6 * height
    return common >= (_OVERLAP if low else 0.8) * narrower and fits


def _groups(pieces: Sequence[Piece], height: float, doubtful: Container[Piece]) -> list[list[_Part]]:
    """Return parts in groups that no character reaches over: behind gaps that are too wide.

    Doubtful pieces may be several characters, and are cut.
    """
    groups: list[list[_Part]] = []
    reach = -math.inf
    for piece in sorted(pieces, key=lambda piece: piece.box.left):
        if piece.box.left - reach > 0.3 * height or not groups:
            groups.append([])
        groups[-1].extend(_cut(piece, height) if piece in doubtful else [_Part(piece)])
        reach = max(reach, piece.box.right)
    return groups


def _candidates(parts: Sequence[_Part], usual: Usual) -> list[tuple[tuple[int, int], Piece]]:
    """Return parts beside each other that may be one character, with their first number and the one behind them.

    None where there is no choice.
    """
    if len(parts) == 1:
        return []
    found = []
    for start in range(len(parts)):
        for stop in range(start + 1, min(len(parts), start + _JOINED) + 1):
            piece = Piece.of([part.piece for part in parts[start:stop]])
            if stop - start == 1 or piece.box.width <= _WIDEST * usual.width:
                found.append(((start, stop), piece))
    return found


def _best_way(
    parts: Sequence[_Part], candidates: Sequence[tuple[tuple[int, int], Piece]], gains: Sequence[float], usual: Usual
) -> list[Piece]:
    """Return the characters of the best way through parts (Viterbi over the graph of candidates)."""
    if len(parts) == 1:
        return [parts[0].piece]
    best = [0.0, *([-math.inf] * len(parts))]
    through: list[int] = [0] * (len(parts) + 1)
    for number, ((start, stop), piece) in enumerate(candidates):
        value = best[start] + gains[number] - _cost(parts, start, stop, piece.box, usual)
        if value > best[stop]:
            best[stop], through[stop] = value, number
    chosen, at = [], len(parts)
    while at > 0:
        (at, _), piece = candidates[through[at]]
        chosen.append(piece)
    return chosen[::-1]


def _cost(parts: Sequence[_Part], start: int, stop: int, box: Box, usual: Usual) -> float:
    """Return how unlikely the shape of a character is."""
    gaps = sum(
        max(0, parts[at].piece.box.left - parts[at - 1].piece.box.right)
        for at in range(start + 1, stop)
        if parts[at].cut is None
    )
    height = usual.height
    cost = _OF_A_GAP * gaps / height + _OF_WIDTH * max(0.0, box.width / height - usual.breadth)
    cost += _OF_LOWNESS * max(0.0, _LOW - box.height / height)
    cut = parts[start].cut
    return cost if cut is None else cost + _OF_A_CUT + _OF_CUT_INK * cut / height


def _cut(piece: Piece, height: float) -> list[_Part]:
    """Return a piece in parts, cut where little ink is in the way."""
    seams = _seams(piece, height)
    if not seams:
        return [_Part(piece)]
    columns = np.arange(piece.box.width)[None, :]
    side = np.zeros(piece.mask.shape, np.int32)
    for seam in seams:
        side += columns >= seam[:, None]
    rows = np.arange(piece.box.height)
    cuts = [None, *(int(piece.mask[rows, seam].sum()) for seam in seams)]
    side = _without_slivers(piece.mask, side)
    found = [(_part(piece, side == number), cut) for number, cut in enumerate(cuts)]
    return [_Part(part, cut) for part, cut in found if part is not None]


def _without_slivers(mask: Mask, side: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return sides of cuts such that what a cut has left of a stroke on its wrong side belongs to the stroke."""
    out = side.copy()
    for number in range(int(side.max()) + 1):
        own = mask & (side == number)
        labels, count = ndimage.label(own, np.ones((3, 3)))
        if count < 2:
            continue
        sizes = np.bincount(labels.ravel())[1:]
        for small in np.flatnonzero(sizes < _SLIVER * sizes.max()) + 1:
            sliver = labels == small
            around = ndimage.binary_dilation(sliver, np.ones((3, 3))) & mask & (side != number)
            if around.any():
                out[sliver] = int(np.median(side[around]))
    return out


def _part(piece: Piece, where: NDArray[np.bool_]) -> Piece | None:
    """Return what of a piece is on one side of a cut; None if that is nothing."""
    mask = piece.mask & where
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    box = Box(
        *(
            int(each)
            for each in (piece.box.left + left, piece.box.top + top, piece.box.left + right, piece.box.top + bottom)
        )
    )
    return Piece(box, mask[top:bottom, left:right])


def _seams(piece: Piece, height: float) -> list[NDArray[np.int64]]:
    """Return cuts from top to bottom, from left to right, each a column for every row.

    A cut may move one column aside in each row, and avoids ink (the seams of Avidan & Shamir 2007). For every column,
    there is a cheapest cut through it at half height; of these, the cheapest are taken that keep apart from each other.
    """
    cost = piece.mask.astype(float) * _INK
    down, back = _cheapest(cost)
    up, ahead = _cheapest(cost[::-1])
    middle = len(cost) // 2
    ends = down[middle] + up[len(cost) - 1 - middle] - cost[middle]
    apart = max(2, round(_APART * height))
    ends[:apart] = ends[-apart:] = math.inf
    wanted = min(_MOST_CUTS, round(_CUTS * piece.box.width / height))
    seams: list[NDArray[np.int64]] = []
    while len(seams) < wanted and np.isfinite(ends.min()):
        at = int(np.argmin(ends))
        below = _followed(ahead[: len(cost) - middle], at)[::-1]
        seams.append(np.concatenate([_followed(back[: middle + 1], at), below[1:]]))
        ends[max(0, at - apart) : at + apart + 1] = math.inf
    return _ordered(seams)


def _cheapest(cost: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Return what it costs at least to come from the top to each pixel, and the step that leads there."""
    total = cost.astype(float)
    back = np.zeros(cost.shape, np.int8)
    for row in range(1, len(cost)):
        above = total[row - 1]
        ways = np.stack([
            np.concatenate([[math.inf], above[:-1]]) + 0.3, above, np.concatenate([above[1:], [math.inf]]) + 0.3,
        ])  # fmt: skip
        step = ways.argmin(axis=0)
        back[row] = step - 1
        total[row] += ways[step, np.arange(cost.shape[1])]
    return total, back


def _followed(back: NDArray[np.int8], at: int) -> NDArray[np.int64]:
    """Return the columns of a cut that ends in a column."""
    seam = np.empty(len(back), np.int64)
    for row in range(len(back) - 1, -1, -1):
        seam[row] = at
        at += int(back[row, at])
    return seam


def _ordered(seams: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Return cuts from left to right; two that come together go on side by side."""
    ordered = sorted(seams, key=lambda seam: float(seam[len(seam) // 2]))
    for at in range(1, len(ordered)):
        ordered[at] = np.maximum(ordered[at], ordered[at - 1])
    return ordered
