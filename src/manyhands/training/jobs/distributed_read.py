"""Reading a data set in a job of processes: each process its own part where the format allows it, else rank 0 for all.

An error in one process is reported to all, and all end alike (`manyhands.teams.agreement`); so is a
difference between the settings or the data of the processes.

- Plain IDX files every process reads itself; large ones are mapped, one copy for all on a machine.
- Of plain CSV files every process parses one piece, and all exchange the numbers.
- What can only be read from the beginning (.gz, scikit-learn's digits), rank 0 reads. It then sends every worker its
  share, if the shares are fixed, or everything.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.types import Sharding
from manyhands.data.arrays import Arrays
from manyhands.data.catalog import DataRequest, load, way_of_reading
from manyhands.data.checksum import checksum_of
from manyhands.data.csv.reader import join_parts
from manyhands.data.dataset import Dataset
from manyhands.data.origin import Origin
from manyhands.data.scaling import Scaling
from manyhands.teams.job import is_member

if TYPE_CHECKING:
    from manyhands.teams.agreement import Facts
    from manyhands.teams.world import World
    from manyhands.training.plan import Plan

_FEATURES = "train-features"
_NOT_COMPARED = ("network", "rows", "pin", "blas_threads")
"""Fields of a plan that processes may differ in, or that are compared by themselves."""


def load_for(request: DataRequest, team: str, sharding: Sharding) -> Dataset:
    """Return the data set as this process needs it for such a team: alone, or as a member of a job.

    With ``sharding="fixed"``, a member of a job may get no training rows but its share. Errors are those of
    `manyhands.data.catalog.load`, and RankError and WorkerLost for those in other processes.
    """
    if not is_member(team):
        return load(request)
    from manyhands.teams.membership import join

    return load_together(request, join(), sharding)


def load_together(request: DataRequest, world: World, sharding: Sharding) -> Dataset:
    """Return the data set as this process needs it; called by all processes of a job with the same request."""
    from manyhands.teams.agreement import calling_off, together

    if world.size == 1:
        return load(request)
    with together():
        own: str = way_of_reading(request) if world.rank == 0 else ""
    way = world.broadcast_text(own)
    if way == "parts":
        return _load_parts(request, world)
    with together():
        joiner = _Joiner(world) if way == "csv" else None
        dataset = load(request, joiner, shared=way == "mapped") if way != "whole" or world.rank == 0 else None
    if way != "whole":
        assert dataset is not None
        return dataset
    with calling_off():
        return scatter(dataset, world, sharding)


def _load_parts(request: DataRequest, world: World) -> Dataset:
    """Let rank 0 scan and verify the parts, and remember it; then the others find that it was done, or do it, too."""
    from manyhands.teams.agreement import together

    with together():
        first = load(request) if world.rank == 0 else None
    with together():
        return load(request) if first is None else first


def facts_of_request(call: str, request: DataRequest | Dataset, needed: Sharding) -> Facts:
    """Return what all processes must have in common before they read: the call, the request, and the rows they need.

    ``request`` says what to read, or is the data set that each process has already.
    """
    from manyhands.teams.agreement import Facts, as_facts

    if isinstance(request, Dataset):
        return Facts({"the call": call, "data": "a Dataset"})
    given = {each.name: getattr(request, each.name) for each in fields(request)}
    if isinstance(request.data, Arrays):
        given["data"] = request.data.facts()
    return Facts({"the call": call, **as_facts(given), "the sharding": needed})


def facts_of(plan: Plan, dataset: Dataset) -> Facts:
    """Return what all processes that train together must have in common; see `manyhands.teams.agreement`."""
    from manyhands.teams.agreement import Facts, as_facts

    record = plan.to_json()
    settings = {name: value for name, value in record.items() if name not in _NOT_COMPARED}
    settings |= {"hidden layers" if name == "hidden" else name: value for name, value in record["network"].items()}
    return Facts(as_facts(settings), _facts_of_data(dataset))


def _facts_of_data(dataset: Dataset) -> dict[str, str]:
    """Return what is the same in all processes; where each has its own share of the rows, rank 0 has read them."""
    facts = {
        "the data set": dataset.name,
        "the number of training rows": str(dataset.rows),
        "the number of test rows": str(dataset.test_rows),
        "the shape of a sample": str(dataset.train.sample_shape),
        "the list of classes": ", ".join(map(str, dataset.classes.tolist())),
        "the scaling": dataset.scaling.name,
    }
    if dataset.parts is not None:
        facts["the checksum of the parts"] = dataset.parts.checksum
    elif dataset.train.rows == dataset.rows:
        facts |= {f"the checksum of {what}": f"{checksum:08x}" for what, checksum in _checksums(dataset).items()}
    return facts


def _checksums(dataset: Dataset) -> dict[str, int]:
    """Return the checksum of each array of each table, and one of the scaling."""
    found = {}
    for part, table in dataset.tables.items():
        for name, array in table.arrays().items():
            found[f"the {'training' if part == 'train' else part} {name}"] = checksum_of(array, 0)
    vectors = dataset.scaling.vectors().values()
    found["the scaling"] = functools.reduce(lambda so_far, each: checksum_of(each, so_far), vectors, 0)
    return found


class _Joiner:
    """Reads one piece of a CSV file, and gets the others' pieces; see `manyhands.data.catalog.load`."""

    def __init__(self, world: World) -> None:
        self.part, self.parts = world.rank, world.size
        self.seconds = 0.0
        self._world = world

    def __call__(self, features: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the whole table, of which this process has read a piece."""
        from manyhands.teams.agreement import together

        with together():  # the others may still be reading, or have found what ends it
            pass
        began = time.perf_counter()
        whole = join_parts(self._world.all_gather_arrays(features), self._world.all_gather_arrays(labels))
        self.seconds += time.perf_counter() - began
        return whole


def scatter(dataset: Dataset | None, world: World, sharding: Sharding) -> Dataset:
    """Give all processes the data set that rank 0 has read (None elsewhere): all of it, or fixed shares of its rows."""
    facts = json.loads(world.broadcast_text(json.dumps(_facts(dataset)) if dataset is not None else ""))
    # The test rows are for the evaluation, which no clock of the training counts. Nor does the time count in which the
    # others have waited for rank 0 to read.
    arrays = {name: _receive(world, dataset, name, *fact) for name, fact in facts["arrays"].items()}
    world.barrier()
    began = time.perf_counter()
    rows = int(facts["rows"])
    begin, end = 0, rows
    if sharding == "fixed":
        begin, end = world.rank * rows // world.size, (world.rank + 1) * rows // world.size
        features = _scatter_features(world, dataset, rows, facts["features"])
    else:
        features = _receive(world, dataset, _FEATURES, *facts["features"])
    vectors = {name: arrays[name] for name in facts["vectors"]}
    scaling = Scaling(facts["scaling"], threshold=facts["threshold"], **vectors)
    tables = {part: {**other, **_of_table(part, arrays)} for part, other in facts["tables"].items()}
    share = {name: array[begin:end] for name, array in _of_table("train", arrays).items()}
    tables["train"] |= {**share, "features": features, "first_row": begin}
    scaled: dict[str, Any] = {part: scaling.table(**fields) for part, fields in tables.items()}
    return Dataset(
        name=facts["name"],
        classes=arrays["classes"],
        scaling=scaling,
        note=facts["note"],
        seconds=facts["seconds"] if world.rank == 0 else 0.0,
        distributed=time.perf_counter() - began,
        first_row=begin,
        available=facts["available"],
        all_rows=rows,
        feature_names=None if facts["feature_names"] is None else tuple(facts["feature_names"]),
        label_name=facts["label_name"],
        origin=None if facts["origin"] is None else Origin.from_json(facts["origin"]),
        source=facts["source"],
        **scaled,
    )


def _facts(dataset: Dataset) -> dict[str, Any]:
    """Return what is not an array, and the dtypes and shapes of what is."""
    arrays = arrays_of(dataset)
    features = arrays.pop(_FEATURES)
    return {
        **dataset.facts(),
        "rows": dataset.rows,
        "tables": {part: table.facts() for part, table in dataset.tables.items()},
        "feature_names": dataset.feature_names,
        "label_name": dataset.label_name,
        "origin": None if dataset.origin is None else dataset.origin.to_json(),
        "features": [features.dtype.str, features.shape],
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
    }


def arrays_of(dataset: Dataset) -> dict[str, NDArray[Any]]:
    """Return all arrays by name, those of a table behind its own name."""
    arrays = {"classes": dataset.classes, **dataset.scaling.vectors()}
    for part, table in dataset.tables.items():
        arrays |= {f"{part}-{name}": array for name, array in table.arrays().items()}
    return arrays


def _of_table(part: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays of one table, by their names in it."""
    return {name.removeprefix(f"{part}-"): array for name, array in arrays.items() if name.startswith(f"{part}-")}


def _receive(world: World, dataset: Dataset | None, name: str, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
    """Return rank 0's array of that name."""
    array = np.empty(shape, np.dtype(dtype)) if dataset is None else np.ascontiguousarray(arrays_of(dataset)[name])
    world.broadcast_(array)
    return array


def _scatter_features(
    world: World, dataset: Dataset | None, rows: int, fact: tuple[str, Sequence[int]]
) -> NDArray[Any]:
    """Return this process's share of the training rows, sent by rank 0."""
    dtype, (_, width) = fact
    counts = [(rank + 1) * rows // world.size - rank * rows // world.size for rank in range(world.size)]
    share = np.empty((counts[world.rank], width), np.dtype(dtype))
    world.scatter(None if dataset is None else dataset.train.features, counts, share)
    return share
