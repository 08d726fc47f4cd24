"""Ranks that read or want something else than the others: mpiexec starts this file, and all cases run in one job."""

import json
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from manyhands.teams import mpi_environment

WORKERS = 3
WORDS = {"strategy": "periodic:1epoch", "epochs": 2, "hidden": (4,), "batch": 30}


def write_idx(folder, seed=6, cut=0):
    """Write four plain IDX files of two kinds of pictures, 90 and 30 of 4 x 3 bytes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for part, rows in (("train", 90), ("t10k", 30)):
        labels = (np.arange(rows) % 2).astype(np.uint8)
        images = (rng.integers(0, 99, (rows, 4, 3)) + 150 * labels[:, None, None]).astype(np.uint8)
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / name).write_bytes((header + array.tobytes())[: -cut or None])


def write_csv(folder, cell="1"):
    """Write two CSV files; a row in the middle, which rank 1 reads, has ``cell`` in it."""
    folder.mkdir(parents=True)
    for part, rows in (("train", 90), ("test", 30)):
        lines = [f"{row % 2},{row % 7},{row % 2}" for row in range(rows)]
        lines[rows // 2] = f"1,{cell},1"
        (folder / f"{part}.csv").write_text("\n".join(["a,b,label", *lines]) + "\n")


def lay_out(folder):
    """Give every rank a folder of its own, in which the same names stand for what is on its own disk."""
    for rank in range(WORKERS):
        here, odd = folder / str(rank), rank == 1
        write_idx(here / "same")
        write_idx(here / "other", seed=7 if odd else 6)
        write_idx(here / "cut", cut=5 if odd else 0)
        write_csv(here / "good")
        write_csv(here / "bad", "tall" if odd else "1")
        write_csv(here / "ragged", "1,2" if odd else "1")
        if not odd:
            write_idx(here / "missing")
            write_csv(here / "gone")


def csv(name):
    return {"train_csv": f"{name}/train.csv", "test_csv": f"{name}/test.csv", "label_column": "label"}


def by_hand(rows=60, labels=3, test=20, last=0):
    from manyhands import Examples, make_dataset

    rng = np.random.default_rng(0)
    features = rng.integers(0, 200, (rows, 5)).astype(np.uint8)
    features[-1, -1] = last
    numbers = np.arange(rows) % labels
    return {"data": make_dataset("own", Examples(features, numbers), Examples(features[:test], numbers[:test]))}


FAILING = {
    "missing folder": ({"data": "missing"}, {}, "MissingDataError", "'missing'"),
    "damaged file": ({"data": "cut"}, {}, "FormatError", "idx"),
    "missing file": (csv("gone"), {}, "MissingDataError", "gone"),
    "a bad cell": (csv("bad"), {}, "FormatError", "'tall' is not a number"),
    "a ragged row": (csv("ragged"), {}, "FormatError", "ragged"),
    "neurons": ({"data": "same"}, {"hidden": (0,)}, "SettingsError", "hidden"),
    "strategy": ({"data": "same"}, {"strategy": "sometimes"}, "SettingsError", "sometimes"),
    "no such setting": ({"data": "same"}, {"neurons": 4}, "TypeError", "neurons"),
    "workers": ({"data": "same"}, {"workers": 2}, "SettingsError", "this MPI job has 3 processes"),
    "batch": ({"data": "same"}, {"batch": 1000}, "SettingsError", "global batch must lie between"),
    "threshold": ({"data": "same"}, {"binarize": float("nan")}, "SettingsError", "binar"),
}
"""What the ranks give, what rank 1 gives besides, and the error: kind and words."""

DIFFERING = {
    "other files": ({"data": "other"}, {}, "the checksum of the training features is"),
    "epochs": ({"data": "same"}, {"epochs": 3}, "epochs is 2 on ranks 0 and 2 and 3 on rank 1"),
    "neurons": ({"data": "same"}, {"hidden": (5,)}, "hidden layers is (4,) on ranks 0 and 2 and (5,) on rank 1"),
    "seed": ({"data": "same"}, {"seed": 1}, "seed is 0 on ranks 0 and 2 and 1 on rank 1"),
    "rate": ({"data": "same"}, {"learning_rate": 0.1}, "learning_rate is 0.001 on ranks 0 and 2 and 0.1 on rank 1"),
    "strategy": (csv("good"), {"strategy": "periodic:2epoch"}, "strategy is periodic:1epoch on ranks 0 and 2"),
    "sharding": ({"data": "digits"}, {"sharding": "fixed"}, "the sharding is"),
    "schedule": ({"data": "same"}, {"schedule": "cosine"}, "schedule is constant on ranks 0 and 2 and cosine"),
    "stop": ({"data": "same"}, {"stop": "loss"}, "stop is None on ranks 0 and 2 and loss"),
    "train size": ({"data": "same"}, {"train_size": 60}, "train_size is None on ranks 0 and 2 and 60 on rank 1"),
    "label column": (csv("good"), {"label_column": "a"}, "label_column is label on ranks 0 and 2 and a on rank 1"),
    "other data": ({"data": "digits"}, {"data": "same"}, "data is digits on ranks 0 and 2 and same on rank 1"),
    "by hand and not": (by_hand, {"data": "same"}, "data is a Dataset on ranks 0 and 2 and same on rank 1"),
    "by hand, rows": (by_hand, by_hand(rows=59), "the number of training rows is 60 on ranks 0 and 2 and 59 on rank 1"),
    "by hand, test rows": (by_hand, by_hand(test=19), "the number of test rows is 20 on ranks 0 and 2 and 19"),
    "by hand, classes": (by_hand, by_hand(labels=4), "the list of classes is 0, 1, 2 on ranks 0 and 2 and 0, 1, 2, 3"),
    "by hand, a value": (by_hand, by_hand(last=9), "the checksum of the training features is"),
}  # fmt: skip

FINE = {
    "mapped": {"data": "same"},
    "csv": csv("good"),
    "read by rank 0": {"data": "digits"},
    "by hand": by_hand,
}


def outcome(rank, given, mine):
    """Train; return what comes of it as plain data."""
    import manyhands

    words = {**WORDS, **(given() if callable(given) else given), **(mine if rank == 1 else {})}
    try:
        result = manyhands.train(team="mpi", **words)
    except Exception as error:
        return {"error": str(error), "kinds": [kind.__name__ for kind in type(error).__mro__]}
    return {"parameters": result.model.learner.parameters.tolist()}


def patience(seconds):
    """Return the patience that this process has while it trains."""
    import manyhands
    from manyhands.teams.mpi_world import join

    found = []
    words = {**WORDS, "data": "same", "hang_timeout": seconds}
    manyhands.train(team="mpi", **words, callbacks=[lambda _event: found.append(join().watch.patience)])
    return found[0]


def main(folder):
    from manyhands.core.errors import TrainingWarning
    from manyhands.teams.mpi_world import join

    warnings.simplefilter("ignore", TrainingWarning)  # so few steps teach nothing
    rank = join().rank
    os.chdir(folder / str(rank))
    record = {name: outcome(rank, given, mine) for name, (given, mine, *_) in FAILING.items()}
    record |= {f"differing {name}": outcome(rank, given, mine) for name, (given, mine, _) in DIFFERING.items()}
    record |= {f"fine {name}": outcome(rank, given, {}) for name, given in FINE.items()}
    record["patience"] = [patience(seconds) for seconds in (777.0, None)]
    everyone = join().all_gather_texts(json.dumps(record))
    if rank == 0:
        (folder / "told.json").write_text(json.dumps([json.loads(each) for each in everyone]))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What every process has met, case by case."""
    pytest.importorskip("mpi4py")
    from manyhands.teams.mpi_world import library

    folder = tmp_path_factory.mktemp("ranks")
    lay_out(folder)
    path, kind = mpi_environment.find_mpiexec(library())
    done = subprocess.run(
        [*mpi_environment.job_command(path, kind, WORKERS), sys.executable, __file__, folder],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads((folder / "told.json").read_text())


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_on_one_rank_ends_all_with_its_message(told, name):
    *_, kind, words = FAILING[name]
    for rank, record in enumerate(told):
        assert kind in record[name]["kinds"], record[name]
        assert words in record[name]["error"]
        assert record[name]["error"].startswith("rank 1: ") == (rank != 1)


@pytest.mark.parametrize("name", DIFFERING)
def test_what_differs_between_ranks_is_said_on_all(told, name):
    for record in told:
        found = record[f"differing {name}"]
        assert "ManyhandsError" in found["kinds"], found
        assert found["error"].startswith("ranks differ: ")
        assert DIFFERING[name][2] in found["error"]


@pytest.mark.parametrize("name", FINE)
def test_then_all_train_as_ever(told, name):
    assert "parameters" in told[0][f"fine {name}"], told[0][f"fine {name}"]
    assert all(record[f"fine {name}"] == told[0][f"fine {name}"] for record in told)


def test_a_run_has_the_hang_timeout_that_it_is_given(told):
    for record in told:
        chosen, measured = record["patience"]
        assert chosen == 777
        assert measured < 777


if __name__ == "__main__":
    main(Path(sys.argv[1]))
