"""`manyhands.recognize`: from a photo to text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manyhands.core.checks import real
from manyhands.core.choices import REJECT
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.recognition.cells import find_tables
from manyhands.recognition.components import pieces_of, without_strangers
from manyhands.recognition.context import check_words, parse_pattern
from manyhands.recognition.loading import Photo, pages_of
from manyhands.recognition.orientation import MOST, quarters_of
from manyhands.recognition.page import Line, Page
from manyhands.recognition.preparation import Sheet, prepared
from manyhands.recognition.reader import CHARACTERS, reader_for
from manyhands.recognition.reading import Asked, Mark, glyphs_of, marks_in_tables, marks_on_paper, text_of
from manyhands.recognition.ruling import without_lines
from manyhands.recognition.skew import skew_of
from manyhands.recognition.steps import Steps
from manyhands.runtime.memory import memory_errors_explained

_LONG = 1.8
"""What is so many times as long as wide may be several characters that touch, and does not tell which way is up."""
_TURNED = {1: "a quarter to the left", 2: "upside down", 3: "a quarter to the right"}


def recognize(
    image: Any,
    *,
    alphabet: str = "digits",
    pattern: str | None = None,
    words: Sequence[str] | None = None,
    model: str | Path | None = None,
    reject: float = REJECT,
    steps: str | Path | None = None,
) -> Page:
    """Read separated handwriting on a photo or a scan: digits, block letters, lists of numbers, boxed forms.

    Parameters
    ----------
    image : str, Path, bytes, PIL.Image.Image or ndarray
        See `manyhands.recognition.loading.pages_of`. Of a file with several pages, the first is read.
    alphabet
        What it is written in: ``"digits"``, ``"letters"`` (A to Z; lower case is read as upper case) or ``"all"``.
    pattern
        What every line, or row of cells, looks like: ``"dddd-dd"``, with d for a digit, l for a letter, x for either
        and anything else for itself.
    words
        A list of words that the text consists of.
    model
        File of a reader (``manyhands reader --out``); by default the one that ``manyhands reader`` has trained here,
        else the one that comes along.
    reject
        Characters less probable than this, 0..1, are marked as not read.
    steps
        A folder for pictures of what each step has made.

    Returns
    -------
    Page
        Lines, words and characters, with places and probabilities; ``str(page)`` is the text.

    Raises
    ------
    SettingsError
        If Pillow is not installed, or a setting cannot be.
    DataError
        If there is no such picture, or it is damaged or too large.
    ModelFileError
        If the file of the reader cannot be used.

    Examples
    --------
    >>> import manyhands
    >>> page = manyhands.recognize("photo.jpg")  # doctest: +SKIP
    >>> print(page)  # doctest: +SKIP
    """
    given = (alphabet, pattern, words, model, reject)
    return read_page(pages_of(image)[0], asked_for(*given), Steps(steps))


def recognize_pages(
    image: Any,
    *,
    alphabet: str = "digits",
    pattern: str | None = None,
    words: Sequence[str] | None = None,
    model: str | Path | None = None,
    reject: float = REJECT,
    steps: str | Path | None = None,
) -> tuple[Page, ...]:
    """Read all pages of a file, a PDF or a TIFF; for everything else see :func:`recognize`."""
    asked = asked_for(alphabet, pattern, words, model, reject)
    shown = Steps(steps)  # one for all pages: it numbers its pictures
    return tuple(read_page(photo, asked, shown) for photo in pages_of(image))


def asked_for(
    alphabet: str,
    pattern: str | None = None,
    words: Sequence[str] | None = None,
    model: str | Path | None = None,
    reject: float = REJECT,
) -> Asked:
    """Return checked settings with the reader that they need; for arguments and errors see :func:`recognize`."""
    reader = reader_for(alphabet, model)
    characters = CHARACTERS[alphabet]
    least = real(parameter("reject"), reject)
    if not 0 <= least <= 1:
        raise SettingsError(f"{parameter('reject', reject)} is no probability; give one from 0 to 1")
    slots = None if pattern is None else parse_pattern(pattern)
    for slot in slots or ():
        if len(slot) > 1 and not set(slot) <= set(reader.characters):
            raise SettingsError(
                f"{parameter('pattern', pattern)} asks for characters that {parameter('alphabet', alphabet)} has not"
            )
    known = () if words is None else check_words(words, characters)
    return Asked(reader, characters, slots, known, least)


@memory_errors_explained("the picture")
def read_page(photo: Photo, asked: Asked, steps: Steps) -> Page:
    """Return what is written on one picture."""
    sheet = prepared(photo.picture, steps)
    sheet, lines = _upright(sheet, asked)
    if lines:
        sheet = sheet.noted("cells of a table or form were read; writing outside of them was not")
    else:
        sheet, lines = _free_writing(sheet, asked, steps)
    pieces = [mark.piece for line in lines for mark in line]
    images = glyphs_of(sheet, pieces)
    steps.boxes("characters", sheet.picture, [piece.box for piece in pieces])
    steps.sheet("network", images)
    text, notes = text_of(lines, images, asked)
    if not any(line.words for line in text):
        notes.append("no writing was found")
    return _in_the_size_of(photo, sheet, text, (*sheet.notes, *notes))


def _in_the_size_of(photo: Photo, sheet: Sheet, lines: Sequence[Line], notes: tuple[str, ...]) -> Page:
    """Return a page whose picture and boxes have the size of the file's, not that which was worked with."""
    from PIL import Image

    height, width = (max(1, round(side / photo.scale)) for side in sheet.shape)
    picture = sheet.picture
    if (height, width) != sheet.shape:
        picture = np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    return Page(tuple(line.scaled(1 / photo.scale) for line in lines), (width, height), notes, picture)


def _upright(sheet: Sheet, asked: Asked) -> tuple[Sheet, list[list[Mark]]]:
    """Return a sheet turned such that its characters stand upright, and the marks in its tables, if it has any."""
    lines = marks_in_tables(sheet, find_tables(sheet.ink, sheet.flat), asked)
    pieces = [mark.piece for line in lines for mark in line] or without_strangers(pieces_of(sheet.ink), sheet.shape)
    pieces = [piece for piece in pieces if max(piece.mask.shape) < _LONG * min(piece.mask.shape)]
    some = pieces[:: max(1, len(pieces) // MOST)]
    quarters = quarters_of(glyphs_of(sheet, some), asked.reader, asked.characters)
    if quarters == 0:
        return sheet, lines
    sheet = sheet.turned(quarters).noted(f"the picture was turned {_TURNED[quarters]}, as its writing lay on its side")
    return sheet, marks_in_tables(sheet, find_tables(sheet.ink, sheet.flat), asked)


def _free_writing(sheet: Sheet, asked: Asked, steps: Steps) -> tuple[Sheet, list[list[Mark]]]:
    """Return a sheet with level lines, and its marks."""
    sheet = sheet.leveled(-skew_of(sheet.ink))
    cleaned, lines = without_lines(sheet.ink)
    steps.show("lines", lines)
    steps.show("level", cleaned)
    sheet = Sheet(sheet.picture, sheet.flat, cleaned, sheet.notes)
    return sheet, marks_on_paper(sheet, asked)
