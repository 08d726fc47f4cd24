"""The shape of a sample that is an image, as users write it: ``1x28x28``."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from manyhands.core.checks import shortened, whole
from manyhands.core.errors import SettingsError

_TEXT = re.compile(r"([0-9]{1,9})x([0-9]{1,9})x([0-9]{1,9})", re.ASCII)


class ImageShape(NamedTuple):
    """Channels, height and width of an image."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return "x".join(map(str, self))

    def __repr__(self) -> str:  # as it may be given in Python
        return tuple.__repr__(self)


def read_shape(text: str) -> ImageShape:
    """Read ``1x28x28``: channels, height and width, each from 1 on.

    Raises
    ------
    SettingsError
        If the text is none.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise SettingsError(f"{text!r} is no shape; write channels x height x width, such as 1x28x28")
    return check_shape(repr(text), [int(size) for size in found.groups()])


def check_shape(name: str, value: Any) -> ImageShape:
    """Return three sizes, each from 1 on, as a shape.

    Raises
    ------
    SettingsError
        If ``value``, which the message calls ``name``, is anything else.
    """
    if not isinstance(value, (tuple, list)) or len(value) != len(ImageShape._fields):
        raise SettingsError(
            f"{name} must be (channels, height, width) of one sample, such as (1, 28, 28), not {shortened(value)}"
        )
    return ImageShape(*(whole(f"each size of {name}", size, least=1) for size in value))


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape for a message: ``1 x 28 x 28``."""
    return " x ".join(map(str, shape))


def samples_text(shape: tuple[int, ...]) -> str:
    """Return what samples are in words: rows of features, or samples of a shape."""
    return f"rows of {shape[0]:,} features" if len(shape) == 1 else f"samples of {shape_text(shape)}"
