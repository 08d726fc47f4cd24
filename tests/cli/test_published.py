"""``manyhands compare --as-published`` with real MPI jobs: what it prints and writes, refuses, and leaves behind."""

import contextlib
import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from manyhands.cli import main

pytest.importorskip("mpi4py", reason="needs the extra mpi")

SMALL = ["compare", "--as-published", "--data", "digits", "--workers", "1,3", "--epochs", "5"]


def call(*arguments):
    """Run the program in this process; return status, output and errors."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse leaves this way
            status = stopped.code
    return status, out.getvalue(), err.getvalue()


# ---------------------------------------------------------------- a whole repetition


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "result.json"
    status, out, err = call(*SMALL, "--json", path, "--explain")
    return {"status": status, "out": out, "err": err, "record": json.loads(path.read_text())}


def test_it_ends_well_and_prints_lines_for_a_terminal(done):
    assert (done["status"], done["err"]) == (0, "")
    tables = done["out"][done["out"].index("Table II:") :]
    assert max(map(len, tables.splitlines())) <= 80
    assert "Traceback" not in done["out"]


def test_the_accuracies_are_those_of_scikit_learn_alone(done, digits):
    features, labels = digits.train.features.astype(np.float64), digits.train.labels
    for record in done["record"]["runs"]:
        n = record["workers"]
        alone = []
        for rank in range(n):
            share = slice(rank * 1437 // n, (rank + 1) * 1437 // n)
            with warnings.catch_warnings(), threadpool_limits(1):
                warnings.simplefilter("ignore", ConvergenceWarning)
                alone.append(MLPClassifier((75,), max_iter=5, random_state=0).fit(features[share], labels[share]))
        merged = alone[0]
        for name in ("coefs_", "intercepts_"):
            layers = zip(*(getattr(each, name) for each in alone), strict=True)
            setattr(merged, name, [np.mean(layer, axis=0) for layer in layers])
        expected = merged.score(digits.test.features.astype(np.float64), digits.test.labels)
        assert record["accuracy"] == pytest.approx(expected, abs=0.003)  # 360 test rows: one of them
        assert record["loss"] == pytest.approx(np.mean([each.loss_curve_[-1] for each in alone]), rel=1e-9)


def test_the_tables_print_what_the_file_says(done):
    tables = done["record"]["tables"]
    for name, title in (("table2", "Table II: without communication"), ("table3", "Table III: with communication")):
        block = done["out"][done["out"].index(title) :].split("\n\n")[0]
        rows = [line.split() for line in block.splitlines() if re.match(r"\d", line)]
        cores = done["record"]["environment"]["cores"]
        assert [row[0] for row in rows] == ["1", "3*" if cores < 3 else "3"]
        for cells, row in zip(rows, tables[name]["here"], strict=True):
            assert cells[1:4] == [f"{row['time_s']:.3f}", f"{row['accuracy_pct']:.2f}", f"{row['impact']:,.2f}"]
        assert rows[0][-2:] == ["88.23", "16.37"]
        assert len(rows[1]) == 4
    with_talk, without = tables["table3"]["here"], tables["table2"]["here"]
    assert all(there["time_s"] > here["time_s"] for there, here in zip(with_talk, without, strict=True))


def test_it_says_what_was_done_and_what_differs(done):
    words = " ".join(done["out"].split())
    assert "digits: 1,437 training and 360 test samples" in words
    assert "64-75-10 relu, adam 0.001" in words
    assert "at most 5 epochs" in words
    assert "raw" in words
    assert "Reading is in neither." in words
    assert words.count("What differs from manyhands compare") == 1
    assert "compare only if that is what was run here" in words
    assert ("* more processes than" in words) == (done["record"]["environment"]["cores"] < 3)


def test_the_file_has_schema_settings_and_all_runs(done):
    record = done["record"]
    assert (record["schema"], record["interrupted"]) == ("manyhands.published/1", False)
    settings = record["settings"]
    assert (settings["strategy"], settings["team"], settings["learner"]) == ("one-shot", "mpi", "published")
    assert (settings["workers"], settings["seeds"], settings["epochs"]) == ([1, 3], 1, 5)
    assert (settings["network"]["hidden"], settings["network"]["dtype"]) == ([75], "float64")
    assert settings["data"]["scaling"] == "none"
    assert settings["batch_per_process"] == {"1": 200, "3": 200}
    assert [(run["workers"], run["team"], run["steps"]) for run in record["runs"]] == [(1, "mpi", 40), (3, "mpi", 15)]
    assert [row["processes"] for row in record["tables"]["table2"]["published"]] == [1, 2, 4, 6]


# ---------------------------------------------------------------- what does not go together


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--strategy one-shot", "--strategy and --as-published do not go together"),
        ("--sharding fixed", "--sharding and --as-published do not go together"),
        ("--scale 255", "--scale and --as-published do not go together"),
        ("--workers 2", "1437 training rows do not divide by 2 workers"),
        ("--train-size 100 --workers 1,3", "100 training rows do not divide by 3 workers"),
    ],
)
def test_what_cannot_be_is_one_message_before_any_job(monkeypatch, arguments, words):
    monkeypatch.setattr(
        "manyhands.studies.replications.todorov2021.Job", lambda *_a, **_o: pytest.fail("a job was started")
    )
    status, out, err = call(*SMALL, *arguments.split())
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("manyhands compare: ") == 1


def test_raw_values_may_be_asked_for_by_name(monkeypatch):
    monkeypatch.setattr("manyhands.studies.replications.todorov2021.PublishedStudy.run", lambda *_a, **_o: None)
    assert call(*SMALL, "--scale", "none", "--dtype", "float32", "--seeds", "2")[0] == 0


# ---------------------------------------------------------------- Ctrl-C

START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('manyhands', run_name='__main__', alter_sys=True)"
)
"""Listens to Ctrl-C even if the tests were started in the background, where shells tell programs to ignore it."""


def parents():
    """Every process's parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def descendants(pid):
    family, known = {pid}, parents()
    while more := {child for child, parent in known.items() if parent in family} - family:
        family |= more
    return family - {pid}


def command_line(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return []


class Running:
    """The program with a terminal for its messages, so that it shows its progress."""

    def __init__(self, folder, *arguments):
        pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
        self._terminal, there = pty.openpty()
        termios.tcsetwinsize(there, (24, 120))  # a terminal without size shows no bar
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=there,
            text=True,
            env={**os.environ, "TMPDIR": folder},
        )
        os.close(there)

    def wait_for(self, pattern, seconds):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            assert time.monotonic() < end, f"no {pattern!r} in {self.seen!r}"
            assert self.read(0.2) or self.process.poll() is None, f"ended early: {self.seen!r}"

    def read(self, seconds):
        """Add what the terminal has to ``seen``."""
        if select.select([self._terminal], [], [], seconds)[0]:
            with contextlib.suppress(OSError):  # EIO: the other end is closed and all is read
                text = os.read(self._terminal, 65536).decode(errors="replace")
                self.seen += text
                return bool(text)
        return False

    def close(self):
        for pid in (self.process.pid, *descendants(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        os.close(self._terminal)


@pytest.fixture
def program():
    folder = tempfile.mkdtemp(prefix="mh")  # a short name: mpiexec makes sockets under it
    running = []

    def begin(*arguments):
        running.append(Running(folder, *arguments))
        return running[-1], Path(folder)

    yield begin
    for one in running:
        one.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.slow  # commands of other studies end alike, and are tried in every run
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_end_in_the_middle_keeps_the_finished_runs_and_leaves_nothing_behind(program, tmp_path, number):
    path = tmp_path / "part.json"
    grid = ["--workers", 3, "--seeds", 5000, "--epochs", 5, "--hidden", 8]
    one, folder = program("compare", "--as-published", "--data", "digits", *grid, "--json", path)
    one.wait_for(r"n=3 seed ([2-9]|\d\d)", 60)  # two runs are finished
    family = descendants(one.process.pid)
    workers = [pid for pid in family if "manyhands.training.jobs.process" in command_line(pid)]
    (place,) = {Path(command_line(pid)[-2]) for pid in workers}  # the last argument, before a final NUL
    assert len(workers) >= 3
    assert place.is_dir()
    assert len([each for each in folder.glob("manyhands-job-*") if each != place]) == 1  # the CSV files
    one.process.send_signal(number)
    began = time.monotonic()
    out, _ = one.process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert one.process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    while one.read(0):
        pass
    assert "Traceback" not in one.seen + out
    assert "Interrupted: only finished runs are counted." in out
    record = json.loads(path.read_text())
    assert record["interrupted"] is True
    assert 2 <= len(record["runs"]) < 5000
    assert [run["seed"] for run in record["runs"]] == list(range(len(record["runs"])))
    assert [row["processes"] for row in record["tables"]["table3"]["here"]] == [3]
    assert [pid for pid in family if command_line(pid) not in ([], [""])] == []
    assert not place.exists()
    assert list(folder.glob("manyhands-*")) == []
    assert list(tmp_path.iterdir()) == [path]
