"""Validation rows reach every process of an MPI job, however it gets its data, and merges there look at them."""

import json
import mmap
import subprocess
import sys

import numpy as np
import pytest

import manyhands
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Examples, make_dataset
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams import mpi_environment
from manyhands.training.jobs.dataset_files import map_dataset, write_dataset
from manyhands.training.resolve import resolve
from manyhands.training.run import Runner, run
from manyhands.training.spec import RunSpec

WORKERS = 2
STRATEGIES = ("one-shot:merge=soup", "periodic:7,merge=validation")


def pixels():
    rng = np.random.default_rng(1)
    return Examples(rng.integers(0, 256, (50, 4, 3), dtype=np.uint8), np.arange(50) % 4)


def numbers():
    rng = np.random.default_rng(2)
    return Examples(rng.normal(size=(42, 5)), np.array(["hen", "a cow"])[np.arange(42) % 2])


def same(got, wanted):
    return got.dtype == wanted.dtype and np.array_equal(got, wanted) and got.flags.c_contiguous


@pytest.mark.parametrize("examples", [pixels, numbers])
@pytest.mark.parametrize(("rows", "validation", "kept"), [(None, 12, 12), (30, 7, 7), (None, "auto", None)])
def test_validation_rows_arrive_as_they_were(tmp_path, examples, rows, validation, kept):
    data = examples()
    dataset = make_dataset("pets", data, data, train_size=rows, validation=validation)
    assert dataset.validation.rows == (kept or len(data.labels) // 6)  # by default a sixth, where there are no others
    write_dataset(dataset, tmp_path)
    taken = map_dataset(tmp_path)
    for part in ("train", "test", "validation"):
        for name in ("features", "labels", "scale", "shift"):
            assert same(getattr(getattr(taken, part), name), getattr(getattr(dataset, part), name)), (part, name)
    assert taken.describe() == dataset.describe()
    assert taken.describe()["validation_rows"] == dataset.validation.rows


def test_they_are_mapped_and_what_is_written_stays_here(tmp_path):
    dataset = make_dataset("pets", pixels(), pixels(), validation=12)
    write_dataset(dataset, tmp_path)
    taken = map_dataset(tmp_path).validation.features
    assert type(taken) is np.ndarray
    base = taken
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
    taken[:] = 0
    assert same(map_dataset(tmp_path).validation.features, dataset.validation.features)


def test_without_validation_rows_there_are_none(tmp_path):
    write_dataset(make_dataset("pets", pixels(), pixels()), tmp_path)
    taken = map_dataset(tmp_path)
    assert taken.validation is None
    assert "validation_rows" not in taken.describe()


def test_a_folder_used_for_another_data_set_before_has_none_of_its_rows(tmp_path):
    write_dataset(make_dataset("pets", pixels(), pixels(), validation=12), tmp_path)
    write_dataset(make_dataset("pets", pixels(), pixels()), tmp_path)
    assert map_dataset(tmp_path).validation is None


@pytest.fixture(scope="module")
def few_digits():
    return load(DataRequest("digits", train_size=300, validation=60))


def bits(result):
    return result.model.learner.parameters.tobytes()


def plan_for(dataset, strategy, team="threads"):
    how = {"workers": WORKERS, "network": MLPSettings(hidden=(6,)), "batch": 40, "epochs": 3}
    return resolve(RunSpec(strategy=strategy, team=team, **how), dataset)


@pytest.fixture(scope="module")
def threads(few_digits):
    return {strategy: bits(run(plan_for(few_digits, strategy), few_digits)) for strategy in STRATEGIES}


def test_the_merges_depend_on_them(few_digits, threads):
    """What the tests below would see with other rows, or none."""
    other = load(DataRequest("digits", train_size=300, validation=1))
    for strategy in STRATEGIES:
        plain = strategy.partition("merge=")[0].rstrip(":,")
        assert bits(run(plan_for(few_digits, plain), few_digits)) != threads[strategy]
    assert bits(run(plan_for(other, STRATEGIES[1]), other)) != threads[STRATEGIES[1]]


def test_a_job_of_our_own_merges_as_threads_do(few_digits, threads):
    pytest.importorskip("mpi4py")
    with Runner(few_digits) as runner:
        for strategy in STRATEGIES:
            assert bits(runner.run(plan_for(few_digits, strategy, "mpi"))) == threads[strategy]


def test_train_keeps_rows_for_a_strategy_that_needs_them():
    result = manyhands.train("digits", strategy=STRATEGIES[0], workers=2, epochs=1, hidden=(6,))
    # A sixth of scikit-learn's training rows: all of them are trained on otherwise.
    whole = load(DataRequest("digits")).rows
    assert result.plan.rows == whole - whole // 6


SCRIPT = """
import json, sys
from pathlib import Path

import numpy as np

from manyhands.data.catalog import DataRequest, load
from manyhands.teams.mpi_world import join
from manyhands.training.jobs.distributed_read import load_for, scatter

folder, world = Path(sys.argv[1]), join()
record = {"facts": {}}


def same(got, wanted):
    return got.dtype == wanted.dtype and np.array_equal(got, wanted) and got.flags.c_contiguous


def facts(got, alone):
    return {
        "validation": all(
            same(getattr(got.validation, name), getattr(alone.validation, name))
            for name in ("features", "labels", "scale", "shift")
        ),
        "described": got.describe() == alone.describe(),
        "train": got.train.rows,
    }


for name, request in json.loads((folder / "requests.json").read_text()).items():
    request = DataRequest(**request)
    alone = load(request)
    for sharding in ("global", "fixed"):
        got = load_for(request, "mpi", sharding)
        record["facts"][f"{name} {sharding}"] = facts(got, alone)
none = load(DataRequest("digits")) if world.rank == 0 else None
record["none"] = scatter(none, world, "fixed").validation is None
(folder / f"record-{world.rank}.json").write_text(json.dumps(record))
"""


def write_csv(path, rows):
    lines = [f"{row % 3},{row % 7 + row / 100},{100 + row * 7 % 100}" for row in range(rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """What the processes of a user's job say: one job, with data of every kind."""
    pytest.importorskip("mpi4py")
    from manyhands.teams.mpi_world import library

    folder = tmp_path_factory.mktemp("job")
    files = {f"{part}_csv": write_csv(folder / f"{part}.csv", rows) for part, rows in (("train", 110), ("test", 30))}
    requests = {
        "digits": {"data": "digits", "train_size": 1000, "validation": 501, "scale": "standard"},
        "csv": {**files, "validation": 11},
    }
    (folder / "requests.json").write_text(json.dumps(requests))
    (folder / "script.py").write_text(SCRIPT)
    path, kind = mpi_environment.find_mpiexec(library())
    done = subprocess.run(
        [
            *mpi_environment.job_command(path, kind, WORKERS),
            *(sys.executable, str(folder / "script.py"), str(folder)),
        ],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads((folder / f"record-{rank}.json").read_text()) for rank in range(WORKERS)]


@pytest.mark.parametrize("sharding", ["global", "fixed"])
@pytest.mark.parametrize("name", ["digits", "csv"])
def test_every_process_of_a_users_job_has_all_validation_rows(job, name, sharding):
    for rank, record in enumerate(job):
        facts = record["facts"][f"{name} {sharding}"]
        assert facts["validation"], f"worker {rank}"
        assert facts["described"], f"worker {rank}"
        if name == "digits":  # 499 training rows are left, for two workers
            assert facts["train"] == {"global": 499, "fixed": (249, 250)[rank]}[sharding]


def test_no_validation_rows_are_sent_where_there_are_none(job):
    assert [record["none"] for record in job] == [True] * WORKERS
