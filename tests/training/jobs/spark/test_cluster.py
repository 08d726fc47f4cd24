"""Training inside a real cluster: the bits of threads, faults of every kind, and nothing left behind."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyspark")
pa = pytest.importorskip("pyarrow")

import pyarrow.parquet as pq  # noqa: E402

from manyhands.core.callbacks import Callback  # noqa: E402
from manyhands.core.errors import DataError, DivergedError, SettingsError, WorkerLost  # noqa: E402
from manyhands.data.catalog import DataRequest, load  # noqa: E402
from manyhands.studies.compare.request import CompareRequest  # noqa: E402
from manyhands.studies.replications.minibatch import MinibatchStudy  # noqa: E402
from manyhands.training.jobs.spark.driver import SparkJob  # noqa: E402
from manyhands.training.jobs.spark.session import columns_of, read  # noqa: E402
from manyhands.training.resolve import resolve  # noqa: E402
from manyhands.training.run import run  # noqa: E402
from manyhands.training.spec import RunSpec  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # PySpark leaves sockets open

SPEC = RunSpec(workers=2, epochs=5, batch=50)


@pytest.fixture(scope="module")
def files(digits, tmp_path_factory):
    """The digits as Parquet, several row groups each."""
    folder = tmp_path_factory.mktemp("parquet")
    for name, samples in (("train", digits.train), ("test", digits.test)):
        columns = {
            "pixels": pa.array([row.tobytes() for row in samples.features], pa.binary()),
            "digit": pa.array(digits.classes[samples.labels]),
        }
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", row_group_size=300)
    return folder


@pytest.fixture
def job(spark, files):
    train, test = (read(spark, f"file://{files}/{name}.parquet") for name in ("train", "test"))
    return SparkJob(train, test, ["pixels"], "digit", name="digits")


def assert_like_threads(result, spec, digits):
    theirs = run(resolve(replace(spec, team="threads"), digits), digits)
    for name, block in theirs.model.learner.weights().items():
        np.testing.assert_array_equal(result.model.learner.weights()[name], block)
    assert result.accuracy == theirs.accuracy


def ours():
    """Return the workers of Spark tasks on this machine, the tasks' processes, and the executors."""
    found = {"worker": [], "task": [], "executor": []}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if b"manyhands.training.jobs.spark.worker" in words.split(b"\0"):
                found["worker"].append(int(entry.name))
                found["task"].append(int((entry / "stat").read_text().rpartition(")")[2].split()[1]))
            elif b"CoarseGrainedExecutorBackend" in words:
                found["executor"].append(int(entry.name))
    return found


class Heard(Callback):
    """Keeps what it is told."""

    def __init__(self):
        self.epochs, self.ends = [], 0

    def notify(self, event):
        self.epochs.append(event.epoch)

    def end(self, result):
        self.ends += 1


class TestRuns:
    @pytest.mark.parametrize("strategy", ["periodic:1epoch", "gradient", "one-shot", "minibatch:5epochs"])
    def test_same_bits_as_threads(self, job, digits, strategy):
        spec = SPEC.changed(strategy=strategy)
        assert_like_threads(job.run(spec), spec, digits)

    def test_csv_files_and_events(self, spark, digits, tmp_path):
        table = np.column_stack([digits.classes[digits.train.labels], digits.train.features])
        np.savetxt(tmp_path / "train.csv", table, fmt="%d", delimiter=",")
        frame = read(spark, f"file://{tmp_path}/train.csv")
        features, label = columns_of(frame, "0")
        events = []
        job = SparkJob(frame, None, features, label)
        spec = SPEC.changed(strategy="gradient")
        result = job.run(spec, [events.append])
        assert [event.epoch for event in events] == [1, 2, 3, 4, 5]
        assert np.isnan(result.accuracy)
        theirs = run(resolve(replace(spec, team="threads"), digits), digits)
        np.testing.assert_array_equal(result.model.learner.parameters, theirs.model.learner.parameters)

    def test_words_as_labels(self, spark, files):
        frame = read(spark, f"file://{files}/train.parquet").selectExpr("pixels", "concat('d', digit) as word")
        model = SparkJob(frame, None, ["pixels"], "word").run(SPEC.changed(strategy="gradient")).model
        assert model.classes.tolist() == [f"d{each}" for each in range(10)]


class TestDataSetsOfThisProcess:
    """They go to the executors as files: all that can be run with threads can be run there."""

    @pytest.mark.parametrize("how", [{}, {"binarize": "auto"}, {"scale": "standard"}])
    def test_same_bits_whatever_the_scaling(self, spark, how):
        dataset = load(DataRequest("digits", **how))
        spec = SPEC.changed(strategy="periodic:1epoch", team="spark")
        result = run(resolve(spec, dataset), dataset)
        assert result.plan.team == "spark"
        theirs = run(resolve(replace(spec, team="threads"), dataset), dataset)
        np.testing.assert_array_equal(result.model.learner.parameters, theirs.model.learner.parameters)
        assert result.accuracy == theirs.accuracy
        assert (
            result.model.predict(dataset.test.features).tolist() == theirs.model.predict(dataset.test.features).tolist()
        )

    def test_floats_and_classes_without_rows(self, spark, digits):
        few = digits.train.take(np.flatnonzero(digits.train.labels != 4))
        few = few.with_arrays({"features": few.features.astype(np.float32) / 7})
        dataset = replace(digits, train=few, test=few.take(slice(100)))
        spec = SPEC.changed(strategy="gradient", team="spark", convergence=True)
        result = run(resolve(spec, dataset), dataset)
        theirs = run(resolve(replace(spec, team="threads"), dataset), dataset)
        np.testing.assert_array_equal(result.model.learner.parameters, theirs.model.learner.parameters)
        assert [point["accuracy"] for point in result.curve] == [point["accuracy"] for point in theirs.curve]

    def test_callbacks_hear_of_each_epoch_and_of_one_end(self, spark, digits):
        heard = Heard()
        run(resolve(SPEC.changed(strategy="gradient", team="spark"), digits), digits, callbacks=[heard])
        assert heard.epochs == [1, 2, 3, 4, 5]
        assert heard.ends == 1

    def test_the_study_of_alowaisheq_and_dhami(self, spark, digits):
        def studied(team):
            spec = RunSpec(epochs=10, batch=50, team=team)
            strategies = ("sequential", "minibatch:5epochs")
            request = CompareRequest(strategies=strategies, workers=(2,), splits=2, spec=spec)
            return MinibatchStudy(digits, request).run().comparison.runs

        ours, theirs = studied("spark"), studied("threads")
        assert [run["accuracy"] for run in ours] == [run["accuracy"] for run in theirs]
        assert {run["strategy"] for run in ours} == {"sequential", "minibatch:5epochs"}

    def test_validation_samples_are_refused(self, spark):
        dataset = load(DataRequest("digits", validation=100))
        with pytest.raises(SettingsError, match="all training rows are trained on"):
            run(resolve(SPEC.changed(strategy="gradient", team="spark"), dataset), dataset)


class TestRefusals:
    def test_more_workers_than_slots(self, job):
        with pytest.raises(SettingsError, match="no 5 slots"):
            job.run(SPEC.changed(workers=5))

    def test_a_missing_column(self, job):
        with pytest.raises(DataError, match="no column 'nothing': there are 'pixels', 'digit'"):
            replace(job, label="nothing").run(SPEC)

    def test_missing_values(self, spark, job):
        broken = job.train.selectExpr("pixels", "if(digit = 3, null, digit) as digit")
        with pytest.raises(DataError, match="labels are missing"):
            replace(job, train=broken).run(SPEC)

    def test_training_that_diverges_is_not_tried_again(self, job, caplog):
        with pytest.raises(DivergedError):
            job.run(SPEC.changed(strategy="gradient", optimizer="sgd", learning_rate=1e9, epochs=20))
        assert "again" not in caplog.text

    def test_another_team(self, job):
        with pytest.raises(SettingsError, match="on Spark the team is spark"):
            job.run(SPEC.changed(team="mpi"))


LONG = SPEC.changed(strategy="periodic:1epoch", epochs=12000)


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "how"),
        [
            ("worker", signal.SIGKILL),
            ("worker", signal.SIGSTOP),
            ("task", signal.SIGKILL),
            ("task", signal.SIGSTOP),
            ("executor", signal.SIGKILL),
            ("executor", signal.SIGSTOP),
        ],
    )
    def test_the_stage_goes_on_with_the_right_result(self, job, digits, tmp_path, kind, how, caplog):
        folder = tmp_path / "checkpoints"
        hit = threading.Thread(target=strike, args=(kind, how, folder))
        hit.start()
        result = job.run(LONG.changed(hang_timeout=6, checkpoint=folder, every="5s"))
        hit.join()
        assert caplog.text.count("starting the stage again") >= 1
        assert_like_threads(result, LONG, digits)
        assert ours()["worker"] == []

    def test_after_the_last_restart_there_is_an_error(self, job, tmp_path):
        folder = tmp_path / "checkpoints"
        hit = threading.Thread(target=strike, args=("worker", signal.SIGKILL, folder))
        hit.start()
        with pytest.raises(WorkerLost, match=r"worker \d was ended by signal 9"):
            replace(job, restarts=0).run(LONG.changed(checkpoint=folder, every="5s"))
        hit.join()
        time.sleep(1)
        assert ours()["worker"] == []


def strike(kind, how, folder):
    """Do this to a process when the first checkpoint is there."""
    end = time.monotonic() + 120
    while not list(folder.glob("checkpoint-*")) and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(random.Random(0).choice(ours()[kind]), how)


class TestCommandLine:
    """The cluster's slots are those of this program's session: others bring their own."""

    def test_from_files_to_a_model(self, files, tmp_path):
        words = [sys.executable, "-m", "manyhands", "train", "--team", "spark", "--master", "local[1]"]
        words += ["--data", f"file://{files}/train.parquet", "--test-data", f"file://{files}/test.parquet"]
        words += ["--label-column", "digit", "--strategy", "gradient", "--epochs", "5", "--workers", "1"]
        words += ["--out", str(tmp_path / "model.safetensors")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert re.search(r"accuracy  \d+\.\d\d % of \d+ test samples", done.stdout)
        assert "gradient, 1 worker (spark)" in done.stdout
        assert (tmp_path / "model.safetensors").exists()

    def test_an_error_is_one_line(self, files):
        words = [sys.executable, "-m", "manyhands", "train", "--team", "spark", "--master", "local[1]"]
        words += ["--data", f"file://{files}/train.parquet", "--label-column", "nothing"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "--label-column nothing: there is no such column, there are pixels, digit" in done.stderr
        assert "at org.apache" not in done.stderr

    def test_ctrl_c_ends_everything(self, files):
        words = [
            sys.executable,
            "-m",
            "manyhands",
            "train",
            "--team",
            "spark",
            "--master",
            "local[1]",
            "--workers",
            "1",
        ]
        words += ["--data", f"file://{files}/train.parquet", "--label-column", "digit", "--epochs", "1000000"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            end = time.monotonic() + 60
            while not ours()["worker"] and time.monotonic() < end:
                time.sleep(0.1)
            time.sleep(1)
            program.send_signal(signal.SIGINT)
            _, err = program.communicate(timeout=30)
        assert program.returncode == 130
        assert "manyhands train: interrupted" in err
        assert "Traceback" not in err
        time.sleep(2)
        assert ours()["worker"] == []
