"""Live logs: whole lines at any time, TensorBoard's own reader reads them, and what fails says so at once."""

import contextlib
import itertools
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from manyhands.cli import main
from manyhands.core.callbacks import EventFunction
from manyhands.core.errors import DivergedError, OutputError, SettingsError
from manyhands.core.events import EpochEnded, Measured, RoundHeld
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.studies.compare.run import CompareRequest, CompareStudy
from manyhands.teams import mpi_environment
from manyhands.training import loggers as logs_module
from manyhands.training.loggers import Logs, no_log
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

FOREVER = 10**7
"""Epochs: more than anybody waits for."""


def plan_for(dataset, **changes):
    chosen = {"network": MLPSettings(hidden=(8,)), "epochs": 2, "batch": 25, "convergence": True, **changes}
    return resolve(RunSpec(**chosen), dataset)


def logged(plan, dataset, logs):
    """Run a plan; return its result and all events of rank 0 that are logged."""
    heard = []
    with logs(plan) as logger:
        spy = EventFunction(lambda event: event.rank or heard.append(event), logger.granularity)
        return run(plan, dataset, callbacks=[logger, spy]), heard


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def records(path):
    """Return the lines of a log; whatever is no JSON as others read it fails."""
    content = path.read_text()
    assert content == "" or content.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in content.splitlines()]


@contextlib.contextmanager
def tiny_disk(folder, kilobytes=64, *options):
    """Mount a file system with hardly any room."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={kilobytes}k", *options]), "tmpfs", folder]
    try:
        mounted = subprocess.run(words, capture_output=True, timeout=20, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], timeout=20, check=True)


def process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "manyhands", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


class TestLines:
    @pytest.mark.parametrize(
        ("rounds", "events"), [(False, ["measured", "epoch"]), (True, ["round", "measured", "epoch"])]
    )
    def test_a_run_has_a_beginning_events_and_an_end(self, blobs, tmp_path, rounds, events):
        path, before = tmp_path / "log.jsonl", time.time()
        plan = plan_for(blobs, strategy="periodic:1epoch", workers=2)
        with Logs(path, rounds=rounds) as logs:
            result, heard = logged(plan, blobs, logs)
        lines = records(path)
        # An epoch's round is held inside it, and measured at once.
        assert [line["event"] for line in lines] == ["begin", *events * 2, "end"]
        assert {line["run"] for line in lines} == {0}
        times = [line["time"] for line in lines]
        assert times == sorted(times)
        assert before - 1e-5 <= times[0] <= times[-1] <= time.time() + 1e-5
        assert {name: lines[0][name] for name in plan.describe()} == json.loads(json.dumps(plan.describe()))
        for line, event in zip(lines[1:-1], heard, strict=True):
            assert {name: line[name] for name in vars(event)} == vars(event)
        assert lines[-1] == {
            "time": times[-1],
            "run": 0,
            "event": "end",
            "accuracy": result.accuracy,
            "steps": 10,
            "rounds": 2,
            "seconds": result.seconds,
        }

    def test_runs_of_a_comparison_are_numbered(self, blobs, tmp_path):
        path = tmp_path / "log.jsonl"
        request = CompareRequest(
            ("one-shot", "gradient"), (2,), seeds=2, spec=RunSpec(network=MLPSettings(hidden=(4,)), batch=25, epochs=1)
        )
        with Logs(path) as logs:
            outcome = CompareStudy(blobs, request, log=logs).run()
        lines = records(path)
        assert [line["run"] for line in lines] == sorted(line["run"] for line in lines)
        groups = {number: list(group) for number, group in itertools.groupby(lines, lambda line: line["run"])}
        assert list(groups) == list(range(6))  # (sequential, one-shot, gradient) x 2 seeds
        for group, record in zip(groups.values(), outcome.runs, strict=True):
            begin, end = group[0], group[-1]
            assert (begin["event"], end["event"]) == ("begin", "end")
            assert [begin[name] for name in ("strategy", "workers", "seed")] == [
                record[name] for name in ("strategy", "workers", "seed")
            ]
            assert (end["accuracy"], end["seconds"]) == (record["accuracy"], record["seconds"])
        rounds = [group[-2]["rounds"] for group in groups.values()]
        assert rounds == [0, 1, 5] * 2  # 103 rows in batches of 25 are 5 steps

    def test_logging_changes_no_result(self, blobs, tmp_path):
        plan = plan_for(blobs, strategy="gradient", workers=2)
        with Logs(tmp_path / "log", tmp_path / "board", rounds=True) as logs:
            result, _ = logged(plan, blobs, logs)
        assert result.model.learner.parameters.tobytes() == run(plan, blobs).model.learner.parameters.tobytes()

    # That events come while an MPI job goes on, tests/training/jobs/test_client.py says.
    @pytest.mark.parametrize("team", ["threads", pytest.param("mpi", marks=pytest.mark.slow)])
    def test_who_reads_along_sees_whole_lines(self, blobs, tmp_path, team):
        """The file grows while the run goes on: it is read again and again until the run is told to stop."""
        path, seen = tmp_path / "log.jsonl", []

        def look(steps):
            seen.append(len(records(path)))  # fails if a line is not whole
            if len(set(seen)) >= 6 and seen[-1] > 200:
                raise KeyboardInterrupt

        plan = plan_for(blobs, strategy="gradient", workers=2, team=team, epochs=FOREVER)
        with pytest.raises(KeyboardInterrupt), Logs(path, rounds=True) as logs, logs(plan) as logger:
            run(plan, blobs, progress=look, callbacks=[logger])
        assert seen == sorted(seen)
        assert records(path)[-1]["event"] != "end"

    def test_an_older_file_is_replaced(self, blobs, tmp_path):
        path = tmp_path / "log.jsonl"
        for _ in range(2):
            with Logs(path) as logs:
                logged(plan_for(blobs), blobs, logs)
        assert [line["event"] for line in records(path)].count("begin") == 1

    def test_a_run_that_fails_has_no_end(self, blobs, tmp_path):
        path = tmp_path / "log.jsonl"
        settings = MLPSettings(hidden=(), optimizer="sgd", learning_rate=1e37)
        plan = plan_for(blobs, strategy="gradient", workers=2, network=settings, batch=103)
        with pytest.raises(DivergedError), Logs(path) as logs:
            logged(plan, blobs, logs)
        lines = records(path)  # every line is JSON as others read it: no NaN, no Infinity
        assert lines[0]["event"] == "begin"
        assert "end" not in [line["event"] for line in lines]

    def test_two_worker_threads_do_not_mix_lines(self, blobs, tmp_path):
        """Only rank 0's events are written, but all workers' threads call the logger."""
        path = tmp_path / "log.jsonl"
        with Logs(path, rounds=True) as logs:
            logged(plan_for(blobs, strategy="periodic:1", workers=4, epochs=20), blobs, logs)
        lines = records(path)
        assert {line["rank"] for line in lines[1:-1]} == {0}
        assert sum(line["event"] == "round" for line in lines) == 100


class TestNoLog:
    def test_nothing_to_write_asks_for_no_event(self, blobs, tmp_path):
        """So that several epochs may be one call of compiled code."""
        plan = plan_for(blobs)
        with no_log(plan) as logger:
            assert logger.granularity == "end"
        with Logs() as logs, logs(plan) as logger:
            assert logger.granularity == "end"
            run(plan, blobs, callbacks=[logger])
        assert list(tmp_path.iterdir()) == []


class TestWhatCannotBeWritten:
    @pytest.mark.parametrize("name", ["no/such/folder/log", "."])
    def test_a_file_is_refused_at_once(self, tmp_path, name):
        with pytest.raises(OutputError, match=r"^cannot write "):
            Logs(tmp_path / name)

    def test_a_link_out_of_its_folder_is_not_followed(self, tmp_path):
        (tmp_path / "logs").mkdir()
        for name, there in (("secret", True), ("none", False)):
            if there:
                (tmp_path / name).write_text("mine")
            (tmp_path / "logs" / name).symlink_to(tmp_path / name)
            with pytest.raises(OutputError, match="leads out of its folder"):
                Logs(tmp_path / "logs" / name)
        assert (tmp_path / "secret").read_text() == "mine"
        assert not (tmp_path / "none").exists()

    def test_a_link_in_the_place_of_a_runs_folder_is_refused(self, blobs, tmp_path, monkeypatch):
        pytest.importorskip("tensorboard")
        (tmp_path / "elsewhere").mkdir()
        logs, plan = Logs(None, tmp_path / "board"), plan_for(blobs)
        (tmp_path / "board" / logs_module._run_name(0, plan)).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match="it is a link"), logs(plan):
            pass
        assert list((tmp_path / "elsewhere").iterdir()) == []

    @pytest.mark.parametrize("path", ["a\0b", "\ud800", ""])
    def test_paths_that_no_file_can_have(self, path):
        for arguments in ((path,), (None, path)):
            with pytest.raises(OutputError):
                Logs(*arguments)

    def test_a_folder_for_event_files_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(OutputError, match=r"^cannot (write into|make the folder) .*file"):
            Logs(None, tmp_path / "file")
        with pytest.raises(OutputError, match=r"^cannot (write into|make the folder) .*file"):
            Logs(None, tmp_path / "file" / "below")
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_disk_that_may_only_be_read(self, tmp_path):
        with tiny_disk(tmp_path / "disk", 64, "ro") as disk:
            with pytest.raises(OutputError, match=r"^cannot write .*log"):
                Logs(disk / "log")
            with pytest.raises(OutputError, match=r"^cannot write into "):
                Logs(None, disk)

    def test_the_older_log_survives_when_tensorboard_is_missing(self, tmp_path, monkeypatch):
        """Nothing was run, so nothing is lost."""
        path = tmp_path / "log.jsonl"
        path.write_text("yesterday's\n")
        monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
        with pytest.raises(SettingsError):
            Logs(path, tmp_path / "board")
        assert path.read_text() == "yesterday's\n"

    @pytest.mark.parametrize("command", ["train", "compare"])
    def test_without_tensorboard_the_message_says_how_to_get_it(self, monkeypatch, capsys, tmp_path, command):
        monkeypatch.setattr("manyhands.training.run.run", lambda *_a, **_o: pytest.fail("training was started"))
        monkeypatch.setitem(sys.modules, "tensorboard", None)
        for name in list(sys.modules):
            if name.startswith("tensorboard."):
                monkeypatch.delitem(sys.modules, name)
        status = main([command, "--data", "digits", "--epochs", "1", "--tensorboard", str(tmp_path / "board")])
        error = capsys.readouterr().err
        assert status == 2
        assert error.startswith(f"manyhands {command}: ")
        assert "pip install tensorboard" in error
        assert error.count("\n") == 1
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("option", "team"),
        [
            ("--log", "threads"),
            ("--tensorboard", "mpi"),
            pytest.param("--log", "mpi", marks=pytest.mark.slow),
            pytest.param("--tensorboard", "threads", marks=pytest.mark.slow),
        ],
    )
    def test_a_disk_that_fills_costs_the_log_only(self, tmp_path, team, option):
        """What was trained is worth more than its log: accuracy and model are there, and the failure is said."""
        words = [
            "--strategy",
            "gradient",
            "--workers",
            2,
            "--team",
            team,
            "--epochs",
            20,
            "--batch",
            10,
            "--log-rounds",
        ]
        model = tmp_path / "model.safetensors"
        with tiny_disk(tmp_path / "disk") as disk:
            target = disk / "log" if option == "--log" else disk
            done = process(
                "train", "--data", "digits", "--hidden", 4, *words, option, target, "--out", model, "--quiet"
            )
            if option == "--log":
                lines = records(target)  # the last one is not cut off
                assert lines[0]["event"] == "begin"
                assert 100 < len(lines) < 2000
        assert done.returncode == 1
        assert done.stdout.startswith("accuracy  ")
        assert f"model     {model}\n" in done.stdout
        assert model.exists()
        said = [line for line in done.stderr.splitlines() if "compil" not in line]
        assert len(said) == 2, done.stderr
        assert said[0].startswith("manyhands: note: cannot write ")
        assert said[0].endswith("; the training goes on, and this log ends here")
        assert said[1].startswith("manyhands train: cannot write ")

    @pytest.mark.parametrize("option", ["--log", pytest.param("--tensorboard", marks=pytest.mark.slow)])
    def test_a_disk_that_fills_costs_no_run(self, tmp_path, option):
        """The sequential run has few events; the other ones fill the disk."""
        words = ["--strategy", "gradient", "--workers", 2, "--seeds", 2, "--epochs", 100, "--batch", 50, "--hidden", 4]
        words += ["--log-rounds"]
        path = tmp_path / "all.json"
        with tiny_disk(tmp_path / "disk", 256) as disk:
            target = disk / "log" if option == "--log" else disk
            done = process("compare", "--data", "digits", *words, option, target, "--json", path, "--quiet")
        assert done.returncode == 1
        assert "gradient" in done.stdout
        assert done.stderr.count("this log ends here") == 1
        assert done.stderr.count("manyhands compare: cannot write") == 1
        record = json.loads(path.read_text())
        assert (record["interrupted"], len(record["runs"])) == (False, 4)

    def test_a_log_that_cannot_even_begin_is_refused_at_once(self, blobs, tmp_path, monkeypatch):
        monkeypatch.setattr(logs_module.os, "write", lambda *_: 3)
        with Logs(tmp_path / "log") as logs, pytest.raises(OutputError, match="cannot write"), logs(plan_for(blobs)):
            pytest.fail("begun")

    def test_a_log_that_fails_in_a_program_is_an_error_at_the_end(self, blobs, tmp_path, monkeypatch, caplog):
        path, finished, logs = tmp_path / "log", [], Logs(tmp_path / "log")
        for _ in range(3):
            finished.append(logged(plan_for(blobs), blobs, logs))
            monkeypatch.setattr(logs_module.os, "write", lambda *_: 3)
        assert {line["run"] for line in records(path)} == {0}
        assert caplog.text.count("this log ends here") == 1
        with pytest.raises(OutputError, match=r"cannot write .*log: No space"), logs:
            pass

    def test_settings_that_cannot_work_cost_no_older_log(self, tmp_path, capsys):
        path = tmp_path / "log.jsonl"
        path.write_text("yesterday's\n")
        for words in (["compare", "--strategy", "telepathy"], ["train", "--strategy", "telepathy"]):
            assert main([*words, "--data", "digits", "--log", str(path)]) == 2
            assert path.read_text() == "yesterday's\n"
        capsys.readouterr()


class TestTensorBoard:
    @pytest.fixture
    def read(self):
        accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

        def scalars(folder):
            """Return {tag: [(step, value), ...]} as TensorBoard itself reads it."""
            board = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
            board.Reload()
            return {tag: [(one.step, one.value) for one in board.Scalars(tag)] for tag in board.Tags()["scalars"]}

        return scalars

    @pytest.mark.parametrize("strategy", ["sequential", "periodic:7", "gradient", "minibatch:5epochs"])
    def test_it_reads_all_events(self, blobs, tmp_path, read, strategy):
        plan = plan_for(blobs, strategy=strategy, workers=1 if strategy == "sequential" else 2, seed=4)
        with Logs(None, tmp_path, rounds=True) as logs:
            result, heard = logged(plan, blobs, logs)
        (folder,) = tmp_path.iterdir()
        assert folder.name == f"000-{strategy.replace(':', '-')}-n{plan.workers}-seed4"
        expected = {
            "loss/epoch": [(5 * event.epoch, event.loss) for event in heard if isinstance(event, EpochEnded)],
            "loss/round": [(event.step, event.loss) for event in heard if isinstance(event, RoundHeld)],
            "rounds": [(event.step, event.rounds) for event in heard if isinstance(event, EpochEnded)],
            "test/loss": [(event.step, event.loss) for event in heard if isinstance(event, Measured)],
            "test/accuracy": [(event.step, event.accuracy) for event in heard if isinstance(event, Measured)],
            "accuracy": [(10, result.accuracy)],
            **{f"seconds/{name}": [(10, result.seconds[name])] for name in ("compute", "communicate", "merge")},
        }
        found = read(folder)
        times = found.pop("seconds/train")
        assert times == [
            (step, pytest.approx(seconds, rel=1e-6))
            for step, seconds in [
                *[(event.step, event.train_s) for event in heard if isinstance(event, Measured)],
                (10, result.seconds["train"]),
            ]
        ]
        expected = {tag: points for tag, points in expected.items() if points}
        assert found.keys() == expected.keys()
        for tag, points in expected.items():
            assert [step for step, _ in found[tag]] == [step for step, _ in points], tag
            single = np.array([value for _, value in points], np.float32)  # as event files keep them
            np.testing.assert_array_equal(np.array([value for _, value in found[tag]], np.float32), single, tag)

    def test_every_run_of_a_comparison_has_a_folder(self, blobs, tmp_path, read):
        request = CompareRequest(
            ("one-shot",), (1, 2), seeds=2, spec=RunSpec(network=MLPSettings(hidden=(4,)), batch=25, epochs=1, seed=7)
        )
        with Logs(None, tmp_path / "new" / "board") as logs:
            outcome = CompareStudy(blobs, request, log=logs).run()
        folders = sorted((tmp_path / "new" / "board").iterdir())
        assert [folder.name for folder in folders] == [
            "000-sequential-n1-seed7",
            "001-one-shot-n1-seed7",
            "002-one-shot-n2-seed7",
            "003-sequential-n1-seed8",
            "004-one-shot-n1-seed8",
            "005-one-shot-n2-seed8",
        ]
        for folder, record in zip(folders, outcome.runs, strict=True):
            assert read(folder)["accuracy"] == [(5, pytest.approx(record["accuracy"], rel=1e-6))]

    def test_events_can_be_read_while_the_run_goes_on(self, blobs, tmp_path, read):
        seen = []

        def callback(event):
            if event.rank == 0 and isinstance(event, RoundHeld) and event.number in (3, 8):
                (folder,) = tmp_path.iterdir()
                seen.append(len(read(folder)["loss/round"]))

        plan = plan_for(blobs, strategy="periodic:1", workers=2)
        with Logs(None, tmp_path, rounds=True) as logs, logs(plan) as logger:
            run(plan, blobs, callbacks=[logger, EventFunction(callback, "round")])
        assert seen == [3, 8]


def mpiexec(size, *arguments):
    """Run the command line in so many processes."""
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    return subprocess.run(
        [*mpi_environment.job_command(path, kind, size), sys.executable, "-m", "manyhands", *map(str, arguments)],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


class TestUnderMpiexec:
    WORDS = ("train", "--data", "digits", "--strategy", "periodic:1epoch", "--epochs", 3, "--hidden", 8, "--log-rounds")

    def test_rank_0_alone_writes(self, tmp_path):
        pytest.importorskip("mpi4py")
        files = ["--log", tmp_path / "log", "--tensorboard", tmp_path / "board", "--convergence"]
        done = mpiexec(2, *self.WORDS, "--team", "mpi", *files)
        assert (done.returncode, done.stderr) == (0, "")
        lines = records(tmp_path / "log")
        assert [line["event"] for line in lines] == ["begin", *["round", "measured", "epoch"] * 3, "end"]
        assert lines[0]["workers"] == 2
        (folder,) = (tmp_path / "board").iterdir()
        assert len(list(folder.iterdir())) == 1
        # Threads write the same.
        other = tmp_path / "threads"
        assert main([str(word) for word in (*self.WORDS, "--workers", 2, "--convergence", "--log", other)]) == 0
        assert [untimed(line) for line in records(other)[1:-1]] == [untimed(line) for line in lines[1:-1]]

    @pytest.mark.parametrize("where", ["no/such/folder/log", pytest.param(".", marks=pytest.mark.slow)])
    def test_what_rank_0_cannot_write_ends_all(self, tmp_path, where):
        pytest.importorskip("mpi4py")
        done = mpiexec(2, *self.WORDS, "--team", "mpi", "--log", tmp_path / where)
        assert done.returncode != 0
        assert "accuracy" not in done.stdout
        assert done.stderr.count("manyhands train: cannot write ") == 1


def untimed(line):
    """Return what a line says, without times."""
    return {name: value for name, value in line.items() if name not in ("time", "train_s")}
