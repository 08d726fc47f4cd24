"""The shape of samples: given to rows that are flat."""

from __future__ import annotations

import math
from dataclasses import replace

from manyhands.core.errors import SettingsError, shown
from manyhands.core.parameters import parameter
from manyhands.core.shapes import shape_text
from manyhands.data.dataset import Examples


def shaped(examples: Examples, shape: tuple[int, int, int] | None) -> Examples:
    """Return examples whose samples have this shape; None leaves them as they are.

    Parameters
    ----------
    examples
        Flat rows, or images of this very shape.
    shape
        Channels, height and width.

    Raises
    ------
    SettingsError
        If a sample has another number of features, or another shape already.
    """
    if shape is None or examples.sample_shape == shape:
        return examples
    own, place = examples.sample_shape, "" if examples.place is None else f" in {shown(examples.place)}"
    if len(own) > 1:
        raise SettingsError(f"{parameter('shape', shape)}: the samples{place} are {shape_text(own)} already")
    if math.prod(shape) != own[0]:
        raise SettingsError(
            f"{parameter('shape', shape)}: that is {math.prod(shape)} features, and the samples{place} have {own[0]}"
        )
    return replace(examples, features=examples.features.reshape(-1, *shape))
