"""What was read on a page: lines, words and characters, each with its place and its probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import NO_CHARACTER

REJECTED = NO_CHARACTER
"""Stands for a character of which no candidate is probable enough."""


class Box(NamedTuple):
    """A rectangle in pixels of the upright picture; ``right`` and ``bottom`` are just outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    def scaled(self, factor: float) -> Box:
        """Return the box in a picture of another size, such that it still has all that it had."""
        low = (math.floor(self.left * factor), math.floor(self.top * factor))
        return Box(*low, math.ceil(self.right * factor), math.ceil(self.bottom * factor))

    @staticmethod
    def around(boxes: Sequence[Box]) -> Box:
        """Return the smallest box that contains all of these, of which there is at least one."""
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        return Box(min(lefts), min(tops), max(rights), max(bottoms))


class Candidate(NamedTuple):
    """One of the characters that something may be, and its calibrated probability, 0..1."""

    text: str
    probability: float


@dataclass(frozen=True)
class Character:
    """One character of a page.

    Attributes
    ----------
    text : str
        What it was read as, one character; :data:`REJECTED` if no candidate is probable enough.
    box : Box
        Where it is.
    candidates : tuple of Candidate
        The most probable first; never empty.
    cell : tuple of int or None
        Row and column, from 0, of the cell of a table or form that it stands in.
    """

    text: str
    box: Box
    candidates: tuple[Candidate, ...]
    cell: tuple[int, int] | None = None

    @property
    def probability(self) -> float:
        """Of the most probable candidate."""
        return self.candidates[0].probability

    @property
    def rejected(self) -> bool:
        """Whether no candidate is probable enough."""
        return self.text == REJECTED


@dataclass(frozen=True)
class Word:
    """Characters without a space between them.

    Attributes
    ----------
    characters : tuple of Character
        From left to right; never empty.
    spaces : int
        How many spaces stand before it: of a table, as many as cells are empty.
    """

    characters: tuple[Character, ...]
    spaces: int = 1

    @property
    def text(self) -> str:
        """Its characters."""
        return "".join(each.text for each in self.characters)

    @property
    def box(self) -> Box:
        """Where it is."""
        return Box.around([each.box for each in self.characters])


@dataclass(frozen=True)
class Line:
    """Words beside each other.

    Attributes
    ----------
    words : tuple of Word
        From left to right; empty for a row of empty cells.
    """

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """Its words, with spaces between them."""
        if not self.words:
            return ""
        # Empty cells at the beginning of a row of a table keep the columns in line; other lines begin at once.
        first = " " * self.words[0].spaces if self.words[0].characters[0].cell else ""
        return first + self.words[0].text + "".join(" " * word.spaces + word.text for word in self.words[1:])

    def scaled(self, factor: float) -> Line:
        """Return the line in a picture of another size."""
        if factor == 1:
            return self
        return Line(
            tuple(
                replace(word, characters=tuple(replace(each, box=each.box.scaled(factor)) for each in word.characters))
                for word in self.words
            )
        )

    @property
    def characters(self) -> tuple[Character, ...]:
        """All characters of its words."""
        return tuple(each for word in self.words for each in word.characters)

    @property
    def box(self) -> Box | None:
        """Where it is; None without words."""
        return Box.around([word.box for word in self.words]) if self.words else None


@dataclass(frozen=True)
class Page:
    """What was read on a page; ``str(page)`` is the text.

    Attributes
    ----------
    lines : tuple of Line
        In reading order.
    size : tuple of int
        Width and height, in pixels, of the upright picture that boxes refer to.
    notes : tuple of str
        What the reader should know: how the picture was turned, what was left out, what is doubtful.
    picture : ndarray of shape (height, width, 3), uint8, or None
        That upright picture, red, green and blue.
    """

    lines: tuple[Line, ...]
    size: tuple[int, int]
    notes: tuple[str, ...] = ()
    picture: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return "\n".join(line.text for line in self.lines)

    @property
    def text(self) -> str:
        """The text, lines separated by newlines."""
        return str(self)

    @property
    def words(self) -> tuple[Word, ...]:
        """All words in reading order."""
        return tuple(word for line in self.lines for word in line.words)

    @property
    def characters(self) -> tuple[Character, ...]:
        """All characters in reading order."""
        return tuple(self._characters())

    def _characters(self) -> Iterator[Character]:
        for line in self.lines:
            yield from line.characters

    @property
    def rejected(self) -> int:
        """How many characters could not be read."""
        return sum(each.rejected for each in self._characters())

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data: numbers, texts, lists and dictionaries."""
        return {
            "text": str(self),
            "size": list(self.size),
            "notes": list(self.notes),
            "lines": [
                {"text": line.text, "box": line.box, "words": [_described(word) for word in line.words]}
                for line in self.lines
            ],
        }


def _described(word: Word) -> dict[str, Any]:
    characters = [
        {**asdict(each), "candidates": [candidate._asdict() for candidate in each.candidates]}
        for each in word.characters
    ]
    return {"text": word.text, "box": word.box, "spaces": word.spaces, "characters": characters}
