"""Ctrl-C, on real processes: they end at once, with status 130, and lose nothing that was finished."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest

pty = pytest.importorskip("pty", reason="needs a terminal")
termios = pytest.importorskip("termios", reason="needs a terminal")

START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('manyhands', run_name='__main__', alter_sys=True)"
)
"""Listens to Ctrl-C even if the tests were started in the background, where shells tell programs to ignore it."""


class Running:
    """The program with a terminal for its messages, so that it shows its progress."""

    def __init__(self, *arguments):
        self._terminal, there = pty.openpty()
        termios.tcsetwinsize(there, (24, 120))  # a terminal without size shows no bar
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, arguments)], stdout=subprocess.PIPE, stderr=there, text=True
        )
        os.close(there)

    def wait_for(self, pattern, seconds=30):
        """Read messages until ``pattern`` was seen."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            assert time.monotonic() < end, f"no {pattern!r} in {self.seen!r}"
            assert self._read(0.2) or self.process.poll() is None, f"ended early: {self.seen!r}"

    def interrupt(self, seconds):
        """Press Ctrl-C; return status and output; fail if the program has not ended after ``seconds``."""
        self.process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        out, _ = self.process.communicate(timeout=60)
        took = time.monotonic() - begin
        while self._read(0):
            pass
        assert took < seconds
        return self.process.returncode, out

    def _read(self, seconds):
        """Add what the terminal has to ``seen``."""
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        with contextlib.suppress(OSError):  # EIO: the other end is closed and all is read
            text = os.read(self._terminal, 65536).decode()
            self.seen += text
            return bool(text)
        return False

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        os.close(self._terminal)


@pytest.fixture
def start():
    running = []

    def begin(*arguments):
        running.append(Running(*arguments))
        return running[-1]

    yield begin
    for one in running:
        one.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Options for data that are read in no time."""
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    path.write_text("".join(f"{row % 3},{row % 3 + row / 500},{row % 7},{row % 11}\n" for row in range(500)))
    return ["--train-csv", path, "--test-csv", path, "--batch", 50]


def test_compare_prints_and_writes_what_is_finished(start, data, tmp_path):
    path = tmp_path / "part.json"
    grid = ["--seeds", 1000, "--workers", 2, "--strategy", "gradient"]
    program = start("compare", *data, "--hidden", 8, "--epochs", 200, *grid, "--json", path)
    program.wait_for(r"seed [2-9]")  # two seeds are complete and the third is on its way
    status, out = program.interrupt(seconds=5)
    assert status == 130
    assert re.search(r"^sequential +1 ", out, re.MULTILINE)
    assert re.search(r"^gradient +2\*? ", out, re.MULTILINE)
    assert "Interrupted: only finished runs are counted." in out
    assert "Traceback" not in program.seen + out
    record = json.loads(path.read_text())
    assert record["interrupted"] is True
    assert 4 <= len(record["runs"]) < 2000
    assert [row["strategy"] for row in record["summary"]] == ["sequential", "gradient"]
    assert list(tmp_path.iterdir()) == [path]


def test_compare_before_the_first_run_is_finished(start, data, tmp_path):
    path = tmp_path / "part.json"
    program = start("compare", *data, "--epochs", 10**8, "--seeds", 1, "--workers", 2, "--json", path)
    program.wait_for(r"sequential n=1 seed 0 .*?[1-9][\d,]*/")
    status, out = program.interrupt(seconds=2.5)
    assert status == 130
    assert "\nNo run was finished.\n" in out
    assert "Traceback" not in program.seen
    record = json.loads(path.read_text())
    assert (record["interrupted"], record["runs"], record["summary"]) == (True, [], [])


@pytest.mark.parametrize("how", [pytest.param("one-shot --workers 2", marks=pytest.mark.slow), "gradient --workers 3"])
def test_long_run_ends_at_once_and_writes_no_model(start, data, tmp_path, how):
    files = ["--out", tmp_path / "m.safetensors", "--json", tmp_path / "m.json"]
    program = start("train", *data, "--epochs", 10**8, "--strategy", *how.split(), *files)
    program.wait_for(r"[1-9][\d,]*/1,000,000,000")
    status, out = program.interrupt(seconds=2.5)
    assert status == 130
    assert "manyhands train: interrupted" in program.seen
    assert "Traceback" not in program.seen
    assert "accuracy" not in out
    assert list(tmp_path.iterdir()) == []


def test_inside_compiled_code(start, tmp_path):
    """An epoch of 1,437 steps of 10 ms or more is one call, which looks at Ctrl-C between its steps."""
    options = ["--hidden", "2048-2048", "--batch", 1, "--epochs", 9, "--out", tmp_path / "m"]
    program = start("train", "--data", "digits", *options)
    program.wait_for(r"[1-9][\d,]*/12,933")
    status, _ = program.interrupt(seconds=2.5)
    assert status == 130
    assert list(tmp_path.iterdir()) == []


def test_between_plan_and_training(start, data, tmp_path):
    """While compiled code is imported."""
    program = start("train", *data, "--epochs", 10**8, "--out", tmp_path / "m")
    while not program.process.stdout.readline().startswith("plan"):
        assert program.process.poll() is None
    status, _ = program.interrupt(seconds=5)
    assert status == 130
    assert "Traceback" not in program.seen
    assert list(tmp_path.iterdir()) == []


def ended(seconds, number, *arguments):
    """Start the program as a shell does, and send it a signal after so many seconds; return status and messages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    time.sleep(seconds)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", ["train", "compare", "train --team mpi --strategy gradient --workers 2"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_at_every_moment(data, how, number, status):
    """In the imports, while code is compiled or read from its cache, and while a job comes up: one quiet end."""
    wrong = []
    for moment in range(12, 61):  # before, it may still be Python's own
        found, said = ended(0.025 * moment, number, *how.split(), *data, "--epochs", 10**8)
        if found != status or "Traceback" in said or "ignored" in said:
            wrong.append((moment, found, said))
    assert wrong == []
