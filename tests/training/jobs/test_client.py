"""MPI jobs of our own: they do what they are told, and end, with everything of theirs, whatever is done to them.

Real processes are killed and stopped here. All processes of a test are found by a variable in their environment, which
workers inherit from whoever starts them.
"""

import contextlib
import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core import errors
from manyhands.core.callbacks import EventFunction, WorkerCallback
from manyhands.core.errors import DivergedError, ManyhandsError, OutputError, SettingsError, WorkerLost
from manyhands.core.events import EpochEnded, Measured, RoundHeld, as_record
from manyhands.data.filestate import FileState
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams import mpi_environment, startup_watchdog
from manyhands.training.jobs import launchers
from manyhands.training.jobs.client import Job, open_cells
from manyhands.training.jobs.exchange import EventTail, describe, revive
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import Runner, run
from manyhands.training.spec import RunSpec

pytest.importorskip("mpi4py")
if not Path("/proc/self/environ").exists():
    pytest.skip("processes are found in /proc", allow_module_level=True)

MARK = "MANYHANDS_TEST_MARK"
FOREVER = 10**7
"""Epochs: more than anybody waits for."""
SOON = 30
"""Seconds within which whatever ends has ended, also on a busy machine: far less than it would take of itself."""

PROGRAM = """
import os, runpy, signal
from pathlib import Path

from manyhands.teams.mpi_environment import announced
from manyhands.training.clock import PhaseClock

signal.signal(signal.SIGINT, signal.default_int_handler)
begin = PhaseClock.begin_training


def begin_and_tell(clock):
    if announced() is not None:
        Path(os.environ["MANYHANDS_TEST_BEGAN"], str(announced().rank)).write_text(str(os.getpid()))
    begin(clock)


PhaseClock.begin_training = begin_and_tell
runpy.run_module("manyhands", run_name="__main__", alter_sys=True)
"""
"""The command line, listening to Ctrl-C even where shells tell programs to ignore it. In a process that mpiexec has
started it leaves word, under its rank, that its training begins."""

UNHAPPY = """
import sys
import manyhands
from manyhands.core.callbacks import EventFunction
from manyhands.core.events import RoundHeld

strategy, rank, number, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


def callback(event):
    if isinstance(event, RoundHeld) and event.rank == rank and event.number == number:
        print("raising", flush=True)
        raise RuntimeError(f"the callback is unhappy with round {number}")


result = manyhands.train("digits", strategy=strategy, team="mpi", epochs=10**7, hidden=(20,),
    callbacks=[EventFunction(callback, "round")])
result.save(out)
"""

OWNER = """
import os, sys, time
from manyhands.data.catalog import DataRequest, load
from manyhands.training.jobs.client import Job
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec

dataset = load(DataRequest("digits"))
plan = resolve(RunSpec(strategy="gradient", workers=2, team="mpi", epochs=10**7), dataset)
with Job(2, dataset) as job:
    holder = os.fork()  # has the job's lock, too
    if holder == 0:
        os.closerange(0, 3)
        time.sleep(100)
        os._exit(0)
    print(holder, job.folder, *job.launcher.pids, flush=True)
    job.run(plan)
"""


def family(mark):
    """Return the living processes that have a mark, as {number: command line}."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def until(condition, seconds, what):
    """Wait for something, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.02)
    return found


def nothing_left(mark):
    """Check that no process with the mark lives on; those that are just being ended may need a moment."""
    until(lambda: not family(mark), SOON, lambda: f"these are left: {family(mark)}")


def kill_family(mark):
    for number in family(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


@pytest.fixture
def mark(monkeypatch):
    """A mark that all processes have which this test starts."""
    chosen = uuid.uuid4().hex
    monkeypatch.setenv(MARK, chosen)
    yield chosen
    kill_family(chosen)


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """The folder in which jobs make their own ones."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr("manyhands.training.jobs.client._MEMORY", str(folder))
    return folder


def plan_for(dataset, workers, **changes):
    chosen = {"strategy": "gradient", "network": MLPSettings(hidden=(8,)), "epochs": 3, "batch": 20, **changes}
    return resolve(RunSpec(workers=workers, team="mpi", **chosen), dataset)


class TestGoodOrder:
    def test_a_job_carries_out_plans_and_leaves_nothing(self, blobs, mark, memory):
        with Job(3, blobs) as job:
            assert [job.folder] == list(memory.iterdir())
            workers = [
                number for number, command in family(mark).items() if "manyhands.training.jobs.process" in command
            ]
            assert len([number for number in workers if str(number) in map(str, job.launcher.pids)]) == 3
            assert all(str(job.folder) in family(mark)[number] for number in workers)
            told = []
            for changes in ({}, {"strategy": "one-shot"}, {"strategy": "periodic:7", "seed": 4}):
                plan = plan_for(blobs, 3, **changes)
                result, threads = job.run(plan, told.append), run(replace(plan, team="threads"), blobs)
                assert result.plan == plan
                assert result.model.learner.parameters.tobytes() == threads.model.learner.parameters.tobytes()
                assert result.model.classes.tolist() == [10, 20, 30]
            with pytest.raises(ValueError, match="a plan for 2 workers in a job of 3"):
                job.run(plan_for(blobs, 2))
            assert job.run(plan_for(blobs, 3)).steps == 18
        assert told
        nothing_left(mark)
        assert list(memory.iterdir()) == []

    def test_progress_is_told_to_the_owner(self, blobs, mark, memory):
        told = []

        def progress(steps):
            told.append(steps)
            if steps > 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), Job(2, blobs) as job:
            job.run(plan_for(blobs, 2, epochs=FOREVER), progress)
        assert told == sorted(told)
        nothing_left(mark)
        assert list(memory.iterdir()) == []

    @pytest.mark.slow
    def test_what_a_worker_has_to_say_is_said_by_the_owner_once(
        self, blobs, mark, memory, tmp_path, monkeypatch, notices
    ):
        shared = tmp_path / "shared"
        shared.mkdir(mode=0o777)
        shared.chmod(0o777)
        monkeypatch.setenv("MANYHANDS_CACHE", str(shared))
        monkeypatch.setenv("NUMBA_OPT", "0")  # it compiles, which nothing is kept of
        for _ in range(2):
            with Job(1, blobs) as job:
                job.run(plan_for(blobs, 1))
        assert (
            len([text for text in notices if text.startswith("compiled code is not kept") and str(shared) in text]) == 1
        )

    @pytest.mark.slow
    def test_more_workers_than_cores(self, blobs, mark, memory):
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        try:
            with Job(3, blobs) as job:
                result = job.run(plan_for(blobs, 3, epochs=20))
        finally:
            os.sched_setaffinity(0, cores)
        assert result.rounds == 120
        nothing_left(mark)


def untimed(events):
    """Return events as plain data, without what differs every time."""
    return [
        (type(event), {name: value for name, value in vars(event).items() if name != "train_s"}) for event in events
    ]


def of_rank_0(found):
    """A callback that appends rank 0's events."""
    return EventFunction(lambda event: event.rank or found.append(event), "round")


class TestEvents:
    def test_rank_0_is_heard_as_in_threads(self, blobs, mark, memory):
        def compare(job, strategy):
            heard, here, others = [], [], []
            plan = plan_for(blobs, 2, strategy=strategy, convergence=True)
            functions = heard.append, lambda event: others.append(threading.current_thread())
            result = job.run(plan, None, [EventFunction(each, "round") for each in functions])
            run(
                replace(plan, team="threads"),
                blobs,
                callbacks=[of_rank_0(here)],
            )
            assert untimed(heard) == untimed(here)
            assert {type(event) for event in heard} == {EpochEnded, RoundHeld, Measured}
            assert [event.train_s for event in heard if isinstance(event, Measured)] == (
                [point["train_s"] for point in result.curve]
            )
            assert len(others) == len(heard)
            assert set(others) == {threading.current_thread()}  # events come to the calling thread

        with Job(2, blobs) as job:  # one for all: to start it takes a hundred times as long as such a run
            for strategy in ("one-shot", "periodic:7", "gradient", "minibatch:5epochs"):
                compare(job, strategy)
        nothing_left(mark)
        assert list(memory.iterdir()) == []

    def test_events_come_while_the_run_goes_on(self, blobs, mark, memory):
        heard = []

        def callback(event):
            heard.append(event)
            if len(heard) >= 50:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), Job(2, blobs) as job:
            job.run(plan_for(blobs, 2, epochs=FOREVER), None, [EventFunction(callback, "round")])
        rounds = [event.number for event in heard if isinstance(event, RoundHeld)]
        assert rounds == list(range(1, len(rounds) + 1))  # none is missing, none comes twice
        nothing_left(mark)
        assert list(memory.iterdir()) == []

    def test_every_run_of_a_job_tells_its_own_events(self, blobs, mark, memory):
        with Job(2, blobs) as job:
            job.run(plan_for(blobs, 2, convergence=True))
            assert list(job.folder.glob("events*")) == []  # who wants no events costs no file
            heard = []
            for seed in range(3):
                heard.append([])
                job.run(
                    plan_for(blobs, 2, strategy="periodic:1epoch", seed=seed),
                    None,
                    [EventFunction(heard[-1].append, "round")],
                )
                assert len(list(job.folder.glob("events*"))) <= 1
                if seed == 1:
                    job.run(plan_for(blobs, 2))  # nobody wants the events of this one
        numbers = [[event.number for event in each if isinstance(event, RoundHeld)] for each in heard]
        assert numbers == [[1, 2, 3]] * 3
        losses = {tuple(event.loss for event in each if isinstance(event, EpochEnded)) for each in heard}
        assert len(losses) == 3

    def test_a_file_that_is_changed_meanwhile_is_said(self, blobs, mark, memory, tmp_path, caplog):
        """The workers have copies, of mapped files, too: the result is that of the file as it was."""
        path = tmp_path / "train-images-idx3-ubyte"
        path.write_bytes(b"values")
        dataset = replace(blobs, files=(replace(FileState.of(path), mapped=True),))
        with Job(2, dataset) as job:
            plan = plan_for(blobs, 2)
            job.run(plan)
            assert "changed" not in caplog.text
            path.write_bytes(b"other values")
            job.run(plan)
        assert "train-images-idx3-ubyte was changed from 6 to 12 bytes since it was read" in caplog.text

    def test_every_run_of_a_kept_job_has_its_own_hang_timeout(self, blobs, mark, memory, tmp_path, monkeypatch):
        (tmp_path / "sitecustomize.py").write_text(
            "from manyhands.training.loop import Loop\n"
            "train = Loop.run\n"
            "def noting(loop):\n"
            "    from manyhands.teams.mpi_world import join\n"
            f"    with open({str(tmp_path)!r} + f'/{{join().rank}}', 'a') as file:\n"
            "        print(join().watch.patience, file=file)\n"
            "    return train(loop)\n"
            "Loop.run = noting\n"
        )
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
        monkeypatch.delenv("MANYHANDS_HANG_TIMEOUT", raising=False)
        with Runner(blobs) as runner:
            for seconds in (777.0, None, 888.0):
                runner.run(replace(plan_for(blobs, 2), hang_timeout=seconds))
        for rank in (0, 1):
            first, measured, last = map(float, (tmp_path / str(rank)).read_text().split())
            assert (first, last) == (777, 888)
            assert measured < 777

    def test_a_callback_inside_workers_is_refused(self, blobs, mark, memory):
        with Job(2, blobs) as job, pytest.raises(SettingsError, match="WorkerCallback works inside workers"):
            job.run(plan_for(blobs, 2), None, [WorkerCallback()])

    def test_a_callback_that_fails_ends_the_job_with_its_error(self, blobs, mark, memory):
        def callback(event):
            if isinstance(event, RoundHeld) and event.number == 5:
                raise ZeroDivisionError("the callback is unhappy")

        began = time.monotonic()
        with pytest.raises(ZeroDivisionError, match="the callback is unhappy"), Job(2, blobs) as job:
            job.run(plan_for(blobs, 2, epochs=FOREVER), None, [EventFunction(callback, "round")])
        assert time.monotonic() - began < SOON
        nothing_left(mark)
        assert list(memory.iterdir()) == []

    def test_a_callback_that_fails_at_the_last_event(self, blobs, mark, memory):
        def callback(event):
            if isinstance(event, EpochEnded) and event.epoch == 3:
                raise ZeroDivisionError("the callback is unhappy")

        with pytest.raises(ZeroDivisionError, match="the callback is unhappy"):
            run(plan_for(blobs, 2), blobs, callbacks=[callback])
        nothing_left(mark)
        assert list(memory.iterdir()) == []

    def test_what_was_told_before_a_divergence_is_heard(self, blobs, mark, memory):
        settings = MLPSettings(hidden=(8,), optimizer="sgd", learning_rate=1e20)
        plan = plan_for(blobs, 2, network=settings, strategy="periodic:1")
        heard, here = [], []
        with pytest.raises(DivergedError):
            run(plan, blobs, callbacks=[EventFunction(heard.append, "round")])
        with pytest.raises(DivergedError) as threads:
            run(
                replace(plan, team="threads"),
                blobs,
                callbacks=[of_rank_0(here)],
            )
        assert threads.value.step > 1
        both = min(len(heard), len(here))  # threads may be called off before they have told of their last round
        assert heard
        assert untimed(heard)[:both] == untimed(here)[:both]
        assert len(heard) >= threads.value.step - 2

    def test_told_in_pieces(self, tmp_path):
        """A line that is not whole yet waits for its end, and is passed on once."""
        path, heard = tmp_path / "events", []
        lines = [json.dumps(as_record(EpochEnded(0, number, 0.5, 5, 0, 0, 0.0))) + "\n" for number in (1, 2, 3)]
        with contextlib.closing(EventTail(path, [EventFunction(heard.append)])) as tail:
            for piece, epochs in (
                ("", []),
                (lines[0][:10], []),
                (lines[0][10:], [1]),
                (lines[1] + lines[2][:-1], [1, 2]),
                ("\n", [1, 2, 3]),
                ("", [1, 2, 3]),
            ):
                with path.open("a") as file:
                    file.write(piece)
                tail.pass_on()
                assert [event.epoch for event in heard] == epochs


class TestErrors:
    def test_divergence_arrives_with_its_type_rank_and_step(self, blobs, mark, memory):
        settings = MLPSettings(hidden=(8,), optimizer="sgd", learning_rate=1e20)
        plan = plan_for(blobs, 2, network=settings, strategy="periodic:1epoch")
        with pytest.raises(DivergedError, match=r"at step \d+ on worker [01]: ") as caught, Job(2, blobs) as job:
            job.run(plan)
        with pytest.raises(DivergedError) as threads:
            run(replace(plan, team="threads"), blobs)
        assert (caught.value.rank in (0, 1), caught.value.step) == (True, threads.value.step)
        nothing_left(mark)
        assert list(memory.iterdir()) == []

    def test_an_mpiexec_that_fails_at_once(self, blobs, mark, memory, tmp_path, monkeypatch):
        monkeypatch.setenv("MANYHANDS_MPIEXEC", str(program(tmp_path, "echo mpirun of Open MPI", "no room", 3)))
        with pytest.raises(ManyhandsError, match=r"has ended with status 3; its last words:\nno room$"):
            Job(2, blobs)
        assert list(memory.iterdir()) == []

    def test_an_mpiexec_that_is_killed_at_once(self, blobs, mark, memory, tmp_path, monkeypatch):
        monkeypatch.setenv("MANYHANDS_MPIEXEC", str(program(tmp_path, "echo mpirun of Open MPI", "", 0, "kill -9 $$")))
        with pytest.raises(ManyhandsError, match="was killed by signal 9"):
            Job(2, blobs)
        assert list(memory.iterdir()) == []

    def test_an_mpiexec_that_never_starts_anything(self, blobs, mark, memory, tmp_path, monkeypatch):
        monkeypatch.setattr("manyhands.training.jobs.client._START_SECONDS", 0.5)
        lazy = program(tmp_path, "echo mpirun of Open MPI", "wait a little", 0, "exec sleep 60")
        monkeypatch.setenv("MANYHANDS_MPIEXEC", str(lazy))
        with pytest.raises(ManyhandsError, match=r"not come up within \d+ s; its last words:\nwait a little"):
            Job(2, blobs)
        nothing_left(mark)
        assert list(memory.iterdir()) == []

    def test_programs_that_are_no_mpiexec(self, blobs, memory, tmp_path, monkeypatch):
        wanted = mpi_environment.kind_of(__import__("manyhands.teams.mpi_world").teams.mpi_world.library())
        other = "HYDRA build details" if wanted == mpi_environment.OPEN_MPI else "mpirun (Open MPI) 5.0"
        for name, words in (
            (tmp_path / "missing", f"MANYHANDS_MPIEXEC={tmp_path / 'missing'} is no program that runs"),
            (program(tmp_path, f"echo {other!r}", "", 0), "is of "),
        ):
            monkeypatch.setenv("MANYHANDS_MPIEXEC", str(name))
            with pytest.raises(SettingsError, match=re.escape(words)):
                Job(2, blobs)
        monkeypatch.setenv("MANYHANDS_MPIEXEC", "/bin/true")
        with pytest.raises(ManyhandsError, match="the MPI job is gone: /bin/true has ended with status 0"):
            Job(2, blobs)
        assert list(memory.iterdir()) == []

    def test_no_room_for_the_data(self, digits, tmp_path, monkeypatch):
        tiny = tmp_path / "tiny"
        tiny.mkdir()
        monkeypatch.setattr("manyhands.training.jobs.client._MEMORY", str(tmp_path / "none"))
        monkeypatch.setattr("tempfile.tempdir", str(tiny))
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tiny], capture_output=True, timeout=20, check=False
        )
        if mounted.returncode != 0:  # only root can

            def save(file, array, **_options):
                if array.size > 10_000:
                    raise OSError(errno.ENOSPC, "No space left on device")
                np.lib.format.write_array(file, array)

            monkeypatch.setattr("manyhands.training.jobs.dataset_files.np.save", save)
        try:
            with pytest.raises(OutputError, match=f"cannot hand the data over through {tiny}"):
                Job(2, digits)
            assert list(tiny.iterdir()) == []
        finally:
            if mounted.returncode == 0:
                subprocess.run(["umount", tiny], timeout=20, check=True)


def program(folder, version, words, status, then="true"):
    """Write a program that has a version, and otherwise says something and ends."""
    path = folder / f"mpiexec-{uuid.uuid4().hex[:6]}"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && {{ {version}; exit 0; }}\necho "{words}"\n{then}\nexit {status}\n'
    )
    path.chmod(0o755)
    return path


class Deed:
    """Something that is done to a job once its workers train.

    Attributes
    ----------
    done : float or None
        When it was done, on the monotonic clock.
    """

    def __init__(self, do):
        self.do, self.done = do, None

    def to(self, dataset, workers, strategy="gradient"):
        """Start a job, and a run that would last for ever."""
        with Job(workers, dataset) as job:
            plan = plan_for(dataset, workers, epochs=FOREVER, strategy=strategy)
            job.run(plan, lambda steps: self._look(job, steps))

    def _look(self, job, steps):
        if self.done is not None:
            assert time.monotonic() - self.done < SOON, "the job does not end"
        elif steps > 3:
            self.do(job)
            self.done = time.monotonic()


class TestViolence:
    @pytest.mark.parametrize(
        ("whom", "how", "strategy", "words"),
        [
            pytest.param(  # as in test_a_worker_is_lost
                "worker",
                signal.SIGKILL,
                "gradient",
                r"^worker 1 was killed by signal 9 \(SIGKILL\)$",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                "worker",
                signal.SIGSTOP,
                "one-shot",
                r"^worker 1 has shown no sign of life for \d+\.\d s: it is stopped or stuck",
            ),
            ("mpiexec", signal.SIGKILL, "gradient", "^the MPI job is gone: .*mpiexec was killed by signal 9"),
        ],
        ids=["worker killed", "worker stopped", "mpiexec killed"],
    )
    def test_a_job_ends_within_seconds(self, blobs, mark, memory, whom, how, strategy, words):
        deed = Deed(lambda job: os.kill(job.launcher.pids[1] if whom == "worker" else job.launcher.started[0].pid, how))
        with pytest.raises(ManyhandsError, match=words) as caught:
            deed.to(blobs, 3, strategy)
        assert time.monotonic() - deed.done < SOON
        assert isinstance(caught.value, WorkerLost) == (whom == "worker")
        nothing_left(mark)
        assert list(memory.iterdir()) == []

    @pytest.mark.slow
    def test_nothing_of_open_mpi_is_left_when_mpiexec_is_killed(self, blobs, mark, memory):
        files = set()

        def do(job):
            for worker in job.launcher.pids:
                files.update(re.findall(r"/\S*(?:sm_segment|pmix|ompi\.)\S*", Path(f"/proc/{worker}/maps").read_text()))
            os.kill(job.launcher.started[0].pid, signal.SIGKILL)

        with pytest.raises(ManyhandsError, match="mpiexec was killed by signal 9"):
            Deed(do).to(blobs, 2)
        left = [path for path in files if path.startswith("/dev/shm/sm_segment") and Path(path).exists()]
        assert left == []

    @pytest.mark.slow
    def test_a_killed_worker_while_mpiexec_is_stopped(self, blobs, mark, memory):
        def do(job):
            os.kill(job.launcher.started[0].pid, signal.SIGSTOP)
            os.kill(job.launcher.pids[1], signal.SIGKILL)

        with pytest.raises(ManyhandsError, match="worker 1 has shown no sign of life"):
            Deed(do).to(blobs, 3)
        nothing_left(mark)

    @pytest.mark.parametrize(
        "guarded", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["guarded", "unguarded"]
    )
    def test_a_stopped_worker_whose_mpiexec_is_gone(self, blobs, mark, memory, guarded, monkeypatch):
        """Nobody but the owner can end it; without that, it stays."""
        workers = []

        def do(job):
            workers.extend(job.launcher.pids)
            os.kill(job.launcher.started[0].pid, signal.SIGKILL)
            job.launcher.started[0].wait()  # the end of a parent wakes its stopped children
            os.kill(workers[1], signal.SIGSTOP)

        if not guarded:
            monkeypatch.setattr("manyhands.training.jobs.client.end_processes", lambda _folder: None)
        with pytest.raises(ManyhandsError, match="mpiexec was killed by signal 9"):
            Deed(do).to(blobs, 2)
        if guarded:
            nothing_left(mark)
        else:
            time.sleep(1)
            assert workers[1] in family(mark)
        assert list(memory.iterdir()) == []

    def test_workers_outlive_their_owner_only_while_its_lock_is_held(self, mark):
        """A child has inherited the lock: while it lives, the workers take it for their owner."""
        with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
            holder, folder, *workers = owner.stdout.readline().split()
            cells = open_cells(Path(folder), 2)
            until(lambda: cells[:2, 0].min() > 0, 60, "training")
            owner.kill()
        time.sleep(1.5)
        assert {int(worker) for worker in workers} <= set(family(mark))
        os.kill(int(holder), signal.SIGKILL)
        until(lambda: not family(mark), SOON, lambda: family(mark))
        assert not Path(folder).exists()


# ---- The command line, its processes killed at any moment


class Program:
    """The command line in real processes: started by us, or by mpiexec."""

    def __init__(self, folder, mark, command, environment=None):
        self.mark, self.out, self.began = mark, folder / "out", folder / "began"
        self.out.mkdir()
        self.began.mkdir()
        self._said = folder / "said"
        with open(self._said, "wb") as said:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**(environment or os.environ), MARK: mark, "MANYHANDS_TEST_BEGAN": str(self.began)},
            )
        self.folder = None

    def __enter__(self):
        return self

    def __exit__(self, *_failure):
        kill_family(self.mark)
        self.process.wait(10)

    def said(self):
        return self._said.read_text()

    def workers(self, count):
        """Return the numbers of the workers' processes, by rank, when all of them train."""
        until(lambda: self._train(count) or self.process.poll() is not None, 60, self.said)
        assert self.process.poll() is None, self.said()
        return self._pids

    def _train(self, count):
        files = [self.began / str(rank) for rank in range(count)]
        if all(path.exists() and path.read_text() for path in files):
            self._pids = [int(path.read_text()) for path in files]
            return True
        commands = [command for command in family(self.mark).values() if "manyhands.training.jobs.process" in command]
        folders = {command.split()[-1] for command in commands}
        if len(folders) != 1:
            return False
        self.folder = Path(folders.pop())
        if not (self.folder / "ready.json").exists():
            return False
        self._pids = [worker["pid"] for worker in json.loads((self.folder / "ready.json").read_text())]
        return len(self._pids) == count and open_cells(self.folder, count)[:count, 0].min() > 0

    def end(self):
        """Wait for the end; return seconds and status. There must be no process and no file then."""
        began = time.monotonic()
        try:
            self.process.wait(SOON)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still there after {SOON} s: {family(self.mark)}\n{self.said()}")
        took = time.monotonic() - began
        nothing_left(self.mark)
        assert self.folder is None or not self.folder.exists()
        assert list(self.out.iterdir()) == []
        return took, self.process.returncode


def under_mpiexec(count):
    """Return the beginning of a command, and an environment, for real mpiexec."""
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    return mpi_environment.job_command(path, kind, count), mpi_environment.job_environment(kind)


def train_command(folder, strategy, *more):
    files = ["--out", folder / "out" / "m.safetensors", "--json", folder / "out" / "m.json"]
    how = ["--data", "digits", "--hidden", 20, "--epochs", FOREVER, "--team", "mpi", "--strategy", strategy]
    return [sys.executable, "-c", PROGRAM, "train", *how, *more, *files]


def self_launched(folder, mark, strategy):
    return Program(folder, mark, train_command(folder, strategy, "--workers", 3))


def launched_by_mpiexec(folder, mark, strategy):
    start, environment = under_mpiexec(3)
    return Program(folder, mark, [*start, *train_command(folder, strategy)], environment)


def unhappy(folder, mark, strategy, rank, number):
    """Start a script of three processes, one of which raises an error after so many rounds; wait until it does."""
    start, environment = under_mpiexec(3)
    script = [sys.executable, "-c", UNHAPPY, strategy, rank, number, folder / "out" / "m.safetensors"]
    running = Program(folder, mark, [*start, *script], environment)
    until(lambda: "raising" in running.said() or running.process.poll() is not None, 60, running.said)
    return running


def strike(folder, mark, kind, way, strategy, rank, delay):
    """Hurt a worker of three; return the seconds to the end and the telling line of what was said."""
    if kind == "exception":
        number = 1 + int(delay * 400)
        words = (
            rf"RuntimeError: the callback is unhappy with round {number}\n(.|\n)*rank {rank}\b"  # the latter says MPI
        )
        with unhappy(folder, mark, strategy, rank, number) as running:
            seconds, status = running.end()
    else:
        words = {
            ("stop", "self"): rf"manyhands train: worker {rank} has shown no sign of life for \d+\.\d s",
            ("stop", "mpiexec"): rf"manyhands train: worker {rank} has shown no sign of life for \d+\.\d s",
            ("kill", "self"): rf"manyhands train: worker {rank} was killed by signal 9 \(SIGKILL\)",
            ("kill", "mpiexec"): rf"(process rank {rank} with PID .*|RANK {rank} PID .*)",  # says mpiexec
        }[kind, way]
        with {"self": self_launched, "mpiexec": launched_by_mpiexec}[way](folder, mark, strategy) as running:
            workers = running.workers(3)
            time.sleep(delay)
            assert running.process.poll() is None, running.said()
            os.kill(workers[rank], signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
            seconds, status = running.end()
    assert status != 0
    found = re.search(words, running.said())
    assert found, f"no {words!r} in: {running.said()}"
    if way == "self":
        assert running.said().count("manyhands train: ") == 1
        assert "Traceback" not in running.said()
    return seconds, " ".join(found[0].split())


@pytest.mark.parametrize(
    ("kind", "way", "strategy", "rank"),
    [
        # Under mpiexec, tests/teams/test_watch.py does the same to a program that is not the command.
        pytest.param("kill", "mpiexec", "gradient", 2, marks=pytest.mark.slow),
        pytest.param("stop", "mpiexec", "one-shot", 0, marks=pytest.mark.slow),
        pytest.param("exception", "mpiexec", "periodic:1epoch", 1, marks=pytest.mark.slow),
        ("kill", "self", "one-shot", 0),
    ],
)
def test_a_worker_is_lost(tmp_path, mark, kind, way, strategy, rank):
    strike(tmp_path, mark, kind, way, strategy, rank, 1.0)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_thirty_random_losses(tmp_path, mark):
    seed = 2021
    rng = random.Random(seed)
    lines, wrong = [f"seed {seed}:"], 0
    for number in range(30):
        kind, rank, delay = rng.choice(["kill", "stop", "exception"]), rng.randrange(3), rng.uniform(0.1, 2.0)
        way = "mpiexec" if kind == "exception" else rng.choice(["self", "mpiexec"])
        # A callback is told of rounds between steps, before the last one.
        strategies = ["periodic:1epoch", "periodic:7"] + ["one-shot", "gradient"] * (kind != "exception")
        strategy = rng.choice(strategies)
        folder, own_mark = tmp_path / str(number), f"{mark}-{number}."
        folder.mkdir()
        try:
            seconds, message = strike(folder, own_mark, kind, way, strategy, rank, delay)
            end = f"{seconds:5.2f} s  {message}"
        except (AssertionError, pytest.fail.Exception) as error:
            wrong += 1
            end = f"WRONG {error}"
        lines.append(f"{number:2} {kind:9} {way:7} {strategy:15} rank {rank} after {delay:.2f} s: {end}")
        print(lines[-1], flush=True)
    if wrong:
        pytest.fail("\n".join(lines))


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow)],
)
def test_the_user_ends_the_run(tmp_path, mark, number, status, word):
    with self_launched(tmp_path, mark, "periodic:1epoch") as running:
        running.workers(3)
        running.process.send_signal(number)
        assert running.end()[1] == status
    assert running.said().splitlines()[-1] == f"manyhands train: {word}"
    assert "Traceback" not in running.said()


CLOSING = """
import os, sys
from manyhands.training.jobs import client, launchers
client._MEMORY = sys.argv[1]
launchers.Launcher.await_end = lambda *_: (print("closing", flush=True), __import__("time").sleep(60))
from manyhands.cli import main
sys.exit(main(sys.argv[2:]))
"""
"""The command line, which takes its time to close a job."""


def closing(folder, memory, *more):
    how = ["--data", "digits", "--hidden", 8, "--epochs", 1, "--team", "mpi", "--strategy", "gradient", "--workers", 2]
    words = ["train", *how, "--out", folder / "m.safetensors", "--json", folder / "m.json"]
    return subprocess.Popen(
        [sys.executable, "-c", CLOSING, str(memory), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def test_results_are_there_before_the_job_closes_and_the_next_run_sweeps_what_was_killed(tmp_path, mark, memory, blobs):
    with closing(tmp_path, memory) as running:
        said = iter(running.stdout.readline, "closing\n")
        assert "accuracy" in "".join(said)
        assert {path.name for path in tmp_path.iterdir()} >= {"m.safetensors", "m.json"}
        running.kill()
    nothing_left(mark)
    (memory / "manyhands-job-left").mkdir()
    with Job(2, blobs) as job:
        assert list(memory.iterdir()) == [job.folder]
        assert list(job.folder.glob("*.npy")) == []  # the data are mapped, and go with the processes
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in [job.folder, *job.folder.glob("*.*")]}
        assert {mode for name, mode in modes.items() if Path(job.folder, name).is_file()} == {"0o600"}
        assert modes[job.folder.name] == "0o700"


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT])
def test_a_user_who_insists_need_not_wait_and_nothing_is_left(tmp_path, mark, memory, number):
    with closing(tmp_path, memory) as running:
        assert "accuracy" in "".join(iter(running.stdout.readline, "closing\n"))
        for _ in range(2):
            running.send_signal(number)
            time.sleep(0.3)
        assert running.wait(SOON) == 128 + number
    nothing_left(mark)
    assert list(memory.iterdir()) == []


def test_a_worker_that_is_stopped_while_the_job_comes_up(tmp_path, mark, blobs, memory, monkeypatch):
    monkeypatch.setattr("manyhands.teams.startup_watchdog.STOPPED_SECONDS", 1.0)

    def stop():
        workers = until(lambda: [pid for pid in family(mark) if startup_watchdog.rank_of(pid) == 1], 30, "no worker 1")
        os.kill(workers[0], signal.SIGSTOP)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(WorkerLost, match=r"^worker 1 \(process \d+\) has been stopped for \d+ s"):
        Job(2, blobs)
    stopper.join()
    nothing_left(mark)
    assert list(memory.iterdir()) == []


def test_no_program_of_the_present_folder_is_run(tmp_path, mark, memory, blobs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("numpy.py", "manyhands.py", "mpi4py.py"):
        (tmp_path / name).write_text("open('was-run', 'w')")
    with Job(2, blobs) as job:
        job.run(plan_for(blobs, 2))
    assert not (tmp_path / "was-run").exists()


# ---- Plans and errors as text


def every_error():
    """Return one error of every class that a worker of a job can meet: it draws nothing, and tells errors by text."""
    special = {"DivergedError": (7, 2, float("inf")), "WorkerLost": (3, "has gone for a walk")}
    special["SingularError"] = (1, 3, 9, 40, "shrinkage")
    special |= {"WorkerFailed": (3, "ValueError: no"), "CorruptedError": (7, "worker 1 held other parameters")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ManyhandsError)]
    kinds = [kind for kind in kinds if kind not in (errors.DrawingError, errors.RankError)]
    return [kind(*special.get(kind.__name__, ("what is wrong",))) for kind in kinds]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_errors_keep_their_type_and_facts(error):
    again = revive(json.loads(json.dumps(describe(error, 1))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    for fact in ("rank", "step", "loss", "reason"):
        assert getattr(again, fact, None) == getattr(error, fact, None)


def test_an_error_of_another_rank_is_what_that_rank_has_said():
    error = errors.RankError.of(3, "there are no rows", ("DataError", "ValueError"))
    again = revive(json.loads(json.dumps(describe(error, 1))))
    assert type(again) is errors.DataError
    assert str(again) == "there are no rows"


def test_an_error_in_a_file_keeps_its_place():
    error = errors.FormatError("a comma is missing", path=Path("rows.csv"), line=7)
    again = revive(json.loads(json.dumps(describe(error, 0))))
    assert (type(again), str(again)) == (errors.FormatError, "rows.csv, line 7: a comma is missing")


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), errors.Terminated(), OSError(28, "full")])
def test_errors_of_others_are_named_with_the_worker(error):
    again = revive(json.loads(json.dumps(describe(error, 2))))
    assert (type(again), again.rank) == (errors.WorkerFailed, 2)
    assert str(again).startswith(f"worker 2 failed: {type(error).__name__}: {error}")


def test_a_worker_that_has_run_out_of_memory_is_named():
    again = revive(json.loads(json.dumps(describe(MemoryError("no room"), 2))))
    assert type(again) is errors.OutOfMemoryError
    assert str(again).startswith("worker 2 has run out of memory (no room)")


@pytest.mark.parametrize("kills", [0, 1])
def test_a_worker_that_the_system_has_killed_for_want_of_memory(monkeypatch, kills):
    launcher = launchers.OneByOne(3)
    launcher._oom_kills = 0
    monkeypatch.setattr(launchers, "oom_kills", lambda: kills)
    error = launcher._lost(1, signal.SIGKILL)
    assert type(error) is (errors.OutOfMemoryError if kills else errors.WorkerLost)
    assert str(error).startswith("worker 1 was killed by signal 9 (SIGKILL)")


@pytest.mark.parametrize("name", ["Path", "Exception", "no such error", None, 3])
def test_reports_revive_nothing_but_our_errors(name):
    assert type(revive({"type": name, "arguments": ["x"]})) is ManyhandsError


@given(
    strategy=st.one_of(
        st.sampled_from(["one-shot", "gradient"]),
        st.integers(1, 10**6).map(lambda steps: f"periodic:{steps}"),
        st.integers(1, 99).map(lambda epochs: f"periodic:{epochs}epoch"),
        st.integers(1, 99).map(lambda passes: f"minibatch:{passes}epochs"),
    ),
    workers=st.integers(1, 20),
    team=st.sampled_from(["threads", "mpi"]),
    numbers=st.fixed_dictionaries(
        {"batch": st.integers(20, 103), "epochs": st.integers(1, 10**9), "seed": st.integers(0, 2**63)}
    ),
    sharding=st.sampled_from(["global", "fixed"]),
    convergence=st.booleans(),
    network=st.fixed_dictionaries(
        {
            "hidden": st.lists(st.integers(1, 5000), max_size=3).map(tuple),
            "activation": st.sampled_from(["identity", "logistic", "tanh", "relu"]),
            "optimizer": st.sampled_from(["adam", "sgd", "nesterov", "lamb"]),
            "learning_rate": st.floats(1e-9, 1e9),
            "l2": st.floats(0, 1e3),
            "momentum": st.floats(0, 0.999),
            "weight_init": st.sampled_from(["auto", "constant:0.5", "he_normal"]),
            "dropout": st.floats(0, 0.99),
            "dtype": st.sampled_from(["float32", "float64"]),
        }
    ),
)
def test_a_plan_survives_its_description(blobs, strategy, workers, team, numbers, sharding, convergence, network):
    settings = MLPSettings(**network)
    chosen = {"team": team, "sharding": sharding, "convergence": convergence, **numbers}
    plan = resolve(RunSpec(strategy=strategy, workers=workers, network=settings, **chosen), blobs)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
