"""Which samples a worker trains on, and in what order: from memory, from parts, or from other processes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import cast

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import Samples
from manyhands.core.team import Team
from manyhands.data.aligned import AlignedSampler
from manyhands.data.dataset import Dataset
from manyhands.data.partitioning import Partition
from manyhands.data.sampler import BatchSampler, Sampler
from manyhands.teams.processes import ProcessTeam
from manyhands.training import streaming
from manyhands.training.plan import Plan, PlannedStage
from manyhands.training.shards import Shards, is_sharded


def _samplers(plan: Plan, dataset: Dataset, size: int) -> Callable[[PlannedStage, int], BatchSampler]:
    """Return what makes the batch sampler of a stage for a rank."""
    if plan.torch.speculative is not None:
        labels = dataset.train.labels
        return lambda stage, rank: AlignedSampler(labels, stage.batch, rank, size, plan.seed, plan.first_epoch)
    shards: Sequence[NDArray[np.int64] | None] = [None] * size
    if plan.partition != Partition():
        shards = plan.partition.divide(dataset.train.labels, size, plan.seed)
    return lambda stage, rank: BatchSampler(
        rows=plan.rows,
        batch=stage.batch,
        rank=rank,
        size=size,
        sharding=plan.sharding,
        seed=plan.seed,
        first_row=dataset.first_row,
        passes=stage.rule.needs.passes,
        share=shards[rank],
        first_epoch=plan.first_epoch,
        shuffle=plan.shuffle,
    )


def rows_of(
    team: Team, plan: Plan, dataset: Dataset, opened: ExitStack
) -> tuple[Samples, Callable[[PlannedStage], Sampler]]:
    """Return the samples that a worker trains on, and what makes its batch sampler for each stage."""
    if dataset.parts is not None:
        stream = streaming.open_stream(plan, dataset, team.rank, team.size)
        opened.enter_context(stream)
        return stream.table, lambda stage: streaming.sampler(stream, plan, stage, team.rank, team.size)
    if is_sharded(plan, dataset):
        shards = Shards(cast(ProcessTeam, team), plan, dataset, _samplers(plan, dataset, team.size))
        return shards.table, shards.sampler
    by_size = functools.cache(functools.partial(_samplers, plan, dataset))  # a team may lose workers
    return dataset.train, lambda stage: by_size(team.size)(stage, team.rank)
