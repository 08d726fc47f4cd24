"""Products of all pairs of features, summed over rows: scatter matrices of classes, or of all classes together.

Bytes are multiplied as float32 less 128, at most 1,024 rows at once: every partial sum is then a whole number below
2**24, so the fast product is exact, and so is everything that is added up of it. Other numbers are multiplied in double
precision, as distances from the means of their classes, and added up in common units (`manyhands.learners.sums.exact`).
Features that are the same in all rows are left out: the margins of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Share, Statistic
from manyhands.core.samples import BLOCK_ROWS, Control, Samples
from manyhands.learners.mlp.blas import gram
from manyhands.learners.sums import exact, kernels
from manyhands.learners.sums.base import Arrays, Pass, blocks, inputs_of, is_whole
from manyhands.learners.sums.moments import Moments


class Scatter:
    """What the passes find: sums of products of distances from the means of the classes.

    Parameters
    ----------
    moments
        Already found.
    after
        Returns the pass that follows, if any does.
    by_class
        Whether each class has a matrix of its own; else there is one for all.

    Attributes
    ----------
    used : ndarray of shape (any,), intp
        Features that are not the same in all rows.
    triangles : ndarray of shape (K or 1, any)
        The sums: upper triangles row by row, of used features.
    """

    triangles: NDArray[np.float64]

    def __init__(self, moments: Moments, after: Callable[[], Pass | None], *, by_class: bool) -> None:
        self.moments, self.after, self.by_class = moments, after, by_class
        there = moments.counts > 0
        means = moments.means[there]
        same = moments.constant[there].all(axis=0) & (means == means[:1]).all(axis=0)
        self.used = np.flatnonzero(~same).astype(np.int32)

    @property
    def groups(self) -> int:
        """How many matrices there are."""
        return self.moments.classes if self.by_class else 1

    def next_pass(self, table: Samples, rows: int) -> Pass:
        """Return the pass that finds them, over ``rows`` samples in all."""
        return ByteProducts(self, table) if is_whole(table) else Products(self, rows)

    def pieces(self, table: Samples, rows: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Yield the rows by group, at most `BLOCK_ROWS` at once."""
        order = np.argsort(table.labels[rows], kind="stable") if self.by_class else np.arange(len(rows))
        ends = np.cumsum(np.bincount(table.labels[rows], minlength=self.groups)) if self.by_class else [len(rows)]
        begin = 0
        for group, end in enumerate(ends):
            for first in range(begin, int(end), BLOCK_ROWS):
                yield group, rows[order[first : min(first + BLOCK_ROWS, int(end))]]
            begin = int(end)

    def matrix(self, group: int) -> NDArray[np.float64]:
        """Return a matrix of all features, shape (F, F); 0 for those that are not used, or constant in the class.

        Matrices are made one by one, because those of many classes together may be larger than the samples.
        """
        found = np.zeros((self.moments.features, self.moments.features))
        kernels.fill_symmetric(self.triangles[group], self.used, found)
        constant = self.moments.constant
        fixed = constant[group] if self.by_class else constant.all(axis=0)
        found[fixed, :] = found[:, fixed] = 0
        return found

    def summed(self) -> NDArray[np.float64]:
        """Return the matrix of all classes together."""
        found = self.matrix(0)
        for group in range(1, self.groups):
            found += self.matrix(group)
        return found


def _length(width: int) -> int:
    """Return the number of elements of a triangle."""
    return width * (width + 1) // 2


class ByteProducts(Pass):
    """The pass over bytes."""

    def __init__(self, scatter: Scatter, table: Samples) -> None:
        self.scatter, self._scale, self._shift = scatter, table.scale, table.shift

    def asks(self) -> dict[str, Statistic]:
        """Return products of stored bytes less 128, upper triangles row by row, and sums of these."""
        groups, width = self.scatter.groups, len(self.scatter.used)
        return {"products": Statistic((groups, _length(width)))}

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Multiply and add whole numbers."""
        used, width = self.scatter.used, len(self.scatter.used)
        if not width:
            return
        block, product = np.empty((BLOCK_ROWS, width), np.float32), np.empty((width, width), np.float32)
        # Groups need many rows to have blocks that are worth a product.
        most = kernels.MOST_ROWS * self.scatter.groups if self.scatter.by_class else BLOCK_ROWS
        for rows in blocks(share, control, most):
            for group, piece in self.scatter.pieces(table, rows):
                if control.stop[0]:
                    return
                kernels.shifted_bytes(table.features, piece, used, block)
                gram(block[: len(piece)], product)
                kernels.add_triangle(product, into["products"][group])

    def conclude(self, found: Arrays) -> Pass | None:
        """Take the means off, in whole numbers as long as possible."""
        scatter, moments = self.scatter, self.scatter.moments
        used, shift = scatter.used, float(kernels.SHIFT)
        counts, sums = moments.counts, moments.stored_sums[:, used]
        scatter.triangles = found["products"]
        for group, triangle in enumerate(scatter.triangles):
            members = (
                np.flatnonzero(counts) if not scatter.by_class else np.flatnonzero(counts[group : group + 1]) + group
            )
            kernels.take_means_off(triangle, shift, counts[members], sums[members], self._scale[used])
        return scatter.after()


class Products(Pass):
    """The pass over other numbers."""

    def __init__(self, scatter: Scatter, terms: int) -> None:
        self.scatter = scatter
        upper = np.triu_indices(len(scatter.used))
        widest = 2 * scatter.moments.largest[scatter.used]
        self._units = exact.Units(BLOCK_ROWS * widest[upper[0]] * widest[upper[1]], terms)

    def asks(self) -> dict[str, Statistic]:
        """Return products of distances from the means, upper triangles row by row."""
        return {"products": Statistic((exact.LEVELS, self.scatter.groups, _length(len(self.scatter.used))))}

    def collect(self, table: Samples, share: Share, into: Arrays, control: Control) -> None:
        """Multiply block by block: blocks are the same for any number of workers."""
        scatter, used = self.scatter, self.scatter.used
        if not len(used):
            return
        product = np.empty((len(used), len(used)))
        triangle = np.empty(_length(len(used)))
        for rows in blocks(share, control, 1):
            for group, piece in scatter.pieces(table, rows):
                apart = inputs_of(table, piece)[:, used] - scatter.moments.means[table.labels[piece]][:, used]
                gram(np.ascontiguousarray(apart), product)
                triangle[:] = 0
                kernels.add_triangle(product, triangle)
                self._units.add(into["products"][:, group], triangle)

    def conclude(self, found: Arrays) -> Pass | None:
        """Keep the sums."""
        self.scatter.triangles = exact.total(found["products"])
        return self.scatter.after()
