"""Data read by several processes: under real mpiexec, every process has what it would have had alone, or its share."""

import gzip
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from manyhands.data.catalog import DataRequest, load, way_of_reading
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams import mpi_environment
from manyhands.training.jobs.distributed_read import load_for
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

pytest.importorskip("mpi4py")
WORKERS = 3
SHARDINGS = ("global", "fixed")

SCRIPT = """
import json, mmap, sys
from pathlib import Path

import numpy as np

import manyhands
from manyhands.data import idx
from manyhands.data.catalog import DataRequest, load
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams.mpi_world import join
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec
from manyhands.training.run import run
from manyhands.training.jobs.distributed_read import load_for

folder, world = Path(sys.argv[1]), join()
idx._LARGE = 0


def same(got, wanted):
    return got.dtype == wanted.dtype and np.array_equal(got, wanted) and got.flags.c_contiguous


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def facts(got, alone):
    rows = slice(got.first_row, got.first_row + got.train.rows)
    return {
        "rows": [rows.start, rows.stop, got.rows],
        "train": same(got.train.features, alone.train.features[rows]),
        "train labels": same(got.train.labels, alone.train.labels[rows]),
        "test": same(got.test.features, alone.test.features),
        "test labels": same(got.test.labels, alone.test.labels),
        "scaling": all(
            same(one, two)
            for table in (got.train, got.test, got.scaling)
            for one, two in ((table.scale, alone.scaling.scale), (table.shift, alone.scaling.shift))
        )
        and all(
            table.center is alone.scaling.center is None or same(table.center, alone.scaling.center)
            for table in (got.train, got.test, got.scaling)
        )
        and got.scaling.threshold == alone.scaling.threshold,
        "classes": same(got.classes, alone.classes),
        "described": got.describe() == alone.describe(),
        "names": (got.feature_names, got.label_name) == (alone.feature_names, alone.label_name),
        "mapped": is_mapped(got.train.features),
        "seconds": [got.seconds, got.distributed],
    }


record = {}
for name, request in json.loads((folder / "requests.json").read_text()).items():
    request = DataRequest(**request)
    alone = load(request)
    for sharding in ("global", "fixed"):
        got = load_for(request, "mpi", sharding)
        record[f"{name} {sharding}"] = facts(got, alone)
        for strategy in ("one-shot", "periodic:1epoch"):
            spec = RunSpec(
                strategy=strategy, team="mpi", network=MLPSettings(hidden=(6,)), batch=40, epochs=3, sharding=sharding,
            )
            plan = resolve(spec, got)
            result = run(plan, got)
            np.save(folder / f"{name} {sharding} {strategy} {world.rank}.npy", result.model.learner.parameters)
(folder / f"record-{world.rank}.json").write_text(json.dumps(record))
"""


def mpiexec(*command, timeout=100):
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    return subprocess.run(
        [*mpi_environment.job_command(path, kind, WORKERS), sys.executable, *map(str, command)],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def write_idx(folder, opener, ending):
    """Write four IDX files of two kinds of pictures, 100 and 40 of 4 x 3 bytes."""
    folder.mkdir()
    rng = np.random.default_rng(6)
    for part, rows in (("train", 100), ("t10k", 40)):
        labels = (np.arange(rows) % 2).astype(np.uint8)
        images = (rng.integers(0, 99, (rows, 4, 3)) + 150 * labels[:, None, None]).astype(np.uint8)
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
            with opener(folder / (name + ending), "wb") as file:
                file.write(header + array.tobytes())
    return {"data": str(folder)}


def write_csv(folder, ending="", opener=open):
    """Write CSV files with a header and words as labels; numbers with a point are in the last third only.

    The test file's columns stand in another order, after a column of row numbers without a name.
    """
    folder.mkdir()
    for part, rows in (("train", 110), ("test", 30)):
        lines = ["width,animal,height"]
        for row in range(rows):
            animal = ("cat", "dog", "a cow")[row % 3]
            width = f"{row % 3 + row / 100}" if row > 0.8 * rows else f"{row % 3}"
            height = 100 + (row * 7) % 100
            lines.append(f"{width},{animal},{height}" if part == "train" else f"{row},{height},{width},{animal}")
        if part == "test":
            lines[0] = ",height,width,animal"
        with opener(folder / f"{part}.csv{ending}", "wt") as file:
            file.write("\n".join(lines) + "\n")
    paths = {f"{part}_csv": str(folder / f"{part}.csv{ending}") for part in ("train", "test")}
    return {**paths, "label_column": "animal"}


@pytest.fixture(scope="module")
def requests(tmp_path_factory):
    base = tmp_path_factory.mktemp("data")
    return {
        "plain": write_idx(base / "plain", open, ""),
        "packed": write_idx(base / "packed", gzip.open, ".gz"),
        "csv": write_csv(base / "csv"),
        "packed csv": write_csv(base / "packed-csv", ".gz", gzip.open),
        "binary": {**write_idx(base / "binary", gzip.open, ".gz"), "binarize": 160.5},
        "first digits": {"data": "digits", "train_size": 1000, "scale": "standard"},
    }


NAMES = ("plain", "packed", "csv", "packed csv", "first digits", "binary")
WAYS = {"plain": "mapped", "csv": "csv"}


@pytest.fixture(scope="module")
def read(requests, tmp_path_factory):
    """What three processes say of their data; one job reads everything, and trains on it."""
    folder = tmp_path_factory.mktemp("read")
    (folder / "requests.json").write_text(json.dumps(requests))
    (folder / "script.py").write_text(SCRIPT)
    done = mpiexec(folder / "script.py", folder)
    assert done.returncode == 0
    assert all("only names the rows" in line for line in done.stderr.splitlines())
    return folder, [json.loads((folder / f"record-{rank}.json").read_text()) for rank in range(WORKERS)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_every_process_has_what_it_would_have_alone(read, requests, name, sharding):
    way = way_of_reading(DataRequest(**requests[name]))
    assert way == WAYS.get(name, "whole")
    for rank, record in enumerate(read[1]):
        facts = record[f"{name} {sharding}"]
        for what in ("train", "train labels", "test", "test labels", "scaling", "classes", "described", "names"):
            assert facts[what], f"{what} on worker {rank}"
        begin, end, rows = facts["rows"]
        assert rows == {"first digits": 1000, "plain": 100, "packed": 100, "binary": 100}.get(name, 110)
        # Who has not read the rows, and needs its share only, has no more.
        scattered = way == "whole" and sharding == "fixed"
        assert (begin, end) == ((rank * rows // 3, (rank + 1) * rows // 3) if scattered else (0, rows))
        assert facts["mapped"] == (name == "plain")  # as if they were large


@pytest.mark.parametrize("name", NAMES)
def test_the_time_of_reading_is_that_of_those_who_read(read, name):
    seconds = [record[f"{name} global"]["seconds"] for record in read[1]]
    reading, moving = zip(*seconds, strict=True)
    assert reading[0] > 0
    assert all(value >= 0 for value in reading)
    if name in WAYS:
        assert min(reading) > 0
    else:
        assert reading[1:] == (0.0, 0.0)
    assert (min(moving) > 0) == (name != "plain")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("strategy", ["one-shot", "periodic:1epoch"])
def test_training_on_shares_gives_the_bits_of_threads(read, requests, name, sharding, strategy):
    dataset = load(DataRequest(**requests[name]))
    settings = MLPSettings(hidden=(6,))
    how = {"strategy": strategy, "workers": WORKERS, "sharding": sharding, "network": settings}
    threads = run(resolve(RunSpec(batch=40, epochs=3, **how), dataset), dataset)
    for rank in range(WORKERS):
        parameters = np.load(read[0] / f"{name} {sharding} {strategy} {rank}.npy")
        assert parameters.tobytes() == threads.model.learner.parameters.tobytes()


def test_a_bad_cell_in_one_part_ends_all_with_one_message(requests, tmp_path):
    """The worker that reads the last third finds it; the message has the line of the whole file."""
    lines = Path(requests["csv"]["train_csv"]).read_text().splitlines()
    lines[99] = "2,cat,tall"
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(lines) + "\n")
    files = ["--train-csv", path, "--test-csv", requests["csv"]["test_csv"], "--label-column", "animal"]
    how = ["--team", "mpi", "--strategy", "one-shot", "--batch", 30, "--out", tmp_path / "m"]
    done = mpiexec("-m", "manyhands", "train", *files, *how)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "manyhands" in line]
    assert len(said) == 1, done.stderr
    assert re.fullmatch(rf"manyhands train: (rank \d: )?{re.escape(str(path))}, line 100: .*'tall'.*", said[0])
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [path]


def test_without_mpiexec_everything_is_read_here(requests):
    one, other = (load_for(DataRequest(**requests["packed"]), team, "fixed") for team in ("mpi", "threads"))
    assert one.rows == one.train.rows == other.train.rows == 100
    assert one.first_row == 0
