"""Pictures of what every step of reading a page has made, for those who want to see why something was read wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.recognition.page import Box
from manyhands.runtime.atomic_files import atomic_writer, make_output_folder

_RED = (220, 30, 60)


class Steps:
    """Where pictures of steps go: a folder, or nowhere.

    Parameters
    ----------
    folder
        It is made if it is not there; None: nothing is written.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._number = 0
        if self._folder is not None:
            make_output_folder(self._folder)

    def show(self, name: str, picture: NDArray[Any]) -> None:
        """Write a picture: bytes, floats from 0 to 1, or ink (drawn black)."""
        if self._folder is None:
            return
        from PIL import Image

        self._number += 1
        if picture.dtype == np.bool_:
            picture = np.where(picture, 0, 255).astype(np.uint8)
        elif picture.dtype.kind == "f":
            picture = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
        with atomic_writer(self._folder / f"{self._number:02d}-{name}.png") as file:
            Image.fromarray(picture).save(file, "PNG")

    def boxes(self, name: str, picture: NDArray[np.uint8], boxes: Sequence[Box]) -> None:
        """Write a picture with boxes in it."""
        if self._folder is None:
            return
        from PIL import Image, ImageDraw

        drawn = Image.fromarray(picture)
        canvas = ImageDraw.Draw(drawn)
        for box in boxes:
            canvas.rectangle((box.left, box.top, box.right, box.bottom), outline=_RED, width=2)
        self.show(name, np.asarray(drawn))

    def sheet(self, name: str, images: NDArray[np.uint8]) -> None:
        """Write images of shape (rows, 28, 28) side by side, as the network sees them."""
        if self._folder is None or len(images) == 0:
            return
        columns = min(20, len(images))
        padded = np.zeros((-(-len(images) // columns) * columns, 28, 28), np.uint8)
        padded[: len(images)] = images
        self.show(name, padded.reshape(-1, columns, 28, 28).transpose(0, 2, 1, 3).reshape(-1, columns * 28))
