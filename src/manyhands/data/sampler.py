"""The order in which each worker uses the training rows.

With sharding `global`, one permutation per (seed, epoch) is cut into global batches, and each of these between the
workers: the number of workers changes the speed and not the optimization. With sharding `fixed`, each worker keeps one
share of the rows and permutes that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.randomness import generator
from manyhands.core.samples import Order
from manyhands.core.types import Sharding


class Sampler(Protocol):
    """What the training loop asks for the rows of its epochs.

    Attributes
    ----------
    streamed : bool
        Whether the rows of an epoch come one after the other, and go; then :meth:`reach` says which are here.
    """

    streamed: bool

    def fetch(self, number: int) -> None:
        """Bring the rows of an epoch here, if other processes hold them; the loop calls it before the epoch begins."""

    def reach(self, number: int, step: int) -> int:
        """Return up to which step of an epoch the rows are here, all steps before ``step`` being over.

        It is ``step`` itself if none has come within a moment. A sampler for which this is the epoch's end always has
        all rows of an epoch that was fetched.
        """

    def epoch(self, number: int) -> Order:
        """Return the order of an epoch."""

    def epochs(self, first: int, count: int) -> Order:
        """Return the orders of consecutive epochs, as one."""


class BatchSampler(Sampler):
    """One worker's rows, epoch by epoch.

    Parameters
    ----------
    rows
        Number of training rows N.
    batch
        Global batch B, 1..N.
    rank, size
        The worker, and the number of workers n <= B.
    sharding
        ``"global"`` or ``"fixed"``.
    seed
        The run's seed.
    first_row
        Number of the first row of this worker's table, if it has its fixed share only.
    passes
        How often a worker uses the rows of an epoch: with more than 1, it draws so many times fewer, and shuffles them
        anew for every pass (Alowaisheq & Dhami's mini-batches).
    share
        With fixed shares: the rows of this worker's, if they are not consecutive ones.
    first_epoch
        Number of the run's first epoch, for everything random: a run that continues another does not repeat its orders.
    shuffle
        Whether rows are permuted; if not, every epoch takes them as they are stored.

    Attributes
    ----------
    steps_per_epoch : int
        ceil(N / B), the same for all workers.

    Raises
    ------
    SettingsError
        If B or n cannot be.
    """

    streamed = False

    def __init__(
        self,
        rows: int,
        batch: int,
        rank: int,
        size: int,
        sharding: Sharding,
        seed: int,
        first_row: int = 0,
        passes: int = 1,
        share: NDArray[np.int64] | None = None,
        first_epoch: int = 0,
        shuffle: bool = True,
    ) -> None:
        check_batch(rows, batch, size)
        if sharding not in ("global", "fixed"):
            raise SettingsError(f"unknown sharding {sharding!r}; choose global or fixed")
        self.rows, self.rank, self.size, self.sharding, self.seed = rows, rank, size, sharding, seed
        self._first_row, self._passes, self._share = first_row, passes, share
        self._first_epoch, self._shuffle = first_epoch, shuffle
        self.steps_per_epoch = -(-rows // batch)
        self._ends = np.minimum(np.arange(1, self.steps_per_epoch + 1, dtype=np.int64) * batch, rows)
        self._starts = np.concatenate([[0], self._ends[:-1]])
        self._global_rows = (self._ends - self._starts).astype(np.int32)
        self._bounds, self._take = self._cut()

    @property
    def most_rows(self) -> int:
        """How many rows this worker uses in an epoch, at most."""
        return int(self._bounds[-1])

    def fetch(self, number: int) -> None:
        """Do nothing: all rows are here."""

    def reach(self, number: int, step: int) -> int:
        """Return the end of the epoch: all rows are here."""
        return self.steps_per_epoch

    def epoch(self, number: int) -> Order:
        """Return the order of epoch ``number`` (0-based, of the run): a function of seed and number alone."""
        number += self._first_epoch
        if not self._shuffle:
            rows = self._take
        elif self.sharding == "global":
            permutation = _permutation(self.seed, number, self.rows)
            rows = permutation if self.size == 1 else permutation[self._take]
        else:
            # The share joins the key, so that no two workers shuffle alike.
            rng = generator(self.seed, f"order of share {self.rank}", number)
            rows = self._take[rng.permutation(len(self._take))]
        if self._passes > 1:
            rows = self._again(rows, number)
        return Order(rows.astype(np.int32), self._bounds, self._global_rows)

    def _again(self, rows: NDArray[np.int64], number: int) -> NDArray[np.int64]:
        """Replace an epoch's shuffled rows by passes over the first of them; the last pass may be cut off."""
        if not len(rows):
            return rows
        drawn = rows[: -(-len(rows) // self._passes)]
        rng = generator(self.seed, f"passes of worker {self.rank}", number)
        passes = -(-len(rows) // len(drawn))
        return np.concatenate([rng.permutation(drawn) for _ in range(passes)])[: len(rows)]

    def epochs(self, first: int, count: int) -> Order:
        """Return the orders of ``count`` epochs, from epoch ``first`` on, as one."""
        orders = [self.epoch(number) for number in range(first, first + count)]
        if count == 1:
            return orders[0]
        starts = [index * self._bounds[-1] + self._bounds[:-1] for index in range(count)]
        return Order(
            np.concatenate([order.rows for order in orders]),
            np.concatenate([*starts, [count * self._bounds[-1]]]),
            np.tile(self._global_rows, count),
        )

    def _cut(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the bounds of this worker's batches, and what it takes of the permutation or of the table.

        Global: positions in the permutation, [rb/n, (r+1)b/n) of each global batch of b rows.
        Fixed: the rows of the share, [rN/n, (r+1)N/n), used evenly over the steps.
        """
        r, n = self.rank, self.size
        if self.sharding == "global":
            first = self._starts + r * self._global_rows.astype(np.int64) // n
            last = self._starts + (r + 1) * self._global_rows.astype(np.int64) // n
            bounds = np.concatenate([[0], np.cumsum(last - first)])
            take = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
            return bounds, take
        share = self._share
        if share is None:
            share = np.arange(r * self.rows // n, (r + 1) * self.rows // n) - self._first_row
        return np.concatenate([[0], self._ends * len(share) // self.rows]), share


@lru_cache(maxsize=1)
def _permutation(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """Return the order of all rows in an epoch; kept, as a process may cut it for all workers, one after the other."""
    return generator(seed, "order", epoch).permutation(rows)


def check_batch(rows: int, batch: int, workers: int) -> None:
    """Raise SettingsError unless every worker gets at least one row of every full global batch."""
    if not 1 <= batch <= rows:
        raise SettingsError(f"the global batch must lie between 1 and the {rows} training rows, not {batch}")
    if workers < 1:
        raise SettingsError(f"the number of workers must be at least 1, not {workers}")
    if workers > batch:
        raise SettingsError(
            f"{workers} workers cannot share a global batch of {batch} rows: "
            f"use at most {batch} workers or a larger {parameter('batch')}"
        )
