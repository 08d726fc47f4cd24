"""The rows of one Spark partition as compact arrays in files: bytes stay bytes, and no row becomes a Python object.

Spark hands a task its rows as Arrow record batches. This is all that a task's Python process does with them; the worker
that trains (`manyhands.training.jobs.spark.worker`) is a process of its own, and takes the files over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError
from manyhands.data.labels import check_labels
from manyhands.data.precision import storable
from manyhands.training.jobs.folder import private

ROW, TEST, LABEL, FEATURES = "manyhands_row", "manyhands_test", "manyhands_label", "manyhands_features"
"""Columns of the frame that a task gets; features may be several columns, numbered from 0."""
_TABLE, _OTHERS, _FACTS = "features.bin", "others.npz", "rows.json"
_BYTE = 255


class PartitionRows:
    """Writes record batches into a folder, whose columns are those of `manyhands.training.jobs.spark.frames.prepared`.

    Features go into the file at once, each batch in the smallest dtype that keeps it; the rest is small.

    Parameters
    ----------
    folder
        Where the files are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pieces: list[tuple[int, str]] = []
        self._widths: set[int] = set()
        self._labels: list[NDArray[Any]] = []
        self._numbers: list[NDArray[np.int64]] = []
        self._tests: list[NDArray[np.bool_]] = []

    def write(self, batches: Iterable[Any]) -> None:
        """Write everything: features, and the files that `StoredRows` reads.

        Raises
        ------
        DataError
            If something is missing or is no number, rows have different numbers of features, or labels cannot be
            classes.
        OSError
            If there is no room.
        """
        with open(self._folder / _TABLE, "wb", opener=private) as file:
            for batch in batches:
                if batch.num_rows:
                    self._add(batch, file)
        self._write_others()

    def _add(self, batch: Any, file: IO[bytes]) -> None:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        self._numbers.append(columns.pop(ROW).to_numpy().astype(np.int64))
        self._tests.append(columns.pop(TEST).to_numpy(zero_copy_only=False).astype(np.bool_))
        self._labels.append(_labels(columns.pop(LABEL)))
        table = _compact(_table(list(columns.values())))
        self._widths.add(table.shape[1])
        if len(self._widths) > 1:
            raise DataError(f"rows have different numbers of features: {', '.join(map(str, sorted(self._widths)))}")
        self._pieces.append((len(table), table.dtype.str))
        file.write(np.ascontiguousarray(table).reshape(-1).view(np.uint8).data)

    def _write_others(self) -> None:
        rows = sum(count for count, _ in self._pieces)
        labels = check_labels(np.concatenate(self._labels)) if rows else np.zeros(0, np.int64)
        classes, codes = np.unique(labels, return_inverse=True)
        np.savez(
            self._folder / _OTHERS,
            codes=codes.astype(np.int32),
            numbers=np.concatenate(self._numbers) if rows else np.zeros(0, np.int64),
            tests=np.concatenate(self._tests) if rows else np.zeros(0, np.bool_),
        )
        facts = {
            "rows": rows,
            "width": next(iter(self._widths), 0),
            "pieces": self._pieces,
            "classes": classes.tolist(),
            "kind": labels.dtype.str,
        }
        (self._folder / _FACTS).write_text(json.dumps(facts))


class StoredRows:
    """What `PartitionRows` has written.

    Attributes
    ----------
    rows, width
        How many rows there are, and features in each.
    dtypes
        Of the features.
    classes : ndarray
        The labels there are, sorted.
    codes : ndarray of shape (rows,), int32
        Each row's label among them.
    numbers : ndarray of shape (rows,), int64
        Each row's number in its frame.
    tests : ndarray of shape (rows,), bool
        Whether it is a test row.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _TABLE
        facts = json.loads((folder / _FACTS).read_text())
        self.rows, self.width = int(facts["rows"]), int(facts["width"])
        self._pieces = [(int(count), np.dtype(dtype)) for count, dtype in facts["pieces"]]
        self.dtypes = sorted({dtype.str for _, dtype in self._pieces})
        self.classes = np.array(facts["classes"], facts["kind"])
        with np.load(folder / _OTHERS, allow_pickle=False) as arrays:
            self.codes, self.numbers, self.tests = (arrays[name] for name in ("codes", "numbers", "tests"))

    def chunks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the features, at most so many rows at a time; the file is removed when all have been read."""
        with open(self._path, "rb") as file:
            for count, dtype in self._pieces:
                for begin in range(0, count, rows):
                    some = min(rows, count - begin)
                    yield np.fromfile(file, dtype, some * self.width).reshape(some, self.width)
        self._path.unlink()

    def count_chunks(self, rows: int) -> int:
        """Return how many chunks of so many rows there are."""
        return sum(-(-count // rows) for count, _ in self._pieces)


def _labels(column: Any) -> NDArray[Any]:
    """Return labels as an array: numbers, truth values or words."""
    if column.null_count:
        raise DataError(f"{column.null_count} labels are missing; leave such rows out: df.dropna(subset=[...])")
    import pyarrow.types as kinds

    if kinds.is_string(column.type) or kinds.is_large_string(column.type):
        found = column.dictionary_encode()
        words = np.array(found.dictionary.to_pylist(), dtype=str)
        return np.asarray(words[found.indices.to_numpy()])
    if not (kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_boolean(column.type)):
        raise DataError(f"labels of type {column.type} cannot be classes: use numbers, truth values or words")
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _table(columns: list[Any]) -> NDArray[Any]:
    """Return features, shape (rows, features): one column of bytes or of lists of numbers, or columns of numbers."""
    import pyarrow.types as kinds

    for column in columns:
        if column.null_count:
            raise DataError(f"{column.null_count} rows have features that are missing; fill them in, or leave them out")
    first = columns[0]
    if len(columns) == 1 and (kinds.is_binary(first.type) or kinds.is_large_binary(first.type)):
        return _bytes(first)
    if len(columns) == 1 and (kinds.is_list(first.type) or kinds.is_large_list(first.type)):
        return _lists(first)
    return np.column_stack([_numbers(column) for column in columns])


def _bytes(column: Any) -> NDArray[np.uint8]:
    offset = np.int64 if "large" in str(column.type) else np.int32
    _, offsets, content = column.buffers()
    ends = np.frombuffer(offsets, offset)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    width = _one_length(np.diff(ends))
    return np.frombuffer(content, np.uint8)[ends[0] : ends[-1]].reshape(-1, width)


def _lists(column: Any) -> NDArray[Any]:
    width = _one_length(column.value_lengths().to_numpy())
    values = column.flatten()
    if values.null_count:
        raise DataError(f"{values.null_count} features are missing; fill them in, or leave such rows out")
    return _numbers(values).reshape(-1, width)


def _one_length(lengths: NDArray[Any]) -> int:
    found = np.unique(lengths)
    if len(found) != 1 or not found[0]:
        raise DataError(f"rows have different numbers of features: {', '.join(map(str, found[:5]))}")
    return int(found[0])


def _numbers(column: Any) -> NDArray[Any]:
    import pyarrow.types as kinds

    if not (kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_boolean(column.type)):
        raise DataError(f"features must be numbers, not {column.type}")
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _compact(table: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in the smallest dtype that keeps them: whole ones may be bytes, as Spark has no unsigned ones."""
    if table.dtype.kind in "iu" and table.size and table.min() >= 0 and table.max() <= _BYTE:
        return table.astype(np.uint8, copy=False)
    return storable(table)
