"""Characters that are made here: printed ones, from the fonts of this machine, and digits drawn with strokes.

Handwriting on photos stands beside print (a newspaper's sudoku, the form that is filled in), and is not always
American. What MNIST and EMNIST lack is added to the training from here, under the name ``glyphs``.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import MissingDataError, SettingsError
from manyhands.core.extras import require
from manyhands.core.randomness import generator
from manyhands.data.dataset import Examples
from manyhands.data.found import Found
from manyhands.data.normalized import normalized
from manyhands.data.pen_strokes import STYLES, varied

SYSTEM_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "/Library/Fonts")
_SUFFIXES = (".ttf", ".otf", ".pfb")
_STRANGE = (
    "symbol", "dingbat", "emoji", "awesome", "math", "cmsy", "cmex", "cmmi", "stixsiz", "stixnonuni", "ornament",
    "d050000l", "standardsymbols", "z003", "smallcaps", "isabella", "initial", "capitals", "display-only",
)  # fmt: skip
"""Parts of the names of fonts whose digits or letters are none, or none that one would read."""
_MOST_FONTS = 260
_DRAWN_OF_EACH = 1600
"""Drawn digits of each class; as many as a quarter of MNIST's."""
_DIGITS_OF_A_FONT, _LETTERS_OF_A_FONT = 4, 1
_TALL = 64
"""Pixels of the height that characters are drawn with, before they are normalized."""
_EVERY = 6
"""Of the fonts, and of drawn digits, each of this number is for testing."""


def read_glyphs(characters: Sequence[str] = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")) -> Found:
    """Return generated samples of some characters, in MNIST's form; labels are the characters.

    Printed letters are upper and lower case, both with the label of the upper case. Test samples are of other fonts
    than training samples.

    Parameters
    ----------
    characters
        Digits and upper-case letters.

    Raises
    ------
    SettingsError
        If Pillow is not installed.
    MissingDataError
        If no usable font is found.
    """
    require("PIL")
    start = time.perf_counter()
    fonts = usable_fonts()
    if not fonts:
        raise MissingDataError(
            "no font was found to make characters of; install some (a package of fonts, or matplotlib, which has some)"
        )
    parts: dict[bool, tuple[list[NDArray[np.uint8]], list[str]]] = {False: ([], []), True: ([], [])}
    _add_printed(parts, fonts, characters)
    _add_drawn(parts, characters)
    train, test = (Examples(np.stack(parts[held][0]), np.array(parts[held][1], "U1")) for held in (False, True))
    note = f"printed characters of {len(fonts)} fonts of this machine, and drawn digits"
    return Found("glyphs", train, test, note, time.perf_counter() - start)


def usable_fonts() -> list[Path]:
    """Return the files of fonts on this machine, each name once, sorted by name; at most 260, evenly among all."""
    folders = [Path(folder).expanduser() for folder in SYSTEM_FOLDERS]
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        folders.append(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf")
    files = (path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*")))
    named = {path.name.lower(): path for path in files if path.suffix.lower() in _SUFFIXES}
    kept = [path for name, path in sorted(named.items()) if not any(part in name for part in _STRANGE)]
    step = max(1.0, len(kept) / _MOST_FONTS)
    return [kept[int(at * step)] for at in range(min(len(kept), _MOST_FONTS))]


def _add_printed(
    parts: dict[bool, tuple[list[NDArray[np.uint8]], list[str]]], fonts: Sequence[Path], characters: Sequence[str]
) -> None:
    """Draw characters of all fonts."""
    rng = generator(0, "printed characters")
    for number, path in enumerate(fonts):
        images, labels = parts[number % _EVERY == _EVERY - 1]
        font = _font(path)
        if font is None:
            continue
        for character in characters:
            again = _DIGITS_OF_A_FONT if character.isdigit() else _LETTERS_OF_A_FONT
            for shape in dict.fromkeys((character, character.lower())):  # a set has another order in each process
                for _ in range(again):
                    image = _printed(font, shape, rng)
                    if image is not None:
                        images.append(image)
                        labels.append(character)


def _font(path: Path) -> Any:
    """Return an opened font that has different digits; None if it is no such one."""
    from PIL import ImageFont

    try:
        font = ImageFont.truetype(str(path), _TALL)
        shapes = {bytes(font.getmask(each)) for each in "0123456789AEIx"}
    except (OSError, ValueError):
        return None
    return font if len(shapes) == 14 else None


def _printed(font: Any, character: str, rng: np.random.Generator) -> NDArray[np.uint8] | None:
    """Return a printed character in MNIST's form, perhaps thicker; None if the font has it not."""
    from PIL import Image, ImageDraw

    picture = Image.new("L", (_TALL * 2, _TALL * 2))
    thicker = int(rng.integers(0, 3)) if rng.random() < 0.4 else 0
    try:
        ImageDraw.Draw(picture).text((_TALL // 2, _TALL // 3), character, 255, font, stroke_width=thicker)
    except (OSError, ValueError):
        return None
    ink = np.asarray(picture)
    return normalized(ink) if ink.any() else None


def _add_drawn(parts: dict[bool, tuple[list[NDArray[np.uint8]], list[str]]], characters: Sequence[str]) -> None:
    """Draw digits with strokes."""
    rng = generator(0, "drawn digits")
    for character in sorted(set(characters) & set(STYLES)):
        styles = STYLES[character]
        for number in range(_DRAWN_OF_EACH):
            images, labels = parts[number % _EVERY == _EVERY - 1]
            images.append(drawn(varied(styles[number % len(styles)], rng), rng.uniform(0.05, 0.16)))
            labels.append(character)


def drawn(strokes: Sequence[NDArray[np.float64]], width: float) -> NDArray[np.uint8]:
    """Return strokes as an image in MNIST's form.

    Parameters
    ----------
    strokes : sequence of ndarray of shape (points, 2)
        In heights of the character, about the middle.
    width
        Of the pen, in heights of the character.

    Raises
    ------
    SettingsError
        If there are no strokes.
    """
    from PIL import Image, ImageDraw

    if not strokes:
        raise SettingsError("a drawn character needs a stroke")
    picture = Image.new("L", (_TALL * 3, _TALL * 3))
    canvas, thick = ImageDraw.Draw(picture), max(1, round(width * _TALL))
    for points in strokes:
        placed = [(float(x) * _TALL + _TALL * 1.5, float(y) * _TALL + _TALL * 1.5) for x, y in points]
        canvas.line(placed, fill=255, width=thick, joint="curve")
        for x, y in (placed[0], placed[-1]):
            canvas.ellipse([x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2], fill=255)
    return normalized(np.asarray(picture))
