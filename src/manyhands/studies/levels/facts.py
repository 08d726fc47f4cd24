"""What is known of a case before it runs: its worker's numbers and memory, its exchanges, and its cost by the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from manyhands.core.grid import LEVELS
from manyhands.data.dataset import Dataset
from manyhands.learners.mlp.layout import Layout
from manyhands.learners.mlp.settings import LAYERWISE, ONE_VECTOR, MLPSettings
from manyhands.learners.mlp.slices.kernel_args import EXCHANGES
from manyhands.learners.mlp.slices.layout import SliceLayout
from manyhands.learners.mlp.slices.program import Programs
from manyhands.studies.levels.request import (
    CROSSING,
    EXEMPLAR,
    ONE,
    SESSION,
    Case,
    LevelsRequest,
    batch_of,
    network_name,
    spec_of,
    widths_of,
)
from manyhands.teams.registry import kind_of
from manyhands.training.levels import Cost, can_divide, chosen_grid, costs

_POINTS = 16
"""Points of the model's lines for each doubling of the width."""


def case_facts(case: Case, request: LevelsRequest, dataset: Dataset) -> dict[str, Any]:
    """Return what is known of a case, as the JSON file has it."""
    network, batch = request.spec.network.changed(hidden=case.hidden), batch_of(request, dataset)
    layout, exchanges, mail = _worker(case, network, dataset, batch)
    cost = _cost(case, request, dataset)
    return {
        **case.key,
        "name": network_name(case.hidden),
        "parameters": layout.size,
        "exchanges": exchanges,
        "array_bytes": _bytes(case, network, layout, mail, rows=_rows(case, batch)),
        "operations": cost.operations,
        "memory_bytes": cost.memory,
        "predicted_ms": 1000 * cost.seconds / (case.workers if case.level == SESSION else 1),
    }


def _rows(case: Case, batch: int) -> int:
    """Return the samples of a step that one worker computes."""
    return -(-batch // case.workers) if case.level == EXEMPLAR else batch


def _worker(case: Case, network: MLPSettings, dataset: Dataset, batch: int) -> tuple[Layout, int, int]:
    """Return the first worker's layout, the exchanges of its step, and how many numbers its mail has."""
    features, *_, outputs = widths_of(case.hidden, dataset)
    if not (case.level in LEVELS and case.grid.divides):
        return Layout(features, case.hidden, outputs), int(case.level == EXEMPLAR), 0
    layout = SliceLayout(features, case.hidden, outputs, level=case.level, rank=0, parts=case.workers)
    starts = np.concatenate([[0], np.cumsum(batch * layout.widths)])[:-1].astype(np.int64)
    programs = Programs(layout, batch, starts, scaled=network.optimizer in LAYERWISE)
    return layout, sum(row[0] in EXCHANGES for row in programs.train.tolist()), programs.mail


def _bytes(case: Case, network: MLPSettings, layout: Layout, mail: int, rows: int) -> int:
    """Return the bytes of a worker's arrays: parameters, optimizer, gradient, work for one batch, and its mail."""
    vectors = 1 if network.optimizer in ONE_VECTOR else 2
    divided = case.level in LEVELS and case.grid.divides
    scratch = layout.size if divided and network.optimizer in LAYERWISE else layout.largest
    sums = layout.size if case.level == EXEMPLAR else 0  # the gradient that is averaged
    work = 2 * rows * int(layout.widths.sum())
    numbers = (1 + vectors) * layout.size + scratch + sums + work + mail
    return numbers * (4 if network.dtype == "float32" else 8)


def _cost(case: Case, request: LevelsRequest, dataset: Dataset) -> Cost:
    """Return the cost of a worker's step by the model."""
    network, widths = request.spec.network.changed(hidden=case.hidden), widths_of(case.hidden, dataset)
    workers = 1 if case.level == SESSION else case.workers
    shared = kind_of(request.spec.team).shared_memory
    found = costs(network, widths, batch_of(request, dataset), workers, shared, lambda grid: True)
    if case.level not in LEVELS:
        return found[0]
    return next(cost for cost in found if (cost.grid.level, cost.grid.parts) == (case.level, case.workers))


def model_lines(request: LevelsRequest, dataset: Dataset) -> list[dict[str, Any]]:
    """Return what the model says of two equal hidden layers at many widths between the smallest and the largest."""
    if not request.widths:
        return []
    low, high = math.log2(min(request.widths)), math.log2(max(request.widths))
    steps = max(round(_POINTS * (high - low)), 1)
    widths = dict.fromkeys(round(2 ** (low + (high - low) * step / steps)) for step in range(steps + 1))
    cases = [
        Case((width, width), level, 1 if level == ONE else request.crossing_workers)
        for width in widths
        for level in (ONE, *CROSSING)
    ]
    return [
        {"width": case.hidden[0], "level": case.level, "predicted_ms": 1000 * _cost(case, request, dataset).seconds}
        for case in cases
    ]


def chosen(case: Case, request: LevelsRequest, dataset: Dataset) -> dict[str, Any]:
    """Return which grid `auto` would choose for a case's network and number of workers."""
    spec = spec_of(case, request, dataset)
    found = case.grid if not can_divide(spec, dataset) else chosen_grid(spec, dataset, case.workers)
    level = found.level if found.parts == case.workers else EXEMPLAR if not found.divides else None
    return {"hidden": list(case.hidden), "workers": case.workers, "grid": found.name, "level": level}
