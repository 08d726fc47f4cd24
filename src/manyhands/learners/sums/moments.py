"""Counts, means and variances of every feature in every class, by passes over the samples.

Bytes without weights need one pass: sums and sums of squares of whole numbers are exact, and so is the variance that
follows from them. Others need three: the range of every feature, which says in which units sums are exact; the sums;
and the squares of the distances from the means, which do not cancel however large the means are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Share, Statistic
from manyhands.core.samples import BLOCK_ROWS, Control, Samples
from manyhands.learners.sums import exact, kernels
from manyhands.learners.sums.base import Arrays, Pass, blocks, heaviest_of, inputs_of, is_whole, weights_in

_NOTHING = np.zeros((0, 0), np.uint32)


@dataclass
class Moments:
    """What the passes find; all of it is about inputs.

    Attributes
    ----------
    classes, features
        How many there are.
    squared
        Whether squares are asked for.
    after
        Returns the pass that follows, if any does.
    about_zero
        Whether sums are made of inputs themselves: counts of things, whose sums are to be right however small some are.
        Otherwise they are made of distances from the middle of the inputs' range, as means need it.
    counts : ndarray of shape (K,)
        The weight of each class.
    sums : ndarray of shape (K, F)
        Of inputs.
    means : ndarray of shape (K, F)
        Of a class without samples, 0.
    squares : ndarray of shape (K, F)
        Sums of squared distances from the means.
    constant : ndarray of shape (K, F), bool
        Whether all inputs of a class are one number.
    stored_sums : ndarray of shape (K, F)
        Sums of bytes as they are stored; of other numbers, nothing.
    largest : ndarray of shape (F,)
        The largest distance of an input from what is subtracted for its feature; of bytes, not known.
    """

    classes: int
    features: int
    squared: bool = True
    after: Callable[[], Pass | None] = lambda: None
    about_zero: bool = False
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    means: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    constant: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    stored_sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    largest: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def shape(self) -> tuple[int, int]:
        """(K, F)."""
        return self.classes, self.features

    def first(self, table: Samples, rows: int) -> Pass:
        """Return the first pass that finds them, over ``rows`` samples in all."""
        return BytePass(self, table) if is_whole(table) else RangePass(self, rows)

    @property
    def variances(self) -> NDArray[np.float64]:
        """Variances by class, shape (K, F); of a class without samples, 0."""
        return self.squares / np.maximum(self.counts, np.finfo(float).tiny)[:, None]

    def whole_variances(self) -> NDArray[np.float64]:
        """Return the variances of all samples together, shape (F,)."""
        total = self.counts.sum()
        mean = self.counts @ self.means / total
        between: NDArray[np.float64] = self.counts @ (self.means - mean) ** 2
        found: NDArray[np.float64] = (self.squares.sum(axis=0) + between) / total
        return found


class BytePass(Pass):
    """The only pass over bytes."""

    def __init__(self, moments: Moments, table: Samples) -> None:
        self.moments, self._scale, self._shift = moments, table.scale, table.shift

    def asks(self) -> dict[str, Statistic]:
        """Return counts, sums and sums of squares of stored values."""
        found = {"counts": Statistic((self.moments.classes,)), "sums": Statistic(self.moments.shape)}
        return {**found, "squares": Statistic(self.moments.shape)} if self.moments.squared else found

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Add whole numbers: in 32 bits, of few rows, then in double precision."""
        counts = np.zeros(self.moments.classes, np.int64)
        for rows in blocks(share, control, kernels.MOST_ROWS):
            sums = np.zeros(self.moments.shape, np.uint32)
            squares = np.zeros_like(sums) if self.moments.squared else _NOTHING
            kernels.add_bytes(table.features, table.labels, rows, counts, sums, squares)
            into["sums"][...] += sums
            if self.moments.squared:
                into["squares"][...] += squares
        into["counts"][...] += counts

    def conclude(self, found: Arrays) -> Pass | None:
        """Make moments of inputs; what is 0 is exactly 0."""
        moments = self.moments
        moments.counts, moments.stored_sums = found["counts"], found["sums"]
        moments.sums, moments.means = np.empty(moments.shape), np.empty(moments.shape)
        moments.squares = found["squares"] if moments.squared else np.zeros((0, 0))
        moments.constant = np.empty(moments.squares.shape, np.bool_)
        kernels.moments_of_bytes(
            *(moments.counts, moments.stored_sums, self._scale, self._shift),
            *(moments.sums, moments.means, moments.squares, moments.constant),
        )
        return moments.after()


class RangePass(Pass):
    """The first pass over other numbers."""

    def __init__(self, moments: Moments, rows: int) -> None:
        self.moments, self._terms = moments, rows

    def asks(self) -> dict[str, Statistic]:
        """Return the least input and the negative of the largest, or what is larger: they start with 0."""
        return {"range": Statistic((3, *self.moments.shape), "gather")}

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Look at all inputs; the third array says whether there was any."""
        low, high, seen = into["range"]
        low[seen == 0], high[seen == 0] = np.inf, -np.inf
        seen[...] = 1
        for rows in blocks(share, control):
            kernels.extend_ranges(inputs_of(table, rows), table.labels, rows, low, high)

    def conclude(self, found: Arrays) -> Pass:
        """Note which inputs are constant, and how far from the middle they go."""
        moments = self.moments
        lows, highs, seen = np.moveaxis(found["range"], 1, 0)
        low, high = np.where(seen > 0, lows, np.inf).min(axis=0), np.where(seen > 0, highs, -np.inf).max(axis=0)
        moments.constant = low >= high
        lowest, highest = low.min(axis=0), high.max(axis=0)
        middle = np.zeros(moments.features) if moments.about_zero else lowest / 2 + highest / 2
        moments.largest = np.maximum(np.abs(highest - middle), np.abs(middle - lowest))
        return SumPass(moments, self._terms, middle)


class SumPass(Pass):
    """The second pass: means."""

    def __init__(self, moments: Moments, terms: int, middle: NDArray[np.float64]) -> None:
        self.moments, self._terms = moments, terms
        self._middle = np.broadcast_to(middle, moments.shape).copy()

    def asks(self) -> dict[str, Statistic]:
        """Return weights, and sums of inputs less the middle of their range."""
        shape = self.moments.shape
        return {
            "counts": Statistic((exact.LEVELS, self.moments.classes)),
            "sums": Statistic((exact.LEVELS, *shape)),
        }

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Add block by block."""
        add_blocks(table, share, control, self._middle, self.moments, self._terms, into, squared=False)

    def conclude(self, found: Arrays) -> Pass | None:
        """Make the means."""
        moments = self.moments
        moments.counts = exact.total(found["counts"])
        weights = moments.counts[:, None]
        sums = exact.total(found["sums"])
        moments.sums = sums + self._middle * weights
        moments.means = np.where(weights != 0, self._middle + sums / np.where(weights != 0, weights, 1.0), 0.0)
        return SquarePass(moments, self._terms) if moments.squared else moments.after()


class SquarePass(Pass):
    """The third pass: squares of distances from the means."""

    def __init__(self, moments: Moments, terms: int) -> None:
        self.moments, self._terms = moments, terms

    def asks(self) -> dict[str, Statistic]:
        """Return sums of squares."""
        shape = self.moments.shape
        return {"counts": Statistic((exact.LEVELS, self.moments.classes)), "sums": Statistic((exact.LEVELS, *shape))}

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Add block by block."""
        means = self.moments.means
        add_blocks(table, share, control, means, self.moments, self._terms, into, squared=True)

    def conclude(self, found: Arrays) -> Pass | None:
        """Keep the sums."""
        self.moments.squares = np.where(self.moments.constant, 0.0, np.maximum(exact.total(found["sums"]), 0.0))
        return self.moments.after()


def add_blocks(
    table: Samples,
    share: Share,
    control: Control,
    center: NDArray[np.float64],
    moments: Moments,
    terms: int,
    into: Arrays,
    *,
    squared: bool,
) -> None:
    """Add a share's inputs less a center (K, F), or the squares of that, to ``counts`` and ``sums``, block by block."""
    # From any center within the range; weights are of samples in memory, which all workers have.
    widest, heaviest = 2 * moments.largest, heaviest_of(table)
    with np.errstate(over="ignore"):
        bound = BLOCK_ROWS * heaviest * (widest * widest if squared else widest)
    units, weights = exact.Units(np.broadcast_to(bound, moments.shape), terms), weights_in(table)
    of_counts = exact.Units(BLOCK_ROWS * heaviest, terms)
    for rows in blocks(share, control, 1):
        counts, sums = np.zeros(moments.classes), np.zeros(moments.shape)
        kernels.add_inputs(inputs_of(table, rows), table.labels, rows, weights, center, squared, counts, sums)
        units.add(into["sums"], sums)
        of_counts.add(into["counts"], counts)
