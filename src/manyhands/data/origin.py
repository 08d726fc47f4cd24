"""Where a data set came from, as plain data in model files: its test samples are found again, and changes noticed."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.data.checksum import checksum_of

_ENOUGH = 1000
"""Images that are looked at."""
_BYTE = 255.0
_OF_TRAINING = {"train_csv", "train_size", "scale", "validation", "binarize"}
"""Fields of a request that test samples do not depend on."""
_PATHS = {"data", "csv", "test_csv"}
"""Those that name data."""
SOURCE = ("data", "train_csv", "test_csv", "label_column", "csv", "delimiter")
"""All that name data, in the order of the arguments of `manyhands.train`."""


@dataclass(frozen=True)
class Pixels:
    """What images are like as they are stored, so that pictures can be made alike.

    Attributes
    ----------
    low, high : float
        The values of black and white.
    light : bool
        Whether something dark stands on a light ground; of grey images, judged by their borders.
    transposed : bool
        Whether images lie on their side, as EMNIST's.
    """

    low: float = 0.0
    high: float = _BYTE
    light: bool = False
    transposed: bool = False


@dataclass(frozen=True)
class Origin:
    """Where a data set came from.

    Attributes
    ----------
    request : dict or None
        The fields of the `manyhands.data.catalog.DataRequest` that returns its test samples; None if these were in
        memory.
    test_rows, checksum : int
        Of the test samples, as they are stored.
    pixels : Pixels or None
        If the samples are images.
    """

    request: Mapping[str, Any] | None
    test_rows: int
    checksum: int
    pixels: Pixels | None = None

    def change(self, features: NDArray[Any], labels: NDArray[Any]) -> str | None:
        """Return, in words, how test samples differ from those of the training; None if they do not."""
        if len(labels) != self.test_rows:
            return f"there are {len(labels):,} test samples now, and there were {self.test_rows:,} then"
        same = checksum(features, labels) == self.checksum
        return None if same else "some of the test samples, or their labels, have other values now than then"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        found = asdict(self)
        return {**found, "request": None if self.request is None else dict(self.request)}

    @classmethod
    def from_json(cls, described: Any) -> Origin:
        """Return what :meth:`to_json` has written; anything else is a ValueError or a KeyError."""
        if not isinstance(described, dict) or set(described) != {"request", "test_rows", "checksum", "pixels"}:
            raise ValueError("the origin of its data is no such description")
        request, pixels = described["request"], described["pixels"]
        if request is not None and not isinstance(request, dict):
            raise ValueError("the request for its data is none")
        rows, digest = described["test_rows"], described["checksum"]
        if not all(type(number) is int and number >= 0 for number in (rows, digest)):
            raise ValueError("the number of its test samples, or their checksum, is none")
        return cls(request, rows, digest, None if pixels is None else _pixels(pixels))


def _pixels(described: Any) -> Pixels:
    """Return a checked description of images."""
    kinds = {"low": (int, float), "high": (int, float), "light": (bool,), "transposed": (bool,)}
    if not isinstance(described, dict) or set(described) != set(kinds):
        raise ValueError("the description of its images is none")
    if not all(type(described[name]) in kind for name, kind in kinds.items()):
        raise ValueError("a part of the description of its images cannot be what it is")
    found = Pixels(**described)
    if not (math.isfinite(found.low) and math.isfinite(found.high) and found.low < found.high):
        raise ValueError("black and white are no different values in its images")
    return found


def request_to_keep(request: Any, found: str, names: Collection[str]) -> dict[str, Any]:
    """Return the fields of a request, a `manyhands.data.catalog.DataRequest`, that its test samples depend on.

    Paths begin at the root of the file system, and what is as it is by default is left out.

    Parameters
    ----------
    request
        What was asked for.
    found
        The name of the data set that ``"auto"`` was.
    names
        Of all known data sets.
    """
    given = {each.name: (getattr(request, each.name), each.default) for each in fields(request)}
    kept = {name: value for name, (value, usual) in given.items() if value != usual and name not in _OF_TRAINING}
    for name in _PATHS & set(kept):
        if kept[name] not in names:
            kept[name] = os.path.abspath(kept[name])  # noqa: PTH100 - Path.resolve would follow links
    return kept if _PATHS & set(kept) else {**kept, "data": found}


def source_of(request: Any, found: str, names: Collection[str]) -> dict[str, Any]:
    """Return the fields of a request that name its data, training samples included, wherever this process goes later.

    For the parameters see `request_to_keep`.
    """
    source = {name: getattr(request, name) for name in SOURCE}
    for name in (*_PATHS, "train_csv"):
        if source[name] is not None and source[name] not in names:
            source[name] = os.path.abspath(source[name])  # noqa: PTH100 - Path.resolve would follow links
    if request.data == "auto":
        tables = request.csv is not None or request.train_csv is not None
        source["data"] = "auto" if tables else found
    return source


def kept_request(kept: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Return the fields of a request of such a kind from those that were kept.

    Raises
    ------
    ValueError
        If they, which may come from a file, are none that could be.
    """
    known = {each.name for each in fields(kind)} - _OF_TRAINING
    for name, value in kept.items():
        parts = value if isinstance(value, list | tuple) else [value]
        if name not in known or not all(isinstance(each, str | int | float) for each in parts):
            raise ValueError(f"the request for its data cannot have {name[:40]!r}: {str(value)[:40]!r}")
    return dict(kept)


def checksum(features: NDArray[Any], labels: NDArray[Any]) -> int:
    """Return a checksum of samples and labels."""
    return checksum_of(labels, checksum_of(features))


def pixels_of(features: NDArray[Any], shape: tuple[int, ...], *, transposed: bool) -> Pixels | None:
    """Return what images of a shape (channels, height, width) are like; None if they are none, or all the same."""
    if len(shape) != 3 or features.dtype.kind not in "buif":
        return None
    images = features[:_ENOUGH].reshape(-1, *shape)
    low, high = float(images.min()), float(images.max())
    if not (math.isfinite(low) and low < high < math.inf):
        return None
    if images.dtype == np.uint8:
        low, high = 0.0, _BYTE if high > _BYTE / 2 else high
    light = shape[0] == 1 and _is_light(images[:, 0], (low + high) / 2)
    return Pixels(low, high, light, transposed)


def border_of(images: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels at the borders of images of shape (rows, height, width)."""
    return np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)


def _is_light(images: NDArray[Any], middle: float) -> bool:
    """Return whether most pixels at the borders of images are above a value."""
    return bool(np.median(border_of(images)) > middle)


def has_light_border(image: NDArray[Any]) -> bool:
    """Return whether a grey picture of shape (height, width), of values from 0 to 255, has a light border."""
    return _is_light(image[np.newaxis], _BYTE / 2)
