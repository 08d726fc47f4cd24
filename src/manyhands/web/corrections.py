"""Corrected characters, stored as labelled examples where the operator allows it and the user wants it.

They go to DIR/CLASS/NAME.png, which `manyhands train --data DIR` reads. Nothing of a path comes from a browser: the
folder is the operator's, a class is one letter or digit, and a name is the digest of the picture.
"""

from __future__ import annotations

import hashlib
import io
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, OutputError, SettingsError
from manyhands.core.words import count
from manyhands.runtime.atomic_files import check_folder, make_output_folder, write_whole

_LABEL = re.compile(r"[0-9A-Za-z]")
_MOST_PAGES, _SECONDS = 16, 3600.0
_MOST_FILES = 100_000
"""More than any visitor corrects by hand; a program that sends corrections does not fill the disk."""

Picture = NDArray[np.uint8]


class Corrections:
    """The characters of the pages that were read last, in memory, and the folder for those that are corrected.

    Parameters
    ----------
    folder
        Where they are stored; it is made if it is not there.

    Raises
    ------
    OutputError
        If it cannot be made.
    """

    def __init__(self, folder: str) -> None:
        self._folder = make_output_folder(folder)
        check_folder(self._folder)
        self._stored = sum(1 for _ in self._folder.glob("*/*.png"))
        self._pages: dict[str, tuple[float, list[Picture]]] = {}

    def expect(self, characters: Sequence[Picture]) -> str:
        """Keep the characters of a page for a while; return the key that names it."""
        key = secrets.token_urlsafe(16)
        self._pages[key] = time.monotonic(), list(characters)
        while len(self._pages) > _MOST_PAGES:
            self._pages.pop(next(iter(self._pages)))
        return key

    def store(self, key: object, labels: object) -> int:
        """Store characters with their labels; return how many files are new.

        Parameters
        ----------
        key
            Of the page.
        labels
            What each corrected character is, by its number on the page, in reading order.

        Raises
        ------
        SettingsError
            If these are no labels.
        DataError
            If the page is not known any more.
        OutputError
            If a file cannot be written, or the folder is full.
        """
        when, characters = self._pages.get(str(key), (0.0, []))
        if not characters or time.monotonic() - when > _SECONDS:
            raise DataError("this page was read too long ago for corrections; read the photograph again")
        pairs = _checked(labels, len(characters))
        return sum(self._write(characters[number], label) for number, label in pairs)

    def _write(self, picture: Picture, label: str) -> bool:
        """Write one file, unless it is there; return whether it is new."""
        content = _png(picture)
        folder = self._folder / label
        path = folder / f"{hashlib.sha256(content).hexdigest()[:32]}.png"
        if path.exists():
            return False
        if self._stored >= _MOST_FILES:
            raise OutputError(f"the folder for corrections is full: it has {count(self._stored, 'file')}")
        make_output_folder(folder)
        check_folder(folder)
        _check_place(folder, self._folder)
        write_whole(path, content)
        self._stored += 1
        return True


def _check_place(folder: Path, parent: Path) -> None:
    """Refuse a class's folder that is a link to elsewhere."""
    if folder.resolve().parent != parent.resolve():
        raise OutputError(f"cannot write into {folder.name}: it is a link that leads out of the folder for corrections")


def _checked(labels: object, characters: int) -> list[tuple[int, str]]:
    """Return numbers of characters with labels.

    Raises
    ------
    SettingsError
        If they are anything else.
    """
    pairs = list(labels.items()) if isinstance(labels, Mapping) else []
    known = {str(number): number for number in range(characters)}
    for number, label in pairs:
        if number not in known or not isinstance(label, str) or not _LABEL.fullmatch(label):
            raise SettingsError("a correction is the number of a character and one letter or digit")
    if not pairs:
        raise SettingsError("there are no corrections to store")
    return [(known[number], label) for number, label in pairs]


def _png(picture: Picture) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
