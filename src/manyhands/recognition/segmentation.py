"""Pieces of ink into characters: broken strokes joined, touching characters cut, the best way chosen by the network.

Pieces of a line are ordered from left to right, and wide ones are cut in several places. Then a way through all of
them is chosen, by dynamic programming, whose characters the network finds most probable, and whose shapes are likely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from manyhands.recognition.components import Piece
from manyhands.recognition.page import Box

Scorer = Callable[[Sequence[Piece]], NDArray[np.float64]]
"""Returns the logarithm of the probability of the best character, for each piece."""

_JOINED = 4
"""So many parts at most are one character."""
_CUT_FROM, _MOST_CUTS = 0.78, 9
"""Pieces wider than this part of the usual height may be several characters; they are cut in so many places at most."""
_APART = 0.22
"""Between cuts, and to the ends of a piece: this part of the usual height."""
_WIDEST = 1.55
"""Characters are at most so wide, in usual heights."""
_OVERLAP = 0.5
"""Parts that lie above each other for so much of the narrower one's width are one character."""
_OF_A_CUT, _OF_CUT_INK = 0.4, 3.0
"""What a cut costs, in natural logarithms of probability, and for each usual height of ink that it goes through."""
_OF_A_GAP, _OF_WIDTH, _OF_LOWNESS = 9.0, 6.0, 4.0
"""What it costs to join over a gap of a usual height; a width above a usual one, in heights; a height of nothing."""
_USUAL_WIDTH = 0.85
_LOW = 0.5
_INK = 6.0
"""What a pixel of ink costs a cut, beside one step to the side."""


@dataclass(frozen=True, eq=False)
class _Part:
    """A piece, or what a cut has made of one; ``cut`` is how much ink, in pixels, the cut that it begins at has cut."""

    piece: Piece
    cut: int | None = None


def characters_of(pieces: Sequence[Piece], height: float, score: Scorer) -> list[Piece]:
    """Return the characters of one line, from left to right, each as one piece.

    Parameters
    ----------
    pieces
        Of the line.
    height
        The usual height of a character of it, in pixels.
    score
        Says how probable it is that a piece is a character.
    """
    return [
        character
        for group in _groups(_overlapping(sorted(pieces, key=_middle), height), height)
        for character in _best_way(group, height, score)
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


def _groups(pieces: Sequence[Piece], height: float) -> list[list[_Part]]:
    """Return parts in groups that no character reaches over: behind gaps that are too wide."""
    groups: list[list[_Part]] = []
    reach = -math.inf
    for piece in sorted(pieces, key=lambda piece: piece.box.left):
        if piece.box.left - reach > 0.3 * height or not groups:
            groups.append([])
        groups[-1].extend(_cut(piece, height))
        reach = max(reach, piece.box.right)
    return groups


def _best_way(parts: Sequence[_Part], height: float, score: Scorer) -> list[Piece]:
    """Return the characters of the best way through parts (Viterbi over the graph of candidates)."""
    if len(parts) == 1:
        return [parts[0].piece]
    spans, joined = [], []
    for start in range(len(parts)):
        for stop in range(start + 1, min(len(parts), start + _JOINED) + 1):
            piece = Piece.of([part.piece for part in parts[start:stop]])
            if stop - start == 1 or piece.box.width <= _WIDEST * height:
                spans.append((start, stop))
                joined.append(piece)
    gains = score(joined)
    best = [0.0, *([-math.inf] * len(parts))]
    through: list[int] = [0] * (len(parts) + 1)
    for number in sorted(range(len(spans)), key=lambda number: spans[number]):
        start, stop = spans[number]
        value = best[start] + float(gains[number]) - _cost(parts, start, stop, joined[number].box, height)
        if value > best[stop]:
            best[stop], through[stop] = value, number
    chosen, at = [], len(parts)
    while at > 0:
        chosen.append(joined[through[at]])
        at = spans[through[at]][0]
    return chosen[::-1]


def _cost(parts: Sequence[_Part], start: int, stop: int, box: Box, height: float) -> float:
    """Return how unlikely the shape of a character is."""
    gaps = sum(
        max(0, parts[at].piece.box.left - parts[at - 1].piece.box.right)
        for at in range(start + 1, stop)
        if parts[at].cut is None
    )
    cost = _OF_A_GAP * gaps / height + _OF_WIDTH * max(0.0, box.width / height - _USUAL_WIDTH)
    cost += _OF_LOWNESS * max(0.0, _LOW - box.height / height)
    cut = parts[start].cut
    return cost if cut is None else cost + _OF_A_CUT + _OF_CUT_INK * cut / height


def _cut(piece: Piece, height: float) -> list[_Part]:
    """Return a piece in parts, cut where little ink is in the way; a narrow one is whole."""
    seams = _seams(piece, height) if piece.box.width >= _CUT_FROM * height else []
    columns = np.arange(piece.box.width)[None, :]
    side = np.zeros(piece.mask.shape, np.int32)
    for seam in seams:
        side += columns >= seam[:, None]
    rows = np.arange(piece.box.height)
    cuts = [None, *(int(piece.mask[rows, seam].sum()) for seam in seams)]
    found = [(_part(piece, side == number), cut) for number, cut in enumerate(cuts)]
    return [_Part(part, cut) for part, cut in found if part is not None]


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

    A cut may move one column aside in each row, and avoids ink (the seams of Avidan & Shamir 2007). Of all that end in
    different columns, the cheapest are taken that keep apart from each other.
    """
    cost = piece.mask.astype(float) * _INK
    total, back = _cheapest(cost)
    apart = max(2, round(_APART * height))
    ends = total[-1].copy()
    ends[:apart] = ends[-apart:] = math.inf
    middle = ndimage.uniform_filter1d(piece.mask.sum(axis=0).astype(float), 3)
    ends += 0.01 * middle  # of equal ones, the one with less ink around
    wanted = min(_MOST_CUTS, round(2.5 * piece.box.width / height))
    seams: list[NDArray[np.int64]] = []
    while len(seams) < wanted and np.isfinite(ends.min()):
        at = int(np.argmin(ends))
        seam = _followed(back, at)
        seams.append(seam)
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
    """Return cuts from left to right; of two that meet, the first found."""
    kept: list[NDArray[np.int64]] = []
    for seam in seams:
        if all((seam > other + 1).all() or (seam < other - 1).all() for other in kept):
            kept.append(seam)
    return sorted(kept, key=lambda seam: float(seam.mean()))
