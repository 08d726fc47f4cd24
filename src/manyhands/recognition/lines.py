"""Which pieces of ink are one line, in which order lines are read, and where words end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from manyhands.recognition.components import Piece, usual_height

_MAIN = 0.5
"""Pieces of this part of the usual height make lines; lower ones join one."""
_COMMON = 0.4
"""A piece belongs to a line if it shares this part of its height, or of the line's, with it."""
_NEAR = 0.6
"""Low pieces join a line within this part of its height above or below it."""
_SPACE, _WIDER, _SURE = 0.45, 1.9, 1.1
"""A gap between words has this part of the usual height and so many times the usual gap; the last is one anyway."""


def lines_of(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Return pieces by lines, from top to bottom; those of a line from left to right.

    Parameters
    ----------
    pieces
        Of a picture that is not askew.
    """
    height = usual_height(pieces)
    main = [piece for piece in pieces if piece.box.height >= _MAIN * height]
    lines: list[list[Piece]] = []
    for piece in sorted(main, key=lambda piece: piece.box.left):
        line = _line_for(piece, lines, height)
        if line is None:
            lines.append([piece])
        else:
            line.append(piece)
    lines = _merged(lines)
    for piece in pieces:
        if piece.box.height < _MAIN * height:
            _add_low(piece, lines)
    lines.sort(key=lambda line: float(np.median([(piece.box.top + piece.box.bottom) / 2 for piece in line])))
    return [sorted(line, key=lambda piece: piece.box.left) for line in lines]


def _line_for(piece: Piece, lines: Sequence[list[Piece]], height: float) -> list[Piece] | None:
    """Return the line that a piece goes on: the one of its nearest left neighbours that it shares most height with."""
    best, most = None, _COMMON
    for line in lines:
        last = line[-3:]
        if piece.box.left - max(each.box.right for each in last) > 25 * height:
            continue
        top, bottom = (sum(each.box[at] for each in last) / len(last) for at in (1, 3))
        common = min(bottom, piece.box.bottom) - max(top, piece.box.top)
        share = common / max(1.0, min(bottom - top, piece.box.height))
        if share > most:
            best, most = line, share
    return best


def _merged(lines: list[list[Piece]]) -> list[list[Piece]]:
    """Return lines, those joined that lie at the same height: one had begun beside the other."""
    kept: list[list[Piece]] = []
    for line in sorted(lines, key=len, reverse=True):
        top, bottom = _band(line)
        for other in kept:
            above, below = _band(other)
            common = min(bottom, below) - max(top, above)
            if common > 0.6 * min(bottom - top, below - above) and not _crossing(line, other):
                other.extend(line)
                break
        else:
            kept.append(line)
    return kept


def _band(line: Sequence[Piece]) -> tuple[float, float]:
    return tuple(float(np.median([piece.box[at] for piece in line])) for at in (1, 3))  # type: ignore[return-value]


def _crossing(one: Sequence[Piece], other: Sequence[Piece]) -> bool:
    """Return whether pieces of two lines lie above each other: then they are two lines."""
    return any(
        min(a.box.right, b.box.right) - max(a.box.left, b.box.left) > 0.5 * min(a.box.width, b.box.width)
        and abs(a.box.top + a.box.bottom - b.box.top - b.box.bottom) > a.box.height + b.box.height
        for a in one
        for b in other
    )


def _add_low(piece: Piece, lines: Sequence[list[Piece]]) -> None:
    """Add a low piece to the line in which, or near which, it lies; one far from all is no part of a character."""
    middle = (piece.box.top + piece.box.bottom) / 2
    best, least = None, np.inf
    for line in lines:
        near = min(line, key=lambda each: abs(each.box.left + each.box.right - piece.box.left - piece.box.right))
        height = near.box.height
        outside = max(0.0, near.box.top - middle, middle - near.box.bottom)
        aside = max(0, near.box.left - piece.box.right, piece.box.left - near.box.right)
        if outside < _NEAR * height and aside < 1.5 * height and outside + aside < least:
            best, least = line, outside + aside
    if best is not None:
        best.append(piece)


def spaces_before(characters: Sequence[Piece]) -> list[int]:
    """Return how many spaces stand before each character of a line, 0 or 1; the first has none.

    A gap is a space if it is wide beside the height of the characters and beside the gaps within words.
    """
    if not characters:
        return []
    height = usual_height(characters)
    gaps = [max(0.0, float(right.box.left - left.box.right)) for left, right in itertools.pairwise(characters)]
    usual = _usual_gap(gaps)
    wide = max(_SPACE * height, _WIDER * usual)
    return [0, *(int(gap > min(wide, max(_SURE * height, 1.3 * usual))) for gap in gaps)]


def _usual_gap(gaps: Sequence[float]) -> float:
    """Return the usual gap within words: the median of the smaller gaps, where they fall into two kinds."""
    if not gaps:
        return 0.0
    ordered = np.sort(gaps)
    steps = np.diff(ordered)
    if len(steps) and steps.max() > 0.5 * max(float(ordered[-1]), 1.0):
        return float(np.median(ordered[: int(np.argmax(steps)) + 1]))
    return float(np.median(ordered))
