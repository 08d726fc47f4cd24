"""Training samples of which every process holds one shard: rows are exchanged before the epoch that uses them.

Which rows a worker uses in an epoch follows from seed and epoch alone (`manyhands.data.sampler`). So every process
knows what the others need of its shard, and sends it without being asked: the order of the samples, and with it every
bit of the parameters, is the same as if each process had all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Order, Samples
from manyhands.data.dataset import Dataset
from manyhands.data.sampler import BatchSampler, Sampler
from manyhands.teams.processes import ProcessTeam
from manyhands.teams.world import as_bytes
from manyhands.training.plan import Plan, PlannedStage

_BYTES_AT_ONCE = 1 << 21
"""Of one array, to all other processes together: rows travel in pieces, so that buffers stay small."""


def shard_bounds(rows: int, size: int) -> NDArray[np.int64]:
    """Return where the shards of ``size`` processes begin and end in ``rows`` rows, shape (size + 1,)."""
    return np.arange(size + 1, dtype=np.int64) * rows // size


def is_sharded(plan: Plan, dataset: Dataset) -> bool:
    """Return whether workers need rows that other processes hold."""
    return plan.sharding == "global" and dataset.parts is None and dataset.train.rows < dataset.rows


def check_shards(plan: Plan, dataset: Dataset) -> None:
    """Raise SettingsError if a run needs more than the rows of an epoch, and each process holds a shard only."""
    if dataset.train.rows == dataset.rows:
        return
    what = None
    if plan.strategy.needs.revisits_rows:
        what = f"the merge of {plan.strategy.name} computes on training samples again"
    elif plan.torch.speculative is not None:
        what = "speculation orders all samples by their labels"
    elif plan.stop is not None and plan.stop.validates:
        what = f"stop {plan.stop.name} evaluates on validation samples"
    elif plan.strategy.needs.uses_validation:
        what = f"the merge of {plan.strategy.name} evaluates on validation samples"
    if what is not None:
        raise SettingsError(
            f"{what}, but every process holds one shard of them: choose another, or a team that has all"
        )


class ShardExchange:
    """The rows of one epoch, brought here from all shards.

    Parameters
    ----------
    team
        The workers; each holds the shard of its rank, of `shard_bounds`.
    shard
        This process's rows.
    rows
        Number of rows of all shards.
    room
        The most rows that this worker uses in an epoch.

    Attributes
    ----------
    table : Samples
        As many rows as there is room for; :meth:`bring` writes them.
    """

    def __init__(self, team: ProcessTeam, shard: Samples, rows: int, room: int) -> None:
        self._team, self._shard = team, shard
        self._bounds = shard_bounds(rows, team.size)
        arrays = {name: np.zeros((room, *array.shape[1:]), array.dtype) for name, array in shard.arrays().items()}
        self.table = shard.with_arrays(arrays)

    def bring(self, needed: Sequence[NDArray[np.int64]]) -> None:
        """Exchange rows: ``needed[r]`` are the numbers of those that rank r needs, ascending, without repetition.

        Afterwards row i of :attr:`table` is the i-th of those that this rank needs.
        """
        cuts = np.stack([np.searchsorted(each, self._bounds) for each in needed])  # (receiver, size + 1)
        largest = int(np.diff(cuts, axis=1).max())
        ours = self._shard.arrays()
        for name, target in self.table.arrays().items():
            source = ours[name]
            width = source[:1].nbytes
            piece = max(1, _BYTES_AT_ONCE // (width * self._team.size))
            for begin in range(0, largest, piece):
                self._bring_piece(needed, cuts, (begin, begin + piece), source, target)

    def _bring_piece(
        self,
        needed: Sequence[NDArray[np.int64]],
        cuts: NDArray[np.int64],
        piece: tuple[int, int],
        source: NDArray[Any],
        target: NDArray[Any],
    ) -> None:
        """Exchange the rows number begin..end-1 of those that go from one rank to another, for every two of them."""
        rank, size = self._team.rank, self._team.size

        def between(sender: int, receiver: int) -> slice:
            first, last = cuts[receiver, sender], cuts[receiver, sender + 1]
            return slice(*(int(min(first + each, last)) for each in piece))

        chosen = [needed[receiver][between(rank, receiver)] - self._bounds[rank] for receiver in range(size)]
        sent = source[np.concatenate(chosen)]
        places = [between(sender, rank) for sender in range(size)]
        received = np.empty((sum(place.stop - place.start for place in places), *source.shape[1:]), source.dtype)
        width = source.dtype.itemsize * int(np.prod(source.shape[1:], dtype=np.int64))
        self._team.all_to_all(
            as_bytes(sent),
            [len(each) * width for each in chosen],
            as_bytes(received),
            [(place.stop - place.start) * width for place in places],
        )
        begin = 0
        for place in places:
            end = begin + place.stop - place.start
            target[place] = received[begin:end]
            begin = end


class ShardedSampler(Sampler):
    """One worker's rows, epoch by epoch, brought here before they are used.

    Parameters
    ----------
    samplers
        Those of all ranks.
    exchange
        Brings the rows.
    rank
        This one.
    """

    streamed = False

    def __init__(self, samplers: Sequence[BatchSampler], exchange: ShardExchange, rank: int) -> None:
        self._samplers, self._exchange, self._rank = samplers, exchange, rank
        self._here: tuple[int, Order] | None = None

    def fetch(self, number: int) -> None:
        """Bring the rows of an epoch here; all workers do so at the same time."""
        orders = [each.epoch(number) for each in self._samplers]
        needed = [np.unique(order.rows).astype(np.int64) for order in orders]
        self._exchange.bring(needed)
        mine = orders[self._rank]
        places = np.searchsorted(needed[self._rank], mine.rows).astype(np.int32)
        self._here = number, Order(places, mine.bounds, mine.global_rows)

    def reach(self, number: int, step: int) -> int:
        """Return the end of the epoch, all of which was fetched."""
        return self._samplers[self._rank].steps_per_epoch

    def epoch(self, number: int) -> Order:
        """Return the order of the epoch that was fetched last, by the places of its rows in the exchange's table."""
        if self._here is None or self._here[0] != number:
            raise SettingsError("this needs the samples of an epoch that is over, which other processes hold")
        return self._here[1]

    def epochs(self, first: int, count: int) -> Order:
        """Return the order of the epoch that was fetched last: there is room for no other."""
        assert count == 1  # workers that are processes hold a round, or look for one, in every epoch
        return self.epoch(first)


class Shards:
    """What a worker of a run on sharded samples uses instead of all of them.

    Parameters
    ----------
    team
        The workers.
    plan
        The run.
    dataset
        This process's shard.
    samplers
        Returns the sampler of a rank for a stage.
    """

    def __init__(
        self,
        team: ProcessTeam,
        plan: Plan,
        dataset: Dataset,
        samplers: Callable[[PlannedStage, int], BatchSampler],
    ) -> None:
        self._team, self._samplers = team, samplers
        room = max(samplers(stage, team.rank).most_rows for stage in plan.stages)
        self._exchange = ShardExchange(team, dataset.train, dataset.rows, room)
        self.table = self._exchange.table

    def sampler(self, stage: PlannedStage) -> ShardedSampler:
        """Return this worker's sampler for a stage."""
        everyone = [self._samplers(stage, rank) for rank in range(self._team.size)]
        return ShardedSampler(everyone, self._exchange, self._team.rank)
