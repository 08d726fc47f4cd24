"""IDX files under any names: what they are is in their headers, which part in their names or numbers of rows."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from manyhands.core.errors import DataError
from manyhands.data.catalog import DataRequest, load
from manyhands.data.folder import idx_files

IMAGES, LABELS = np.arange(36, dtype=np.uint8).reshape(9, 2, 2), np.array([4, 5, 6] * 3, np.uint8)


def write(path: Path, array: np.ndarray) -> None:
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def fill(folder: Path, names: str, train: int = 6) -> Path:
    arrays = (IMAGES[:train], LABELS[:train], IMAGES[train:], LABELS[train:])
    for name, array in zip(names.split(), arrays, strict=True):
        write(folder / name, array)
    return folder


@pytest.mark.parametrize(
    ("names", "train"),
    [
        ("a b c d", 6),  # by rows
        ("z.gz y.gz b.gz a.gz", 6),
        ("my_training.idx my_training_y.idx my_testing.idx my_testing_y.idx", 6),
        ("train_x train_y t10k_x t10k_y", 3),  # fewer rows than for testing, and still
        ("train_x train_y c d", 6),
    ],
)
def test_files_under_any_names_are_found(tmp_path, names, train):
    fill(tmp_path, names, train)
    (tmp_path / "README").write_text("about")
    found = idx_files(tmp_path)
    assert [path.name for path in found.values()] != []
    assert {f"{part} {what}": path.name for (part, what), path in found.items()} == dict(
        zip(("train images", "train labels", "test images", "test labels"), names.split(), strict=True)
    )
    loaded = load(DataRequest(str(tmp_path)))
    assert (loaded.train.rows, loaded.test.rows) == (train, 9 - train)
    first, second, *_ = names.split()
    assert f": {first} and {second} for training" in loaded.note


@pytest.mark.parametrize(
    ("names", "train"),
    [
        ("test_x test_y c d", 6),  # the names say otherwise
        ("a b train_x train_y", 6),
    ],
)
def test_names_and_rows_that_contradict_each_other_are_listed(tmp_path, names, train):
    fill(tmp_path, names, train)
    with pytest.raises(DataError, match=r"which of these IDX files .* There are .*\(6, 2, 2\)"):
        idx_files(tmp_path)


def test_parts_of_the_same_size_need_names(tmp_path):
    for name, array in zip("abcd", (IMAGES[:4], LABELS[:4], IMAGES[4:8], LABELS[4:8]), strict=True):
        write(tmp_path / name, array)
    with pytest.raises(DataError, match="which of these IDX files are images and labels"):
        idx_files(tmp_path)


def test_a_fifth_file_is_one_too_many(tmp_path):
    write(fill(tmp_path, "a b c d") / "e", LABELS)
    with pytest.raises(DataError, match=r"which of these IDX files .* e \(9,\)"):
        idx_files(tmp_path)
