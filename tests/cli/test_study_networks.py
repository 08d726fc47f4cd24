"""``manyhands study w2`` on the command line: what it prints and writes, what it refuses, and that nothing is lost."""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import time

import pytest

from manyhands.cli import main, study_networks
from manyhands.studies.networks import request as space

START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('manyhands', run_name='__main__', alter_sys=True)"
)
"""Listens to Ctrl-C even if the tests were started in the background, where shells tell programs to ignore it."""

STUDY = ["study", "w2", "--data", "digits", "--hidden", "8", "--epochs", "3", "--strategy", "periodic:1epoch"]
TWO = ["--activation", "relu,tanh", "--workers", "1,2", "--seeds", "3"]
RUNS = 2 * (4 + 3 * 2)


def call(*arguments):
    """Run the program in this process; return status, output and errors."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse leaves this way
            status = stopped.code
    return status, out.getvalue(), err.getvalue()


def entries(path):
    """Return the finished runs in a journal, that may not be there yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]]


def keys(path):
    """Return what the runs in a journal were."""
    return [json.dumps({k: v for k, v in entry.items() if k != "record"}, sort_keys=True) for entry in entries(path)]


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("w2")
    status, out, err = call(*STUDY, *TWO, "--json", folder / "f.json", "--report", folder / "report")
    assert (status, err) == (0, "")
    return out, folder


class TestOutput:
    def test_tables_answer_and_files(self, reported):
        out, folder = reported
        assert "network   2 networks, inputs x / 16" in out
        plan = "all values with all others (activation, hidden); 20 runs of 3 epochs: 1, 2 workers, 3 seeds"
        assert plan in " ".join(out.split())
        assert re.search(r"^one worker +rate +s +\(95 %\) +dence % +error % +85/90/92 %$", out, re.MULTILINE)
        assert re.search(r"^periodic:1epoch vs one worker\n +n = 2$", out, re.MULTILINE)
        text = " ".join(out.split())
        assert "Which networks are good, and which keep their accuracy when several workers train them?" in text
        assert "is the best on the validation rows with one worker" in text
        assert "Nothing is chosen on test samples." in text
        beside = {path.name for path in (folder / "report").iterdir()}
        assert {"report.html", "results.json", "runs.csv", "networks.csv", "tried.csv", "curves.csv"} <= beside
        assert {"networks_all.png", "networks_all.svg", "learning_all.png", "networks_confidence.png"} <= beside
        assert not [name for name in beside if "journal" in name]
        assert sorted(path.name for path in folder.iterdir()) == ["f.json", "report"]

    def test_it_fits_80_columns(self, reported):
        lines = reported[0].split("\n\n", 1)[1].split("report    ")[0].splitlines()
        assert max(map(len, lines)) <= 80

    def test_the_report_again(self, reported, tmp_path):
        _, folder = reported
        status, out, err = call("report", folder / "f.json", "--report", tmp_path / "again")
        assert (status, err) == (0, "")
        assert "question  Which networks are good" in out
        for path in (folder / "report").iterdir():
            assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()

    def test_quiet(self):
        status, out, err = call(*STUDY, "--learning-rate", "0.01", "--workers", "1", "--seeds", "1", "--quiet")
        assert (status, err) == (0, "")
        assert "machine" not in out
        assert "rate 0.01" in out

    @pytest.mark.slow  # a run for every value of every axis
    def test_one_at_a_time(self, tmp_path):
        axes = ["--in-turn", "--activation", "relu,tanh", "--batch", "200,all", "--weight-init", "auto,ones"]
        axes += ["--bias-init", "zeros", "--learning-rate", "own", "--dropout", "0,0.5", "--loss", "cross_entropy"]
        axes += ["--optimizer", "adam,sgd", "--targets", "none", "--workers", "1", "--seeds", "1", "--l2", "0.01"]
        status, out, _ = call(*STUDY, *axes, "--json", tmp_path / "f")
        assert status == 0
        record = json.loads((tmp_path / "f").read_text())
        names = ["base", "tanh", "sgd", "batch all", "weights ones", "dropout 0.5"]
        assert [network["name"] for network in record["networks"]] == names
        assert {network["l2"] for network in record["networks"]} == {0.01}
        assert "weights ones: of 8 neurons, 1 differed at the end." in out
        assert "epochs to" not in out

    def test_the_lists_are_those_of_the_library(self):
        assert tuple(space.AXES) == study_networks.AXES
        assert (space.DEFAULT_WORKERS, space.DEFAULT_STRATEGIES) == (study_networks.WORKERS, study_networks.STRATEGIES)
        assert (space.DEFAULT_TARGETS, space.DEFAULT_MULTIPLES) == (study_networks.TARGETS, study_networks.MULTIPLES)
        assert space.DEFAULT_EPOCHS == study_networks.EPOCHS

    def test_help(self):
        status, out, _ = call("study", "w2", "--help")
        assert status == 0
        for option in (
            "--activation A,...",
            "--in-turn",
            "--targets A,...",
            "--journal F",
            "--report DIR",
            "--margin P",
        ):
            assert option in " ".join(out.split())
        assert "%%" not in out


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--activation", "relu,step"], "unknown activation 'step'"),
            (["--activation", "relu,"], "unknown activation ''"),
            (["--optimizer", "magic"], "unknown optimizer 'magic'"),
            (["--learning-rate", "fast"], "--learning-rate: 'fast' is not a positive number"),
            (["--learning-rate", "own,0"], "--learning-rate: '0' is not a positive number"),
            (["--batch", "200,0"], "--batch: '0' is not a whole number from 1 on"),
            (["--batch", "200,1"], "batch 1, periodic:1epoch n=2: "),
            (["--batch", "1199"], "batch 1199 hidden 8, one worker: the global batch must lie between 1 and the 1198"),
            (["--weight-init", "he"], "weight_init: unknown initialization 'he'"),
            (["--bias-init", "orthogonal"], "they cannot start orthogonal"),
            (["--loss", "hinge"], "unknown loss 'hinge'"),
            (["--dropout", "0,1"], "--dropout: '1' is not a number from 0 to below 1"),
            (["--hidden", "8,x"], "--hidden: 'x' is not a whole number from 1 on"),
            (["--workers", "0"], "--workers: '0' is not"),
            (["--strategy", "telepathy"], "unknown strategy 'telepathy'"),
            (["--strategy", "auto"], "auto chooses the learning rate itself"),
            (["--targets", "92"], "write 0.92 for 92 %"),
            (["--multiples", "0"], "--multiples: '0' is not a positive number"),
            (["--seeds", "0"], "--seeds: '0' is not"),
            (["--seed", "-1"], "seed must be at least 0"),
            (["--seed", "999"], "seeds from 1000 on"),
            (["--margin", "0"], "--margin: '0' is not a positive number"),
            (["--schedule", "sine"], "unknown schedule 'sine'"),
            (["--json", "f", "--journal", "f"], "two results cannot go to the same file f"),
        ],
        ids=lambda each: " ".join(each) if isinstance(each, list) else "",
    )
    def test_before_anything_is_trained(self, tmp_path, monkeypatch, arguments, words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("manyhands.studies.networks.run.run", lambda *_: pytest.fail("training was started"))
        status, out, err = call(*STUDY, "--workers", "1,2", "--quiet", *arguments)
        assert (status, out) == (2, "")
        assert words in err
        assert list(tmp_path.iterdir()) == []

    def test_the_journal_of_another_study(self, tmp_path):
        small = [*STUDY, "--workers", "1", "--seeds", "1", "--quiet", "--journal", tmp_path / "j"]
        assert call(*small)[0] == 0
        before = (tmp_path / "j").read_bytes()
        status, out, err = call(*small, "--epochs", "4")
        assert (status, out) == (2, "")
        assert "(epochs: 3 there, 4 now); give another file" in err
        assert (tmp_path / "j").read_bytes() == before


class TestInterrupted:
    def start(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "-c", START, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, process, journal, number):
        end = time.monotonic() + 60
        while len(entries(journal)) < number:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.005)

    def test_killed_and_started_again_no_run_is_done_twice(self, tmp_path):
        """SIGKILL twice, then to the end: the journal has every run once, and those that were kept as they were."""
        journal = tmp_path / "journal"
        # Epochs enough that runs are not over before the kill.
        study = [*STUDY, *TWO, "--epochs", "60", "--quiet", "--journal", journal, "--json", tmp_path / "f"]
        kept = []
        for number in (2, 7):
            process = self.start(*study)
            with process:
                self.wait_for(process, journal, number)
                process.kill()
                process.communicate(timeout=60)
            content = entries(journal)
            assert content[: len(kept)] == kept
            assert number <= len(content) < RUNS
            kept = content
        status, out, err = call(*study)
        assert (status, err) == (0, "")
        content = entries(journal)
        assert content[: len(kept)] == kept
        assert len(set(keys(journal))) == len(content) == RUNS
        record = json.loads((tmp_path / "f").read_text())
        assert (record["interrupted"], len(record["runs"]), len(record["tried"])) == (False, 12, 8)
        assert "Interrupted" not in out

    def test_ctrl_c_prints_and_writes_what_is_finished(self, tmp_path):
        journal = tmp_path / "f.journal"
        study = [*STUDY, *TWO, "--epochs", "60", "--json", tmp_path / "f"]
        process = self.start(*study)
        with process:
            self.wait_for(process, journal, 6)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in err
        assert "Interrupted: only finished runs are counted." in out
        record, kept = json.loads((tmp_path / "f").read_text()), entries(journal)
        assert record["interrupted"] is True
        assert len(record["runs"]) + len(record["tried"]) == len(kept) >= 6
        assert [{k: v for k, v in run.items() if k != "network"} for run in record["runs"]] == [
            entry["record"] for entry in kept if entry["seed"] < 1000
        ]
        status, out, _ = call(*study)
        assert (status, "Interrupted" in out, journal.exists()) == (0, False, False)
