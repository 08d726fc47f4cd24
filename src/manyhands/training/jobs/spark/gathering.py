"""From the rows of the tasks' partitions to a data set of which every worker has a share.

Rows bring their numbers in the frame that was read, whatever partitions Spark has made of it since. Each worker gets an
equal share of consecutive rows, or all if they are few; and the first worker all test rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, SettingsError
from manyhands.core.parameters import parameter
from manyhands.data.dataset import Dataset
from manyhands.data.labels import check_labels, read_labels
from manyhands.data.scaling import ALONE, Across, Scaling
from manyhands.data.share import Share
from manyhands.teams.agreement import together
from manyhands.teams.world import World, as_bytes
from manyhands.training.jobs.spark.rows import StoredRows
from manyhands.training.shards import shard_bounds
from manyhands.training.spec import RunSpec

_BYTES_AT_ONCE = 1 << 21
_FEW_BYTES = 1 << 25
_PARTITION_BITS = 33
"""`monotonically_increasing_id`: the partition stands above these bits, and the row's number in it below."""
_TEAM = "spark"


class AcrossWorld(Across):
    """Combines small vectors of all processes of a job."""

    def __init__(self, world: World) -> None:
        self._world = world

    def smallest(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Return the smallest of all processes' elements, place by place."""
        return np.asarray(np.min(self._all(vector), axis=0))

    def largest(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Return the largest of all processes' elements, place by place."""
        return np.asarray(np.max(self._all(vector), axis=0))

    def total(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over all processes, in rank order."""
        return np.asarray(np.sum(self._all(vector), axis=0))

    def _all(self, vector: NDArray[Any]) -> NDArray[Any]:
        return np.stack(self._world.all_gather_arrays(vector))


@dataclass(frozen=True)
class Numbering:
    """Which place a row has among all, from its number in the frame.

    Attributes
    ----------
    begins
        The first place of each partition of the frame.
    rows
        How many rows there are.
    """

    begins: Mapping[int, int]
    rows: int

    @classmethod
    def of(cls, everyone: Sequence[Mapping[str, int]]) -> Numbering:
        """Return the numbering of partitions, of which each process has some rows: the largest number, plus one."""
        sizes: dict[int, int] = {}
        for counts in everyone:
            for partition, count in counts.items():
                sizes[int(partition)] = max(count, sizes.get(int(partition), 0))
        begins: dict[int, int] = {}
        rows = 0
        for number in sorted(sizes):
            begins[number] = rows
            rows += sizes[number]
        return cls(begins, rows)

    @staticmethod
    def counts(numbers: NDArray[np.int64]) -> dict[int, int]:
        """Return for each partition of which rows are here the largest row's number in it, plus one."""
        partitions, inside = _split(numbers)
        return {int(each): int(inside[partitions == each].max()) + 1 for each in np.unique(partitions)}

    def places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of rows."""
        partitions, inside = _split(numbers)
        known, at = np.unique(partitions, return_inverse=True)
        return np.array([self.begins[int(each)] for each in known], np.int64)[at] + inside


def _split(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return numbers >> _PARTITION_BITS, numbers & ((1 << _PARTITION_BITS) - 1)


@dataclass(frozen=True)
class Given:
    """What is not to be found in the rows.

    Attributes
    ----------
    classes
        The labels of the class numbers.
    scaling
        How stored values become inputs; a threshold has been applied already.
    """

    classes: NDArray[Any]
    scaling: Scaling

    @classmethod
    def of(cls, record: Mapping[str, Any] | None) -> Given | None:
        """Return what plain data say."""
        if record is None:
            return None
        name, threshold, vectors = record["scaling"]
        arrays = {each: np.array(values, np.float64) for each, values in vectors.items()}
        return cls(read_labels(record["classes"]), Scaling(name, threshold=threshold, **arrays))


@dataclass(frozen=True)
class _Part:
    """The training or the test rows of this process, and where they go.

    Attributes
    ----------
    rows : ndarray
        Which of its rows they are, ascending.
    places : ndarray
        Their places among all.
    bounds : ndarray of shape (size + 1,)
        Process r gets the places ``bounds[r]`` to ``bounds[r + 1]``.
    """

    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    bounds: NDArray[np.int64]

    def between(self, begin: int, end: int) -> slice:
        """Return which of them are among the rows begin..end-1 of the process."""
        return slice(*np.searchsorted(self.rows, (begin, end)))


def gather_dataset(folder: Path, world: World, spec: RunSpec, name: str, given: Given | None = None) -> Dataset:
    """Return the data set of a job, of which this process has a share; called by all its workers.

    Parameters
    ----------
    folder
        What `manyhands.training.jobs.spark.rows.PartitionRows` has written; the features are removed.
    world
        The workers.
    spec
        Its settings about data.
    name
        Of the data set, for messages.
    given
        What is not to be found in the rows.

    Raises
    ------
    SettingsError, DataError
        On all workers, if the rows cannot be trained on.
    """
    stored = StoredRows(folder)
    here = {"train": np.flatnonzero(~stored.tests), "test": np.flatnonzero(stored.tests)}
    mine = {
        "rows": stored.rows,
        "width": stored.width,
        "dtypes": stored.dtypes,
        "classes": stored.classes.tolist(),
        "kind": stored.classes.dtype.str,
        "counts": {part: Numbering.counts(stored.numbers[rows]) for part, rows in here.items()},
    }
    everyone = [json.loads(text) for text in world.all_gather_texts(json.dumps(mine))]
    numbering = {part: Numbering.of([each["counts"][part] for each in everyone]) for part in here}
    with together(_TEAM):
        form = _form(everyone)
        labels = _labels(everyone) if given is None else np.arange(len(given.classes))
        rows = _rows_used(spec, numbering["train"].rows, world.size)
    bounds = {
        "train": shard_bounds(rows, world.size),
        "test": np.array([0] + [numbering["test"].rows] * world.size, np.int64),
    }
    parts = {}
    for part, which in here.items():
        places = numbering[part].places(stored.numbers[which])
        used = places < bounds[part][-1]
        parts[part] = _Part(which[used], places[used], bounds[part])
    whole = held_by_all(rows, *form, world.size)
    found = _distribute(world, stored, np.searchsorted(labels, stored.classes), parts, *form, {"train": whole})
    across = ALONE if whole else AcrossWorld(world)
    (features, codes), (test_features, test_codes) = found["train"], found["test"]
    own = np.bincount(codes, minlength=len(labels)) > 0
    seen = across.largest(own.astype(np.uint8)) > 0 if given is None else np.ones(len(labels), np.bool_)
    with together(_TEAM):
        share = Share(
            features,
            _coded(codes, seen, labels),
            test_features,
            _coded(test_codes, seen, labels),
            classes=labels[seen] if given is None else given.classes,
            first_row=0 if whole else int(bounds["train"][world.rank]),
            rows=rows,
            scale=spec.scale,
            binarize=spec.binarize,
        )
        share.check()
    return share.dataset(name, across, spec.shape, scaling=None if given is None else given.scaling)


def held_by_all(rows: int, width: int, dtype: np.dtype[Any], size: int) -> bool:
    """Return whether every process keeps all training rows.

    Two processes need as much memory for half of the rows and those of an epoch, and rows are exchanged once only. So
    are few rows, beside what a process takes anyway.
    """
    return size <= 2 or rows * width * dtype.itemsize <= _FEW_BYTES


def _form(everyone: Sequence[Mapping[str, Any]]) -> tuple[int, np.dtype[Any]]:
    """Return the number of features of all rows, and the dtype that keeps all of them."""
    filled = [each for each in everyone if each["rows"]]
    if not filled:
        raise DataError("there are no rows")
    widths = sorted({each["width"] for each in filled})
    if len(widths) > 1:
        raise DataError(f"rows have different numbers of features: {', '.join(map(str, widths))}")
    dtypes = {np.dtype(dtype) for each in filled for dtype in each["dtypes"]}
    return int(widths[0]), np.result_type(*dtypes)


def _labels(everyone: Sequence[Mapping[str, Any]]) -> NDArray[Any]:
    """Return all labels there are, sorted."""
    found = [np.array(each["classes"], each["kind"]) for each in everyone if each["rows"]]
    return np.unique(check_labels(np.concatenate(found)))


def _rows_used(spec: RunSpec, rows: int, workers: int) -> int:
    """Return how many training rows are used."""
    if spec.validation is not None:
        raise SettingsError(f"on Spark, all training rows are trained on: leave {parameter('validation')} out")
    if isinstance(spec.train_size, int) and spec.train_size > rows:
        raise SettingsError(f"{parameter('train_size', spec.train_size)}: there are {rows} training rows")
    if rows < workers:
        raise DataError(f"{rows} training rows cannot be shared by {workers} workers")
    return spec.train_size if isinstance(spec.train_size, int) else rows


def _coded(codes: NDArray[np.int32], seen: NDArray[np.bool_], labels: NDArray[Any]) -> NDArray[np.int32]:
    """Return class numbers among the labels that the training rows have."""
    unknown = np.flatnonzero(~seen[codes])
    if len(unknown):
        raise DataError(
            f"test row {unknown[0] + 1} has the label {labels[codes[unknown[0]]]}, which no training row has; train "
            "with more rows, or remove such rows"
        )
    return (np.cumsum(seen) - 1).astype(np.int32)[codes]


def _distribute(
    world: World,
    stored: StoredRows,
    recoded: NDArray[np.int64],
    parts: Mapping[str, _Part],
    width: int,
    dtype: np.dtype[Any],
    whole: Mapping[str, bool],
) -> dict[str, tuple[NDArray[Any], NDArray[np.int32]]]:
    """Send rows to the processes that they belong to; return features and codes of those that belong here, in order.

    Parameters
    ----------
    world
        The processes.
    stored
        This one's rows.
    recoded
        The number of each of its labels among all.
    parts
        Where they go.
    width, dtype
        Of the features of all processes.
    whole
        Of which parts every process gets all rows.
    """
    kept, found, filled = {}, {}, {}
    for part, each in parts.items():
        begin, end = (int(bound) for bound in each.bounds[world.rank : world.rank + 2])
        begin, count = (begin, int(each.bounds[-1])) if whole.get(part) else (0, end - begin)
        kept[part] = np.zeros((count, width), dtype), np.zeros(count, np.int32)
        mine = slice(begin, begin + int(np.diff(each.bounds)[world.rank]))
        found[part] = tuple(array[mine] for array in kept[part])
        filled[part] = np.zeros(mine.stop - mine.start, np.bool_)
    at_once = max(1, _BYTES_AT_ONCE // (width * dtype.itemsize))
    chunks, begin = stored.chunks(at_once), 0
    for _ in range(max(json.loads(each) for each in world.all_gather_texts(str(stored.count_chunks(at_once))))):
        chunk = next(chunks, np.zeros((0, width), dtype))
        end = begin + len(chunk)
        for part, each in parts.items():
            inside = each.between(begin, end)
            rows, places = each.rows[inside], each.places[inside]
            owners = np.searchsorted(each.bounds, places, side="right") - 1
            order = np.argsort(owners, kind="stable")
            rows, places = rows[order], places[order]
            sent = [places, recoded[stored.codes[rows]].astype(np.int32), chunk[rows - begin].astype(dtype, copy=False)]
            at, codes, features = _exchange(world, sent, np.bincount(owners, minlength=world.size))
            at -= each.bounds[world.rank]
            found[part][0][at], found[part][1][at], filled[part][at] = features, codes, True
        begin = end
    next(chunks, None)  # which removes the file
    with together(_TEAM):
        if missing := sum(int((~each).sum()) for each in filled.values()):
            raise DataError(
                f"{missing} rows are missing: the frame gives other rows each time that it is read; write it to files "
                "first"
            )
    for part, each in parts.items():
        if whole.get(part):
            _gather_all(world, kept[part], each.bounds)
    return kept


def _gather_all(world: World, arrays: Sequence[NDArray[Any]], bounds: NDArray[np.int64]) -> None:
    """Give every process the rows that the others have, in their places."""
    for array in arrays:
        width = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
        world.wait(world.start_all_gather(as_bytes(array), (np.diff(bounds) * width).tolist()))


def _exchange(world: World, arrays: Sequence[NDArray[Any]], counts: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Send the first ``counts[0]`` rows of each array to rank 0, and so on; return what comes, in rank order."""
    sizes = np.stack(world.all_gather_arrays(counts))[:, world.rank]
    found = []
    for array in arrays:
        received = np.empty((int(sizes.sum()), *array.shape[1:]), array.dtype)
        width = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
        expected = (sizes * width).tolist()
        sent = as_bytes(np.ascontiguousarray(array))
        world.wait(world.start_all_to_all(sent, (counts * width).tolist(), as_bytes(received), expected))
        found.append(received)
    return found
