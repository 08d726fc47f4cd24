"""Runs of learners that are made of sums: what they cannot do is refused before they begin."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from manyhands.core.choices import SUMS
from manyhands.core.errors import DataError, SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.strategy import Strategy
from manyhands.data.dataset import Dataset
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.learners.sums.settings import OF, SumsSettings
from manyhands.teams.registry import kind_of
from manyhands.training.spec import RunSpec

MOST_PASSES = 4
"""Of learners whose rows may be streamed."""
NOT_THEIRS = ("batch", "schedule", "stop", "partition", "sharding", "grid")
"""Settings that runs of these learners do not have."""
_COUNTS = ("multinomial-nb", "categorical-nb")
"""Learners whose inputs are counts, or numbers of categories."""
_WHOLE = ("tree", "forest")
"""Learners for which all rows must be in memory: a split looks at any of them."""


def check_settings_of(spec: RunSpec, strategy: Strategy) -> None:
    """Raise SettingsError for settings of other learners, and for a strategy that this one cannot follow."""
    _check_own(spec)
    if not spec.needs.sums:
        if strategy.needs.adds_statistics:
            raise SettingsError(
                f"{parameter('strategy', strategy.name)} is for learners that are made of sums ({', '.join(SUMS)}), "
                f"not for {spec.learner}"
            )
        return
    if strategy.name not in ("sums", "sequential"):
        raise SettingsError(
            f"the learner {spec.learner} is made of sums over the samples, so it cannot follow {strategy.name}; leave "
            f"{parameter('strategy')} out"
        )
    for name in NOT_THEIRS:
        if getattr(spec, name) is not None:
            raise SettingsError(f"the learner {spec.learner} has no {name}: leave {parameter(name)} out")
    if spec.epochs not in (1, RunSpec().epochs):
        raise SettingsError(f"the learner {spec.learner} has no epochs: leave {parameter('epochs')} out")
    usual = MLPSettings(dtype=spec.network.dtype)
    for each in fields(MLPSettings):
        if (value := getattr(spec.network, each.name)) != getattr(usual, each.name):
            raise SettingsError(f"{parameter(each.name, value)} is for networks, not for {spec.learner}")
    if spec.convergence:
        raise SettingsError(f"{parameter('convergence')} is for networks: {spec.learner} has no model before its end")
    reliability = spec.reliability
    if reliability.folder is not None or reliability.continues or reliability.verify:
        name = "checkpoint" if reliability.folder is not None else "verify" if reliability.verify else "on_loss"
        raise SettingsError(
            f"the learner {spec.learner} is done after a few passes over the samples, and has no state between them: "
            f"leave {parameter(name)} out"
        )


def _check_own(spec: RunSpec) -> None:
    """Check that what is set about sums is set for the learner that knows it."""
    usual = SumsSettings()
    for each in fields(SumsSettings):
        value = getattr(spec.sums, each.name)
        if value == getattr(usual, each.name):
            continue
        if spec.learner not in OF[each.name]:
            raise SettingsError(
                f"{parameter(each.name, value)} is for {', '.join(OF[each.name])}, not for {spec.learner}"
            )
    if spec.learner == "lda" and spec.sums.shrinkage is not None and spec.sums.lda_solver == "svd":
        raise SettingsError(
            f"{parameter('shrinkage')} needs {parameter('lda_solver', 'lsqr')} or eigen: svd has no covariances"
        )


def check_data_of(spec: RunSpec, dataset: Dataset) -> None:
    """Raise SettingsError if the learner cannot be trained on such data, or by such a team.

    Negative inputs of one that counts are a DataError, before any worker begins.
    """
    if not spec.needs.sums:
        return
    if dataset.parts is not None and spec.learner in _WHOLE:
        raise SettingsError(
            f"the learner {spec.learner} looks at all rows for each split, but {dataset.name} is read in parts while "
            "the run trains: choose another, or data that fit into memory"
        )
    if kind_of(spec.team).reads == "Spark" and spec.learner in _WHOLE:
        raise SettingsError(
            f"the learner {spec.learner} looks at all rows for each split, and each task of the team spark holds some; "
            f"use {parameter('team', 'threads')} or mpi"
        )
    if spec.learner in _COUNTS:
        _check_not_negative(spec, dataset)


def _check_not_negative(spec: RunSpec, dataset: Dataset) -> None:
    """Raise DataError for an input below 0, with its row; estimators, which have no test rows, look themselves."""
    table = dataset.train
    as_they_are = table.features.dtype == np.uint8 and table.center is None
    if not dataset.test_rows or (as_they_are and (table.scale >= 0).all() and (table.shift >= 0).all()):
        return
    stored = table.features.min(axis=0) if dataset.parts is None else dataset.parts.low
    least = table.with_arrays({"features": np.atleast_2d(stored), "labels": np.zeros(1, np.int32)}).inputs()[0]
    if (least >= 0).all():
        return
    feature = int(np.argmax(least < 0))
    where = f"feature {feature + 1}"
    if dataset.parts is None:  # where the rows are not here, nobody knows which it is
        where = f"training row {int(table.features[:, feature].argmin()) + 1}: {where}"
    what = "counts" if spec.learner == "multinomial-nb" else "numbers of categories"
    scaled = dataset.scaling.name != "none"
    remedy = f"leave the scaling out ({parameter('scale', 'none')})" if scaled else "use gaussian-nb for such data"
    raise DataError(
        f"{where} is {least[feature]:.6g}, and the inputs of {spec.learner} are {what}, from 0 on; {remedy}"
    )
