"""Texts in figures: names as the font can show them, and how wide they are."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

FONT = "DejaVu Sans"  # comes with matplotlib
_POINTS_PER_INCH = 72


def label(text: str, longest: int = 40) -> str:
    """Return a name as it may stand in a figure: shortened, and with ? for letters that the font lacks."""
    whole = unicodedata.normalize("NFC", text)
    return shortened("".join(letter if _can_be_drawn(letter) else "?" for letter in whole), longest)


def shortened(text: str, longest: int = 40) -> str:
    """Return a long name without its middle: names differ at their ends."""
    end = longest // 3
    return text if len(text) <= longest else f"{text[: longest - 3 - end]}...{text[-end:]}"


def _can_be_drawn(letter: str) -> bool:
    return letter.isprintable() and (" " <= letter <= "~" or ord(letter) in _letters())


def inches(text: str, size: float) -> float:
    """Return how wide a text of one line is at a font size in points."""
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, _properties(size), ismath=False)
    return float(width) / _POINTS_PER_INCH


@cache
def _letters() -> frozenset[int]:
    """Return the code points that the font has."""
    from matplotlib.font_manager import get_font

    return frozenset(get_font(_path()).get_charmap())


@cache
def _path() -> str:
    from matplotlib.font_manager import findfont

    return str(findfont(FONT))


@cache
def _properties(size: float) -> Any:
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=FONT, size=size)
