"""Four corners, and pictures seen through them: perspective straightened, rotations, convex hulls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

Points = NDArray[np.float64]
"""Shape (points, 2): x to the right and y downwards."""


def homography(source: Points, target: Points) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix that maps points to others as a camera does; least squares for more than four.

    Parameters
    ----------
    source, target : ndarray of shape (points, 2)
        Four pairs or more, no three of them on a line.
    """
    middle, spread = source.mean(axis=0), max(float(np.abs(source - source.mean(axis=0)).max()), 1e-9)
    # Numbers near 1 keep the equations well conditioned.
    x, y = ((source - middle) / spread).T
    u, v = target.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    first = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=1)
    second = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=1)
    found = np.linalg.lstsq(np.concatenate([first, second]), np.concatenate([u, v]), rcond=None)[0]
    scale = np.array([[1 / spread, 0, -middle[0] / spread], [0, 1 / spread, -middle[1] / spread], [0, 0, 1]])
    out: NDArray[np.float64] = np.append(found, 1.0).reshape(3, 3) @ scale
    return out


def mapped(matrix: NDArray[np.float64], points: Points) -> Points:
    """Return points under a homography."""
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    out: Points = moved[:, :2] / moved[:, 2:]
    return out


def straightened(picture: NDArray[Any], corners: Points, width: int, height: int) -> NDArray[Any]:
    """Return what lies between four corners as an upright rectangle.

    Parameters
    ----------
    picture : ndarray of shape (rows, columns) or (rows, columns, channels)
    corners : ndarray of shape (4, 2)
        Top left, top right, bottom right, bottom left.
    width, height
        Of the rectangle, in pixels.
    """
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    back = homography(target, corners)
    return seen_through(picture, back, width, height)


def seen_through(picture: NDArray[Any], back: NDArray[np.float64], width: int, height: int) -> NDArray[Any]:
    """Return a picture of this size whose pixel (x, y) is taken from where the homography ``back`` leads."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    denominator = back[2, 0] * x + back[2, 1] * y + back[2, 2]
    column = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / denominator - 0.5
    row = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / denominator - 0.5
    return sampled(picture, row, column)


def sampled(picture: NDArray[Any], row: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[Any]:
    """Return a picture's values between its pixels; beyond its edges, those of the edges."""
    planes = picture[..., None] if picture.ndim == 2 else picture
    taken = [
        ndimage.map_coordinates(planes[..., plane], [row, column], order=1, mode="nearest", prefilter=False)
        for plane in range(planes.shape[-1])
    ]
    out = np.stack(taken, axis=-1)
    return out[..., 0] if picture.ndim == 2 else out


def rotated(picture: NDArray[Any], degrees: float) -> NDArray[Any]:
    """Return a picture turned about its middle, counter-clockwise, on a canvas that has room for all of it."""
    if abs(degrees) < 1e-6:
        return picture
    height, width = picture.shape[:2]
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    wide = int(np.ceil(abs(width * cosine) + abs(height * sine)))
    high = int(np.ceil(abs(width * sine) + abs(height * cosine)))
    # New pixel -> old: turn back about both middles.
    to_middle = np.array([[1, 0, -wide / 2], [0, 1, -high / 2], [0, 0, 1]])
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    from_middle = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    return seen_through(picture, from_middle @ turn @ to_middle, wide, high)


def hull_of(points: Points) -> Points:
    """Return the convex hull's corners in order; of fewer than three points, or points on a line, all of them."""
    try:
        out: Points = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        return np.unique(points, axis=0)
    return out


def _turn(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def area_of(polygon: Points) -> float:
    """Return the area of a polygon whose corners are in order."""
    x, y = polygon.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def corners_of(hull: Points) -> Points:
    """Return the four corners of the quadrangle that a convex hull is nearly: top left, then clockwise.

    Corners are taken away one by one, the one that matters least first, until four are left.
    """
    left = [np.asarray(point) for point in hull]
    while len(left) > 4:
        lost = [abs(_turn(left[at - 1], left[at], left[(at + 1) % len(left)])) for at in range(len(left))]
        left.pop(int(np.argmin(lost)))
    while len(left) < 4:
        left.append(left[-1])
    return _from_top_left(np.array(left))


def _from_top_left(corners: Points) -> Points:
    """Return corners in clockwise order, as one sees them, beginning with the top left."""
    middle = corners.mean(axis=0)
    order = np.argsort(np.arctan2(*(corners - middle).T[::-1]), kind="stable")
    clockwise = corners[order]
    first = int(np.argmin(clockwise.sum(axis=1)))
    out: Points = np.roll(clockwise, -first, axis=0)
    return out
