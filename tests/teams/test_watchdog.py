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
from manyhands.teams.mpi_messages import MPIMessages
from manyhands.teams.pace import Pace
from manyhands.teams.watchdog import Watch, chosen_patience

WORKERS = 3
PATIENCE = 2.0
LIMIT = 30.0
"""Seconds within which a job must have ended after whatever happens to one of its processes, on a busy machine."""
FOR_EVER = 10.0
"""Seconds after which a job that has not ended hangs; with the watch it takes about four."""
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
    "checks nothing": lambda: setattr(Watch, "_check_workers", lambda self, now: None),
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


def leave(folder, victim, _fault):
    """Go home, though the others still wait."""
    world = worlds.join()
    if world.rank != victim:
        world.all_gather_texts("still here")
    note(folder, "harm", victim)


PARTS = {part.__name__: part for part in (come_to_harm, leave)}


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
        environment.pop("MANYHANDS_HANG_TIMEOUT", None)
        if patience is not None:
            environment["MANYHANDS_HANG_TIMEOUT"] = str(patience)
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


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """A job that takes its time, beside the other tests; one worker has left it, and nobody needs a core any more."""
    job = Running(tmp_path_factory.mktemp("left") / "0", "leave", patience=None, workers=2)
    try:
        job.harm()
        yield job
    finally:
        job.end()


# The message, and the exit status if it is known, of a job in which a worker ...
ENDS = [
    ("raises", 2, r"\brank 2\b", 1),
    (
        "sleeps",
        1,
        r"worker 1 \(process \d+ on .+\) hangs: no step for \d+\.\d s after step 200 \(patience: 2\.0 s; MANY",
        1,
    ),
    (
        "sleeps with the lock",
        2,
        r"worker 2 has shown no sign of life for \d+\.\d s: it is stopped or stuck, or its",
        1,
    ),
    (
        "stops",
        0,
        r"worker 0 has shown no sign of life for \d+\.\d s: .*\(patience: 2\.0 s; MANYHANDS_HANG_TIMEOUT sets",
        1,
    ),
    ("is killed", 2, r"process rank 2 with PID \d+ on node \S+\s+exited on\s+signal 9", 128 + 9),
    ("exits", 1, r"Exit code: +7\b", 7),
]
BY_MPIEXEC = ("is killed", "exits")
LIKE_ANOTHER = ("sleeps with the lock", "exits")
"""Noticed as the one that stops, and as the one that is killed."""


@pytest.mark.parametrize(
    ("fault", "victim", "message", "status"),
    [pytest.param(*end, id=end[0], marks=pytest.mark.slow if end[0] in LIKE_ANOTHER else ()) for end in ENDS],
)
@pytest.mark.usefixtures("left")
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


def test_the_job_ends_within_seconds_when_a_worker_leaves(left):
    job = left
    ended, seconds = job.wait()
    assert ended == 1
    assert 0 < seconds < LIMIT
    assert "worker 1 has left the job, though the others still wait for it" in job.said
    assert job.gone(), "processes are left"


@pytest.mark.slow
def test_without_the_watch_the_others_would_wait_for_ever(start):
    # The guard of the tests above, taken away.
    job = start("come_to_harm", fault="stops", blind="checks nothing")
    time.sleep(max(0.0, job.harm() + FOR_EVER - time.time()))
    assert job.process.poll() is None
    assert sum(map(lives, job.pids())) >= WORKERS - 1


# No processes from here on.


class Done:
    """A message that has been taken."""

    def Test(self):  # noqa: N802 - as mpi4py
        return True


class Mail:
    """One process's communicator in an invented job: all messages lie in boxes, one for each process."""

    def __init__(self, rank, boxes):
        self.rank, self.boxes, self.broken = rank, boxes, False

    def Get_rank(self):  # noqa: N802
        return self.rank

    def Get_size(self):  # noqa: N802
        return len(self.boxes)

    def Isend(self, content, dest, tag):  # noqa: N802
        if self.broken:
            raise RuntimeError("the network is down")
        self.boxes[dest].append((self.rank, tag, content.tobytes()))
        return Done()

    def _matches(self, source, tag):
        return [each for each in self.boxes[self.rank] if each[1] == tag and source in (None, each[0])]

    def Iprobe(self, source=None, tag=None):  # noqa: N802
        return bool(self._matches(source, tag))

    def Recv(self, buffer, source=None, tag=None):  # noqa: N802
        first = self._matches(source, tag)[0]
        self.boxes[self.rank].remove(first)
        content = np.frombuffer(first[2], np.uint8)
        buffer.view(np.uint8)[: len(content)] = content


LOOK = 0.25
"""Seconds between the looks of an invented job: no rounding in any sum of them."""


class InventedJob:
    """The watches of all processes, on an invented clock and network."""

    def __init__(self, size, **settings):
        self.now, boxes = 1000.0, [[] for _ in range(size)]
        self.mail = [Mail(rank, boxes) for rank in range(size)]
        self.watches = [Watch(MPIMessages(mail), clock=lambda: self.now, **settings) for mail in self.mail]
        self.controls = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(size)]
        self.waiting = [False] * size

    def follow(self):
        """Let all begin to train."""
        for rank, (watch, control) in enumerate(zip(self.watches, self.controls, strict=True)):
            watch.follow(control, lambda rank=rank: self.waiting[rank])

    def goes_on(self, seconds, *, silent=(), still=()):
        """Let time pass: the workers but those that stand still take a step at each look."""
        for _ in range(round(seconds / LOOK)):
            self.now += LOOK
            for rank, watch in enumerate(self.watches):
                self.controls[rank].progress[0] += rank not in (*silent, *still)
                if rank not in silent:
                    watch.look()

    @property
    def lost(self):
        return [watch.lost for watch in self.watches]


@pytest.fixture
def aborted(monkeypatch):
    """Statuses with which processes have ended the job."""
    statuses = []
    monkeypatch.delenv("MANYHANDS_HANG_TIMEOUT", raising=False)
    monkeypatch.setattr("manyhands.teams.mpi_messages.abort", statuses.append)
    return statuses


def test_those_who_work_are_not_lost(aborted):
    job = InventedJob(3)
    job.goes_on(59, still=(0, 1, 2))  # they read a large file
    job.follow()
    job.goes_on(20)
    assert (job.lost, aborted) == ([None] * 3, [])


def test_who_waits_for_others_is_not_lost(aborted):
    job = InventedJob(3)
    job.follow()
    job.goes_on(2)
    job.waiting = [True, False, True]
    job.goes_on(3.8, still=(0, 1, 2))
    job.goes_on(30, still=(0, 2))
    assert (job.lost, aborted) == ([None] * 3, [])


@pytest.mark.parametrize(("chosen", "patience"), [(None, 25.0), ("4", 4.0)])
def test_the_patience_with_one_that_hangs_comes_from_the_measured_steps_unless_it_is_set(
    chosen, patience, aborted, monkeypatch
):
    if chosen is not None:
        monkeypatch.setenv("MANYHANDS_HANG_TIMEOUT", chosen)
    job = InventedJob(3)
    job.follow()
    job.goes_on(4)  # 16 steps: 100 of them are 25 s
    job.goes_on(patience, still=[1])
    assert job.lost == [None] * 3
    job.goes_on(2 * LOOK, still=[1])
    assert len(set(job.lost)) == 1
    rank, reason = job.lost[0]
    assert rank == 1
    assert re.search(
        rf"hangs: no step for {patience + LOOK:.1f} s after step 16 \(patience: {patience:.1f} s; MANY", reason
    )
    assert [control.stop[0] for control in job.controls] == [1, 1, 1]
    assert [watch.mine for watch in job.watches] == [False, True, False]


def test_a_worker_that_hangs_before_its_first_step_is_found_after_a_minute(aborted):
    job = InventedJob(2)
    job.follow()
    job.waiting = [True, False]
    job.goes_on(60, still=(0, 1))
    assert job.lost == [None] * 2
    job.goes_on(2 * LOOK, still=(0, 1))
    assert {rank for rank, _ in job.lost} == {1}


@pytest.mark.parametrize(("trains", "patience"), [(False, 60.0), (True, 25.0)])
def test_who_is_silent_is_lost_to_the_one_before_it_which_notifies_all(trains, patience, aborted):
    job = InventedJob(4)
    if trains:
        job.follow()
    job.goes_on(10)
    job.goes_on(patience - 2 * LOOK, silent=[2])
    assert job.lost == [None] * 4
    job.goes_on(6 * LOOK, silent=[2])
    assert job.lost[2] is None
    assert {lost[0] for lost in job.lost if lost} == {2}
    assert [watch.mine for watch in job.watches] == [False, True, False, False]
    assert re.match(r"has shown no sign of life for \d+\.\d s: it is stopped or stuck", job.lost[0][1])


def test_those_who_are_left_end_the_job_after_a_while_and_one_of_them_says_why(aborted, capfd):
    job = InventedJob(3)
    while job.lost[1] is None:
        job.goes_on(LOOK, silent=[2])
    job.goes_on(5, silent=[2])
    assert aborted == []
    job.goes_on(2 * LOOK, silent=[2])
    assert set(aborted) == {1}
    assert set(capfd.readouterr().err.splitlines()) == {f"manyhands: worker 2 {job.lost[0][1]}"}


@pytest.mark.parametrize("others_wait", [True, False])
def test_who_leaves_is_lost_only_if_others_wait_for_it(others_wait, aborted):
    job = InventedJob(3)
    job.goes_on(5)
    job.watches[1].close()
    job.watches[0].depends = others_wait
    job.goes_on(120, silent=[1])
    lost = (1, "has left the job, though the others still wait for it")
    assert job.lost == ([lost, None, lost] if others_wait else [None] * 3)


def test_a_notice_is_whole_whatever_its_letters_and_the_first_one_counts(aborted):
    job, reason = InventedJob(3), "scheitert: 漢🎲" * 1000
    assert job.watches[0].call_off(0, reason)
    assert not job.watches[0].call_off(1, "is late")
    job.goes_on(LOOK)
    assert job.lost[1:] == [(0, reason[:4000])] * 2


def test_an_mpi_that_says_that_a_process_is_gone_is_believed(aborted):
    job = InventedJob(2)
    job.mail[0].broken = True
    job.goes_on(LOOK)
    assert job.lost[0] == (1, "or another one cannot be reached (the network is down)")


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
    monkeypatch.setenv("MANYHANDS_HANG_TIMEOUT", text)
    assert chosen_patience() == seconds


def test_no_patience_is_chosen_unless_the_variable_is_set(monkeypatch):
    monkeypatch.delenv("MANYHANDS_HANG_TIMEOUT", raising=False)
    assert chosen_patience() is None


@pytest.mark.parametrize("text", ["long", "0", "-3", "nan", "inf", "30s", "1,5"])
def test_an_impossible_patience_is_refused_by_name(text, monkeypatch):
    monkeypatch.setenv("MANYHANDS_HANG_TIMEOUT", text)
    with pytest.raises(SettingsError, match=re.escape(f"MANYHANDS_HANG_TIMEOUT={text}: give a number of seconds")):
        chosen_patience()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
