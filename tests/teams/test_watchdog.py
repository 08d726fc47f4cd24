"""Nobody waits for ever for a worker that is gone: mpiexec starts this file, and one of its processes comes to harm."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import manyhands
from manyhands.core.callbacks import EventFunction
from manyhands.core.errors import SettingsError
from manyhands.core.events import RoundHeld
from manyhands.core.samples import Control
from manyhands.data.dataset import Examples, make_dataset
from manyhands.teams import mpi_environment
from manyhands.teams import mpi_world as worlds
from manyhands.teams.launch import launch
from manyhands.teams.watchdog import Pace, Watch, chosen_patience
from manyhands.training.clock import PhaseClock

WORKERS = 3
PATIENCE = 2.0
LIMIT = 10.0
"""Seconds within which a job must have ended after whatever happens to one of its processes."""
HELD = 200
"""The round after which it happens."""


# What follows is what the processes do.

FAULTS = {
    "raises": lambda: exec("raise ArithmeticError('the rank is over')"),
    "sleeps": lambda: time.sleep(3600),
    "sleeps with the lock": lambda: ctypes.PyDLL(None).sleep(3600),
    "stops": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exits": lambda: os._exit(7),
}
BLIND = {
    "never": lambda: None,
    "judges nothing": lambda: setattr(Watch, "_judge", lambda self, now: None),
    "tells nobody": lambda: setattr(Watch, "call_off", lambda self, rank, reason: False),
}
"""Ways to take the guard away."""


def note(folder, what, rank):
    (folder / f"{what}-{rank}").write_text(str(os.getpid() if what == "process" else time.time()))


def blobs():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    rows = (80 * labels[:, None] + rng.integers(0, 40, (120, 5))).astype(np.uint8)
    return make_dataset("blobs", Examples(rows, labels), Examples(rows[:30], labels[:30]))


def train(function, epochs):
    return manyhands.train(
        blobs(),
        team="mpi",
        strategy="periodic:1epoch",
        epochs=epochs,
        hidden=(8,),
        callbacks=[EventFunction(function, "round")],
    )


def come_to_harm(folder, victim, fault):
    """Train; in the middle of it, something happens to one of the workers."""

    def callback(event):
        if isinstance(event, RoundHeld) and event.rank == victim and event.number == HELD:
            note(folder, "harm", victim)
            FAULTS[fault]()

    train(callback, 10_000_000)


def hang_before_the_first_step(folder, victim, _fault):
    """Never come to the first step."""

    def work(team):
        team.barrier()
        if team.rank == victim:
            note(folder, "harm", victim)
            time.sleep(3600)
        team.barrier()

    size = worlds.join().size
    control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
    launch("mpi", [PhaseClock() for _ in range(size)], [control] * size, work)


def leave(folder, victim, _fault):
    """Go home, though the others still wait."""
    world = worlds.join()
    if world.rank != victim:
        world.share("still here")
    note(folder, "harm", victim)


def be_slow(folder, victim, _fault):
    """Let the others wait, longer than their patience before training and nearly as long in the middle of it."""
    world = worlds.join()
    if world.rank == victim:
        time.sleep(1.25 * PATIENCE)
    world.share("ready")

    def callback(event):
        if isinstance(event, RoundHeld) and event.rank == victim and event.number == 5:
            time.sleep(PATIENCE / 2)

    assert train(callback, 20).rounds == 20
    note(folder, "done", world.rank)


PARTS = {part.__name__: part for part in (come_to_harm, hang_before_the_first_step, leave, be_slow)}


def main(folder, part, victim, fault, blind):
    """Be one process of a job."""
    BLIND[blind]()
    note(folder, "process", worlds.join().rank)
    PARTS[part](folder, victim, fault)


# What follows starts them.


class Running:
    """A job that is running, and all that is known about it."""

    def __init__(self, folder, part, *, victim=1, fault="", blind="never", patience=PATIENCE, workers=WORKERS):
        folder.mkdir()
        self.folder, self.victim, self.workers = folder, victim, workers
        mpiexec, self.kind = mpi_environment.find_mpiexec(worlds.library())
        environment = mpi_environment.job_environment(self.kind)
        environment.pop("MANYHANDS_PATIENCE", None)
        if patience is not None:
            environment["MANYHANDS_PATIENCE"] = str(patience)
        program = [sys.executable, __file__, str(folder), part, str(victim), fault, blind]
        with open(folder / "said", "wb") as said:
            self.process = subprocess.Popen(
                [*mpi_environment.job_command(mpiexec, self.kind, workers), *program],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    @property
    def said(self):
        """What the processes and mpiexec have printed so far."""
        return (self.folder / "said").read_text(errors="replace")

    def harm(self, seconds=150):
        """Wait until it has happened; return when that was."""
        path, end = self.folder / f"harm-{self.victim}", time.monotonic() + seconds
        while not (path.exists() and path.read_text()):
            if time.monotonic() > end or self.process.poll() is not None:
                pytest.fail(f"the job has come to no harm: {self.said}")
            time.sleep(0.02)
        return float(path.read_text())

    def wait(self, seconds=100):
        """Wait until the job has ended; return its status and the seconds since it came to harm (0: it did not)."""
        status, harm = self.process.wait(seconds), self.folder / f"harm-{self.victim}"
        ended = (self.folder / "said").stat().st_mtime  # mpiexec has the last word, and the clock is the same
        return status, ended - float(harm.read_text()) if harm.exists() else 0.0

    def pids(self):
        return [int(path.read_text()) for path in self.folder.glob("process-*") if path.read_text()]

    def gone(self, seconds=3.0):
        """Tell whether none of the processes is left, within a few seconds."""
        end = time.monotonic() + seconds
        while any(map(lives, self.pids())):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return len(self.pids()) == self.workers

    def end(self):
        """Leave nothing, whatever the state of the job."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        for pid in filter(lives, self.pids()):
            os.kill(pid, signal.SIGKILL)


def lives(pid):
    """Tell whether a process runs, or could; what only waits to be buried does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.fixture
def start(tmp_path):
    """Start jobs, and end them with the test."""
    jobs = []

    def start_one(part, **settings):
        jobs.append(Running(tmp_path / str(len(jobs)), part, **settings))
        return jobs[-1]

    yield start_one
    for job in jobs:
        job.end()


# Jobs that take their time, all started at once: no patience here is short enough for that to matter.
ASIDE = {
    "raises, told to nobody": {"part": "come_to_harm", "fault": "raises", "blind": "tells nobody"},
    "sleeps, not judged": {"part": "come_to_harm", "fault": "sleeps", "blind": "judges nothing"},
    "stops, not judged": {"part": "come_to_harm", "fault": "stops", "blind": "judges nothing"},
    "sleeps, no patience set": {"part": "come_to_harm", "fault": "sleeps", "patience": None, "workers": 2},
    "before the first step": {"part": "hang_before_the_first_step", "patience": 2 * PATIENCE, "workers": 2},
    "leaves": {"part": "leave", "patience": None, "workers": 2},
}


@pytest.fixture(scope="module")
def aside(tmp_path_factory):
    """Jobs that run beside the tests until they are looked at; each has come to harm, and needs no core any more."""
    folder, jobs = tmp_path_factory.mktemp("aside"), {}
    try:
        for number, (name, settings) in enumerate(ASIDE.items()):
            jobs[name] = Running(folder / str(number), **settings)
        for job in jobs.values():
            job.harm()
        yield jobs
    finally:
        for job in jobs.values():
            job.end()


# The message, and the exit status if it is known, of a job in which a worker ...
ENDS = [
    ("raises", 2, r"\brank 2\b", 1),
    (
        "sleeps",
        1,
        r"worker 1 \(process \d+ on .+\) hangs: no step for [2-9]\.\d s after step 200 \(patience: 2\.0 s; MANY",
        1,
    ),
    (
        "sleeps with the lock",
        2,
        r"worker 2 has shown no sign of life for [2-9]\.\d s: it is stopped or stuck, or its",
        1,
    ),
    (
        "stops",
        0,
        r"worker 0 has shown no sign of life for [2-9]\.\d s: .*\(patience: 2\.0 s; MANYHANDS_PATIENCE sets",
        1,
    ),
    ("is killed", 2, r"process rank 2 with PID \d+ on node \S+\s+exited on\s+signal 9", 128 + 9),
    ("exits", 1, r"Exit code: +7\b", 7),
]
BY_MPIEXEC = ("is killed", "exits")


@pytest.mark.parametrize(("fault", "victim", "message", "status"), ENDS, ids=[end[0] for end in ENDS])
@pytest.mark.usefixtures("aside")
def test_the_job_ends_within_seconds_and_names_the_worker_that(fault, victim, message, status, start):
    job = start("come_to_harm", victim=victim, fault=fault)
    ended, seconds = job.wait()
    assert 0 < seconds < LIMIT
    assert ended != 0
    assert job.gone(), "processes are left"
    if fault not in BY_MPIEXEC or job.kind == mpi_environment.OPEN_MPI:
        assert ended == status
        assert re.search(message, job.said), job.said
    if fault == "raises":  # the program's own words; who says them, mpiexec adds
        assert "ArithmeticError: the rank is over" in job.said


def test_the_job_ends_within_seconds_when_a_worker_leaves(aside):
    job = aside["leaves"]
    ended, seconds = job.wait()
    assert ended == 1
    assert 0 < seconds < LIMIT
    assert "worker 1 has left the job, though the others still wait for it" in job.said
    assert job.gone(), "processes are left"


def test_who_waits_for_others_or_pauses_shortly_is_not_lost(start):
    job = start("be_slow", victim=1)
    ended, _ = job.wait()
    assert ended == 0, job.said
    assert job.said == ""
    assert len(list(job.folder.glob("done-*"))) == WORKERS


def test_the_patience_comes_from_the_measured_steps_unless_it_is_set(aside):
    job = aside["sleeps, no patience set"]
    ended, _ = job.wait()
    assert ended == 1
    # A step takes microseconds here: patience is the shortest there is.
    waited, after, patience = re.search(
        r"worker 1 .* hangs: no step for (\S+) s after step (\d+) \(patience: (\S+) s;", job.said
    ).groups()
    assert float(patience) == 4.0
    assert 4.0 <= float(waited) < LIMIT
    assert int(after) == HELD
    assert job.gone()


def test_a_worker_that_hangs_before_its_first_step_is_found(aside):
    job = aside["before the first step"]
    time.sleep(max(0.0, job.harm() + 2 * PATIENCE + 4.0 - time.time()))
    assert job.process.poll() is not None


@pytest.mark.parametrize("name", [name for name in ASIDE if "nobody" in name or "judged" in name])
def test_without_the_watch_the_others_would_wait_for_ever(name, aside):
    # The guards of the tests above, taken away. With them, the same jobs end about 4 seconds after the harm.
    job = aside[name]
    time.sleep(max(0.0, job.harm() + 2 * LIMIT - time.time()))
    assert job.process.poll() is None
    assert sum(map(lives, job.pids())) >= WORKERS - 1


# No processes from here on.


class Walk:
    """A worker's pace on an invented clock."""

    def __init__(self, steps=0):
        self.control = Control(np.zeros(1, np.int64), np.full(1, steps, np.int64))
        self.waits = False
        self.pace = Pace(self.control, lambda: self.waits, 100.0)

    def looks(self, *moments):
        """Look at these moments: (seconds, steps taken by then)."""
        for now, steps in moments:
            self.control.progress[0] = steps
            self.pace.look(100.0 + now)
        return self.pace


def test_there_is_no_pace_before_the_first_step():
    pace = Walk().looks((5, 0), (50, 0))
    assert pace.patience() is None
    assert pace.still(160.0) == 60.0


def test_a_first_step_may_take_long_and_is_no_measure_of_the_others():
    # 30 s before the first step, then one every 0.1 s: only the mean remembers, (30 + 0.3) / 4 * 100.
    pace = Walk().looks((30.0, 1), (30.1, 2), (30.2, 3), (30.3, 4))
    assert pace.patience() == pytest.approx(757.5)


def test_steps_of_earlier_runs_do_not_count():
    pace = Walk(steps=1000).looks((5, 1000))
    assert pace.patience() is None
    assert Walk(steps=1000).looks((2.0, 1002)).patience() == pytest.approx(100 * 1.0)


def test_patience_is_100_mean_steps():
    assert Walk().looks(*((0.5 * step, step) for step in range(1, 9))).patience() == pytest.approx(50.0)


def test_patience_is_20_of_the_longest_pauses():
    # 1,000 steps in every look of 0.1 s, but one that took 2 s.
    steady = [(0.1 * look, 1000 * look) for look in range(1, 11)]
    assert Walk().looks(*steady, (3.0, 10_001), (3.1, 11_000)).patience() == pytest.approx(20 * 2.0)


def test_patience_is_never_shorter_than_4_seconds():
    assert Walk().looks(*((0.1 * look, 1000 * look) for look in range(1, 11))).patience() == 4.0


def test_waiting_for_others_is_not_standing_still():
    walk = Walk()
    walk.looks((1, 10), (1.5, 10))
    assert walk.pace.still(101.5) == 0.5
    walk.waits = True
    walk.looks((2, 10), (30, 10), (60, 10))
    assert walk.pace.still(160.0) == 0.0
    walk.waits = False
    walk.looks((61, 10), (63, 10))
    assert walk.pace.still(163.0) == 3.0


def test_standing_still_begins_with_the_last_step():
    walk = Walk()
    walk.looks((1, 10), (2, 11))
    assert [walk.looks((now, 11)).still(100.0 + now) for now in (3, 4.5)] == [1.0, 2.5]
    assert walk.pace.steps == 11


@pytest.mark.parametrize(("text", "seconds"), [("30", 30.0), ("0.5", 0.5), (" 7 ", 7.0), ("1e3", 1000.0), ("", None)])
def test_the_user_can_choose_a_patience(text, seconds, monkeypatch):
    monkeypatch.setenv("MANYHANDS_PATIENCE", text)
    assert chosen_patience() == seconds


def test_no_patience_is_chosen_unless_the_variable_is_set(monkeypatch):
    monkeypatch.delenv("MANYHANDS_PATIENCE", raising=False)
    assert chosen_patience() is None


@pytest.mark.parametrize("text", ["long", "0", "-3", "nan", "inf", "30s", "1,5"])
def test_an_impossible_patience_is_refused_by_name(text, monkeypatch):
    monkeypatch.setenv("MANYHANDS_PATIENCE", text)
    with pytest.raises(SettingsError, match=re.escape(f"MANYHANDS_PATIENCE={text}: give a number of seconds")):
        chosen_patience()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
