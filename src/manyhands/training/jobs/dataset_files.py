"""A data set as files in a folder: how the processes of a job on this machine get it without copies of their own.

The features are mapped into each process's memory: a worker reads the pages that its rows lie on, and the system keeps
one copy of them for all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import OutputError
from manyhands.data.dataset import Dataset
from manyhands.data.origin import Origin
from manyhands.data.parts.reading import PartedData
from manyhands.data.scaling import Scaling
from manyhands.training.jobs.distributed_read import arrays_of
from manyhands.training.jobs.folder import private

_FACTS = "dataset.json"


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a data set into a folder; OutputError if there is no room."""
    arrays = arrays_of(dataset)
    trained_on = [name for name in arrays if name.startswith("train-") or name in dataset.scaling.vectors()]
    others = [name for name in arrays if name not in trained_on]  # for the evaluation, which no training clock counts
    try:
        for name in others:
            _write(folder, name, arrays[name])
        began = time.perf_counter()
        for name in trained_on:
            _write(folder, name, arrays[name])
        facts = {
            **dataset.facts(),
            "tables": {part: [table.facts(), list(table.arrays())] for part, table in dataset.tables.items()},
            "distributed": time.perf_counter() - began,
            "origin": None if dataset.origin is None else dataset.origin.to_json(),
            "parts": None if dataset.parts is None else dataset.parts.to_json(),
        }
        with open(folder / _FACTS, "w", encoding="ascii", opener=private) as file:
            json.dump(facts, file)
    except OSError as error:
        raise OutputError(f"cannot hand the data over through {folder}: {error.strerror or error}") from error
    dataset.check_unchanged()


def map_dataset(folder: Path) -> Dataset:
    """Return the data set in a folder, its features mapped and not read."""
    facts = json.loads((folder / _FACTS).read_text())
    arrays = {
        part: _table_arrays(folder, part, names) for part, (_, names) in facts["tables"].items() if part != "train"
    }
    classes = _read(folder, "classes")
    began = time.perf_counter()
    vectors = {name: _read(folder, name) for name in facts["vectors"]}
    scaling = Scaling(facts["scaling"], threshold=facts["threshold"], **vectors)
    arrays["train"] = _table_arrays(folder, "train", facts["tables"]["train"][1])
    tables: dict[str, Any] = {
        part: scaling.table(**arrays[part], **other) for part, (other, _) in facts["tables"].items()
    }
    parts = None if facts["parts"] is None else PartedData.from_json(facts["parts"])
    return Dataset(
        name=facts["name"],
        classes=classes,
        scaling=scaling,
        note=facts["note"],
        seconds=facts["seconds"],
        distributed=facts["distributed"] + time.perf_counter() - began,
        origin=None if facts["origin"] is None else Origin.from_json(facts["origin"]),
        source=facts["source"],
        parts=parts,
        all_rows=None if parts is None else parts.rows,
        **tables,
    )


def _table_arrays(folder: Path, part: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a table, its features mapped."""
    return {name: (_map if name == "features" else _read)(folder, f"{part}-{name}") for name in names}


def _write(folder: Path, name: str, array: NDArray[Any]) -> None:
    """Write as np.save does, but through write(), whose errors say what is wrong (no room, for one)."""
    array = np.ascontiguousarray(array)
    with open(folder / f"{name}.npy", "wb", opener=private) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        if array.size:
            file.write(array.reshape(-1).view(np.uint8).data)


def _read(folder: Path, name: str) -> NDArray[Any]:
    return np.asarray(np.load(folder / f"{name}.npy", allow_pickle=False))


def _map(folder: Path, name: str) -> NDArray[Any]:
    # Copy on write, never written: kernels are compiled for arrays that could be.
    return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False))
