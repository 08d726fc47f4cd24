"""Workers go on without those that are killed, stopped, hang or fail: this file is started as a job, once per case.

Every worker brings its first rank to each round. So a mean says who has taken part.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from manyhands.core.errors import SettingsError, WorkerLost
from manyhands.core.samples import Control
from manyhands.teams import mpi_environment
from manyhands.teams.job import among_survivors, check_can_continue, surviving
from manyhands.teams.launch import launch, prepare
from manyhands.training.clock import PhaseClock

ROUNDS, LENGTH = 400, 20_000
PAUSE = 2e-4


class FailureError(Exception):
    """What a worker raises that leaves the others to it."""


def harm(how):
    """Let something happen to this process."""
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "hang":
        time.sleep(1000)
    if how == "stuck":
        ctypes.PyDLL(None).sleep(1000)  # no other thread gets a turn
    if how == "error":
        raise ZeroDivisionError("a fault of the program")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "leave":
        os._exit(0)


def trained(team, control, faults, plan):
    """Hold rounds, and go on among the survivors after each loss; return what is worth knowing."""
    first = team.rank
    there = list(range(team.size))
    fault = faults.get(first)
    log, number = [], 0
    late = plan.get("late", {})
    if fault and fault["how"] in ("kill", "stop") and "after" in fault:
        threading.Thread(target=lambda: (time.sleep(fault["after"]), harm(fault["how"])), daemon=True).start()
    while True:
        try:
            while number < plan["rounds"]:
                control.progress[0] += 1
                if fault and fault.get("round") == number:
                    if fault["how"] == "fail":
                        raise FailureError(f"it has had enough: worker {first}")
                    harm(fault["how"])
                if late.get("rank") == first and number == late["round"]:
                    with team.watchdog_paused():
                        time.sleep(late.pop("seconds", 0))
                time.sleep(plan["pause"])
                vector = np.full(plan["length"], float(first))
                team.mean_(vector)
                assert np.array_equal(vector, np.full(plan["length"], vector[0]))
                wanted = np.mean(there)
                assert abs(vector[0] - wanted) < 1e-12, (vector[0], there)
                number += 1
                if control.stop[0]:
                    raise WorkerLost(-1)
            if team.agree():
                break
            number -= 1
        except WorkerLost:
            pass
        lost = team.regroup()
        log.append(lost)
        there = [each for rank, each in enumerate(there) if rank not in dict(lost)]
        assert there[team.rank] == first
        assert team.size == len(there)
        assert control.stop[0] == 0
        # Some have completed a round that others have not: all go on where the last one is.
        rounds = np.zeros(team.size)
        rounds[team.rank] = number
        try:
            team.sum_(rounds)
            number = int(rounds.min())
        except WorkerLost:
            number = max(number - 1, 0)
    return {"first": first, "rank": team.rank, "there": there, "lost": log}


def whole(team, size, faults, plan):
    """Run it as a training does; return the survivors' words."""
    control = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(size)]
    clocks = [PhaseClock() for _ in range(size)]
    return launch(
        team,
        clocks,
        control,
        lambda one: trained(one, control[one.rank], faults, plan),
        survives=lambda error: isinstance(error, FailureError),
    )


def main(folder, size, faults, plan):
    """Be one process of the job."""
    from manyhands.teams.mpi_world import join

    world = join()
    Path(folder, f"pid-{world.rank}").write_text(str(os.getpid()))
    check_can_continue("mpi", size)
    prepare("mpi", size, [np.dtype(np.float64)], lambda: None)
    with surviving("mpi", plan["survives"]):
        (mine,) = whole("mpi", size, faults, plan)
        texts = among_survivors("mpi", lambda: world.all_gather_texts(json.dumps(mine)))
    if world.rank == 0:
        Path(folder, "said.json").write_text(json.dumps([json.loads(text) for text in texts]))


# The tests.


SHORT = {"rounds": 60, "length": 100, "pause": 0.0}


def alike(faults, size):
    """Return what the survivors must have said if ``faults`` are all losses."""
    there = [rank for rank in range(size) if rank not in faults]
    return [(first, rank, there) for rank, first in enumerate(there)]


def shown(said):
    return [(one["first"], one["rank"], one["there"]) for one in said]


@pytest.mark.parametrize("failing", [{1: 20}, {0: 0}, {2: 59}, {0: 20, 1: 20}, {0: 5, 1: 30, 3: 50}], ids=str)
def test_threads_go_on_without_those_that_fail(failing):
    faults = {rank: {"how": "fail", "round": number} for rank, number in failing.items()}
    said = whole("threads", 4, faults, SHORT)
    assert shown(said) == alike(faults, 4)
    lost = {reason: one for each in said[0]["lost"] for one, reason in each}
    assert sorted(lost) == [f"failed: FailureError: it has had enough: worker {rank}" for rank in faults]


def test_if_all_threads_fail_the_first_error_is_raised():
    faults = {rank: {"how": "fail", "round": 10 * rank} for rank in range(3)}
    with pytest.raises(FailureError) as raised:
        whole("threads", 3, faults, SHORT)
    assert raised.value.args == ("it has had enough: worker 0",)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_that_does_not_survive_ends_all_threads(error):
    def work(team):
        if team.rank == 1:
            raise FailureError
        with contextlib.suppress(WorkerLost):
            while True:
                team.barrier()
        if team.rank == 2:
            raise error("no")
        team.regroup()

    controls = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(4)]
    with pytest.raises(error):
        launch(
            "threads",
            [PhaseClock() for _ in controls],
            controls,
            work,
            survives=lambda error: isinstance(error, (FailureError, KeyboardInterrupt)),
        )
    assert [int(each.stop[0]) for each in controls] == [1] * 4


def test_without_leave_to_survive_one_failure_ends_all_threads():
    controls = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(3)]

    def work(team):
        if team.rank == 1:
            raise FailureError
        team.barrier()

    with pytest.raises(FailureError):
        launch("threads", [PhaseClock() for _ in controls], controls, work)
    assert [int(each.stop[0]) for each in controls] == [1] * 3


@pytest.mark.parametrize("team", ["torch", "spark"])
def test_teams_that_need_all_their_workers_refuse(team):
    with pytest.raises(SettingsError, match="on_loss='restart'"):
        check_can_continue(team, 3)


def test_an_mpi_without_fault_tolerance_is_refused():
    with pytest.raises(SettingsError, match="--with-ft ulfm"):
        mpi_environment.check_can_outlive(mpi_environment.MPICH)


class Ended:
    """A job that has ended, and what it has left."""

    def __init__(self, folder, size, faults, *, plan=None, tolerant=True, patience=None):
        from manyhands.teams.mpi_world import library

        path, kind = mpi_environment.find_mpiexec(library())
        if kind != mpi_environment.OPEN_MPI:
            pytest.skip("only Open MPI goes on without lost processes")
        command = mpi_environment.job_command(path, kind, size, survives=tolerant)
        environment = mpi_environment.job_environment(kind)
        if patience is not None:
            environment["MANYHANDS_HANG_TIMEOUT"] = str(patience)
        words = [str(folder), str(size), json.dumps(faults), json.dumps(plan or {})]
        began = time.monotonic()
        with open(folder / "output", "wb") as output:
            self.status = subprocess.run(
                [*command, sys.executable, __file__, *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=100,
                check=False,
            ).returncode
        self.seconds = time.monotonic() - began
        self.output = (folder / "output").read_text(errors="replace")
        self.pids = [int(path.read_text()) for path in folder.glob("pid-*")]
        self.said = json.loads((folder / "said.json").read_text()) if (folder / "said.json").exists() else None

    def check(self, faults, size):
        """Check that the survivors, and nobody else, have come to the end in good order."""
        assert self.said is not None, self.output
        assert shown(self.said) == alike(faults, size), self.output
        assert self.status == 0, self.output
        assert len(self.pids) == size
        assert not [pid for pid in self.pids if Path("/proc", str(pid)).exists()]
        assert len({json.dumps(one["lost"]) for one in self.said}) == 1 or len(faults) > 1


KILL_1, KILL_0 = {1: {"how": "kill", "round": 50}}, {0: {"how": "kill", "round": 50}}
SLOW = pytest.mark.slow
LOSSES = {
    "kill": (3, KILL_1),
    "kill rank 0": (3, KILL_0),
    "two at the same time": (4, {1: {"how": "kill", "round": 50}, 2: {"how": "kill", "round": 50}}),
    "one after the other": (4, {0: {"how": "kill", "round": 50}, 2: {"how": "kill", "round": 90}}),
    "down to one": (3, {0: {"how": "kill", "round": 50}, 2: {"how": "fail", "round": 50}}),
    "fail": (3, {1: {"how": "fail", "round": 50}}),
    "fail last": (3, {2: {"how": "fail", "round": ROUNDS - 1}}),
}


@pytest.mark.parametrize("name", [name if name == "kill" else pytest.param(name, marks=SLOW) for name in LOSSES])
def test_processes_go_on_without_those_that(name, tmp_path):
    pytest.importorskip("mpi4py")
    size, faults = LOSSES[name]
    job = Ended(tmp_path, size, faults)
    job.check(faults, size)
    reasons = dict(one for each in job.said[-1]["lost"] for one in each)
    for fault in faults.values():
        if fault["how"] == "fail":
            assert any(reason.startswith("failed: it has had enough") for reason in reasons.values())
            assert "failed and leaves the others to it: FailureError: it has had enough" in job.output
        else:
            assert "has ended: it was killed, or its machine is gone" in reasons.values()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "hang", "stuck"])
def test_processes_go_on_without_one_that_does_not_move(how, tmp_path):
    pytest.importorskip("mpi4py")
    faults = {1: {"how": how, "round": 50}}
    job = Ended(tmp_path, 3, faults, patience=4)
    job.check(faults, 3)
    (((rank, reason),),) = job.said[0]["lost"]
    assert rank == 1
    assert ("hangs: no step" if how == "hang" else "no sign of life") in reason


@pytest.mark.slow
def test_who_comes_late_is_waited_for_and_loses_nobody(tmp_path):
    pytest.importorskip("mpi4py")
    late = {"rank": 2, "round": 51, "seconds": 9}
    job = Ended(tmp_path, 4, {1: {"how": "kill", "round": 51}}, plan={"late": late}, patience=4)
    job.check({1: None}, 4)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["error", "interrupt"])
def test_what_is_not_to_survive_ends_the_job(how, tmp_path):
    pytest.importorskip("mpi4py")
    job = Ended(tmp_path, 3, {1: {"how": how, "round": 50}})
    assert job.status != 0
    assert job.said is None
    assert "WorkerLost: worker 1 " in job.output
    assert job.seconds < 30


@pytest.mark.slow
def test_where_nobody_survives_a_loss_ends_the_job(tmp_path):
    pytest.importorskip("mpi4py")
    job = Ended(tmp_path, 3, KILL_1, plan={"survives": False})
    assert job.status != 0
    assert job.said is None
    assert "WorkerLost: worker 1 has ended: it was killed" in job.output


@pytest.mark.slow
def test_an_mpiexec_that_ends_with_any_process_is_refused(tmp_path):
    pytest.importorskip("mpi4py")
    job = Ended(tmp_path, 2, {}, tolerant=False)
    assert job.status != 0
    assert "start it with mpiexec --with-ft ulfm" in job.output


if __name__ == "__main__":
    size = int(sys.argv[2])
    faults = {int(rank): fault for rank, fault in json.loads(sys.argv[3]).items()}
    main(
        sys.argv[1],
        size,
        faults,
        {"rounds": ROUNDS, "length": LENGTH, "pause": PAUSE, "survives": True, **json.loads(sys.argv[4])},
    )
