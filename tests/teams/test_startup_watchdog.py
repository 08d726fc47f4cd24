"""Processes of a job that are stopped are found in the system, and nobody waits for them for ever."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid

import pytest

from manyhands.teams import startup_watchdog
from manyhands.teams.startup_watchdog import StartupCheck

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are found in /proc")  # noqa: PTH112

WAITS = "print(flush=True)\nwhile True: __import__('time').sleep(1)"
GUARDED = """
import sys, time
from manyhands.teams import startup_watchdog
startup_watchdog.STOPPED_SECONDS = 1.0
with startup_watchdog.guarded(None):
    print("waiting", flush=True)
    time.sleep(float(sys.argv[1]))
print("came up", flush=True)
"""


@pytest.fixture
def start():
    """Start processes of one job, by rank."""
    name, processes = uuid.uuid4().hex, []

    def begin(rank, program, *arguments, named=name):
        told = {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "PMIX_NAMESPACE": named}
        told["OMPI_COMM_WORLD_LOCAL_SIZE"] = "2"
        process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **told},
        )
        processes.append(process)
        process.stdout.readline()
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def stop(process):
    os.kill(process.pid, signal.SIGSTOP)
    while not startup_watchdog.is_stopped(process.pid):
        time.sleep(0.01)


def test_siblings_are_those_of_the_same_job(start):
    first, second, stranger = start(0, WAITS), start(1, WAITS), start(1, WAITS, named="another")
    assert startup_watchdog.siblings(first.pid) == {0: [first.pid], 1: [second.pid]}
    stop(stranger)
    assert startup_watchdog.stopped(first.pid) == {}
    stop(second)
    assert startup_watchdog.stopped(first.pid) == {1: second.pid}
    os.kill(second.pid, signal.SIGCONT)
    while startup_watchdog.is_stopped(second.pid):
        time.sleep(0.01)
    assert startup_watchdog.stopped(first.pid) == {}


def test_who_is_not_there_is_not_stopped():
    assert not startup_watchdog.is_stopped(2**22 + 1)
    assert startup_watchdog.rank_of(2**22 + 1) is None


def test_a_process_that_waits_for_a_stopped_one_is_ended_with_the_reason(start):
    victim = start(1, WAITS)
    stop(victim)
    waiting = start(0, GUARDED, 60)
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == -signal.SIGKILL
    assert re.fullmatch(rf"manyhands: worker 1 \(process {victim.pid}\) has been stopped for \d+ s while .*\n", said)


def test_who_waits_for_a_slow_one_is_left_alone(start):
    start(1, WAITS)
    waiting = start(0, GUARDED, 0.2)
    out, said = waiting.communicate(timeout=60)
    assert (waiting.returncode, out, said) == (0, "came up\n", "")


def looks(patience, *seen):
    """Return what is said at each look of one second, at a job whose ranks 0 and 2 are here: (stopped, gone)."""
    check = StartupCheck(patience, 100.0)
    return [check.look(101.0 + second, stopped, gone, [2, 0]) for second, (stopped, gone) in enumerate(seen)]


def test_a_stopped_one_is_waited_for_until_the_patience_is_over():
    stopped, fine = ({1: 77}, None), ({}, None)
    assert looks(3, stopped, stopped, fine, stopped, stopped, fine) == [None] * 6  # it went on in between
    *before, said = looks(3, stopped, stopped, stopped)
    assert before == [None] * 2
    assert said.startswith("worker 1 (process 77) has been stopped for 3 s while the job was coming up")


@pytest.mark.parametrize(
    ("gone", "who"),
    [([1], "worker 1 has"), ([1, 3], "workers 1, 3 have"), ([], "some of its workers on this machine have")],
)
def test_those_who_have_ended_are_waited_for_until_the_patience_is_over(gone, who):
    *before, said = looks(3, ({}, None), ({}, gone), ({}, gone), ({}, gone))
    assert before == [None] * 3
    assert said.startswith(f"{who} ended without joining this MPI job")


@pytest.mark.parametrize(("patience", "seconds"), [(8, 301), (400, 401)])
def test_those_who_cannot_be_seen_are_waited_for_some_minutes(patience, seconds):
    said = looks(patience, *[({}, None)] * seconds)
    assert set(said[:-1]) == {None}
    assert said[-1].startswith(f"MPI has not come up within {seconds} s")
    assert "there are worker 0, 2 (" in said[-1]


def call_it_launcher(monkeypatch, yes=True):
    """The tests themselves start the processes here."""
    words = startup_watchdog._words
    name = "prterun" if yes else "sh"
    monkeypatch.setattr(startup_watchdog, "_words", lambda pid, file: name if pid == os.getpid() else words(pid, file))


def test_who_has_ended_is_absent(start, monkeypatch):
    first = start(0, WAITS)
    assert startup_watchdog.absent(first.pid) is None  # who knows whether all would be seen: this is no launcher
    call_it_launcher(monkeypatch)
    monkeypatch.setattr(startup_watchdog, "_all", lambda: [first.pid])  # the tests may have other children
    assert startup_watchdog.absent(first.pid) == [1]
    second = start(1, WAITS)
    monkeypatch.setattr(startup_watchdog, "_all", lambda: [first.pid, second.pid])
    assert startup_watchdog.absent(first.pid) is None
    second.kill()
    while not startup_watchdog._is_dead(second.pid):
        time.sleep(0.01)
    assert startup_watchdog.absent(first.pid) == [1]


def test_a_process_of_unknown_rank_may_be_the_one(start, monkeypatch):
    first = start(0, WAITS)
    unknown = subprocess.Popen(["sleep", "60"], env={})
    call_it_launcher(monkeypatch)
    monkeypatch.setattr(startup_watchdog, "_all", lambda: [first.pid, unknown.pid])
    assert startup_watchdog.absent(first.pid) is None
    unknown.kill()
    unknown.wait()
    assert startup_watchdog.absent(first.pid) == [1]


def test_who_says_that_it_ends_is_absent(start):
    first = start(0, WAITS)
    start(1, f"from manyhands.teams import startup_watchdog; startup_watchdog.say_leaving()\n{WAITS}")
    assert startup_watchdog.absent(first.pid) == [1]
