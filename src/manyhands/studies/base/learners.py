"""Learners in studies: what records say about them, and what they cannot do, before the first run."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

from manyhands.core.choices import PYTORCH
from manyhands.data.checksum import checksum_of
from manyhands.data.dataset import Dataset
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.sums.settings import own_settings
from manyhands.learners.torch.settings import OF_PERCEPTRONS
from manyhands.training.making import learner_of
from manyhands.training.plan import Plan
from manyhands.training.run import check_learner
from manyhands.training.spec import RunSpec


def learner_facts(plan: Plan, network: MLPSettings, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Return the settings of a study's record that are about the learner: its name, and the settings of its network.

    A PyTorch learner has no settings of multilayer perceptrons, such as hidden layers, but an ``architecture``, which
    names its network, and what was set or chosen about PyTorch. One that is made of sums has settings of its own.
    """
    learner = {"learner": plan.learner}
    if plan.needs.sums:
        return {**learner, "architecture": plan.architecture, "sums": own_settings(plan.learner, plan.sums)}
    settings = {name: value for name, value in asdict(network).items() if name not in leave_out}
    if plan.learner not in PYTORCH:
        return {**learner, "network": settings}
    own = {name: value for name, value in settings.items() if name not in OF_PERCEPTRONS}
    return {**learner, "network": own, "architecture": plan.architecture, "torch": plan.to_json()["torch"]}


def course_facts(plan: Plan) -> dict[str, Any]:
    """Return the settings of a study's record that are about steps; a learner that is made of sums takes none."""
    if plan.needs.sums:
        return {}
    return {
        "schedule": plan.schedule.name,
        "stop": None if plan.stop is None else plan.stop.name,
        "batch": plan.batch,
        "epochs": plan.epochs,
    }


def learner_identity(spec: RunSpec) -> dict[str, Any]:
    """Return the settings of a PyTorch learner that runs depend on, for a checkpoint; nothing for other learners."""
    if spec.learner not in PYTORCH:
        return {}
    record = spec.to_json()
    return {**{name: record[name] for name in ("learner", "module", "torch")}, **module_start(spec.module)}


def module_start(module: Any) -> dict[str, Any]:
    """Return a checksum of what a module that exists starts from; nothing if functions make it."""
    if not hasattr(module, "state_dict") or isinstance(module, type):
        return {}
    import torch

    checksum = 0
    for name, block in module.state_dict().items():
        data = block.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        checksum = checksum_of(data, zlib.crc32(name.encode(), checksum))
    return {"module_start": checksum}


def check_learners(plans: Iterable[Plan], dataset: Dataset) -> None:
    """Check what only PyTorch's learners know about runs, once for all plans that differ in their seeds only.

    Raises
    ------
    SettingsError
        If a network does not have the optimizer, or cannot follow the strategy, or needs larger batches.
    """
    different = {
        (plan.strategy.name, plan.workers, plan.batch, plan.rows, plan.network, plan.torch): plan
        for plan in plans
        if plan.learner in PYTORCH
    }
    for plan in different.values():
        check_learner(plan, learner_of(plan, dataset))
