"""A sheet of paper on something darker: found by its edges, and seen from straight above."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from manyhands.recognition.geometry import Points, area_of, corners_of, hull_of
from manyhands.recognition.light import Grey

_COARSE = 160
"""Pixels of the longer side at which a sheet is sought."""
_LEAST, _MOST = 0.2, 0.97
"""Shares of the picture that a sheet covers."""
_SOLID, _SQUARE = 0.92, 0.94
"""How much of its hull a sheet fills, and how much of that its four corners enclose."""
_CONTRAST = 0.18
"""How much brighter a sheet is than what lies around it, in parts of its own brightness."""

_ACROSS = 4
"""Pixels of the coarse picture to both sides of an edge, between which the brightness falls."""


def corners_of_paper(brightness: Grey) -> Points | None:
    """Return the corners of a sheet of paper, top left first and clockwise; None if no edges show.

    Parameters
    ----------
    brightness : ndarray of shape (height, width), float32
        See `manyhands.recognition.light.grey`.
    """
    step = max(1, round(max(brightness.shape) / _COARSE))
    small = ndimage.uniform_filter(brightness, step, mode="nearest")[step // 2 :: step, step // 2 :: step]
    if min(small.shape) < 24:
        return None
    # Writing is dark as well: without it, a sheet is one bright piece.
    closed = ndimage.grey_closing(small, size=(9, 9), mode="nearest")
    bright = closed > _between(closed)
    labels, count = ndimage.label(bright)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    sheet = ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes)))
    sheet = ndimage.binary_opening(sheet, np.ones((5, 5)))
    share = sheet.mean()
    if not _LEAST < share < _MOST:
        return None
    inside, outside = float(np.median(closed[sheet])), float(np.median(closed[~sheet]))
    if inside - outside < _CONTRAST * inside:
        return None
    y, x = np.nonzero(sheet)
    hull = hull_of(np.concatenate([np.column_stack([x + dx, y + dy]) for dx in (0, 1) for dy in (0, 1)]).astype(float))
    if len(hull) < 4 or sheet.sum() < _SOLID * area_of(hull):
        return None
    corners = corners_of(hull)
    if area_of(corners) < _SQUARE * area_of(hull) or _touches_most_edges(corners, small.shape):
        return None
    if not _has_sharp_edges(closed, corners):
        return None
    out: Points = corners * step
    return out


def sides_of(corners: Points) -> tuple[int, int]:
    """Return width and height of a rectangle with about as many pixels as the quadrangle has."""
    top, right, bottom, left = (float(np.hypot(*(corners[at] - corners[at - 1]))) for at in (1, 2, 3, 0))
    return max(1, round((top + bottom) / 2)), max(1, round((left + right) / 2))


def _between(values: Grey) -> float:
    """Return the value that divides dark from bright best (Otsu 1979)."""
    histogram, edges = np.histogram(values, 64, (0, 1))
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(histogram)
    sums = np.cumsum(histogram * middles)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(np.where(above > 0, apart, 0)))])


def _has_sharp_edges(brightness: Grey, corners: Points) -> bool:
    """Return whether it is at once darker beyond the sides: a shadow on the paper has no such edge."""
    middle = corners.mean(axis=0)
    steps = []
    for one, other in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = one + (other - one) * np.linspace(0.1, 0.9, 15)[:, None]
        normal = np.array([other[1] - one[1], one[0] - other[0]]) / max(float(np.hypot(*(other - one))), 1e-9)
        normal = normal if (along.mean(axis=0) - middle) @ normal > 0 else -normal
        inside, outside = ((along + way * _ACROSS * normal).round().astype(int) for way in (-1, 1))
        height, width = brightness.shape
        seen = ((outside >= 0) & (outside < [width, height])).all(axis=1)
        if seen.mean() < 0.5:  # the side lies at the edge of the picture
            continue
        bright = brightness[inside[seen, 1].clip(0, height - 1), inside[seen, 0].clip(0, width - 1)]
        steps.append(float(np.median(1 - brightness[outside[seen, 1], outside[seen, 0]] / np.maximum(bright, 1e-3))))
    return bool(steps) and min(steps) > _CONTRAST / 2


def _touches_most_edges(corners: Points, shape: tuple[int, ...]) -> bool:
    """Return whether the sheet goes beyond the picture on three sides or more: then its edges do not show."""
    height, width = shape
    x, y = corners.T
    near = 2.0
    return bool(
        sum(
            [
                (x < near).sum() >= 2,
                (y < near).sum() >= 2,
                (x > width - near).sum() >= 2,
                (y > height - near).sum() >= 2,
            ]
        )
        >= 3
    )
