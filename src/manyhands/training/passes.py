"""Training of learners that are made of sums: passes over the samples, each with one exchange between the workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Share, Statistic, SumLearner
from manyhands.core.samples import Control, Order
from manyhands.core.team import Team
from manyhands.data.blocks import blocks_of
from manyhands.data.sampler import Sampler
from manyhands.runtime.memory import aligned_zeros
from manyhands.teams.registry import kind_of
from manyhands.training.worker_run import WorkerRun

Arrays = dict[str, NDArray[Any]]


class Passes:
    """Takes one worker through all passes of a learner.

    Parameters
    ----------
    worker
        The worker's run.
    learner
        What it trains.
    sampler
        Its rows, where these are streamed.
    control
        Whether it must stop, and how far it has come.
    reach
        Waits for streamed rows: called with a pass and a step, returns up to which step they are here.
    """

    def __init__(
        self,
        worker: WorkerRun,
        learner: SumLearner,
        sampler: Sampler,
        control: Control,
        reach: Callable[[int, int], int],
    ) -> None:
        self._worker, self._learner, self._sampler, self._control = worker, learner, sampler, control
        self._team, self._reach = worker.team, reach
        self._shared = kind_of(worker.plan.team).shared_memory
        self._blocks: Order | None = None

    def run(self) -> bool:
        """Train; return whether it has come to the end, and was not stopped."""
        worker, learner, number = self._worker, self._learner, 0
        learner.begin(worker.table, worker.plan.rows)
        while (asked := learner.asks()) is not None:
            arrays, sums = self._made(asked)
            mine = self._mine(asked, arrays)
            for share in self._shares(number):
                with worker.clock.phase("compute"):
                    learner.collect(worker.table, share, mine, self._control)
                if self._control.stop[0]:
                    return False
                worker.tally.steps += share.order.steps
                worker.tally.examples += share.order.examples
                self._control.progress[0] = worker.tally.steps
            number += learner.reads
            self._join(asked, arrays, sums)
            with worker.clock.phase("compute"):
                learner.conclude(arrays)
        return True

    def _shares(self, number: int) -> Iterator[Share]:
        """Yield the worker's rows, all at once, or in the pieces in which they come."""
        team = self._team
        if not self._learner.reads:
            yield Share(_NOTHING, team.rank, team.size)
            return
        if not self._sampler.streamed:
            self._blocks = self._blocks or self._in_memory()
            yield Share(self._blocks, team.rank, team.size)
            return
        order, step = self._sampler.epoch(number), 0
        while step < order.steps:
            until = self._reach(number, step)
            yield Share(order.part(step, until), team.rank, team.size)
            step = until

    def _in_memory(self) -> Order:
        """Return this worker's blocks, where rows do not come and go."""
        team, table = self._team, self._worker.table
        # Where every process has a shard of its own, blocks depend on how many there are.
        divided = self._learner.by_rows and table.rows == self._worker.plan.rows
        with self._worker.clock.phase("compute"):
            labels = table.labels if self._learner.by_class else None
            place = (team.rank, team.size) if divided else (0, 1)
            return blocks_of(table.rows, *place, labels)

    def _made(self, asked: Mapping[str, Statistic]) -> tuple[Arrays, NDArray[np.float64]]:
        """Return the arrays of a pass, zeros, and the one vector that all sums are parts of."""
        team, arrays = self._team, {}
        sums = aligned_zeros(sum(math.prod(each.shape) for each in asked.values() if each.how == "sum"), np.float64)
        at = 0
        for name, each in asked.items():
            if each.how == "sum":
                length = math.prod(each.shape)
                arrays[name] = sums[at : at + length].reshape(each.shape)
                at += length
                continue
            shape = (team.size, *each.shape) if each.how == "gather" else each.shape
            here = team.rank == 0 or not self._shared
            flat = np.zeros(math.prod(shape) if here else 0, each.dtype)
            if self._shared and team.size > 1:
                flat = team.shared_vector(flat)
            arrays[name] = flat.reshape(shape)
        return arrays, sums

    def _mine(self, asked: Mapping[str, Statistic], arrays: Arrays) -> Arrays:
        """Return the arrays as this worker fills them."""
        rank = self._team.rank
        return {name: array[rank] if asked[name].how == "gather" else array for name, array in arrays.items()}

    def _join(self, asked: Mapping[str, Statistic], arrays: Arrays, sums: NDArray[np.float64]) -> None:
        """Make what all workers have found one."""
        team = self._team
        if team.size == 1:
            return
        if len(sums):
            team.sum_(sums)
        others = [name for name, each in asked.items() if each.how != "sum"]
        for name in others:
            _bring_together(team, arrays[name], gathered=asked[name].how == "gather", shared=self._shared)
        if others and self._shared:
            team.barrier()
        self._worker.tally.rounds += 1


def _bring_together(team: Team, array: NDArray[Any], *, gathered: bool, shared: bool) -> None:
    """Give all workers every worker's part of the first axis; where memory is shared, they have it already."""
    shares = [Share(_NOTHING, rank, team.size).part(len(array)) for rank in range(team.size)]
    parts = [slice(rank, rank + 1) if gathered else share for rank, share in enumerate(shares)]
    counts = [array[part].nbytes for part in parts]
    if shared:
        team.bytes_sent += counts[team.rank]
    else:
        team.all_gather_pieces_(array.reshape(-1).view(np.uint8), counts)


_NOTHING = Order(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int32))
