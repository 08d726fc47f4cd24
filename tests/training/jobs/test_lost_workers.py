"""Jobs of our own go on without workers that are killed, stopped or fail: this file is what their processes run.

In place of a training they hold rounds, in which every worker brings its first rank.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from manyhands.core.callbacks import EventFunction, send
from manyhands.core.errors import SettingsError, WorkerLost
from manyhands.core.events import RoundHeld
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams import mpi_environment
from manyhands.training.clock import PhaseClock
from manyhands.training.jobs import launchers, process, server
from manyhands.training.jobs.client import Job
from manyhands.training.making import result_of
from manyhands.training.resolve import resolve
from manyhands.training.result import TrainingResult
from manyhands.training.spec import RunSpec

pytest.importorskip("mpi4py")
if not Path("/proc/self/environ").exists():
    pytest.skip("processes are found in /proc", allow_module_level=True)

FAULT = "MANYHANDS_TEST_FAULT"
ROUNDS, SOON = 300, 30


# What follows runs in the job's processes.


def hold_rounds(team, control, callbacks, fault):
    """Hold rounds, whoever is lost, and report them; return how many workers have taken part in the last one."""
    mine, number = team.rank == fault["rank"], 0
    while True:
        try:
            while number < ROUNDS:
                if mine and number == 100:
                    if fault["how"] == "fail":
                        raise ZeroDivisionError("a fault of the program")
                    os.kill(os.getpid(), getattr(signal, fault["how"]))
                time.sleep(0.002)
                vector = np.ones(1000)
                team.sum_(vector)
                number += 1
                control.progress[0] = number
                send(callbacks, RoundHeld(team.rank, number, number, float(vector[0])))
            if team.agree():
                return int(vector[0])
            number -= 1
        except WorkerLost:
            pass
        team.regroup()
        numbers = np.zeros(team.size)
        numbers[team.rank] = number
        team.sum_(numbers)
        number = int(numbers.min())


def run_rounds(plan, dataset, *, controls, callbacks):
    """Stand in for a training."""
    from manyhands.teams.job import among_survivors, surviving
    from manyhands.teams.launch import launch
    from manyhands.teams.membership import join

    clocks, fault = [PhaseClock() for _ in controls], json.loads(os.environ[FAULT])
    with surviving("mpi", True):
        (there,) = launch(
            "mpi",
            clocks,
            controls,
            lambda team: hold_rounds(team, controls[team.rank], callbacks, fault),
            survives=lambda error: isinstance(error, ZeroDivisionError),
        )
        among_survivors("mpi", join().barrier)
    learner = result_of(plan, dataset)
    learner.parameters[:] = there
    return TrainingResult(plan, SimpleNamespace(learner=learner), 0.5, ROUNDS, ROUNDS, 0, 0, {}, [])


if __name__ == "__main__":
    server.run = run_rounds
    process.main(Path(sys.argv[2]))


# The tests.


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """The folder in which jobs make their own ones; they run this file."""
    if mpi_environment.kind_of(launchers.Mpiexec(2)._kind) != mpi_environment.OPEN_MPI:
        pytest.skip("only Open MPI goes on without lost processes")
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr("manyhands.training.jobs.client._MEMORY", str(folder))
    start = launchers.Mpiexec.start

    def start_this(launcher, program, *others):
        start(launcher, [sys.executable, __file__, *program[-2:]], *others)

    monkeypatch.setattr(launchers.Mpiexec, "start", start_this)
    return folder


def plan_for(dataset, workers):
    network = MLPSettings(hidden=(8,))
    spec = RunSpec(workers=workers, team="mpi", strategy="gradient", network=network, epochs=3, batch=20)
    return resolve(spec, dataset)


def until_gone(pids):
    end = time.monotonic() + SOON
    while there := [pid for pid in pids if Path("/proc", str(pid), "exe").exists()]:
        assert time.monotonic() < end, there
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("how", "rank"),
    [
        ("SIGKILL", 0),
        pytest.param("SIGKILL", 2, marks=pytest.mark.slow),
        pytest.param("SIGTERM", 1, marks=pytest.mark.slow),
        pytest.param("SIGSTOP", 1, marks=pytest.mark.slow),
        pytest.param("fail", 1, marks=pytest.mark.slow),
    ],
)
def test_the_others_complete_the_run_and_leave_nothing(how, rank, blobs, memory, monkeypatch):
    monkeypatch.setenv(FAULT, json.dumps({"how": how, "rank": rank}))
    events, told = [], []
    with Job(3, blobs, survives=True) as job:
        result = job.run(plan_for(blobs, 3), told.append, [EventFunction(events.append, "round")])
        assert result.steps == ROUNDS
        assert set(result.model.learner.parameters) == {2.0}
        assert job.lost == 1
        with pytest.raises(ValueError, match="a plan for 3 workers in a job of 2"):
            job.run(plan_for(blobs, 3))
        pids = [*job.launcher.pids, job.launcher.started[0].pid]
    until_gone(pids)
    assert list(memory.iterdir()) == []
    assert {event.rank for event in events} == {0}
    assert list(dict.fromkeys(event.number for event in events)) == list(range(1, ROUNDS + 1))
    assert {event.loss for event in events} == {3.0, 2.0}
    assert max(told) > 100


@pytest.mark.slow
def test_if_nobody_is_lost_there_can_be_more_runs(blobs, memory, monkeypatch):
    monkeypatch.setenv(FAULT, json.dumps({"how": "", "rank": -1}))
    with Job(2, blobs, survives=True) as job:
        for _ in range(2):
            assert set(job.run(plan_for(blobs, 2)).model.learner.parameters) == {2.0}
            assert job.lost == 0
    assert list(memory.iterdir()) == []


def test_a_launcher_that_needs_all_is_refused(monkeypatch):
    monkeypatch.setattr(mpi_environment, "find_mpiexec", lambda _library: (Path("/opt/mpiexec"), mpi_environment.MPICH))
    with pytest.raises(SettingsError, match="--with-ft ulfm"):
        mpi_environment.job_command(*mpi_environment.find_mpiexec(""), 3, survives=True)
