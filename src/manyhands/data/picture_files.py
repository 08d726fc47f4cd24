"""Pictures in files as the images that a model was trained on: of its shape, its ground and its values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.extras import require
from manyhands.core.shapes import shape_text
from manyhands.data.opened_pictures import opened
from manyhands.data.origin import Pixels, border_of, has_light_border

_MODES = {1: "L", 3: "RGB"}
_DEEP = ("I", "F")
_WHITE = 255
_ALIKE = 1.25
"""Up to here, one ratio of the sides is that of the images."""


class Pictures(NamedTuple):
    """Pictures as images that a model takes.

    Attributes
    ----------
    rows : ndarray of shape (pictures, features), uint8 or float32
        Stored values.
    inverted, padded : list of Path
        Which were inverted, and which have sides in another ratio, so that their ground was continued.
    """

    rows: NDArray[Any]
    inverted: list[Path]
    padded: list[Path]


def read_pictures(paths: Sequence[str | Path], shape: tuple[int, ...], pixels: Pixels) -> Pictures:
    """Return pictures as rows of stored values.

    A picture is turned as its camera says, becomes grey or coloured as the images are, and is scaled to their size as a
    whole: where its sides are in another ratio, its ground is continued. Transparent parts are white. A grey picture
    whose ground, seen at its border, is light where that of the images is dark, or the other way round, is inverted.

    Parameters
    ----------
    paths
        Files of any format that Pillow reads.
    shape
        Of an image: 1 or 3 channels, height, width.
    pixels
        What the images are like.

    Returns
    -------
    Pictures

    Raises
    ------
    SettingsError
        If Pillow is not installed, or the images are no pictures.
    MissingDataError, FormatError
        If a file is not there, no picture, damaged, or far too large.
    """
    require("PIL")
    if len(shape) != 3 or shape[0] not in _MODES:
        raise SettingsError(f"the model's samples of {shape_text(shape)} are no grey or coloured images")
    found = [_image(path, shape, pixels) for path in map(Path, paths)]
    inverted, padded = ([Path(path) for path, image in zip(paths, found, strict=True) if image[at]] for at in (1, 2))
    return Pictures(_stored(np.stack([image[0].reshape(-1) for image in found]), pixels), inverted, padded)


def _image(path: Path, shape: tuple[int, ...], pixels: Pixels) -> tuple[NDArray[np.uint8], bool, bool]:
    """Return a picture of shape (channels, height, width), and whether it was inverted and padded."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    with opened(path) as file:
        picture = _flat(ImageOps.exif_transpose(file)).convert(_MODES[channels])
    turned = channels == 1 and has_light_border(np.asarray(picture)) != pixels.light
    if turned:
        picture = ImageOps.invert(picture)
    values = np.asarray(picture).reshape(picture.height, picture.width, channels)
    ground = tuple(int(np.median(border_of(values[None, :, :, channel]))) for channel in range(channels))
    fitted = ImageOps.pad(picture, (width, height), Image.Resampling.LANCZOS, color=ground)
    image = np.asarray(fitted, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
    padded = not 1 / _ALIKE < picture.width * height / (picture.height * width) < _ALIKE
    return (image.transpose(0, 2, 1) if pixels.transposed else image), turned, padded


def _flat(picture: Any) -> Any:
    """Return a picture without transparent parts, and with 8 bits a pixel."""
    from PIL import Image

    if picture.mode.startswith(_DEEP):
        values = np.asarray(picture, np.float64)
        most = 65535.0 if picture.mode.startswith("I") and values.max(initial=0) > _WHITE else float(_WHITE)
        return Image.fromarray(np.clip(values * (_WHITE / most), 0, _WHITE).astype(np.uint8))
    if "transparency" not in picture.info and picture.mode not in ("RGBA", "LA", "PA", "RGBa", "La"):
        return picture
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, (_WHITE, _WHITE, _WHITE, _WHITE))
    return Image.alpha_composite(ground, picture).convert("RGB")


def _stored(images: NDArray[np.uint8], pixels: Pixels) -> NDArray[Any]:
    """Return values from 0 to 255 as they would be stored among the images."""
    if (pixels.low, pixels.high) == (0, _WHITE):
        return images
    return (pixels.low + images * ((pixels.high - pixels.low) / _WHITE)).astype(np.float32)
