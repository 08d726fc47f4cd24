"""Pages of handwriting that nobody wrote: lines of held-back test characters on paper, with known truth.

What can be wrong with a photo is put in one by one, in known amounts: rotation, perspective, ruled lines, uneven light,
noise, and the gap between characters down to touching ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from manyhands.core.randomness import generator
from manyhands.data.normalized import cropped, resized
from manyhands.recognition.geometry import homography, mapped, rotated, seen_through
from manyhands.recognition.page import Box

_PAPER, _INK = 0.93, 0.16
_RULE = 0.62
"""How bright paper, ink and ruled lines are; 1 is white."""


@dataclass(frozen=True)
class PageSettings:
    """What a synthetic page is like.

    Attributes
    ----------
    lines, characters
        Lines of the page, and characters of a line.
    height
        Pixels of the usual character.
    gap
        Space between characters, in heights; None: they touch.
    word
        Characters of a word; the space behind it is a height wide. 0: no words.
    rotation
        Degrees, counter-clockwise.
    perspective
        How much nearer one corner is: part of the page's width by which it is moved.
    ruled
        Whether there are ruled lines.
    shade
        How much darker one side of the page is, 0..1.
    light
        How bright the room is, 0..1; noise stays the same, as a camera's does.
    noise
        Standard deviation of the noise of each pixel, 0..1.
    """

    lines: int = 6
    characters: int = 12
    height: int = 40
    gap: float | None = 0.3
    word: int = 4
    rotation: float = 0.0
    perspective: float = 0.0
    ruled: bool = False
    shade: float = 0.0
    light: float = 1.0
    noise: float = 0.0


@dataclass(frozen=True)
class SyntheticPage:
    """A page with its truth.

    Attributes
    ----------
    picture : ndarray of shape (height, width, 3), uint8
        The photo.
    text : str
        What is written on it.
    boxes : tuple of Box
        Where each character is, in reading order.
    """

    picture: NDArray[np.uint8]
    text: str
    boxes: tuple[Box, ...]


def make_page(images: NDArray[np.uint8], labels: Sequence[str], settings: PageSettings, seed: int = 0) -> SyntheticPage:
    """Return a page of characters drawn at random.

    Parameters
    ----------
    images : ndarray of shape (rows, 28, 28), uint8
        Upright test characters, bright on 0.
    labels
        What each of them is.
    settings, seed
        What the page is like, and what is drawn from.
    """
    rng = generator(seed, "synthetic page")
    ink, text, boxes = _written(images, labels, settings, rng)
    brightness = _PAPER - (_PAPER - _INK) * ink
    if settings.ruled:
        brightness = np.minimum(brightness, _rules(ink.shape, settings))
    brightness, boxes = _photographed(brightness, boxes, settings)
    brightness = _lit(brightness, settings, rng)
    picture = np.clip(np.rint(255 * brightness), 0, 255).astype(np.uint8)
    return SyntheticPage(np.repeat(picture[..., None], 3, axis=2), text, tuple(boxes))


def _written(
    images: NDArray[np.uint8], labels: Sequence[str], settings: PageSettings, rng: np.random.Generator
) -> tuple[NDArray[np.float32], str, list[Box]]:
    """Return ink from 0 to 1, its text, and the characters' boxes."""
    height, margin, pitch = settings.height, 2 * settings.height, round(1.9 * settings.height)
    rows = []
    for _ in range(settings.lines):
        chosen = rng.integers(0, len(images), settings.characters)
        rows.append([(_scaled(images[at], height, rng), str(labels[at])) for at in chosen])
    placed: list[tuple[NDArray[np.float32], int, int]] = []
    lines = []
    for number, row in enumerate(rows):
        x, line = margin, ""
        for at, (shape, label) in enumerate(row):
            if at and settings.word and at % settings.word == 0:
                x, line = x + height, line + " "
            base = margin + number * pitch + height + int(rng.integers(-height // 16, height // 16 + 1))
            place = _touching(placed, shape, x, base, new=line[-1:] in ("", " ")) if settings.gap is None else x
            placed.append((shape, place, base - len(shape)))
            gap = 0 if settings.gap is None else round(height * settings.gap * rng.uniform(0.8, 1.2))
            x, line = place + shape.shape[1] + gap, line + label
        lines.append(line)
    wide = max(x + shape.shape[1] for shape, x, _ in placed) + margin
    ink = np.zeros((2 * margin + (settings.lines - 1) * pitch + height, wide), np.float32)
    boxes = []
    for shape, x, y in placed:
        part = ink[y : y + len(shape), x : x + shape.shape[1]]
        np.maximum(part, shape, out=part)
        boxes.append(Box(x, y, x + shape.shape[1], y + len(shape)))
    return ink, "\n".join(lines), boxes


def _scaled(image: NDArray[np.uint8], height: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a character of about a height, with sharp edges, as a pen draws them."""
    found = cropped(image).astype(np.float32) / np.float32(255)
    factor = height / 20 * rng.uniform(0.92, 1.08)
    rows, columns = (max(2, round(side * factor)) for side in found.shape)
    large = ndimage.gaussian_filter(resized(found, rows, columns), 0.25 * factor)
    out: NDArray[np.float32] = np.clip((large - 0.35) / 0.3, 0, 1).astype(np.float32)
    return out


def _touching(
    placed: Sequence[tuple[NDArray[np.float32], int, int]], shape: NDArray[np.float32], x: int, base: int, *, new: bool
) -> int:
    """Return where a character begins, such that its strokes touch those of the one before it."""
    if new or not placed:
        return x
    other, left, top = placed[-1]
    y = base - len(shape)
    for place in range(x, left, -1):  # moved to the left until ink meets ink
        rows = slice(max(y, top), min(y + len(shape), top + len(other)))
        columns = slice(place, min(place + shape.shape[1], left + other.shape[1]))
        if rows.stop <= rows.start or columns.stop <= columns.start:
            continue
        mine = shape[rows.start - y : rows.stop - y, columns.start - place : columns.stop - place]
        theirs = other[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        if (np.minimum(mine, theirs) > 0.3).any():
            return place
    return x


def _rules(shape: tuple[int, ...], settings: PageSettings) -> NDArray[np.float32]:
    """Return paper with ruled lines just below the writing."""
    paper = np.full(shape, 1.0, np.float32)
    pitch, margin = round(1.9 * settings.height), 2 * settings.height
    thick = max(1, settings.height // 20)
    for number in range(-1, settings.lines + 1):
        y = margin + number * pitch + settings.height + settings.height // 12
        paper[max(0, y) : max(0, y + thick)] = _RULE
    return paper


def _photographed(
    brightness: NDArray[np.float32], boxes: Sequence[Box], settings: PageSettings
) -> tuple[NDArray[np.float32], list[Box]]:
    """Return a page turned and seen from aside, and where its characters are then."""
    height, width = brightness.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    forward: NDArray[Any] = np.eye(3)
    if settings.perspective:
        moved = corners.copy()
        moved[1] += [-settings.perspective * width, settings.perspective * height]
        moved[2] += [-settings.perspective * width / 2, 0]
        forward = homography(corners, moved)
        back = np.linalg.inv(forward).astype(np.float64)
        dark = _PAPER - seen_through(_PAPER - brightness, back, width, height)
        brightness = dark.astype(np.float32)
    if settings.rotation:
        turned = rotated(_PAPER - np.pad(brightness, 1, mode="edge"), settings.rotation)
        high, wide = turned.shape
        angle = np.deg2rad(settings.rotation)
        cosine, sine = np.cos(angle), np.sin(angle)
        middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        turn = np.array([[cosine, sine, wide / 2], [-sine, cosine, high / 2], [0, 0, 1]])
        forward = turn @ middle @ forward
        brightness = (_PAPER - turned).astype(np.float32)
    return brightness, [_seen(box, forward) for box in boxes]


def _seen(box: Box, forward: NDArray[np.float64]) -> Box:
    left, top, right, bottom = box
    corners = mapped(forward, np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float))
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def _lit(brightness: NDArray[np.float32], settings: PageSettings, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a page in uneven light, and with the noise of a camera."""
    height, width = brightness.shape
    across = np.linspace(0, 1, width)[None, :] * 0.7 + np.linspace(0, 1, height)[:, None] * 0.3
    lit = settings.light * brightness * (1 - settings.shade * across)
    return (lit + rng.normal(0, 1, lit.shape) * settings.noise if settings.noise else lit).astype(np.float32)
