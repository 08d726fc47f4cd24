"""Scalings of stored values: ``(stored - center) * scale + shift``, per feature, computed from training rows alone.

All is done in double precision, as features may lie far from zero. A threshold can make values 0 and 1 first, as in the
binary images of Kalwarowskyj & Schikuta.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from manyhands.core.choices import SCALINGS
from manyhands.core.errors import DataError, SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.samples import Samples
from manyhands.core.suggestions import choice_of

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Scaling:
    """A per-feature linear map, of bytes 0 and 1 if there is a threshold.

    Attributes
    ----------
    name : str
        As printed, e.g. ``"x / 255"`` or ``"x >= 128"``.
    scale, shift : ndarray of shape (features,), float64
    threshold : float or None
        Stored values from here on count as 1, those below as 0; None: they count as they are.
    center : ndarray of shape (features,), float64, or None
        What is subtracted first; None for nothing.
    """

    name: str
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    threshold: float | None = None
    center: NDArray[np.float64] | None = None

    def vectors(self) -> dict[str, NDArray[np.float64]]:
        """Return the vectors by name, to be sent or saved."""
        named = {"scale": self.scale, "shift": self.shift}
        return named if self.center is None else {**named, "center": self.center}

    def table(self, features: NDArray[Any], labels: NDArray[np.int32], **others: Any) -> Samples:
        """Return stored values, as :meth:`binarized` returned them, with class numbers and this scaling.

        ``others`` are further fields of `manyhands.core.samples.Samples`.
        """
        if self.center is not None and features.dtype == np.uint8:
            features = features.astype(np.float32)
        return Samples(features, labels, **{**self.vectors(), **others})

    def binarized(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return stored values as bytes 0 and 1 if there is a threshold, else as they are."""
        return features if self.threshold is None else _from(self.threshold, features).view(np.uint8)

    def inputs(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return the inputs that stored values become, shape (rows, features), in double precision."""
        return self.table(self.binarized(features), np.zeros(len(features), np.int32)).inputs()

    def largest_input(self, features: NDArray[Any]) -> float:
        """Return the largest absolute value of an input; infinite or NaN if one cannot be computed."""
        if not len(features):
            return 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            ends = self.inputs(np.stack([features.min(axis=0), features.max(axis=0)]))
            return float(np.abs(ends).max(initial=0))


class Across(Protocol):
    """Combines vectors of all processes, if each has a share of the training rows; called by all in the same order."""

    def smallest(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Return the smallest of all processes' elements, place by place."""

    def largest(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Return the largest of all processes' elements, place by place."""

    def total(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over all processes, in rank order."""


class Alone(Across):
    """One process has all rows."""

    def smallest(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Return the vector."""
        return vector

    def largest(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Return the vector."""
        return vector

    def total(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the vector."""
        return vector


ALONE = Alone()


def make_scaling(kind: str, features: NDArray[Any], across: Across = ALONE) -> Scaling:
    """Return the scaling ``kind`` for training rows ``features``, shape (rows, features).

    Parameters
    ----------
    kind
        ``"255"`` divides by 255; ``"standard"`` gives each feature mean 0 and variance 1, however far from zero it
        lies (constant features become 0); ``"none"`` leaves values as they are. ``"auto"``: bytes are divided by the
        largest training value (255 for MNIST, 16 for scikit-learn's digits), anything else is standardized.
    features
        Of the rows that this process has: at least one.
    across
        Combines what the processes find out, if the rows are shared between several.

    Raises
    ------
    SettingsError
        If the kind is unknown.
    """
    count = features.shape[1]
    if kind == "auto":
        if features.dtype != np.uint8:
            return _standard(features, across)
        return _divide(max(int(across.largest(features.max(initial=0, keepdims=True))[0, 0]), 1), count)
    if kind == "255":
        return _divide(255, count)
    if kind == "standard":
        return _standard(features, across)
    if kind == "none":
        return Scaling("none", np.ones(count), np.zeros(count))
    raise SettingsError(f"unknown scaling {kind!r}{choice_of(kind, SCALINGS)}")


class Summary(NamedTuple):
    """What a scaling depends on, of training rows that are not in memory; vectors of shape (features,), float64.

    ``whole_bytes`` says whether they are stored as bytes.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    whole_bytes: bool


def scaling_from(kind: str, found: Summary) -> Scaling:
    """Return the scaling ``kind``, as :func:`make_scaling` does, for rows of which a summary is known."""
    count = len(found.low)
    if kind in ("auto", "standard") and not (kind == "auto" and found.whole_bytes):
        scale = _inverse(found.mean, found.deviation, found.high > found.low)
        if found.whole_bytes:
            return Scaling("standard", scale, -found.mean * scale)
        return Scaling("standard", scale, np.zeros(count), center=np.where(scale > 0, found.mean, 0))
    if kind == "auto":
        return _divide(max(int(found.high.max(initial=0)), 1), count)
    return make_scaling(kind, np.zeros((1, count), np.uint8))


def binary_from(wanted: float | Literal["auto"], found: Summary) -> Scaling:
    """Return the scaling that makes inputs binary, as :func:`make_binary` does, for rows that a summary is known of."""
    ends = np.stack([found.low, found.high])
    return make_binary(wanted, ends.astype(np.uint8) if found.whole_bytes else ends)


def check_binarize(wanted: float | Literal["auto"] | None, scale: str = "auto") -> None:
    """Raise SettingsError if the threshold is no finite number, or another scaling is asked for beside it."""
    if wanted is None:
        return
    if wanted != "auto" and (not isinstance(wanted, Real) or isinstance(wanted, bool) or not _finite(wanted)):
        raise SettingsError(f"binarize takes a finite number or 'auto', not {wanted!r}")
    if scale not in ("auto", "none"):
        raise SettingsError(
            f"{parameter('binarize')} and {parameter('scale', scale)} do not go together: binary inputs are 0 and 1 as "
            "they are"
        )


def make_binary(wanted: float | Literal["auto"], features: NDArray[Any], across: Across = ALONE) -> Scaling:
    """Return the scaling that makes inputs binary.

    Parameters
    ----------
    wanted
        The threshold. ``"auto"``: half of the largest training value, of bytes rounded up: 128 where that is 255.
    features : ndarray of shape (rows, features)
        Of the training rows, finite.
    across
        See :func:`make_scaling`.

    Raises
    ------
    SettingsError
        As :func:`check_binarize`.
    DataError
        If all inputs would be the same.
    """
    check_binarize(wanted)
    low, high = across.smallest(features.min(keepdims=True))[0, 0], across.largest(features.max(keepdims=True))[0, 0]
    if wanted != "auto":
        threshold = float(wanted)
    else:
        threshold = float(-(-int(high) // 2)) if features.dtype == np.uint8 else float(high) / 2
    ends = _from(threshold, np.array([low, high]))
    if ends[0] == ends[1]:
        raise DataError(
            f"binarize: with the threshold {threshold:g} all inputs would be {int(ends[0])}: "
            f"the training values go from {low:g} to {high:g}"
        )
    count = features.shape[1]
    return Scaling(f"x >= {threshold:.6g}", np.ones(count), np.zeros(count), threshold)


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number that no double can hold
        return False


def _from(threshold: float, features: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where values reach the threshold, which is rounded to their dtype: 0.7 reaches 0.7 in any."""
    # Bytes are compared with a whole number: with a fraction, NumPy would widen all of them to doubles.
    bound = math.ceil(threshold) if features.dtype == np.uint8 else threshold
    with np.errstate(over="ignore"):  # beyond float32's range: infinite, which no finite value reaches
        found: NDArray[np.bool_] = features >= bound
    return found


def _divide(by: int, count: int) -> Scaling:
    return Scaling(f"x / {by}", np.full(count, 1 / by), np.zeros(count))


def _standard(features: NDArray[Any], across: Across) -> Scaling:
    """Give each feature mean 0 and variance 1; bytes need no center, as none of them is far from zero."""
    low, high = across.smallest(features.min(axis=0)), across.largest(features.max(axis=0))
    if features.dtype == np.uint8:
        mean, deviation = _moments(features, np.zeros(features.shape[1]), np.ones(features.shape[1]), across)
        scale = _inverse(mean, deviation, high > low)
        return Scaling("standard", scale, -mean * scale)
    low, high = low.astype(np.float64), high.astype(np.float64)
    middle, half = low / 2 + high / 2, high / 2 - low / 2  # no sum or square of what is left can overflow
    mean, deviation = _moments(features, middle, np.where(half > 0, half, 1), across)
    scale = _inverse(middle + half * mean, half * deviation, half > 0)
    center = np.where(scale > 0, middle + half * mean, 0)
    return Scaling("standard", scale, np.zeros(len(scale)), center=center)


def _moments(
    features: NDArray[Any], middle: NDArray[np.float64], half: NDArray[np.float64], across: Across
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means and deviations of ``(features - middle) / half``, block by block to save memory."""
    rows = across.total(np.array([len(features)], np.float64))[0]
    begins = range(0, len(features), _ROWS_AT_ONCE)

    def block(begin: int) -> NDArray[np.float64]:
        found = features[begin : begin + _ROWS_AT_ONCE] - middle
        return np.divide(found, half, out=found)

    mean = across.total(np.sum([block(begin).sum(axis=0) for begin in begins], axis=0)) / rows
    squares = np.zeros(len(middle))
    for begin in begins:
        found = block(begin)
        found -= mean
        squares += np.square(found, out=found).sum(axis=0)
    return mean, np.sqrt(across.total(squares) / rows)


def _inverse(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], varies: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return one over the deviations, and 0 for what does not vary."""
    # A feature that varies by rounding alone is constant; the mean of a constant over many rows may be off by more.
    varies = varies & (deviation > 10 * np.finfo(np.float64).eps * np.maximum(np.abs(mean), 1e-300))
    with np.errstate(over="ignore"):  # infinite: refused before training
        return np.where(varies, 1 / np.where(varies, deviation, 1), 0.0)
