"""Several data sets of handwriting as one: ``mnist+letters``, with labels that tell their classes apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import JOINABLE
from manyhands.core.errors import DataError, MissingDataError
from manyhands.core.randomness import generator
from manyhands.core.suggestions import choice_of
from manyhands.data.dataset import Examples
from manyhands.data.found import Found
from manyhands.data.fragments import made_from
from manyhands.data.glyphs import read_glyphs
from manyhands.data.normalized import SIDE, normalized

PLUS = "+"
_READ = {"mnist", "letters"}
"""Those that are read, not made here."""
_FIRST_LETTER = 1
"""The label of A in EMNIST's letters."""


def parts_of(data: str) -> list[str] | None:
    """Return the names in ``mnist+letters``; None if this names no joined data.

    Raises
    ------
    MissingDataError
        If one of several names is none of those that can be joined, or comes twice.
    """
    names = data.split(PLUS)
    if names == ["fragments"] or (len(names) > 1 and not _READ & set(names) and set(names) <= set(JOINABLE)):
        raise MissingDataError(f"{data!r}: these are made for other data; join them with mnist or letters")
    if len(names) < 2 or not any(name in JOINABLE for name in names):
        return None
    for name in names:
        if name not in JOINABLE:
            raise MissingDataError(f"{data!r}: {name!r} cannot be joined with others{choice_of(name, JOINABLE)}")
        if names.count(name) > 1:
            raise MissingDataError(f"{data!r}: {name!r} comes twice")
    return names


def read_joined(names: Sequence[str], read: Callable[[str], Found]) -> Found:
    """Return several data sets as one; its labels are the characters themselves.

    Images are upright (EMNIST's letters are stored on their side) and normalized as MNIST's. Of the generated
    characters (``glyphs``), only those come in whose classes another part has. ``fragments`` are made from all others,
    and a class of their own: what is no character.

    Parameters
    ----------
    names
        Of the parts, see :func:`parts_of`.
    read
        Reads one of them by its name.

    Raises
    ------
    DataError
        If one has no images of 28 x 28 pixels and one byte each.
    """
    found = [read(name) for name in names if name not in ("glyphs", "fragments")]
    parts = [(_as_characters(each.name, each.train), _as_characters(each.name, each.test)) for each in found]
    if "glyphs" in names:
        known = sorted({str(label) for train, _ in parts for label in np.unique(train.labels)})
        found.append(read_glyphs(known))
        parts.append((found[-1].train, _of(found[-1].test)))
    train, test = (_stacked([part[at] for part in parts]) for at in (0, 1))
    if "fragments" in names:
        train = _stacked([train, made_from(train, "fragments")])
        test = _stacked([test, made_from(test, "fragments of test samples")])
    # The first rows, which train_size takes, should be of all parts.
    train = train.take(generator(0, "order of joined rows").permutation(len(train)))
    note = "; ".join(each.note for each in found)
    return Found(PLUS.join(names), train, test, note, sum(each.seconds for each in found))


def _of(examples: Examples | None) -> Examples:
    """Return test samples, which all joinable data sets have."""
    assert examples is not None
    return examples


def _as_characters(name: str, examples: Examples | None) -> Examples:
    """Return samples as upright normalized images whose labels are characters."""
    examples = _of(examples)
    images = examples.features
    if images.shape[1:] != (SIDE, SIDE) or images.dtype != np.uint8:
        raise DataError(
            f"{name} has samples of shape {images.shape[1:]} and dtype {images.dtype}; only images of {SIDE} x {SIDE} "
            "bytes can be joined",
            path=examples.place,
        )
    if examples.is_transposed:
        images = images.transpose(0, 2, 1)
    if name == "letters":
        images = np.stack([normalized(image) for image in images])
    return Examples(images, _characters(name, examples.labels), source=_upright_source(examples))


def _upright_source(examples: Examples) -> Path | None:
    """Return a source for messages that says nothing of images on their side, as they are upright now."""
    return None if examples.is_transposed else examples.source


def _characters(name: str, labels: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return labels as the characters that they stand for."""
    zero = ord("A") - _FIRST_LETTER if name == "letters" else ord("0")
    codes = (labels + zero).astype(np.uint32)
    return codes.view("U1")


def _stacked(parts: Sequence[Examples]) -> Examples:
    images = np.concatenate([part.features for part in parts])
    return Examples(images, np.concatenate([part.labels for part in parts]))
