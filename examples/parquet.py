"""Write a data set that Manyhands knows as Parquet files: a column of bytes, and one of labels.

python examples/parquet.py mnist parquet
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manyhands.data.catalog import DataRequest, load


def main(name: str, folder: Path) -> None:
    """Write train.parquet and test.parquet."""
    dataset = load(DataRequest(name, train_size=60000 if name == "mnist" else None))
    folder.mkdir(parents=True, exist_ok=True)
    for part, samples in (("train", dataset.train), ("test", dataset.test)):
        columns = {
            "features": pa.array([row.tobytes() for row in samples.features], pa.binary()),
            "label": pa.array(dataset.classes[samples.labels]),
        }
        path = folder / f"{part}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=5000)
        print(f"{path}: {samples.rows} rows")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
