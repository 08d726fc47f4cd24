"""The learner of a plan on a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from manyhands.core.choices import PYTORCH
from manyhands.core.learner import FitLearner, Learner, Model, SumLearner
from manyhands.core.team import Team
from manyhands.data.dataset import Dataset
from manyhands.learners import make_learner
from manyhands.training.plan import Plan


def learner_of(
    plan: Plan, dataset: Dataset, rank: int = 0, group: Team | None = None
) -> Learner | FitLearner | SumLearner:
    """Return a new learner for one worker of a run; of one that holds the network together with a ``group``, its part.

    Without the group it is the whole network.
    """
    others: dict[str, Any] = {}
    if plan.learner in PYTORCH:
        others = {"sample_shape": dataset.train.sample_shape, "torch": plan.torch, "module": plan.module}
    if plan.needs.sums:
        others = {"sums": plan.sums}
    if group is not None:
        from manyhands.learners.mlp.slices.learner import SlicedMLP

        level = plan.grid.level
        return SlicedMLP(
            plan.network, dataset.features, dataset.outputs, team=group, level=level, rank=rank, seed=plan.seed
        )
    shape = dataset.features, dataset.outputs
    return make_learner(plan.learner, plan.network, *shape, rank=rank, seed=plan.seed, **others)


def result_of(plan: Plan, dataset: Dataset) -> Model:
    """Return a new learner for the network that a run results in: one, or those of all workers side by side."""
    learner = learner_of(plan, dataset)
    if not plan.strategy.needs.builds_ensemble or plan.shares == 1 or isinstance(learner, FitLearner | SumLearner):
        return learner
    return learner.side_by_side(np.zeros((plan.shares, learner.size), learner.dtype))
