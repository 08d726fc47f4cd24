"""`manyhands data shard`: all rows, alike parts, whole or not at all."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from manyhands.core.errors import DataError, OutputError, SettingsError
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.parts.manifest import is_sharded, read_manifest
from manyhands.data.parts.sharding import shard
from manyhands.data.scaling import make_scaling


def rows_in(folder, role="train"):
    """All rows of a folder of parts with their labels, sorted."""
    features = np.concatenate([np.load(path) for path in sorted(folder.glob(f"{role}-*-features.npy"))])
    labels = np.concatenate([np.load(path) for path in sorted(folder.glob(f"{role}-*-labels.npy"))])
    return sorted(map(tuple, np.column_stack([labels, features]).tolist()))


def test_all_rows_are_in_parts_of_the_same_size_which_are_alike(dataset, tmp_path):
    manifest = shard(dataset, tmp_path / "parts", 7)
    assert rows_in(tmp_path / "parts") == sorted(
        map(tuple, np.column_stack([dataset.train.labels, dataset.train.features]).tolist())
    )
    assert len(rows_in(tmp_path / "parts", "test")) == dataset.test.rows
    sizes = [part.rows for part in manifest.train]
    assert max(sizes) - min(sizes) <= 1
    assert min(min(part.counts) for part in manifest.train) > 15  # of 36 on average: the rows were sorted by class
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts"]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(dataset, tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        shard(dataset, tmp_path / name, 3, seed)
    content = {name: (tmp_path / name / "train-00001-features.npy").read_bytes() for name in ("one", "same", "other")}
    assert content["one"] == content["same"] != content["other"]
    assert read_manifest(tmp_path / "one").checksum == read_manifest(tmp_path / "same").checksum


def test_parts_are_made_of_parts(dataset, tmp_path):
    shard(dataset, tmp_path / "one", 3)
    again = load(DataRequest(str(tmp_path / "one"), scale="none"))
    shard(again, tmp_path / "two", 5, seed=9)
    assert rows_in(tmp_path / "one") == rows_in(tmp_path / "two")


@pytest.mark.parametrize("scale", ["auto", "standard", "255", "none"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_inputs_are_scaled_as_those_in_memory(rows, tmp_path, scale, dtype):
    x = rows[0].astype(dtype) * (1 if dtype == np.uint8 else dtype(1 / 3)) + (0 if dtype == np.uint8 else dtype(1e4))
    x[:, 5] = 3  # constant
    whole = make_dataset("far", Examples(x, rows[1]), Examples(x[:50], rows[1][:50]), scale="none")
    shard(whole, tmp_path / "parts", 3)
    found = load(DataRequest(str(tmp_path / "parts"), scale=scale))
    wanted = make_scaling(scale, whole.train.features)
    assert found.scaling.name == wanted.name
    assert found.train.features.dtype == whole.train.features.dtype
    inputs = wanted.table(whole.train.features, whole.train.labels).inputs()
    own = found.scaling.table(whole.train.features, whole.train.labels).inputs()
    np.testing.assert_allclose(own, inputs, rtol=1e-9, atol=1e-9)


def test_what_cannot_be_is_refused(dataset, tmp_path):
    with pytest.raises(SettingsError, match="1 to 1000 parts"):
        shard(dataset, tmp_path / "parts", 1001)
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputError, match="there is something of this name"):
        shard(dataset, tmp_path / "there", 2)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        shard(dataset, tmp_path / "file" / "parts", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]


def test_a_disk_that_is_full_is_one_error_and_leaves_nothing(dataset, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        shard(dataset, tmp_path / "parts", 2)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte, where one may be made."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_real_disk_that_is_full_is_one_error_and_leaves_nothing(small_disk):
    x = np.random.default_rng(0).integers(0, 256, (4000, 400)).astype(np.uint8)
    whole = make_dataset("large", Examples(x, np.arange(4000) % 2), Examples(x[:9], np.arange(9) % 2), scale="none")
    with pytest.raises(OutputError, match="No space left on device"):
        shard(whole, small_disk / "parts", 3)
    assert list(small_disk.iterdir()) == []


PROGRAM = """
import sys, numpy as np
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.parts.sharding import shard
x = np.random.default_rng(0).integers(0, 256, (60_000, 100)).astype(np.uint8)
whole = make_dataset("many", Examples(x, np.arange(60_000) % 3), Examples(x[:99], np.arange(99) % 3), scale="none")
print("ready", flush=True)
shard(whole, sys.argv[1], 20)
print("done", flush=True)
"""


@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_leaves_nothing_that_is_taken_for_data(tmp_path, moments):
    draws = random.Random(moments)
    seconds = 0.4
    for number in range(moments):
        target = tmp_path / f"parts-{number}"
        command = [sys.executable, "-c", PROGRAM, target]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            began = time.perf_counter()
            time.sleep(draws.uniform(0, seconds))
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            ended = process.stdout.read()
        if target.exists():  # then all of it is there
            assert load(DataRequest(str(target))).rows == 60_000
            seconds = time.perf_counter() - began if ended else seconds
        for left in tmp_path.glob(".manyhands.*"):
            if is_sharded(left):  # its manifest comes last: killed just before it got its name, it is whole
                assert load(DataRequest(str(left))).rows == 60_000
                continue
            with pytest.raises(DataError):
                load(DataRequest(str(left)))
    for left in tmp_path.glob(".manyhands.*"):
        os.utime(left, (0, 0))
    small = make_dataset("few", Examples(np.eye(4), [0, 0, 1, 1]), Examples(np.eye(4), [0, 0, 1, 1]), scale="none")
    shard(small, tmp_path / "next", 1)
    assert list(tmp_path.glob(".manyhands.*")) == []  # what the dead have left is removed
