"""Reading of photographs: the text, and the upright picture that the places of its characters refer to."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.web.corrections import Corrections

MOST_BYTES = 20_000_000
_LONGEST_SIDE = 1600
_QUALITY = 85


def read_photo(body: bytes, alphabet: str, corrections: Corrections | None) -> dict[str, Any]:
    """Return what a photograph is read as.

    Parameters
    ----------
    body
        The file, such as a JPEG or a PNG.
    alphabet
        Of `manyhands.recognition.api.recognize`.
    corrections
        Where its characters wait for being corrected, if anywhere: nothing else keeps them.

    Returns
    -------
    dict
        The page as `manyhands.recognition.page.Page.to_json` describes it; ``picture``, a data URL; ``rejected``, the
        text of characters that could not be read; ``key``, by which corrections name this page, or None.

    Raises
    ------
    ManyhandsError
        If it is no picture, or nothing can be read.
    """
    from manyhands.recognition.api import recognize
    from manyhands.recognition.page import REJECTED

    page = recognize(body, alphabet=alphabet)
    picture = page.picture
    if picture is None:  # which only pages have that were not made from a picture
        picture = np.full((page.size[1], page.size[0], 3), 255, np.uint8)
    key = None
    if corrections is not None:
        key = corrections.expect([_cut(picture, each.box) for each in page.characters])
    return {**page.to_json(), "picture": as_url(picture), "rejected": REJECTED, "key": key}


def _cut(picture: NDArray[np.uint8], box: Any) -> NDArray[np.uint8]:
    """Return a copy of the part of a picture that is in a box."""
    return picture[max(box.top, 0) : max(box.bottom, 0), max(box.left, 0) : max(box.right, 0)].copy()


def as_url(picture: NDArray[np.uint8]) -> str:
    """Return a picture as a data URL, not larger than a page needs: so the server has nothing to keep."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
