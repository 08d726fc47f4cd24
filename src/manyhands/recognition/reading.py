"""A sheet's ink as marks, which are what a character was written with, and marks as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import REJECT
from manyhands.recognition.cells import Cell, Table, size_of
from manyhands.recognition.components import Piece, pieces_of, usual_height, without_strangers
from manyhands.recognition.contents import content_of
from manyhands.recognition.context import Pattern, fits, literals_before, nearest_word, slots_for
from manyhands.recognition.glyph import glyph_of
from manyhands.recognition.lines import lines_of, spaces_before
from manyhands.recognition.page import REJECTED, Candidate, Character, Line, Word
from manyhands.recognition.preparation import Sheet
from manyhands.recognition.reader import DIGITS, LETTERS, Reader
from manyhands.recognition.segmentation import Usual, characters_of

Logits = NDArray[np.float32]
"""Shape (rows, outputs): what the network says of marks, see `manyhands.recognition.reader.Reader.logits`."""

_WIDE_CELL = 1.7
"""A cell so many times as wide as high has room for several characters."""
_DIGIT, _LETTER = 0.85, 1.15
"""Usual widths, in heights: an M or a W is wider than any digit."""
_MIXED = 2.5
"""A word of digits and letters is believed if it is so much more probable, in natural logarithms, than of one kind."""
_ALIKE, _OF_ALIKE = ("0OQD", "1ILJ", "2Z", "4Y", "5S", "6G", "7T", "8B", "9QG"), 1.0
"""Digits and letters of one shape, and what it costs to take one for the other."""
_MOST_CUT = 800
"""Pieces of a page up to which doubtful ones are cut: what has more is hardly writing, and takes long."""
_CANDIDATES = 5
"""Candidates that are kept of each character."""
_SURELY = 4
"""Cells side by side, from which on single ones elsewhere are none."""
_FEW = 2
"""Cells that are filled, from which on a picture is a table or a form."""


@dataclass(frozen=True, eq=False)
class Mark:
    """What one character was written with.

    Attributes
    ----------
    piece : Piece
        Its ink.
    spaces : int
        Spaces before it.
    cell : tuple of int or None
        Row and column of its cell.
    """

    piece: Piece
    spaces: int = 0
    cell: tuple[int, int] | None = None


@dataclass(frozen=True)
class Asked:
    """What is read, and how.

    Attributes
    ----------
    reader : Reader
        What reads single characters.
    characters : str
        What they can be.
    pattern : Pattern or None
        Of every line.
    words : tuple of str
        A list of words, or nothing.
    reject : float
        Characters less probable than this are not read.
    """

    reader: Reader
    characters: str
    pattern: Pattern | None = None
    words: tuple[str, ...] = ()
    reject: float = REJECT

    def score(self, sheet: Sheet, pieces: Sequence[Piece]) -> NDArray[np.float64]:
        """Return the logarithm of the probability of the best character, for each piece."""
        found = np.sort(self.reader.probabilities(glyphs_of(sheet, pieces), self.characters).astype(np.float64), axis=1)
        # O and 0, I and L: which of them it is matters nothing for where it ends.
        best = found[:, -2:].sum(axis=1) if self.has_letters else found[:, -1]
        out: NDArray[np.float64] = np.log(np.maximum(best, 1e-6))
        return out

    @property
    def is_mixed(self) -> bool:
        """Whether both digits and letters are among the characters."""
        return set(DIGITS + LETTERS) <= set(self.characters)

    @property
    def has_letters(self) -> bool:
        """Whether letters are among the characters."""
        return len(self.characters) > len(DIGITS)


def glyphs_of(sheet: Sheet, pieces: Sequence[Piece]) -> NDArray[np.uint8]:
    """Return pieces as the network takes them, shape (pieces, 28, 28)."""
    images = [_glyph(sheet, piece) for piece in pieces]
    return np.stack(images) if images else np.zeros((0, 28, 28), np.uint8)


def _glyph(sheet: Sheet, piece: Piece) -> NDArray[np.uint8]:
    left, top, right, bottom = piece.box
    height, width = sheet.shape
    around = [min(1, left), min(1, top), min(1, width - right), min(1, height - bottom)]
    flat = sheet.flat[top - around[1] : bottom + around[3], left - around[0] : right + around[2]]
    return glyph_of(flat, np.pad(piece.mask, ((around[1], around[3]), (around[0], around[2]))))


def marks_in_tables(sheet: Sheet, tables: Sequence[Table], asked: Asked) -> list[list[Mark]]:
    """Return the marks in the cells of tables, by rows; rows of empty cells between others are empty lists.

    Empty when fewer than two cells are filled: then these are no tables.
    """
    lines, filled = [], 0
    tables = _believed(tables)
    for table in tables:
        contents = [(cell, content_of(sheet.ink, cell, alone=len(table) == 1)) for cell in table]
        own = sum(bool(pieces) for _, pieces in contents)
        if own == 0:
            continue
        filled += own
        lines += _rows_of(sheet, contents, asked)
    return lines if filled >= _FEW else []


def _believed(tables: Sequence[Table]) -> list[Table]:
    """Return tables without what lines of a table, and the picture's edge, enclose by chance beside it."""
    several = [table for table in tables if len(table) > 1]
    if any(len(table) >= _SURELY for table in several):
        return several
    return list(tables)


def _rows_of(sheet: Sheet, contents: Sequence[tuple[Cell, list[Piece]]], asked: Asked) -> list[list[Mark]]:
    """Return the marks of one table, row by row, without empty rows at its beginning and end."""
    rows = []
    for number in range(size_of([cell for cell, _ in contents])[0]):
        row, last = [], -1
        for cell, pieces in contents:
            if cell.row == number and pieces:
                own = _in_cell(sheet, cell, pieces, asked)
                row.append(replace(own[0], spaces=cell.column - last - 1))
                row += own[1:]
                last = cell.column
        rows.append(row)
    filled = [at for at, row in enumerate(rows) if row]
    return rows[filled[0] : filled[-1] + 1]


def _in_cell(sheet: Sheet, cell: Cell, pieces: Sequence[Piece], asked: Asked) -> list[Mark]:
    """Return what is written in one cell: a character, or several where there is room for them."""
    place = (cell.row, cell.column)
    width, height = cell.sides
    if width < _WIDE_CELL * height:
        return [Mark(Piece.of(pieces), 0, place)]
    found = [mark for line in _written(sheet, pieces, asked) for mark in line]
    return [replace(mark, cell=place) for mark in found] or [Mark(Piece.of(pieces), 0, place)]


def marks_on_paper(sheet: Sheet, asked: Asked) -> list[list[Mark]]:
    """Return the marks of free writing, line by line."""
    return _written(sheet, without_strangers(pieces_of(sheet.ink), sheet.shape), asked)


def _written(sheet: Sheet, pieces: Sequence[Piece], asked: Asked) -> list[list[Mark]]:
    lines = []
    breadth = _LETTER if asked.has_letters else _DIGIT
    for line in lines_of(pieces):
        usual = Usual(usual_height(line), breadth if len(pieces) <= _MOST_CUT else math.inf)
        characters = characters_of(line, usual, lambda parts: asked.score(sheet, parts))
        spaces = spaces_before(characters)
        lines.append([Mark(piece, number) for piece, number in zip(characters, spaces, strict=True)])
    return lines


def text_of(lines: Sequence[Sequence[Mark]], images: NDArray[np.uint8], asked: Asked) -> tuple[list[Line], list[str]]:
    """Return marks, and the images of all of them (`glyphs_of`), as lines of text, and notes about what is doubtful."""
    found, notes = [], []
    logits = asked.reader.logits(images)
    favoured = _favoured(asked, logits) if asked.is_mixed else None
    at = 0
    for number, line in enumerate(lines, start=1):
        own = logits[at : at + len(line)]
        at += len(line)
        allowed, before = [asked.characters] * len(line), [""] * len(line)
        if asked.pattern is not None and line:
            if fits(asked.pattern, len(line)):
                allowed, before = slots_for(asked.pattern, len(line)), literals_before(asked.pattern, len(line))
            else:
                notes.append(f"line {number} has {len(line)} characters and does not fit the pattern")
        characters = [
            _character(asked, mark, own[place : place + 1], allowed[place]) for place, mark in enumerate(line)
        ]
        found.append(_as_line(line, characters, before, asked, own, favoured))
    return found, notes


def _character(asked: Asked, mark: Mark, logits: Logits, allowed: str) -> Character:
    """Return a mark as a character."""
    if len(allowed) == 1 and allowed not in asked.reader.characters:
        return Character(allowed, mark.piece.box, (Candidate(allowed, 1.0),), mark.cell)
    found = asked.reader.likely(logits, allowed)[0]
    order = np.argsort(-found, kind="stable")[:_CANDIDATES]
    candidates = tuple(Candidate(allowed[place], float(found[place])) for place in order)
    text = candidates[0].text if candidates[0].probability >= asked.reject else REJECTED
    return Character(text, mark.piece.box, candidates, mark.cell)


def _as_line(
    marks: Sequence[Mark],
    characters: Sequence[Character],
    before: Sequence[str],
    asked: Asked,
    logits: Logits,
    favoured: str | None,
) -> Line:
    """Return characters as a line of words; what a pattern says stands between them is put there."""
    groups: list[tuple[int, list[int]]] = []
    for at, mark in enumerate(marks):
        if at == 0 or (mark.spaces and not before[at]):
            groups.append((mark.spaces, []))
        groups[-1][1].append(at)
    words = []
    for spaces, members in groups:
        own = [characters[at] for at in members]
        if asked.pattern is None and asked.is_mixed:
            own = _of_one_kind(asked, own, logits[members], favoured)
        if asked.words:
            own = _corrected(asked, own, logits[members])
        for place in range(len(members) - 1, -1, -1):
            literal = before[members[place]]
            if literal:
                box = own[place].box
                own[place:place] = [Character(each, box, (Candidate(each, 1.0),)) for each in literal]
        words.append(Word(tuple(own), spaces))
    return Line(tuple(words))


def _by_kind(asked: Asked, logits: Logits) -> dict[str, NDArray[np.float64]]:
    """Return logarithms of the probabilities of digits, and of letters, shape (rows, characters) each."""
    found = np.log(np.maximum(asked.reader.likely(logits, asked.characters).astype(np.float64), 1e-6))
    return {kind: found[:, [asked.characters.index(each) for each in kind]] for kind in (DIGITS, LETTERS)}


def _favoured(asked: Asked, logits: Logits) -> str:
    """Return which of digits and letters most of a page is."""
    digits, letters = (logs.max(axis=1) for logs in _by_kind(asked, logits).values())
    return DIGITS if (digits > letters).sum() * 2 > len(logits) else LETTERS


def _of_one_kind(asked: Asked, characters: list[Character], logits: Logits, favoured: str | None) -> list[Character]:
    """Return a word as digits only, or letters only, unless both are much less probable than what was read."""
    kinds = _by_kind(asked, logits)
    lost = {kind: _lost(kinds, kind) - _MIXED * (kind == favoured) for kind in kinds}
    kind = min(lost, key=lost.__getitem__)
    if lost[kind] > _MIXED + len(characters) - 1:
        return characters
    return [
        replace(each, text=kind[int(logs.argmax())]) if not each.rejected and each.text not in kind else each
        for each, logs in zip(characters, kinds[kind], strict=True)
    ]


def _lost(kinds: Mapping[str, NDArray[np.float64]], kind: str) -> float:
    """Return how much less probable a word is if it is of one kind; a 0 in the place of an O costs little."""
    (other,) = (each for each in kinds if each != kind)
    lost = 0.0
    for mine, theirs in zip(kinds[kind], kinds[other], strict=True):
        one, second = kind[int(mine.argmax())], other[int(theirs.argmax())]
        alike = any({one, second} <= set(group) for group in _ALIKE)
        lost += min(max(0.0, float(theirs.max() - mine.max())), _OF_ALIKE if alike else np.inf)
    return lost


def _corrected(asked: Asked, characters: list[Character], logits: Logits) -> list[Character]:
    """Return a word of the list in the place of what was read, if one is probable enough."""
    found = asked.reader.likely(logits, asked.characters).astype(np.float64)
    word = nearest_word(np.log(np.maximum(found, 1e-6)), asked.characters, asked.words)
    if word is None:
        return characters
    return [replace(each, text=text) for each, text in zip(characters, word, strict=True)]
