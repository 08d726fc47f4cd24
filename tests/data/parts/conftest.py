"""Small data sets, and folders of their rows in all forms of parts."""

import struct
from pathlib import Path

import numpy as np
import pytest

from manyhands.data.dataset import Dataset, Examples, make_dataset

ROWS, FEATURES, CLASSES = 1200, 12, 4


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    """A cache of its own for every test: nothing is remembered."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MANYHANDS_CACHE", str(folder))
    return folder


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Bytes and four classes that depend on two of them, sorted by class: the worst order there is."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (ROWS, FEATURES)).astype(np.uint8)
    y = (x[:, 0] > 128).astype(np.int64) + 2 * (x[:, 1] > 128)
    order = np.argsort(y, kind="stable")
    return x[order], y[order]


@pytest.fixture
def dataset(rows) -> Dataset:
    """The rows in memory, as `manyhands data shard` takes them."""
    x, y = rows
    test = slice(None, None, 6)
    kept = np.arange(len(x)) % 6 > 0
    return make_dataset("blobs", Examples(x[kept], y[kept]), Examples(x[test], y[test]), scale="none")


def write_parts(
    folder: Path, form: str, x: np.ndarray, y: np.ndarray, count: int, prefix: str = "part", groups: int = 70
) -> Path:
    """Write rows as parts of others, in their order."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        rows = slice(number * len(x) // count, (number + 1) * len(x) // count)
        write_part(folder, form, x[rows], y[rows], f"{prefix}-{number:03d}", groups)
    return folder


def write_part(folder: Path, form: str, x: np.ndarray, y: np.ndarray, name: str, groups: int = 70) -> None:
    """Write one part."""
    if form == "npy":
        np.save(folder / f"{name}-features.npy", x)
        np.save(folder / f"{name}-labels.npy", y)
    elif form == "idx":
        images, labels = x.astype(np.uint8), y.astype(np.uint8)
        head = struct.pack(">HBBII", 0, 8, 2, *images.shape)
        (folder / f"{name}-images-idx2-ubyte").write_bytes(head + images.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">HBBI", 0, 8, 1, len(labels)) + labels.tobytes()
        )
    elif form == "csv":
        head = ",".join(["label", *(f"c{place}" for place in range(x.shape[1]))])
        lines = [",".join(map(str, [label, *row])) for row, label in zip(x.tolist(), y.tolist(), strict=True)]
        (folder / f"{name}.csv").write_text("\n".join([head, *lines]) + "\n")
    else:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = {"label": y, **{f"c{place}": x[:, place] for place in range(x.shape[1])}}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", row_group_size=groups)
