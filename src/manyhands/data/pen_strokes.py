"""Digits drawn with a pen as people in Europe and elsewhere write them, which MNIST's American writers did not.

A digit is a few strokes, each a list of points that a smooth curve (Catmull & Rom 1974) or straight lines go through,
in a square of side 1 with y downwards. A 1 with a long upstroke, a 7 with a bar, an open 4, a 9 with a hook: such
shapes are what a network that has seen MNIST only reads wrong on photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Stroke:
    """Points (x, y) of one stroke; ``smooth`` says whether a curve goes through them, else straight lines do."""

    points: Points
    smooth: bool = True


def _read(text: str) -> tuple[Stroke, ...]:
    """Return strokes from ``~ 50,2 25,12; - 10,97 88,95``: a curve, then lines; hundredths of the side."""
    strokes = []
    for part in text.split(";"):
        kind, *points = part.split()
        places = tuple((int(x) / 100, int(y) / 100) for x, y in (point.split(",") for point in points))
        strokes.append(Stroke(places, smooth=kind == "~"))
    return tuple(strokes)


_WRITTEN = {
    "0": (
        "~ 50,2 25,12 13,50 25,88 50,98 75,88 87,50 75,12 50,2",
        "~ 60,5 30,10 15,50 35,95 70,85 82,40 60,5 45,12",
    ),
    "1": (
        "- 5,55 60,2 60,100",
        "- 0,75 50,0 55,100",
        "- 5,95 55,0 75,100",
        "- 20,35 60,2 50,100",
        "~ 2,62 30,38 58,2; - 58,2 45,100",
        "- 25,25 50,0 50,100; - 20,100 80,100",
        "- 50,0 48,100",
    ),
    "2": (
        "~ 12,28 30,5 65,5 78,30 50,65 10,97; - 10,97 88,95",
        "~ 15,20 45,2 75,20 60,55 30,85 12,95 20,80 45,90 90,95",
    ),
    "3": (
        "~ 15,12 45,2 72,20 60,42 38,47; ~ 38,47 70,55 78,78 50,98 12,88",
        "- 15,5 75,5 40,42; ~ 40,42 72,55 72,85 40,98 10,88",
    ),
    "4": (
        "- 35,0 8,60 85,60; - 65,25 60,100",
        "- 20,5 12,50 80,48; - 75,0 68,100",
        "~ 25,2 10,35 25,52 75,48; - 78,2 70,100",
        "- 50,0 5,55 90,50; - 55,30 50,100",
        "- 62,0 8,68 90,68; - 62,0 62,100",
    ),
    "5": (
        "- 80,3 30,5 25,45; ~ 25,45 35,45 62,45 75,68 60,93 30,97 15,88",
        "- 30,5 25,45; ~ 25,45 35,45 62,45 75,68 60,93 30,97 15,88; - 28,5 85,0",
        "- 25,2 15,50; ~ 15,50 55,38 78,60 62,92 10,95; - 25,2 80,6",
        "~ 80,5 35,8 25,35 65,55 68,85 40,98 10,90",
    ),
    "6": (
        "~ 65,2 35,30 18,70 35,96 65,92 75,68 50,52 22,72",
        "~ 55,0 25,40 20,85 50,99 72,80 60,58 30,62",
        "~ 80,5 45,10 15,55 30,95 70,90 72,60 40,55 20,75",
    ),
    "7": (
        "- 10,8 82,5 40,100; - 30,50 80,48",
        "- 12,25 15,5 80,5 45,100; - 25,52 78,48",
        "~ 8,15 30,2 60,12 82,5; - 82,5 40,100",
        "~ 5,15 40,8 80,10 60,50 50,100; - 25,55 85,50",
        "- 5,30 10,5 85,5 35,100",
    ),
    "8": (
        "~ 72,20 48,2 22,22 50,48 78,75 50,98 20,76 50,48 72,20",
        "~ 50,2 25,20 50,45 75,20 50,2; ~ 50,45 20,72 50,98 80,72 50,45",
        "~ 80,8 40,5 25,25 65,60 70,88 40,98 22,80 50,50 82,10",
    ),
    "9": (
        "~ 72,22 45,5 20,25 35,48 65,42 74,20; ~ 74,20 74,50 70,75 55,97 25,95",
        "~ 75,12 40,5 18,28 40,50 70,35 75,10; - 75,10 65,100",
        "~ 80,10 30,5 15,35 50,48 78,30; ~ 80,10 80,60 70,90 20,98",
    ),
}
STYLES = {digit: tuple(_read(text) for text in styles) for digit, styles in _WRITTEN.items()}
"""Of each digit, ways to write it."""

_STEPS = 12
"""Points of a curve between two that are given."""


def varied(style: tuple[Stroke, ...], rng: np.random.Generator, wobble: float = 0.035) -> list[NDArray[np.float64]]:
    """Return the strokes of one digit as this hand has drawn them this time, each of shape (points, 2).

    Parameters
    ----------
    style
        One of :data:`STYLES`.
    rng
        Draws how far points are moved, and slant, turn and width of the whole.
    wobble
        Standard deviation of a point's place, in heights of the digit.
    """
    slant, turn = rng.normal(0, 0.16), rng.normal(0, 0.07)
    width = rng.uniform(0.55, 1.05)
    # Shear and turn about the middle: (x, y) -> A (x - 1/2, y - 1/2).
    cosine, sine = np.cos(turn), np.sin(turn)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[width, -slant], [0.0, 1.0]])
    moved: dict[tuple[float, float], NDArray[np.float64]] = {}

    def place(point: tuple[float, float]) -> NDArray[np.float64]:
        # A point that two strokes share stays one.
        if point not in moved:
            moved[point] = np.asarray(point) + rng.normal(0, wobble, 2)
        return moved[point]

    strokes = []
    for stroke in style:
        points = np.array([place(point) for point in stroke.points])
        strokes.append((_smoothed(points) if stroke.smooth else points) - 0.5)
    return [points @ matrix.T for points in strokes]


def _smoothed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points of the Catmull-Rom curve through these."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
    pieces = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        square, cube = t * t, t * t * t
        pieces.append(
            0.5
            * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * square + (3 * p1 - p0 - 3 * p2 + p3) * cube)
        )
    return np.concatenate([*pieces, points[-1:]])
