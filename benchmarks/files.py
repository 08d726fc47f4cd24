"""The files that contestants read: MNIST as IDX.gz and as CSV, in a temporary folder."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
from workloads import CSV_ROWS, ROWS, TEST_ROWS

from manyhands.data.catalog import DataRequest, load
from manyhands.data.csv.reader import write_csv
from manyhands.data.dataset import Dataset


def load_mnist() -> Dataset:
    """Return all of MNIST, wherever the library finds it."""
    return load(DataRequest("mnist", train_size=CSV_ROWS))


def provide(folder: Path, letters: str) -> dict[str, str]:
    """Write what the workloads need into ``folder``; return the words for the commands and the data folder."""
    dataset = load_mnist()
    train, test = dataset.train, dataset.test
    files = {name: str(folder / f"{name}.csv") for name in ("train", "test", "whole")}
    if "D" in letters:
        write_csv(Path(files["train"]), train.features[:ROWS], train.labels[:ROWS])
        write_csv(Path(files["test"]), test.features[:TEST_ROWS], test.labels[:TEST_ROWS])
    if "F" in letters:
        write_csv(Path(files["whole"]), train.features, train.labels)
    data = Path(os.environ.get("MANYHANDS_DATA", folder))
    images = "mnist/train-images-idx3-ubyte.gz"
    if not (data / images).is_file():  # MNIST was downloaded: the peers read it from where everybody can
        data = folder
        _write_idx(data / "mnist", "train", train.features, train.labels)
        _write_idx(data / "mnist", "t10k", test.features, test.labels)
    return {**files, "data": str(data), "idx": str(data / images)}


def _write_idx(folder: Path, part: str, features: np.ndarray, labels: np.ndarray) -> None:
    """Write images and labels in MNIST's format."""
    folder.mkdir(exist_ok=True)
    images = features.astype(np.uint8).reshape(len(labels), 28, 28)
    for name, array in ((f"{part}-images-idx3", images), (f"{part}-labels-idx1", labels.astype(np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        with gzip.open(folder / f"{name}-ubyte.gz", "wb") as file:
            file.write(header + array.tobytes())
