"""A picture from a file, bytes or an array: upright as its camera says, in colours, and of a size to work with."""

from __future__ import annotations

import contextlib
import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, FormatError, MissingDataError, SettingsError
from manyhands.core.extras import require
from manyhands.core.parameters import parameter
from manyhands.runtime.atomic_files import home_hint, unusable

Picture = NDArray[np.uint8]
"""Shape (height, width, 3): red, green and blue."""

MOST_BYTES = 64 << 20
"""Of a file."""
MOST_PIXELS = 60_000_000
"""Of a picture; five times those of a large photo."""
_WORKED_WITH = 2_400_000
"""Pixels: larger pictures are made smaller, as more show no more of handwriting and cost more time."""
_LEAST_SIDE, _ENLARGED = 1000, 5
"""Pictures whose longer side is shorter are enlarged, so many times at most."""
_MOST_PAGES = 50
_MOST_ASPECT = 40
_PDF_DOTS = 200 / 72
"""Dots for each point of a PDF: 200 dpi."""
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM")
"""Readers of Pillow's that are let near a stranger's file; others (PostScript, icons, scientific formats) are not."""


class Photo(NamedTuple):
    """A picture in a size to work with.

    Attributes
    ----------
    picture : ndarray of shape (height, width, 3), uint8
        Red, green and blue.
    scale : float
        How many of its pixels are one of the file's, along an axis.
    """

    picture: Picture
    scale: float = 1.0


def pages_of(image: Any) -> list[Photo]:
    """Return the pictures in a file, one for each page, or one picture that is in memory.

    Parameters
    ----------
    image : str, Path, bytes, PIL.Image.Image or ndarray
        A file (JPEG, PNG, TIFF, WebP, BMP, GIF, PPM; PDF with pypdfium2) or what is in one; a picture of Pillow's; an
        array of shape (height, width) or (height, width, 3 or 4), of bytes, or floats from 0 to 1.

    Raises
    ------
    SettingsError
        If Pillow, or what a PDF needs, is not installed; if ``image`` is nothing of these.
    MissingDataError, FormatError, DataError
        If there is no such file, it is damaged, truncated, far too large, or no picture.
    """
    require("PIL")
    if isinstance(image, np.ndarray):
        return [_of_array(image)]
    if isinstance(image, bytes | bytearray | memoryview):
        return _decoded(bytes(image), None)
    if isinstance(image, str | Path):
        return _decoded(_bytes_of(image), Path(image))
    if hasattr(image, "convert") and hasattr(image, "size"):
        with _explained(None):
            _check_size(*image.size)
            return [_upright(image, max(image.size))]
    raise SettingsError(
        f"{parameter('image')} is a {type(image).__name__}; give a path, the bytes of a file, a picture of Pillow's or "
        "an array"
    )


def _bytes_of(path: str | Path) -> bytes:
    """Return what is in a file that is not too large."""
    if problem := unusable(path):
        raise MissingDataError(f"this path cannot be used: {problem}", path=path)
    path = Path(path)
    try:
        if path.is_dir():
            raise FormatError("this is a folder; give the pictures in it one by one", path=path)
        if not path.is_file() and path.exists():
            raise FormatError("no ordinary file but a device or a pipe", path=path)
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise MissingDataError(f"there is no such file{home_hint(path)}", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", path=path) from error
    if len(data) > MOST_BYTES:
        raise FormatError(f"more than {MOST_BYTES >> 20} MB; make it smaller", path=path)
    return data


def _decoded(data: bytes, path: Path | None) -> list[Photo]:
    """Return the pages in the bytes of a file."""
    if not data:
        raise FormatError("the file is empty", path=path)
    if data[:1024].lstrip().startswith(b"%PDF"):
        return _pages_of_pdf(data, path)
    from PIL import Image

    with _explained(path), Image.open(io.BytesIO(data), formats=_FORMATS) as file:
        count = min(getattr(file, "n_frames", 1), _MOST_PAGES) if file.format == "TIFF" else 1
        pages = []
        for number in range(count):  # an animation's first picture is what one sees of it
            file.seek(number)
            _check_size(*file.size)
            longest = max(file.size)
            file.draft("RGB", (2 * round(_WORKED_WITH**0.5),) * 2)  # a JPEG may be decoded in half of its size
            pages.append(_upright(file, longest))
        return pages


@contextlib.contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    """Raise what is wrong with a picture as an error that says so."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata; a bomb is found by its size, below
            yield
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise FormatError(f"the picture is far too large ({error})", path=path) from error
    except MemoryError as error:
        raise FormatError("the picture is far too large for the memory that is free", path=path) from error
    except (
        OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError, AttributeError,
        ZeroDivisionError, AssertionError, RuntimeError, struct.error, zlib.error,
    ) as error:  # fmt: skip
        text = str(error) or type(error).__name__
        raise FormatError(f"no picture, or a damaged or truncated one ({text[:120]})", path=path) from error


def _upright(file: Any, longest: int) -> Photo:
    """Return a picture turned as its camera says; for ``longest`` see :func:`_of_working_size`."""
    picture = _flat(file)
    exif = _oriented(file)
    picture = picture.transpose(exif) if exif is not None else picture
    return _of_working_size(picture.convert("RGB"), longest)


def _oriented(file: Any) -> Any:
    """Return how Pillow turns a picture upright by its EXIF orientation; None if it is, or that is damaged."""
    from PIL import Image

    ways = Image.Transpose
    known = {
        2: ways.FLIP_LEFT_RIGHT, 3: ways.ROTATE_180, 4: ways.FLIP_TOP_BOTTOM, 5: ways.TRANSPOSE,
        6: ways.ROTATE_270, 7: ways.TRANSVERSE, 8: ways.ROTATE_90,
    }  # fmt: skip
    try:
        return known.get(file.getexif().get(0x0112, 1))
    except Exception:  # whatever is wrong with what nobody sees
        return None


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise FormatError("the picture has no pixels")
    if width * height > MOST_PIXELS:
        raise FormatError(
            f"the picture has {width} x {height} pixels; at most {MOST_PIXELS:,} are read: make it smaller"
        )
    if max(width, height) > _MOST_ASPECT * min(width, height) and max(width, height) > 2000:
        raise FormatError(f"{width} x {height} pixels are a strip and no page")


def _flat(picture: Any) -> Any:
    """Return a picture with 8 bits a channel, white where it is transparent."""
    from PIL import Image

    if picture.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(picture, np.float64))
        low, high = (float(each) for each in np.percentile(values, (0, 100)))
        return Image.fromarray(((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, (255,) * 4), picture).convert("RGB")
    return picture.convert("RGB")


def _of_working_size(picture: Any, longest: int) -> Photo:
    """Return a picture of Pillow's, whose longer side has so many pixels in its file, in a size to work with."""
    from PIL import Image

    width, height = picture.size
    factor = min(1.0, (_WORKED_WITH / (width * height)) ** 0.5)
    if max(width, height) < _LEAST_SIDE:
        factor = float(min(_ENLARGED, math.ceil(_LEAST_SIDE / max(width, height))))
        factor = min(factor, max(1.0, (_WORKED_WITH / (width * height)) ** 0.5))
    if factor != 1.0:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        picture = picture.resize(size, Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.BOX)
    return Photo(np.array(picture, np.uint8), max(picture.size) / longest)


def _of_array(image: NDArray[Any]) -> Photo:
    """Return an array as a picture."""
    from PIL import Image

    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)) or image.size == 0:
        raise DataError(f"a picture has the shape (height, width) or (height, width, 3 or 4), not {image.shape}")
    if image.dtype.kind == "f":
        if not np.isfinite(image).all():
            raise DataError("the picture has values that are not finite")
        if image.min() < 0 or image.max() > 1:
            raise DataError("a picture of floats has values from 0 to 1; give bytes for values from 0 to 255")
        image = np.rint(image * 255).astype(np.uint8)
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    if image.dtype != np.uint8:
        raise DataError(f"a picture is an array of bytes (uint8) or of floats from 0 to 1, not of {image.dtype}")
    _check_size(image.shape[1], image.shape[0])
    picture = _flat(Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image))
    return _of_working_size(picture, max(picture.size))


def _pages_of_pdf(data: bytes, path: Path | None) -> list[Photo]:
    """Return the pages of a PDF as pictures."""
    require("pypdfium2")
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
        pages = []
        for number in range(min(len(document), _MOST_PAGES)):
            page = document[number]
            _check_size(*(max(1, round(side * _PDF_DOTS)) for side in page.get_size()))
            picture = page.render(scale=_PDF_DOTS).to_pil().convert("RGB")
            pages.append(_of_working_size(picture, max(picture.size)))
    except DataError:
        raise
    except (pypdfium2.PdfiumError, ValueError, OSError, MemoryError) as error:
        raise FormatError(f"a damaged PDF, or one with a password ({error})", path=path) from error
    if not pages:
        raise FormatError("the PDF has no pages", path=path)
    return pages
