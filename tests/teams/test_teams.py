"""Every team keeps the contract: one table of collectives, all teams, uneven lengths, more workers than cores."""

import threading
import time

import numpy as np
import pytest

from manyhands.core.errors import WorkerLost
from manyhands.core.samples import Control
from manyhands.runtime.partition import part_of
from manyhands.teams import launch as launching
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock

# One line per team and size; a new team enters here.
TEAMS = [("solo", 1), ("threads", 1), ("threads", 2), ("threads", 3), ("threads", 7)]
DTYPES = [np.float32, np.float64]


def controls(size, stop=None):
    stop = np.zeros(1, np.int64) if stop is None else stop
    return [Control(stop, np.zeros(1, np.int64)) for _ in range(size)]


def together(name, size, work, clocks=None):
    return launch(name, clocks or [PhaseClock() for _ in range(size)], controls(size), work)


def vector_of(rank, dtype, length=1001):
    return np.random.default_rng(rank).normal(size=length).astype(dtype)


def weighted_mean(vectors, weights, dtype):
    """In rank order and double precision: the bits that every team must give."""
    total = sum(weights)
    result = np.zeros(len(vectors[0]))
    for vector, weight in zip(vectors, weights, strict=True):
        result += weight / total * vector.astype(np.float64)
    return result.astype(dtype)


@pytest.mark.parametrize(("name", "size"), TEAMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_is_weighted_and_in_rank_order(name, size, dtype):
    weights = [3.0 + rank for rank in range(size)]

    def work(team):
        vector = vector_of(team.rank, dtype)
        team.mean_(vector, weights[team.rank])
        return vector

    results = together(name, size, work)
    expected = weighted_mean([vector_of(rank, dtype) for rank in range(size)], weights, dtype)
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-6)
        assert result.tobytes() == results[0].tobytes()


def test_mean_of_one_keeps_every_bit():
    vector = vector_of(0, np.float32)
    (result,) = together("threads", 1, lambda team: (team.mean_(vector, 7.0), vector.copy())[1])
    assert result.tobytes() == vector_of(0, np.float32).tobytes()


def test_a_worker_of_weight_0_is_not_counted():
    def work(team):
        vector = np.full(40, np.nan if team.rank == 1 else float(team.rank), np.float32)
        team.mean_(vector, 0.0 if team.rank == 1 else 1.0)
        return vector

    assert all((result == 1.0).all() for result in together("threads", 3, work))


@pytest.mark.parametrize(("name", "size"), TEAMS)
@pytest.mark.parametrize("length", [0, 1, 16, 1001])
def test_sum_broadcast_gather(name, size, length):
    def work(team):
        vector = np.full(length, float(team.rank + 1))
        team.sum_(vector)
        other = np.full(length, float(team.rank))
        team.broadcast_(other, root=size - 1)
        return vector, other, team.gather(np.full(length, float(team.rank)))

    results = together(name, size, work)
    for rank, (total, sent, rows) in enumerate(results):
        assert (total == size * (size + 1) / 2).all()
        assert (sent == size - 1).all()
        if rank == 0:
            assert rows.shape == (size, length)
            assert (rows == np.arange(size)[:, None]).all()
        else:
            assert rows is None


@pytest.mark.parametrize(("name", "size"), TEAMS)
def test_all_gather_gives_everyone_the_part_of_each(name, size):
    def work(team):
        vector = vector_of(team.rank, np.float32)
        team.all_gather_(vector)
        return vector

    vectors = [vector_of(rank, np.float32) for rank in range(size)]
    parts = [each[part_of(len(each), size, rank, each.itemsize)] for rank, each in enumerate(vectors)]
    for vector in together(name, size, work):
        assert vector.tobytes() == np.concatenate(parts).tobytes()


def test_nobody_passes_the_barrier_before_all_are_there():
    arrived = []

    def work(team):
        time.sleep(0.02 * team.rank)
        arrived.append(team.rank)
        team.barrier()
        return len(arrived)

    assert together("threads", 4, work) == [4] * 4


def test_thousands_of_rounds_with_more_workers_than_cores():
    def work(team):
        vector = np.full(20, float(team.rank))
        for _ in range(2000):
            team.mean_(vector)
            vector += team.rank
        return vector[0]

    # The mean of 0..5 is 2.5, and each of the rounds adds 2.5 on average.
    results = together("threads", 6, work)
    assert results == [pytest.approx(2000 * 2.5 + rank) for rank in range(6)]


def test_bytes_sent_counts_what_others_read():
    def work(team):
        team.mean_(np.zeros(100, np.float32))
        team.broadcast_(np.zeros(100, np.float32))
        return team.bytes_sent

    assert together("threads", 2, work) == [800, 400]
    assert together("solo", 1, work) == [0]


def test_waiting_is_charged_as_communication():
    clocks = [PhaseClock(), PhaseClock()]

    def work(team):
        time.sleep(0.1 * team.rank)
        team.mean_(np.zeros(100))

    together("threads", 2, work, clocks)
    assert clocks[0].seconds["communicate"] > 0.08
    assert clocks[1].seconds["communicate"] < 0.08


def test_a_failing_worker_ends_the_others_and_is_the_one_reported():
    seen = []

    def work(team):
        if team.rank == 1:
            raise ZeroDivisionError("worker one")
        try:
            team.barrier()
        except WorkerLost as lost:
            seen.append(lost.rank)
            raise

    with pytest.raises(ZeroDivisionError, match="worker one"):
        together("threads", 3, work)
    assert seen == [1, 1]
    assert not any(thread.name.startswith("manyhands-worker") for thread in threading.enumerate())


def test_without_the_call_off_the_others_would_wait_for_ever(monkeypatch):
    # The guard of the test above, taken away: the others are still waiting after the failure.
    from manyhands.teams.threads import ThreadGroup

    meetings = []
    monkeypatch.setattr(ThreadGroup, "call_off", lambda self, rank: meetings.append(self))

    def work(team):
        if team.rank == 1:
            raise ZeroDivisionError
        team.barrier()

    def run():
        with pytest.raises(ZeroDivisionError):
            together("threads", 2, work)

    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    runner.join(1.0)
    assert runner.is_alive()
    monkeypatch.undo()
    meetings[0].call_off(1)
    runner.join(5.0)
    assert not runner.is_alive()


def test_a_failing_worker_sets_stop_for_those_who_compute():
    stop = np.zeros(1, np.int64)

    def work(team):
        if team.rank == 0:
            raise ZeroDivisionError
        deadline = time.monotonic() + 5
        while not stop[0] and time.monotonic() < deadline:
            time.sleep(0.001)
        return bool(stop[0])

    with pytest.raises(ZeroDivisionError):
        launch("threads", [PhaseClock(), PhaseClock()], controls(2, stop), work)
    assert stop[0]


def test_the_caller_is_ticked_while_workers_run(monkeypatch):
    monkeypatch.setattr(launching, "_TICK_SECONDS", 0.01)
    ticks = []
    launch("solo", [PhaseClock()], controls(1), lambda _team: time.sleep(0.2), lambda: ticks.append(1))
    assert len(ticks) > 3
