"""When checkpoints are written, what they may cost, and how a run ends when it is asked to."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import manyhands
from manyhands.core.cadence import Cadence
from manyhands.core.errors import OutputError, SettingsError, Suspended
from manyhands.core.samples import Control
from manyhands.training.checkpoints.folder import CheckpointFolder
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

RUN = {"strategy": "periodic:4", "workers": 2, "epochs": 6, "hidden": (12,), "batch": 100}
pytestmark = pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")


def steps_in(folder):
    return sorted(int(path.stem.split("-")[1]) for path in CheckpointFolder(folder).files())


@pytest.mark.parametrize(
    ("text", "every", "unit", "again"),
    [
        ("5epochs", 5, "epoch", "5epochs"),
        ("1 epoch", 1, "epoch", "1epoch"),
        ("100rounds", 100, "round", "100rounds"),
        ("60s", 60, "second", "60s"),
        ("0.5seconds", 0.5, "second", "0.5s"),
        ("10min", 600, "second", "600s"),
        ("1.5h", 5400, "second", "5400s"),
    ],
)
def test_cadences(text, every, unit, again):
    found = Cadence.parse(text)
    assert (found.every, found.unit, str(found)) == (every, unit, again)
    assert Cadence.parse(again) == found


@pytest.mark.parametrize("text", ["", "5", "epochs", "-1s", "0s", "0epochs", "1.5rounds", "5 weeks", "1e3s", "nan s"])
def test_what_is_no_cadence(text):
    with pytest.raises(SettingsError, match=r"between two checkpoints|whole numbers"):
        Cadence.parse(text)


@pytest.mark.parametrize(
    ("every", "changes", "expected"),
    [
        ("2epochs", {}, [30, 60]),
        ("1epoch", {"epochs": 4}, [15, 30, 45]),
        ("5rounds", {}, [20, 40, 60, 80]),
        ("25rounds", {"strategy": "gradient"}, [25, 50, 75]),
        ("25rounds", {"strategy": "sequential", "workers": 1}, [25, 50, 75]),
        ("100epochs", {}, []),
        ("1h", {}, []),
    ],
)
def test_they_are_written_when_they_are_due(digits, tmp_path, every, changes, expected):
    run = {**RUN, **changes}
    manyhands.train(digits, **run, checkpoint=tmp_path, every=every, checkpoint_cost=1, keep=100)
    assert steps_in(tmp_path) == expected


def test_seconds(digits, tmp_path):
    manyhands.train(digits, **{**RUN, "epochs": 3000}, checkpoint=tmp_path, every="0.2s", checkpoint_cost=1, keep=100)
    found = steps_in(tmp_path)
    assert len(found) >= 2
    assert all(later - earlier > 100 for earlier, later in itertools.pairwise(found))


def test_after_going_on_they_are_written_as_before(digits, tmp_path):
    run = {**RUN, "epochs": 3000}
    manyhands.train(digits, **run, checkpoint=tmp_path / "first", every="1000epochs", checkpoint_cost=1, keep=9)
    assert steps_in(tmp_path / "first") == [15_000, 30_000]
    CheckpointFolder(tmp_path / "first").files()[0].unlink()
    more = {"resume": tmp_path / "first", "checkpoint": tmp_path / "second", "every": "0.2s", "checkpoint_cost": 1}
    manyhands.train(digits, **more, keep=100)
    assert len(steps_in(tmp_path / "second")) >= 2


def test_what_would_cost_too_much_waits(digits, tmp_path):
    """And the more it may cost, the more are written."""
    written = []
    for number, cost in enumerate((1e-6, 0.05, 1)):
        folder = tmp_path / str(number)
        run = {**RUN, "epochs": 600}
        manyhands.train(digits, **run, checkpoint=folder, every="1epoch", checkpoint_cost=cost, keep=10_000)
        written.append(len(steps_in(folder)))
    assert written[0] == 0
    assert written[2] == 599
    assert 0 < written[1] < 200


def test_only_so_many_are_kept(digits, tmp_path):
    manyhands.train(digits, **RUN, checkpoint=tmp_path, every="1epoch", checkpoint_cost=1, keep=2)
    assert steps_in(tmp_path) == [60, 75]


def test_a_disk_that_is_full_ends_nothing(digits, tmp_path, monkeypatch, caplog):
    def full(*_given):
        raise OutputError("cannot write: No space left on device")

    monkeypatch.setattr("manyhands.training.checkpoints.folder.write_file", full)
    found = manyhands.train(digits, **RUN, checkpoint=tmp_path, every="2epochs", checkpoint_cost=1)
    assert found.model.learner.parameters.tobytes() == manyhands.train(digits, **RUN).model.learner.parameters.tobytes()
    assert "the checkpoint after step 30 is missing, and training goes on (there is none yet)" in caplog.text
    assert steps_in(tmp_path) == []


class TestAskedToEnd:
    def controls(self):
        stop, ending = np.zeros(1, np.int64), np.zeros(1, np.int64)
        return [Control(stop, np.zeros(1, np.int64), ending=ending) for _ in range(2)]

    def test_all_workers_end_at_the_same_step_and_say_how_to_go_on(self, digits, tmp_path):
        controls = self.controls()
        controls[0].ending[0] = 1
        plan = resolve(RunSpec(strategy="periodic:4", workers=2).changed(checkpoint=tmp_path), digits)
        with pytest.raises(Suspended, match=r"ended after step 0, as asked; resume='.*' goes on from there"):
            run(plan, digits, controls=controls)
        assert steps_in(tmp_path) == [0]
        assert (
            manyhands.train(digits, resume=tmp_path).steps
            == manyhands.train(digits, strategy="periodic:4", workers=2).steps
        )

    def test_on_a_full_disk_they_say_so(self, digits, tmp_path, monkeypatch):
        """All of them, and not before it is known."""

        def full(*_given):
            time.sleep(0.3)
            raise OutputError("cannot write: No space left on device")

        monkeypatch.setattr("manyhands.training.checkpoints.folder.write_file", full)
        controls = self.controls()
        controls[1].ending[0] = 1
        plan = resolve(RunSpec(strategy="periodic:4", workers=2).changed(checkpoint=tmp_path), digits)
        with pytest.raises(Suspended, match=r"its state could not be written: cannot write: No space left"):
            run(plan, digits, controls=controls)

    @pytest.mark.parametrize(
        ("team", "number", "status"),
        [
            ("threads", signal.SIGTERM, 143),
            pytest.param("threads", signal.SIGINT, 130, marks=pytest.mark.slow),
            pytest.param("mpi", signal.SIGTERM, 143, marks=pytest.mark.slow),
            pytest.param("mpi", signal.SIGINT, 130, marks=pytest.mark.slow),
            pytest.param("torch", signal.SIGTERM, 143, marks=pytest.mark.slow),
        ],
    )
    def test_by_a_signal(self, tmp_path, team, number, status):
        folder = tmp_path / "run"
        words = [
            "--data",
            "digits",
            "--workers",
            "2",
            "--epochs",
            "100000",
            "--strategy",
            "periodic:4",
            "--hidden",
            "8",
        ]
        words += ["--checkpoint", str(folder), "--every", "200epochs", "--team", team]
        started = subprocess.Popen(
            [sys.executable, "-m", "manyhands", "train", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        wait_for(folder, started)
        started.send_signal(number)
        said = " ".join(started.communicate(timeout=60)[1].decode().split())
        assert started.returncode == status, said
        newest = CheckpointFolder(folder).newest()
        steps = int(newest.path.stem.split("-")[1])
        assert f"ended after step {steps:,}, as asked; --resume {folder} goes on from there" in said
        assert len({(each.epoch, each.step) for each in newest.states}) == 1

    @pytest.mark.slow
    def test_by_the_launcher_of_a_job(self, tmp_path):
        """As Slurm does before the time is over: every process gets the signal."""
        folder = tmp_path / "run"
        mpiexec = Path(sys.prefix, "bin", "mpiexec")
        job = [mpiexec, "-n", "2", "--host", "localhost:2", "--bind-to", "none", "--allow-run-as-root"]
        words = ["--data", "digits", "--team", "mpi", "--epochs", "100000", "--strategy", "periodic:4", "--hidden", "8"]
        program = [
            sys.executable,
            "-m",
            "manyhands",
            "train",
            *words,
            "--checkpoint",
            str(folder),
            "--every",
            "200epochs",
        ]
        environment = {**os.environ, "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,sm"}
        started = subprocess.Popen([*job, *program], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
        wait_for(folder, started)
        found = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False).stdout.split()
        for pid in map(int, found):
            if Path(f"/proc/{pid}/exe").resolve() == Path(sys.executable).resolve():
                os.kill(pid, signal.SIGTERM)
        said = " ".join(started.communicate(timeout=60)[1].decode().split())
        assert started.returncode == 143, said
        assert "as asked; --resume" in said


class TestTwoRunsAtTheSameTime:
    def test_the_second_is_refused(self, digits, tmp_path, monkeypatch):
        monkeypatch.setattr("manyhands.training.checkpoints.folder._PATIENCE", 0.1)
        first = CheckpointFolder(tmp_path)
        first.reserve()
        with pytest.raises(SettingsError, match="another run is writing checkpoints into"):
            manyhands.train(digits, **RUN, checkpoint=tmp_path)
        first.release()
        assert manyhands.train(digits, **RUN, checkpoint=tmp_path).steps
        first.reserve()  # which that run has released
        first.release()

    def test_one_that_has_begun_in_the_meantime_is_seen(self, digits, tmp_path, monkeypatch):
        usual = CheckpointFolder.reserve

        def late(self):
            usual(self)
            (tmp_path / "checkpoint-000000000007.safetensors").touch()

        monkeypatch.setattr(CheckpointFolder, "reserve", late)
        with pytest.raises(SettingsError, match="has 1 checkpoint of an earlier run"):
            manyhands.train(digits, **RUN, checkpoint=tmp_path)


def wait_for(folder, started):
    """Wait until the first checkpoint is there."""
    end = time.monotonic() + 60
    while not steps_in(folder) and time.monotonic() < end:
        assert started.poll() is None, started.stderr.read()
        time.sleep(0.02)
