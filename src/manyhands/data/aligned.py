"""An order in which position i of every batch has the same label, for speculative back-propagation.

Positions belong to classes in proportion to their numbers of samples, at least one each; with equal classes, a batch
holds each of them equally often. A batch with fewer positions than there are classes is a part of a period of several
batches, which repeats. Each class is gone through in one random permutation after the other, without a gap between
epochs: as a class has whole positions, an epoch may not use a few of its samples, or use a few twice, but over any
number of epochs two samples of a class are used equally often, give or take one. All batches have the same size: the
last of an epoch, too, so an epoch has up to a batch more samples than there are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manyhands.core.randomness import generator
from manyhands.core.samples import Order
from manyhands.data.sampler import BatchSampler


class AlignedSampler(BatchSampler):
    """One worker's rows, epoch by epoch, aligned by label.

    Parameters
    ----------
    labels : ndarray of shape (rows,)
        Class numbers of all training samples.
    batch, rank, size, seed, first_epoch
        See `BatchSampler`; the sharding is global.

    Raises
    ------
    SettingsError
        If batch or number of workers cannot be.
    """

    def __init__(
        self, labels: NDArray[np.int32], batch: int, rank: int, size: int, seed: int, first_epoch: int = 0
    ) -> None:
        super().__init__(len(labels), batch, rank, size, "global", seed, first_epoch=first_epoch)
        self._batch = batch
        self._classes = [np.flatnonzero(labels == each) for each in np.unique(labels)]
        self._period = -(-len(self._classes) // batch)
        self._class_of, self._turn, self._shares = _positions(
            [len(each) for each in self._classes], self._period * batch
        )
        part = slice(rank * batch // size, (rank + 1) * batch // size)
        self._part = np.arange(batch)[part]
        self._global_rows = np.full(self.steps_per_epoch, batch, np.int32)
        self._bounds = np.arange(self.steps_per_epoch + 1, dtype=np.int64) * len(self._part)

    def epoch(self, number: int) -> Order:
        """Return the order of epoch ``number``: a function of seed and number alone."""
        first = (number + self._first_epoch) * self.steps_per_epoch
        steps = first + np.arange(self.steps_per_epoch)
        places = (steps % self._period)[:, None] * self._batch + self._part
        uses = (steps // self._period)[:, None] * self._shares[self._class_of[places]] + self._turn[places]
        rows = np.empty(places.shape, np.int64)
        for each, members in enumerate(self._classes):
            here = self._class_of[places] == each
            rows[here] = self._drawn(each, members, uses[here])
        return Order(rows.ravel().astype(np.int32), self._bounds, self._global_rows)

    def _drawn(self, number: int, members: NDArray[np.int64], uses: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples of some uses of a class, which has one permutation after the other."""
        passes, place = np.divmod(uses, len(members))
        found = np.empty(len(uses), np.int64)
        for each in np.unique(passes):
            permutation = generator(self.seed, f"order of class {number}", int(each)).permutation(members)
            found[passes == each] = permutation[place[passes == each]]
        return found


def _positions(sizes: list[int], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the class of each position, which of its class's positions it is, and how many each class has.

    Classes take turns, so that any piece of a batch has nearly all of them.
    """
    wanted = np.array(sizes) * count / sum(sizes)
    shares = np.maximum(np.floor(wanted), 1).astype(np.int64)
    while (left := count - shares.sum()) != 0:  # the largest remainders first
        remainders = np.where((left > 0) | (shares > 1), wanted - shares, np.inf)
        shares[np.argmax(remainders) if left > 0 else np.argmin(remainders)] += np.sign(left)
    turns = np.concatenate([np.arange(share) for share in shares])
    classes = np.repeat(np.arange(len(sizes)), shares)
    order = np.lexsort((classes, turns))
    return classes[order], turns[order], shares
