"""Readers of a CSV file of bytes on one core, each in its fastest documented way: reading.py LIBRARY FILE."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

COLUMNS = 785


def read_polars(path: str) -> np.ndarray:
    """POLARS_MAX_THREADS=1 is in the environment."""
    import polars as pl

    schema = {f"column_{number}": pl.UInt8 for number in range(COLUMNS)}
    return pl.read_csv(path, has_header=False, schema=schema).to_numpy()


def read_pyarrow(path: str) -> np.ndarray:
    """Return the columns of a table side by side."""
    import pyarrow as pa
    import pyarrow.csv as csv

    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False, autogenerate_column_names=True),
        convert_options=csv.ConvertOptions(column_types={f"f{number}": pa.uint8() for number in range(COLUMNS)}),
    )
    values = np.empty(table.shape, np.uint8, order="F")
    for number, column in enumerate(table.columns):
        values[:, number] = column.to_numpy()
    return values


def read_pandas(path: str) -> np.ndarray:
    """Return the frame's array."""
    import pandas as pd

    return pd.read_csv(path, header=None, dtype=np.uint8).to_numpy()


def read_numpy(path: str) -> np.ndarray:
    """Return loadtxt's array."""
    return np.loadtxt(path, np.uint8, delimiter=",")


def main() -> None:
    """Read twice; the better time counts."""
    reader = {"polars": read_polars, "pyarrow": read_pyarrow, "pandas": read_pandas, "numpy": read_numpy}[sys.argv[1]]
    times = []
    for _ in range(2):
        start = time.perf_counter()
        values = reader(sys.argv[2])
        times.append(time.perf_counter() - start)
    assert values.dtype == np.uint8
    assert values.ndim == 2
    total = int(values.sum(dtype=np.int64))
    print(json.dumps({"seconds": min(times), "rows": len(values), "total": total}))


if __name__ == "__main__":
    main()
