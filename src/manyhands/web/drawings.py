"""Reading of one character that is being drawn: the ink comes as raw bytes, the answer says what the network sees."""

from __future__ import annotations

from typing import Any

import numpy as np
from starlette.exceptions import HTTPException

SIDE = 112
"""Rows and columns of the ink that a page sends: four pixels for each that the network sees."""
ALPHABETS = {"digits": "digits 0\N{EN DASH}9", "letters": "letters A\N{EN DASH}Z", "all": "digits, letters"}


def read_alphabet(text: str) -> str:
    """Return the name of an alphabet.

    Raises
    ------
    HTTPException
        If there is none of this name.
    """
    if text not in ALPHABETS:
        raise HTTPException(400, f"there is no alphabet {text[:40]!r}; choose one of {', '.join(ALPHABETS)}")
    return text


def read_drawing(body: bytes, alphabet: str) -> dict[str, Any]:
    """Return what a drawing is read as.

    Parameters
    ----------
    body
        SIDE x SIDE bytes, row by row; 0 is paper, 255 is ink.
    alphabet
        Of `manyhands.recognition.drawing.recognize_drawing`.

    Returns
    -------
    dict
        ``image``: the rows of the picture that the network sees; ``candidates``: texts with their probabilities, the
        most probable first.

    Raises
    ------
    HTTPException
        If it has another size.
    """
    from manyhands.recognition.drawing import recognize_drawing

    if len(body) != SIDE * SIDE:
        raise HTTPException(400, f"a drawing has {SIDE} x {SIDE} bytes, not {len(body)}")
    found = recognize_drawing(np.frombuffer(body, np.uint8).reshape(SIDE, SIDE), alphabet)
    return {
        "image": np.asarray(found.image).tolist(),
        "candidates": [[each.text, round(float(each.probability), 5)] for each in found.candidates],
    }


def warm_up() -> None:
    """Load what reads drawings, so that the first stroke need not wait for it."""
    ink = np.zeros((SIDE, SIDE), np.uint8)
    ink[SIDE // 4 : -SIDE // 4, SIDE // 2 - 4 : SIDE // 2 + 4] = 255
    read_drawing(ink.tobytes(), "digits")
