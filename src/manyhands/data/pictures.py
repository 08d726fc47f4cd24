"""A folder of pictures by class: ``folder/CLASS/*.png``, or ``train/CLASS/*.png`` and ``test/CLASS/*.png`` in it.

All pictures must have one size. They are grey if all are, else red, green and blue.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, FormatError, shown
from manyhands.core.extras import require
from manyhands.core.words import count
from manyhands.data.columns import notice
from manyhands.data.csv.reader import join_labels
from manyhands.data.dataset import Examples
from manyhands.data.folder import visible
from manyhands.data.found import Found, read_timed
from manyhands.data.opened_pictures import opened
from manyhands.data.packed import too_large
from manyhands.runtime.cgroups import memory_room

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_GREY = ("L", "1")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def holds_pictures(folder: Path) -> bool:
    """Return whether a folder has folders of pictures, by class; errors as `manyhands.data.folder.visible`."""
    return any(_classes_in(each) for each in (folder, folder / "train") if each.is_dir())


def read_pictures(folder: Path) -> Found:
    """Return the samples in a folder of pictures.

    Raises
    ------
    SettingsError
        If Pillow is not installed.
    FormatError
        If a picture is damaged, truncated, has transparent pixels, or more than 8 bits for each colour; names it.
    DataError
        If pictures differ in size, there are no classes, or memory cannot hold them.
    """
    require("PIL")
    return read_timed(shown(folder.resolve().name), f"pictures from {shown(folder)}", lambda: _read(folder))


def _read(folder: Path) -> tuple[Examples, Examples | None]:
    parts = [folder / name for name in ("train", "test")]
    there = [each for each in parts if each.is_dir()]
    if len(there) == 1:
        missing = next(each for each in parts if each not in there)
        raise DataError(
            f"there is a folder {there[0].name}/ but no {missing.name}/; give both, or the folder of one with "
            f"all classes: {shown(there[0])}",
            path=folder,
        )
    found = [_listed(each) for each in there or [folder]]
    grey = all(_is_grey(path) for part in found for path, _ in part)
    examples = [_examples(part, where, grey=grey) for part, where in zip(found, there or [folder], strict=True)]
    return examples[0], examples[1] if there else None


def _classes_in(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures of each class: of each folder that has any."""
    found = {each.name: _pictures_in(each) for each in visible(folder) if each.is_dir()}
    return {name: pictures for name, pictures in found.items() if pictures}


def _pictures_in(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if path.suffix.lower() in SUFFIXES]


def _listed(folder: Path) -> list[tuple[Path, str]]:
    """Return all pictures with their classes, and say what is left out."""
    classes = _classes_in(folder)
    if not classes:
        raise DataError(
            f"no folder of pictures ({', '.join(SUFFIXES)}) in it; expected is one for each class", path=folder
        )
    empty = [each.name for each in visible(folder) if each.is_dir() and each.name not in classes]
    if empty:
        notice(f"{shown(folder)}: no pictures in {', '.join(map(shown, empty[:5]))}: left out")
    others = sum(len(visible(folder / name)) - len(pictures) for name, pictures in classes.items())
    if others:
        notice(f"{shown(folder)}: {count(others, 'file')} of other kinds in the folders of classes left out")
    return [(path, name) for name, pictures in classes.items() for path in pictures]


def _examples(listed: list[tuple[Path, str]], folder: Path, *, grey: bool) -> Examples:
    first = pixels_of(listed[0][0], grey=grey)
    room = memory_room()
    if room is not None and len(listed) * first.nbytes > room[0]:
        raise too_large(folder, f"{len(listed)} pictures", len(listed) * first.nbytes, room)
    features = np.empty((len(listed), *first.shape), np.uint8)
    for row, (path, _) in enumerate(listed):
        pixels = pixels_of(path, grey=grey)
        if pixels.shape != first.shape:
            raise DataError(
                f"the picture has {_size(pixels)} pixels, {shown(listed[0][0])} has {_size(first)}; make all of one "
                "size, e.g. with Pillow's ImageOps.fit(picture, (28, 28))",
                path=path,
            )
        features[row] = pixels
    labels = join_labels([np.array([name for _, name in listed])])
    return Examples(features, labels, folder)


def _size(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[-1]} x {pixels.shape[-2]}"


def _is_grey(path: Path) -> bool:
    with opened(path) as picture:
        return picture.mode in _GREY


def pixels_of(path: Path, *, grey: bool) -> NDArray[np.uint8]:
    """Return a picture as (channels, height, width), turned as its camera says; errors as :func:`read_pictures`."""
    from PIL import ImageOps

    with opened(path) as picture:
        if picture.mode in _DEEP:
            raise FormatError(f"more than 8 bits for each pixel ({picture.mode}); save it with 8", path=path)
        if getattr(picture, "n_frames", 1) > 1:
            raise FormatError(f"{picture.n_frames} pictures in one file; save each in its own", path=path)
        upright = ImageOps.exif_transpose(picture)
        if "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA"):
            upright = upright.convert("RGBA")
            if upright.getextrema()[3][0] < 255:
                raise FormatError(
                    "the picture has transparent pixels; put it on a background first: Pillow's "
                    "Image.alpha_composite(background, picture)",
                    path=path,
                )
        values = np.asarray(upright.convert("L" if grey else "RGB"))
        return values[None] if grey else np.ascontiguousarray(values.transpose(2, 0, 1))
