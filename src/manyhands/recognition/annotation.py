"""The picture of a page with what was read on it."""

from __future__ import annotations

from typing import Any

from manyhands.core.errors import DataError
from manyhands.recognition.page import REJECTED, Character, Page

_SURE, _DOUBTFUL, _REJECTED = (0, 120, 60), (200, 110, 0), (210, 20, 40)
_DOUBT = 0.9
"""Characters less probable than this are drawn as doubtful."""


def annotated(page: Page) -> Any:
    """Return the upright picture with a box and the text at each character, as a picture of Pillow's.

    Green is sure, orange is doubtful (below 90 %), red was not read.

    Raises
    ------
    DataError
        If the page has no picture, as one that was sent as JSON.
    """
    from PIL import Image, ImageDraw, ImageFont

    if page.picture is None:
        raise DataError("this page has no picture; recognize returns one that has")
    picture = Image.fromarray(page.picture)
    canvas = ImageDraw.Draw(picture)
    heights = sorted(each.box.height for each in page.characters)
    size = max(11, round(0.55 * heights[len(heights) // 2])) if heights else 11
    font = ImageFont.load_default(size)
    for each in page.characters:
        colour = _colour(each)
        left, top, right, bottom = each.box
        canvas.rectangle((left - 2, top - 2, right + 1, bottom + 1), outline=colour, width=max(1, size // 12))
        # The built-in font has no white square.
        canvas.text((right + 2, top - size // 2), "?" if each.text == REJECTED else each.text, colour, font)
    return picture


def _colour(character: Character) -> tuple[int, int, int]:
    if character.rejected:
        return _REJECTED
    return _SURE if character.probability >= _DOUBT else _DOUBTFUL
