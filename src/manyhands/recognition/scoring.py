"""How well a page was read: character error rate, detection of characters, and what was taken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manyhands.recognition.page import Box

_MATCHING = 0.5
"""Boxes are of the same character if their intersection has this part of their union."""


@dataclass(frozen=True)
class Score:
    """What was read beside what is written.

    Attributes
    ----------
    characters, errors : int
        Written ones, and the least number of characters to put in, take out or replace.
    read : int
        Characters that were read, those that were rejected included.
    matched : int
        Of those, how many stand for a written one in the alignment, right or wrong.
    confusion : Counter of (str, str)
        Pairs of what was written and what was read in its place; ``""`` for nothing.
    """

    characters: int
    errors: int
    read: int
    matched: int
    confusion: Counter[tuple[str, str]]

    @property
    def error_rate(self) -> float:
        """Character error rate: errors for each written character (Levenshtein 1966)."""
        return self.errors / self.characters if self.characters else float(self.errors > 0)

    @property
    def precision(self) -> float:
        """Share of what was read that stands for a written character."""
        return self.matched / self.read if self.read else 1.0

    @property
    def recall(self) -> float:
        """Share of the written characters for which something was read."""
        return self.matched / self.characters if self.characters else 1.0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.characters + other.characters,
            self.errors + other.errors,
            self.read + other.read,
            self.matched + other.matched,
            self.confusion + other.confusion,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        pairs = sorted(self.confusion.items(), key=lambda each: (-each[1], each[0]))
        return {
            "characters": self.characters,
            "errors": self.errors,
            "error_rate": self.error_rate,
            "precision": self.precision,
            "recall": self.recall,
            "confusion": [[*pair, number] for pair, number in pairs],
        }


NOTHING = Score(0, 0, 0, 0, Counter())


def score(truth: str, read: str) -> Score:
    """Return how well a text was read; spaces and the ends of lines do not count.

    Parameters
    ----------
    truth, read
        What is written, and what was read.
    """
    written, found = "".join(truth.split()), "".join(read.split())
    pairs = aligned(written, found)
    errors = sum(one != other for one, other in pairs)
    matched = sum(bool(one and other) for one, other in pairs)
    return Score(len(written), errors, len(found), matched, Counter(pair for pair in pairs if pair[0] != pair[1]))


def score_lines(truth: Sequence[str], read: Sequence[str]) -> Score:
    """Return the score of lines; if there are as many, line by line, else of the whole."""
    if len(truth) == len(read):
        return sum((score(one, other) for one, other in zip(truth, read, strict=True)), NOTHING)
    return score("".join(truth), "".join(read))


def aligned(written: str, found: str) -> list[tuple[str, str]]:
    """Return pairs of characters of two texts with the fewest differences; ``""`` stands for nothing."""
    rows, columns = len(written), len(found)
    costs = [[0] * (columns + 1) for _ in range(rows + 1)]
    for row in range(rows + 1):
        for column in range(columns + 1):
            if not row or not column:
                costs[row][column] = row + column
                continue
            other = written[row - 1] != found[column - 1]
            costs[row][column] = min(
                costs[row - 1][column - 1] + other, costs[row - 1][column] + 1, costs[row][column - 1] + 1
            )
    pairs, row, column = [], rows, columns
    while row or column:
        here = costs[row][column]
        if row and column and here == costs[row - 1][column - 1] + (written[row - 1] != found[column - 1]):
            row, column = row - 1, column - 1
            pairs.append((written[row], found[column]))
        elif row and here == costs[row - 1][column] + 1:
            row -= 1
            pairs.append((written[row], ""))
        else:
            column -= 1
            pairs.append(("", found[column]))
    return pairs[::-1]


def detection(truth: Sequence[Box], found: Sequence[Box]) -> tuple[float, float]:
    """Return precision and recall of boxes: each stands for one at most, the best pairs first."""
    pairs = sorted(
        ((overlap(one, other), at, place) for at, one in enumerate(truth) for place, other in enumerate(found)),
        reverse=True,
    )
    taken: set[int] = set()
    used: set[int] = set()
    for share, at, place in pairs:
        if share >= _MATCHING and at not in taken and place not in used:
            taken.add(at)
            used.add(place)
    return len(used) / max(1, len(found)), len(taken) / max(1, len(truth))


def overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes over their union, 0..1."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (one.width * one.height + other.width * other.height - common)
