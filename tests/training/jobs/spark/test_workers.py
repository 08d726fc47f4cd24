"""The workers of Spark's tasks, without Spark: two processes with rows of their own train as two threads do."""

import contextlib
import json
import os
import re
import socket
import subprocess
from dataclasses import replace

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from manyhands.data.dataset import Examples, make_dataset  # noqa: E402
from manyhands.training.jobs.exchange import revive  # noqa: E402
from manyhands.training.jobs.spark.files import DONE, ERROR, MODEL, RESULT  # noqa: E402
from manyhands.training.jobs.spark.task import _keep, _start  # noqa: E402
from manyhands.training.loading import load_model  # noqa: E402
from manyhands.training.resolve import resolve  # noqa: E402
from manyhands.training.run import run  # noqa: E402
from manyhands.training.spec import RunSpec  # noqa: E402

from .test_rows import LABEL, ROW, TEST  # noqa: E402

SPEC = RunSpec(workers=2, epochs=6, batch=50, team="spark")


def batches(samples, classes, numbers, *, test=False):
    """Return record batches of some rows, as Spark would bring them."""
    kind = pa.float32() if samples.features.dtype.kind == "f" else pa.int16()
    for part in np.array_split(np.asarray(numbers, np.int64), 3):
        yield pa.RecordBatch.from_pydict(
            {
                ROW: pa.array(part, pa.int64()),
                TEST: pa.array([test] * len(part), pa.bool_()),
                LABEL: pa.array(classes[samples.labels[part]]),
                "manyhands_features_0": pa.array(samples.features[part].tolist(), pa.list_(kind)),
            }
        )


class Workers:
    """Two workers with folders of their own."""

    def __init__(self, folder, spec, data, shares):
        self.folders = [folder / str(rank) for rank in range(2)]
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        addresses = [each.getsockname() for each in listening]
        job = {
            "spec": spec.portable().to_json(), "name": "digits", "hang_timeout": 20, "granularity": "epoch",
            "given": None, "secret": "s",
        }  # fmt: skip
        self.started = []
        for rank, each in enumerate(self.folders):
            each.mkdir(parents=True)
            train, test = shares[rank]
            rows = [*batches(data.train, data.classes, train), *batches(data.test, data.classes, test, test=True)]
            assert _keep(job, rows, each) is None
            self.started.append(_start(each, rank, addresses, listening[rank].fileno(), "s"))
            listening[rank].close()

    def wait(self):
        """Wait until both have done their work, or failed; return the exit status of each, None for work done."""
        found = []
        for folder, process in zip(self.folders, self.started, strict=True):
            while not (folder / DONE).exists() and process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
            found.append(process.returncode)
        return found

    def end(self):
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def workers(tmp_path):
    made = []

    def start(spec, data, shares, **others):
        made.append(Workers(tmp_path / f"job{len(made)}", spec, data, shares, **others))
        return made[-1]

    yield start
    for each in made:
        each.end()


@pytest.fixture
def patched(tmp_path, monkeypatch):
    """Return a function that lets the workers' processes execute a program before anything else."""
    folder = tmp_path / "patches"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))

    def patch(program):
        inside = program.replace("\n", "\n    ")
        words = "import sys\nif 'manyhands.training.jobs.spark.worker' in sys.orig_argv:\n    "
        (folder / "sitecustomize.py").write_text(words + inside)

    return patch


def scattered(data):
    """Return rows of two uneven, interleaved shares; test rows are with the second."""
    order = np.random.default_rng(0).permutation(data.train.rows)
    return [(order[:500], []), (order[500:], np.arange(data.test.rows))]


def result_of(job):
    assert job.wait() == [None, None], [(folder / ERROR).read_text() for folder in job.folders]
    record = json.loads((job.folders[0] / RESULT).read_text())
    return record["result"], load_model(job.folders[0] / MODEL), record


class TestSameBits:
    @pytest.mark.parametrize("strategy", ["periodic:1epoch", "gradient", "one-shot", "minibatch:5epochs", "diloco:5"])
    def test_as_threads(self, workers, digits, strategy):
        spec = SPEC.changed(strategy=strategy)
        result, model, record = result_of(workers(spec, digits, scattered(digits)))
        plan = resolve(replace(spec, team="threads"), digits)
        theirs = run(plan, digits)
        for name, block in theirs.model.learner.weights().items():
            np.testing.assert_array_equal(model.learner.weights()[name], block)
        assert result["accuracy"] == theirs.accuracy
        assert record["data"]["train_rows"] == digits.rows
        assert model.classes.tolist() == digits.classes.tolist()

    @pytest.mark.parametrize("strategy", ["periodic:1epoch", "gradient", "one-shot", "minibatch:5epochs"])
    def test_where_each_has_a_share_of_the_rows(self, workers, patched, digits, strategy):
        """The rows of an epoch are exchanged before it begins."""
        patched("import manyhands.training.jobs.spark.gathering as it\nit.held_by_all = lambda *_: False")
        spec = SPEC.changed(strategy=strategy)
        _, model, _ = result_of(workers(spec, digits, scattered(digits)))
        theirs = run(resolve(replace(spec, team="threads"), digits), digits)
        for name, block in theirs.model.learner.weights().items():
            np.testing.assert_array_equal(model.learner.weights()[name], block)

    def test_floats_are_scaled_by_what_all_have(self, workers, patched, digits):
        """Sums over shares are added in another order than over all rows: the same up to rounding."""
        patched("import manyhands.training.jobs.spark.gathering as it\nit.held_by_all = lambda *_: False")
        rng = np.random.default_rng(1)
        shift = rng.normal(size=digits.features) * 100

        def examples(samples):
            noise = rng.normal(size=samples.features.shape)
            return Examples((samples.features + shift + noise).astype(np.float32), digits.classes[samples.labels])

        floats = make_dataset("digits", examples(digits.train), examples(digits.test))
        spec = SPEC.changed(strategy="periodic:1epoch")
        result, model, _ = result_of(workers(spec, floats, scattered(floats)))
        theirs = run(resolve(replace(spec, team="threads"), floats), floats)
        for name, vector in theirs.model.scaling.vectors().items():
            np.testing.assert_allclose(model.scaling.vectors()[name], vector, rtol=1e-9, atol=1e-9)
        assert abs(result["accuracy"] - theirs.accuracy) < 0.01


class TestGoingOn:
    def test_from_a_checkpoint_with_the_same_bits(self, workers, patched, digits, tmp_path):
        folder = tmp_path / "checkpoints"
        spec = SPEC.changed(strategy="diloco:7", epochs=400)
        _, whole, _ = result_of(workers(spec, digits, scattered(digits)))
        spec = spec.changed(checkpoint=folder, every="30epochs", checkpoint_cost=1)
        interrupted = workers(spec, digits, scattered(digits))
        while not list(folder.glob("checkpoint-*")):
            assert not (interrupted.folders[0] / DONE).exists()
            assert interrupted.started[1].poll() is None
        interrupted.started[1].kill()
        assert interrupted.wait() != [None, None]
        error = revive(json.loads((interrupted.folders[0] / ERROR).read_text()))
        assert "worker 1" in str(error)
        again = replace(spec, reliability=spec.reliability.changed(attempt=1))
        result, model, _ = result_of(workers(again, digits, scattered(digits)[::-1]))
        assert [each["kind"] for each in result["incidents"]] == ["resumed"]
        for name, block in whole.learner.weights().items():
            np.testing.assert_array_equal(model.learner.weights()[name], block)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"train_size": 10**6}, "training rows"),
            ({"validation": 100}, "leave .* out"),
            ({"strategy": "hogwild"}, "share memory"),
        ],
    )
    def test_on_both_alike(self, workers, digits, changes, words):
        job = workers(SPEC.changed(**{"strategy": "periodic:1epoch", **changes}), digits, scattered(digits))
        assert job.wait() == [1, 1]
        for folder in job.folders:
            assert re.search(words, str(revive(json.loads((folder / ERROR).read_text()))))

    def test_merges_that_need_all_rows(self, workers, patched, digits):
        patched("import manyhands.training.jobs.spark.gathering as it\nit.held_by_all = lambda *_: False")
        job = workers(SPEC.changed(strategy="one-shot:merge=fisher"), digits, scattered(digits))
        assert job.wait() == [1, 1]
        error = revive(json.loads((job.folders[0] / ERROR).read_text()))
        assert "computes on training samples again" in str(error)

    def test_a_checkpoint_that_is_none(self, workers, digits, tmp_path):
        (tmp_path / "checkpoint-000000000007.safetensors").write_bytes(b"nothing of the kind")
        job = workers(SPEC.changed(strategy="gradient", resume=tmp_path), digits, scattered(digits))
        assert job.wait() == [1, 1]
        assert "none of the checkpoints" in str(revive(json.loads((job.folders[0] / ERROR).read_text())))

    def test_a_checkpoint_that_cannot_be_written(self, workers, digits, tmp_path):
        (tmp_path / "file").touch()
        spec = SPEC.changed(strategy="gradient", checkpoint=tmp_path / "file" / "checkpoints")
        job = workers(spec, digits, scattered(digits))
        assert job.wait() == [1, 1]
        assert "cannot make the folder" in str(revive(json.loads((job.folders[0] / ERROR).read_text())))

    def test_rows_that_are_not_finite_are_named(self, workers, digits):
        features = digits.train.features.astype(np.float32)
        features[700, 3] = np.nan
        broken = replace(digits, train=digits.train.with_arrays({"features": features}))
        job = workers(SPEC.changed(strategy="gradient"), broken, scattered(broken))
        assert job.wait() == [1, 1]
        texts = [str(revive(json.loads((folder / ERROR).read_text()))) for folder in job.folders]
        assert all("row 701, feature 4 is nan, not a finite number" in text for text in texts)

    def test_rows_that_are_not_there_are_missed(self, workers, digits):
        """As where a frame gives other rows each time."""
        few = np.arange(600)
        job = workers(SPEC.changed(strategy="gradient"), digits, [(few[:300], []), (few[301:], np.arange(50))])
        assert job.wait() == [1, 1]
        assert "1 rows are missing" in str(revive(json.loads((job.folders[0] / ERROR).read_text())))

    def test_a_class_that_only_test_rows_have(self, workers, digits):
        labels = digits.train.labels.copy()
        labels[labels == 3] = 2
        known = replace(digits, train=digits.train.with_arrays({"labels": labels}))
        job = workers(SPEC.changed(strategy="gradient"), known, scattered(known))
        assert job.wait() == [1, 1]
        assert "has the label 3, which no training row has" in str(
            revive(json.loads((job.folders[1] / ERROR).read_text()))
        )
