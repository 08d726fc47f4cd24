"""Slow workers are said and counted, and nobody else is; mpiexec starts this file for jobs of processes."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from manyhands.core.samples import Control
from manyhands.data.catalog import DataRequest, load
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.teams import job, mpi_environment
from manyhands.training import run as running
from manyhands.training import stepping, stragglers
from manyhands.training.clock import PhaseClock
from manyhands.training.jobs.client import Job
from manyhands.training.making import learner_of
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec
from manyhands.training.stragglers import Pacer, Straggler, StragglerWatch, limit_of, slow_ones, stragglers_in

SECOND = 10**9
FREE = SimpleNamespace(workers=2, pin=False)


def after(*workers):
    """Return what workers have done, given seconds and samples of each."""
    return np.array([[round(seconds * SECOND), samples] for seconds, samples in workers], np.int64).reshape(-1, 2)


def judged(*workers):
    return [(each.rank, each.times) for each in slow_ones(after(*workers), 2.0)]


# The judgement, by hand.


def test_a_time_for_a_sample_is_compared_with_the_median_of_the_others():
    (found,) = slow_ones(after((2.0, 1000), (6.2, 1000), (1.0, 1000), (3.9, 1000)), 2.0)
    assert (found.rank, found.others) == (1, 0.002)  # of 2, 1 and 3.9 ms
    assert (found.times, found.seconds_per_sample) == pytest.approx((3.1, 0.0062))
    assert found.text("is") == (
        "worker 1 is 3.1 times as slow as the others' median: 6.2 ms of computing for a sample, against 2 ms"
    )


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ([(2.0, 1000), (4.0, 1000)], [(1, 2.0)]),  # the limit itself
        ([(2.0, 1000), (3.99, 1000)], []),
        ([(2.0, 1000), (6.0, 3000), (2.0, 1000)], []),  # more samples, not more time for each
        ([(0.25, 1000), (0.99, 1000)], []),  # too early to say
        ([(0.25, 1000), (1.0, 1000)], [(1, 4.0)]),
        ([(2.0, 1000), (8.0, 0)], []),  # in its first call
        ([(0.0, 0), (8.0, 1000)], []),  # of the other, nothing is known yet
        ([(8.0, 1000)], []),
        ([], []),
        ([(9.0, 1000), (8.0, 1000), (1.0, 1000), (1.0, 1000), (1.0, 1000)], [(0, 9.0), (1, 8.0)]),
    ],
)
def test_who_is_too_slow(workers, expected):
    assert judged(*workers) == expected


@pytest.mark.parametrize(
    ("cores", "workers", "pin", "expected"),
    [(4, 5, True, 4.0), (4, 8, True, 2.0), (4, 9, True, 3.0), (4, 4, True, 2.0), (4, 5, False, 2.0), (8, 2, True, 2.0)],
)
def test_who_shares_a_core_by_order_may_be_slower(monkeypatch, cores, workers, pin, expected):
    monkeypatch.setattr(stragglers, "usable_cores", lambda: cores)
    assert limit_of(SimpleNamespace(workers=workers, pin=pin)) == expected


# While a run goes on.


class Clock:
    """Stands in for the module time."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(stragglers, "time", clock := Clock())
    return clock


def looks(clock, seconds, rates):
    """Watch workers that compute all the time at ``rates(second)`` samples a second, looking five times a second."""
    done = np.zeros((len(rates(0.0)), 2), np.int64)
    watch = StragglerWatch(done.copy, 2.0)
    for number in range(round(5 * seconds)):
        done += np.array([[SECOND // 5, rate // 5] for rate in rates(number / 5)], np.int64)
        clock.now = (number + 1) / 5
        watch.look()


def test_a_slow_worker_is_said_once_and_not_before_it_is_certain(clock, notices):
    looks(clock, 1.0, lambda _: (1000, 1000, 400))
    assert notices == []  # a second of computing, and one look
    looks(clock, 60.0, lambda _: (1000, 1000, 400))
    assert notices == [
        "worker 2 is 2.5 times as slow as the others' median: 2.5 ms of computing for a sample, against 1 ms; "
        "see what else runs on its core or machine"
    ]


def test_a_worker_that_becomes_slow_is_found_by_the_last_seconds(clock, notices):
    # After 100 + 12 s it has needed 112 s for 103,000 samples, which is nothing.
    looks(clock, 112.0, lambda second: (1000, 1000 if second < 100 else 250))
    assert len(notices) == 1
    assert notices[0].startswith("worker 1 is ")
    assert float(notices[0].split()[3]) > 2


def test_a_moment_is_nothing(clock, notices):
    looks(clock, 60.0, lambda second: (1000, 250 if 30 <= second < 32 else 1000))
    assert notices == []


def test_one_strange_look_is_nothing(clock, notices):
    # As if it had noted the samples of its last call, and not yet the seconds.
    before, between = after((10.0, 1000), (10.0, 1000)), after((10.0, 1000), (10.0, 2001))
    states = iter([before, before, between, before, between, between])
    watch = StragglerWatch(lambda: next(states), 2.0)
    for _ in range(4):
        watch.look()
    assert notices == []
    watch.look()
    assert len(notices) == 1


# What a worker notes, and what is made of it in the end.


class Elapsed(PhaseClock):
    """Is told how late it is."""

    at = 0.0

    def elapsed(self):
        return self.at


def paced(steps, begin=0.0):
    """Return the cells and the report of a worker, given when its calls end, their seconds and samples."""
    clock, control = Elapsed(), Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
    clock.seconds["compute"] = clock.at = begin
    pacer = Pacer(clock, control, FREE)
    pacer.begin()
    for at, seconds, samples in steps:
        clock.at = at
        clock.add("compute", seconds)
        pacer.note(samples)
    return control.pace.tolist(), pacer.report()


def test_a_worker_notes_its_seconds_of_computing_and_its_samples():
    cells, report = paced([(3.0, 1.5, 10), (6.0, 1.0, 20), (9.0, 0.5, 5), (21.0, 2.0, 7)])
    assert cells == report["done"] == [5 * SECOND, 42]
    assert report["marks"] == [[0, 0], [2.5 * SECOND, 30], [5 * SECOND, 42], [5 * SECOND, 42], [5 * SECOND, 42]]
    assert (report["every"], report["from"]) == (5.0, 0.0)


def test_what_was_before_a_checkpoint_is_not_counted():
    cells, report = paced([(102.0, 1.5, 10), (106.0, 1.0, 20)], begin=100.0)
    assert cells == [2.5 * SECOND, 30]
    assert (report["marks"], report["from"]) == ([[0, 0], [2.5 * SECOND, 30]], 100.0)


def test_the_marks_of_a_long_run_stay_few_and_keep_their_places():
    _, report = paced([(second, 1.0, 3) for second in range(1, 5001)])
    every, marks = report["every"], report["marks"]
    assert every == 40.0
    assert marks == [[round(number * every) * SECOND, round(number * every) * 3] for number in range(len(marks))]
    assert len(marks) == 5000 // 40 + 1


def reports_of(*rates, seconds=30):
    """Return reports of workers that use ``rates(second)`` samples in a second."""
    return [paced([(second + 1.0, 1.0, rate(second)) for second in range(seconds)])[1] for rate in rates]


def test_the_result_has_who_was_slow_in_the_whole_run():
    found = stragglers_in(reports_of(lambda _: 1000, lambda _: 300, lambda _: 900))
    assert found == [
        {
            "rank": 1,
            "times": pytest.approx(60 / 19),
            "seconds_per_sample": pytest.approx(1 / 300),
            "others": pytest.approx((1 / 1000 + 1 / 900) / 2),
            "between": None,
        }
    ]


def test_the_result_has_who_was_slow_in_a_part_of_it():
    reports = reports_of(lambda _: 1000, lambda second: 250 if 10 <= second < 20 else 1000)
    (found,) = stragglers_in(json.loads(json.dumps(reports)))
    assert (found["rank"], found["times"], list(found["between"])) == (1, 4.0, [10.0, 15.0])
    text = Straggler(**found).text("was")
    assert text.startswith("worker 1 was 4.0 times as slow as the others' median from 10 s to 15 s of the training: ")


def test_the_result_has_nobody_if_all_were_alike():
    assert stragglers_in(reports_of(lambda _: 1000, lambda second: 600 + 13 * second, lambda _: 777)) == []
    assert stragglers_in(reports_of(lambda _: 1000)) == []


def test_marks_at_other_intervals_are_compared_at_the_wider_ones():
    # Both use fewer samples a second in the second half, at the same time: neither is slow.
    short, long = reports_of(*[lambda second: 1000 if second < 320 else 300] * 2, seconds=644)
    assert short["every"] == long["every"] == 10.0
    wide = {**long, "marks": long["marks"][::2], "every": 20.0}
    assert stragglers_in([short, wide]) == []


# Real runs.


def about_workers(notices):
    """Return what was said about workers: the first run of some kind also says that it compiles."""
    return [each for each in notices if each.startswith("worker ")]


class Sluggish:
    """A learner that takes its time, in proportion to its samples; in all else it is the one that it has."""

    def __init__(self, learner, seconds):
        self._learner, self._seconds = learner, seconds

    def __getattr__(self, name):
        return getattr(self._learner, name)

    def _sleep(self, order):
        time.sleep(self._seconds * order.examples)

    def run(self, table, order, *arguments, **named):
        self._sleep(order)
        return self._learner.run(table, order, *arguments, **named)

    def gradient(self, table, order, out):
        self._sleep(order)
        return self._learner.gradient(table, order, out)


@contextlib.contextmanager
def sluggish(*seconds):
    """Let the worker of each rank sleep so long for every sample; a fraction of a second of computing is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            running,
            "learner_of",
            lambda plan, dataset, rank=0, group=None: Sluggish(learner_of(plan, dataset, rank), seconds[rank]),
        )
        patch.setattr(stragglers, "LEAST_SECONDS", 0.25)
        patch.setattr(stepping, "_ROWS_AT_ONCE", 1)  # a call for each epoch, after which its pace is known
        yield


def planned(dataset, hidden=4, **words):
    given = {"network": MLPSettings((hidden,)), "batch": 60, "epochs": 20, "workers": 3, **words}
    return resolve(RunSpec(**given), dataset)


@pytest.mark.parametrize("strategy", ["gradient", "periodic:1epoch", "periodic:2,send=int8"])
def test_a_slow_thread_is_said_while_it_runs_and_in_the_result(blobs, notices, strategy):
    plan = planned(blobs, strategy=strategy, epochs=60 if strategy == "periodic:1epoch" else 30)
    told = []
    with sluggish(0.0002, 0.0002, 0.001):
        result = run(plan, blobs, progress=lambda _: told.append(len(about_workers(notices))))
    assert (only(result).rank, only(result).between) == (2, None)
    assert 3 < only(result).times < 6
    assert only(result).seconds_per_sample == pytest.approx(result.worker_seconds[2] / result.examples, rel=0.05)
    assert 1 in told  # it was said before the end
    (said,) = about_workers(notices)
    assert said.startswith("worker 2 is ")


def only(result):
    """Return the one slow worker of a result."""
    (found,) = result.slow
    return Straggler(**found)


def test_a_worker_with_larger_parts_of_the_batches_is_not_slow(blobs, notices):
    # Of a batch of 3, the first has one sample, the second two.
    with sluggish(0.002, 0.002):
        result = run(planned(blobs, workers=2, strategy="gradient", batch=3, epochs=4), blobs)
    assert result.worker_seconds[1] > 1.7 * result.worker_seconds[0] > 0.25
    assert (result.slow, about_workers(notices)) == ([], [])


def test_workers_that_are_alike_are_not_slow(blobs, notices):
    with sluggish(0.001, 0.001, 0.001):
        result = run(planned(blobs, strategy="periodic:1epoch"), blobs)
    assert min(result.worker_seconds) > 0.25
    assert (result.slow, about_workers(notices)) == ([], [])


def test_who_gives_cells_watches_over_them(blobs, notices):
    stop = np.zeros(1, np.int64)
    controls = [Control(stop, np.zeros(1, np.int64)) for _ in range(3)]
    with sluggish(0.0002, 0.0002, 0.001):
        result = run(planned(blobs, strategy="gradient", epochs=30), blobs, controls=controls)
    assert only(result).rank == 2
    assert about_workers(notices) == []
    assert int(np.argmax([each.pace[0] for each in controls])) == 2


def test_a_learner_that_trains_in_one_call_has_a_pace_at_its_end(digits):
    controls = [Control(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(3)]
    plan = planned(digits, strategy="one-shot", learner="published", batch=None, epochs=2)
    result = run(plan, digits, controls=controls)
    assert [each.pace.tolist() for each in controls] == [
        [int(1e9 * seconds), result.examples] for seconds in result.worker_seconds
    ]


# Processes.


def train_under_mpiexec(folder):
    """Train in a process of a job, in which worker 1 is slow; rank 0 writes what it has said, everyone its result."""
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("manyhands").addHandler(handler)
    digits = load(DataRequest("digits"))
    with sluggish(0.00005, 0.0003, 0.00005):
        result = run(planned(digits, strategy=sys.argv[2], team="mpi", epochs=5), digits)
    rank = job.announced().rank
    (folder / f"{rank}.json").write_text(json.dumps({"slow": result.slow, "said": about_workers(said)}))


@pytest.mark.parametrize("strategy", ["periodic:5", pytest.param("gradient", marks=pytest.mark.slow)])
def test_processes_that_the_user_has_started_know_each_others_pace(tmp_path, strategy):
    pytest.importorskip("mpi4py")
    from manyhands.teams.mpi_world import library

    path, kind = mpi_environment.find_mpiexec(library())
    done = subprocess.run(
        [*mpi_environment.job_command(path, kind, 3), sys.executable, __file__, tmp_path, strategy],
        env=mpi_environment.job_environment(kind),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)]
    assert all(each["slow"] == told[0]["slow"] for each in told)
    (found,) = told[0]["slow"]
    assert found["rank"] == 1
    assert 3 < found["times"] < 7
    assert [len(each["said"]) for each in told] == [1, 0, 0]
    assert told[0]["said"][0].startswith("worker 1 is ")


@contextlib.contextmanager
def held_up(pid, part):
    """Let a process run for a ``part`` of the time only."""
    ended = threading.Event()

    def hold() -> None:
        while not ended.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.05 * (1 - part))
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.05 * part)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
def test_the_owner_of_a_job_says_which_process_is_slow(digits, notices):
    pytest.importorskip("mpi4py")
    plan = planned(
        digits, workers=2, strategy="one-shot", hidden=200, batch=32, epochs=200, hang_timeout=60, team="mpi"
    )
    with Job(2, digits) as own, held_up(own.launcher.pids[1], 0.15):
        result = own.run(plan)
    assert only(result).rank == 1
    (said,) = about_workers(notices)
    assert said.startswith("worker 1 is ")


if __name__ == "__main__":
    train_under_mpiexec(Path(sys.argv[1]))
