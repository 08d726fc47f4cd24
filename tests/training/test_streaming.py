"""Runs on data in parts: what they compute, that they repeat themselves, and that no trouble with a part is silent."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import manyhands
from manyhands.core.callbacks import EventFunction
from manyhands.core.errors import DataError, ManyhandsError, SettingsError
from manyhands.core.randomness import generator
from manyhands.core.samples import Control, Order
from manyhands.data.catalog import DataRequest, load
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.parts import epochs, memo
from manyhands.data.parts.sharding import shard
from manyhands.data.sampler import BatchSampler
from manyhands.teams import mpi_environment
from manyhands.training import streaming
from manyhands.training.making import learner_of
from manyhands.training.resolve import resolve
from tests.data.parts.conftest import write_parts

RUN = {"epochs": 3, "hidden": (8,), "batch": 50, "seed": 2}
pytestmark = pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch, tmp_path_factory):
    """Many windows in an epoch of few rows, and nothing remembered; afterwards no reader is left."""
    monkeypatch.setattr(epochs, "WINDOW_BYTES", 2000)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(memo, "cache_folder", lambda: cache)
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "manyhands-reader"] == []


def rows(count=3000):
    """Bytes, and four classes that depend on them."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (count, 12)).astype(np.uint8)
    return values, (values[:, 0] > 128).astype(np.int64) + 2 * (values[:, 1] > 128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """3,000 rows in 40 parts, of which blocks are small, and 200 for testing."""
    values, labels = rows(3200)
    whole = make_dataset(
        "blobs", Examples(values[200:], labels[200:]), Examples(values[:200], labels[:200]), scale="none"
    )
    path = tmp_path_factory.mktemp("set") / "parts"
    shard(whole, path, 40)
    return path


def same(one, other):
    """Whether two results have the same bits."""
    vectors = [each.model.learner.parameters.tobytes() for each in (one, other)]
    return vectors[0] == vectors[1] and one.losses == other.losses and one.accuracy == other.accuracy


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("strategy", ["gradient", "periodic:7", "periodic:1epoch", "one-shot"])
def test_it_repeats_itself_and_learns(folder, strategy, workers):
    strategy = strategy if workers > 1 else "sequential"
    run = {**RUN, "epochs": 12, "learning_rate": 0.01, "strategy": strategy, "workers": workers}
    one, other = (manyhands.train(str(folder), **run) for _ in range(2))
    assert same(one, other)
    assert one.accuracy > 0.8
    assert not same(one, manyhands.train(str(folder), **{**run, "seed": 3}))


def test_the_bits_are_those_of_the_rows_in_memory(folder):
    """A learner that is given the same rows in the same order, from one table in memory."""
    found = load(DataRequest(str(folder)))
    plan = resolve(manyhands.RunSpec().changed(**RUN), found)
    stream = streaming.open_stream(plan, found, 0, 1)
    assert stream.plan.count > 10
    values, labels = found.parts.rows_between(found.parts.train, 0, found.rows)
    table = found.train.with_arrays({"features": values, "labels": labels})
    starts = found.parts.train.ends - found.parts.train.counts
    learner = learner_of(plan, found)
    learner.initialize(generator(plan.seed, "init"))
    bounds = BatchSampler(plan.rows, plan.batch, 0, 1, "fixed", plan.seed).epoch(0)
    for epoch in range(plan.epochs):
        order, numbers, begin = stream.order(epoch), np.zeros(2 * stream.plan.room, np.int32), 0
        used = []
        for place, (pieces, end) in enumerate(zip(order.windows, order.ends, strict=True)):
            at = place % 2 * stream.plan.room
            for piece in pieces:
                numbers[at : at + piece.rows] = np.arange(piece.begin, piece.end) + starts[piece.block]
                at += piece.rows
            used.append(numbers[order.rows[begin:end]])
            begin = end
        order = Order(np.concatenate(used), bounds.bounds, bounds.global_rows)
        learner.run(
            table, order, np.full(order.steps, plan.network.learning_rate), Control(*np.zeros((2, 1), np.int64))
        )
    result = manyhands.train(str(folder), **RUN)
    assert result.model.learner.parameters.tobytes() == learner.parameters.tobytes()


def test_every_callback_sees_the_same_run(folder):
    """Callbacks at steps and rounds, and measuring between, change no bit."""
    run = {**RUN, "strategy": "periodic:7", "workers": 2}
    plain = manyhands.train(str(folder), **run)
    for finely in ("step", "round", "epoch"):
        seen = []
        found = manyhands.train(str(folder), **run, callbacks=[EventFunction(seen.append, finely)])
        assert same(found, plain)
        assert seen
    measured = manyhands.train(str(folder), **run, convergence=True)
    assert same(measured, plain)
    assert measured.curve[-1]["accuracy"] == plain.accuracy


def test_a_learner_that_is_not_the_fast_one(folder):
    torch = pytest.importorskip("torch")

    def network():
        return torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))

    run = {"epochs": 8, "batch": 50, "learning_rate": 0.01}
    found = manyhands.train(network, str(folder), **run, strategy="periodic:5", workers=2)
    assert found.accuracy > 0.6


def test_parts_of_all_forms_give_the_same_bits(tmp_path):
    values, labels = rows(600)
    results = [
        manyhands.train(str(write_parts(tmp_path / form, form, values, labels, 4, groups=1000)), **RUN, workers=2)
        for form in ("npy", "idx", "csv", "parquet")
    ]
    assert results[0].plan.rows == 480
    assert [same(results[0], each) for each in results] == [True] * 4


@pytest.mark.parametrize("strategy", ["gradient", "periodic:7"])
def test_it_goes_on_from_a_checkpoint_within_an_epoch(folder, tmp_path, strategy):
    run = {**RUN, "strategy": strategy, "workers": 2, "dropout": 0.2}
    whole = manyhands.train(str(folder), **run)
    kept = {"checkpoint": tmp_path, "every": "23rounds" if strategy == "gradient" else "5rounds"}
    manyhands.train(str(folder), **run, **kept, checkpoint_cost=1, keep=100)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) > 2
    for path in paths[1:-1]:
        path.rename(tmp_path / "alone")
        alone = tmp_path / path.stem
        alone.mkdir()
        (tmp_path / "alone").rename(alone / path.name)
        assert same(manyhands.train(str(folder), **run, resume=alone), whole)


def test_a_checkpoint_of_other_parts_is_refused(folder, tmp_path):
    values, labels = rows(3000)
    other = tmp_path / "other"
    shard(make_dataset("o", Examples(values, labels), Examples(values[:200], labels[:200]), scale="none"), other, 40)
    manyhands.train(str(folder), **RUN, checkpoint=tmp_path / "kept", every="1epoch", checkpoint_cost=1)
    with pytest.raises(SettingsError, match="on other data"):
        manyhands.train(str(other), **RUN, resume=tmp_path / "kept")


@pytest.mark.parametrize("what", ["changed", "missing", "truncated"])
def test_a_part_that_changes_during_the_training_ends_it_and_is_named(tmp_path, what):
    values, labels = rows()
    path = write_parts(tmp_path / "set", "npy", values, labels, 6)
    part = path / "part-003-features.npy"

    def spoil(event):
        if event.epoch == 1 and part.exists():
            if what == "missing":
                part.unlink()
            elif what == "truncated":
                os.truncate(part, 500)
            else:
                os.utime(part)

    run = {**RUN, "epochs": 500, "strategy": "periodic:1epoch", "workers": 2}
    with pytest.raises(DataError, match=r"part-003-features\.npy: this part"):
        manyhands.train(str(path), **run, callbacks=[spoil])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sharding": "global"}, "sharding"),
        ({"partition": "sorted", "strategy": "periodic:1epoch"}, "partition"),
        ({"strategy": "one-shot:merge=fisher"}, "computes on training samples again"),
        ({"strategy": "minibatch:2epochs"}, "several times"),
        ({"validation": 100}, "validation"),
        ({"stop": "accuracy:90%"}, "validation"),
        ({"learner": "published", "strategy": "one-shot", "batch": None}, "one call"),
        ({"train_size": 5000}, "3000 training rows"),
        ({"test_size": 0.1}, "divided"),
        ({"on_loss": "continue", "strategy": "periodic:1epoch"}, "lost worker"),
    ],
    ids=str,
)
def test_what_needs_all_rows_is_refused_before_training(folder, more, words):
    with pytest.raises(ManyhandsError, match=words):
        manyhands.train(str(folder), **{**RUN, "workers": 2, **more})


def test_other_splits_of_parts_are_refused(folder):
    with pytest.raises(SettingsError, match="read in parts"):
        manyhands.compare(load(DataRequest(str(folder))), workers=(1, 2), splits=2, epochs=1)


def test_fewer_rows_binary_inputs_and_another_shape(folder):
    found = manyhands.train(str(folder), **RUN, train_size=700, binarize="auto", shape=(1, 3, 4))
    assert found.plan.rows == 700
    assert found.model.sample_shape == (1, 3, 4)
    assert found.model.scaling.threshold == 128


def test_test_rows_that_do_not_fit_are_measured_block_by_block(folder, monkeypatch):
    from manyhands.data.parts import loading, reading

    plain = manyhands.train(str(folder), **RUN, convergence=True)
    monkeypatch.setattr(loading, "_TEST_BYTES", 600)
    monkeypatch.setattr(reading, "_BYTES_AT_ONCE", 500)
    dataset = load(DataRequest(str(folder)))
    assert (dataset.test.rows, dataset.test_rows, len(list(dataset.test_tables()))) == (50, 200, 5)
    found = manyhands.train(dataset, **RUN, convergence=True)
    assert same(found, plain)
    assert found.curve[-1]["loss"] == pytest.approx(plain.curve[-1]["loss"], rel=1e-6)


def test_processes_have_the_bits_of_threads(folder, tmp_path):
    """A job of our own, and one that mpiexec has started; all with windows as they usually are."""
    pytest.importorskip("mpi4py")
    from manyhands.teams.mpi_world import library

    epochs.WINDOW_BYTES = 32 << 20  # restored by the fixture
    run = {**RUN, "strategy": "gradient", "workers": 2}
    threads = manyhands.train(str(folder), **run)
    assert same(manyhands.train(str(folder), **run, team="mpi"), threads)
    path, kind = mpi_environment.find_mpiexec(library())
    words = f"--epochs 3 --hidden 8 --batch 50 --seed 2 --strategy gradient --team mpi --quiet --data {folder}".split()
    command = [*mpi_environment.job_command(path, kind, 2), sys.executable, "-m", "manyhands", "train", *words]
    done = subprocess.run(
        [*command, "--json", tmp_path / "run.json"],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "run.json").read_text())["losses"] == threads.losses


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_from_what_is_whole(folder, tmp_path, moments):
    """On the disk is a checkpoint that is whole, or none: a run that goes on ends as one that was never killed."""
    words = f"--epochs 60 --hidden 8 --batch 50 --workers 2 --strategy periodic:1epoch --data {folder} --quiet".split()
    command = [sys.executable, "-m", "manyhands", "train", *words]
    draws = random.Random(moments)
    whole = tmp_path / "whole.json"
    began = time.perf_counter()
    subprocess.run([*command, "--json", whole], check=True, capture_output=True)
    seconds = time.perf_counter() - began
    for number in range(moments):
        kept = tmp_path / f"kept-{number}"
        first = [*command, "--checkpoint", kept, "--every", "1epoch", "--checkpoint-cost", "1"]
        with subprocess.Popen(first, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(draws.uniform(0.3, 1) * seconds)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        report = tmp_path / f"run-{number}.json"
        going_on = ["--resume", kept] if kept.is_dir() and any(kept.iterdir()) else ["--seed", "0"]
        done = subprocess.run([*command, *going_on, "--json", report], capture_output=True, text=True, check=False)
        if done.returncode:  # killed before the first checkpoint was whole
            assert "no checkpoint" in done.stderr
        else:
            assert json.loads(report.read_text())["losses"] == json.loads(whole.read_text())["losses"]
