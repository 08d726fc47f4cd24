"""Meeting points of threads: nobody leaves early, nobody sleeps for ever, and sums are right."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from manyhands.runtime import shared_reduce
from manyhands.runtime.jit import compiled
from manyhands.runtime.partition import bounds_of
from manyhands.runtime.shared_reduce import (
    ARRIVED,
    BLOCK,
    GENERATION,
    LOST,
    arrive_and_wait,
    combine_here,
    new_barrier_state,
    reduce,
    wait,
)
from manyhands.teams.threads import ThreadGroup, ThreadTeam
from manyhands.training.clock import PhaseClock

GENEROUS = 60.0


@compiled
def meet_often(meeting, arrived):
    """Return how many times a worker was missing after a meeting, or -1 if the team was called off."""
    missing = 0
    for generation in range(len(arrived)):
        arrived[generation, meeting.rank] += 1
        if arrive_and_wait(meeting) != 0:
            return -1
        for rank in range(arrived.shape[1]):
            missing += arrived[generation, rank] != 1
    return missing


def together(size, work):
    """Call ``work(rank)`` in ``size`` threads; return what they return."""
    found, errors = {}, []

    def worker(rank):
        try:
            found[rank] = work(rank)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=worker, args=(rank,), daemon=True) for rank in range(size)]
    end = time.monotonic() + GENEROUS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    if errors:
        raise errors[0]
    return [found[rank] for rank in range(size)]


def meetings_in(room, vectors):
    """Return each worker's meeting over its vector."""
    return [ThreadTeam(room, rank, PhaseClock()).shared_reduction(vector) for rank, vector in enumerate(vectors)]


@pytest.fixture(scope="module", autouse=True)
def compiled_before():
    """Compile, so that no time measured below is a compiler's."""
    wait(new_barrier_state(), 1)
    for dtype in (np.float32, np.float64):
        room = ThreadGroup(1)
        reduce(meetings_in(room, [np.zeros(3, dtype)])[0], True, np.zeros(3, dtype))


# Waiting.


@pytest.mark.parametrize(("size", "times"), [(1, 100), (2, 4000), (5, 1000)])
def test_nobody_is_released_before_all_are_there(size, times):
    cells, arrived = new_barrier_state(size), np.zeros((times, size), np.int64)

    def work(rank):
        answers, missing = set(), 0
        for each in arrived:
            each[rank] += 1
            answers.add(wait(cells, size))
            missing += each.sum() != size
        return answers, missing

    assert together(size, work) == [({0}, 0)] * size
    assert (cells[ARRIVED], cells[GENERATION], cells[LOST]) == (0, times, 0)


@pytest.mark.parametrize(("size", "times"), [(2, 20_000), (3, 3000), (5, 3000)])
def test_nor_without_python_in_between(size, times):
    arrived = np.zeros((times, size), np.int64)
    meetings = meetings_in(ThreadGroup(size), [np.zeros(3)] * size)
    assert together(size, lambda rank: meet_often(meetings[rank], arrived)) == [0] * size


@pytest.mark.parametrize(("patience", "times"), [(0, 3000), (10**9, 50)])
def test_nobody_is_lost_whether_all_sleep_at_once_or_look_for_ever(patience, times):
    arrived, room = np.zeros((times, 2), np.int64), ThreadGroup(2)
    room.cells[shared_reduce._PATIENCE] = patience
    meetings = meetings_in(room, [np.zeros(3)] * 2)
    assert together(2, lambda rank: meet_often(meetings[rank], arrived)) == [0, 0]


def test_generations_go_on_where_32_bits_end():
    """What sleepers compare is the lower half of the number."""
    arrived, room = np.zeros((200, 3), np.int64), ThreadGroup(3)
    room.cells[GENERATION] = 2**32 - 100
    room.cells[shared_reduce._PATIENCE] = 0
    meetings = meetings_in(room, [np.zeros(3)] * 3)
    assert together(3, lambda rank: meet_often(meetings[rank], arrived)) == [0] * 3
    assert room.cells[GENERATION] == 2**32 + 100


def test_with_more_workers_than_cores_they_look_less_before_they_sleep(monkeypatch):
    monkeypatch.setattr(shared_reduce, "allowed_cores", lambda: {0, 1, 2})
    looks = [int(new_barrier_state(size)[shared_reduce._PATIENCE]) for size in (1, 3, 4, 100)]
    assert looks[0] == looks[1] > looks[2] == looks[3]


@pytest.mark.parametrize("rank", [0, 2])
def test_sleepers_of_a_team_called_off_are_told_whom_it_has_lost(rank):
    room = ThreadGroup(3)

    def work(number):
        if number == 2:
            time.sleep(0.1)  # the others sleep by now
            room.call_off(rank)
            return time.monotonic(), 0
        lost = wait(room.cells, 3)
        return time.monotonic(), lost

    (first, one), (second, other), (called, _) = together(3, work)
    assert (one, other) == (rank + 1, rank + 1)
    assert max(first, second) - called < 2


def test_who_comes_to_a_team_called_off_is_told_at_once():
    room = ThreadGroup(2)
    room.call_off(0)
    assert [wait(room.cells, 2), wait(room.cells, 2)] == [1, 1]  # the first and the last to arrive
    vector = np.ones(5)
    meeting = meetings_in(ThreadGroup(2), [vector] * 2)[1]._replace(cells=room.cells)
    assert reduce(meeting, True, vector) == 1
    assert vector.tolist() == [1] * 5


def test_waiting_for_who_is_late_takes_next_to_no_processor_time():
    cells = new_barrier_state(2)

    def work(rank):
        if rank == 1:
            time.sleep(0.3)
        began, used = time.monotonic(), time.thread_time()
        wait(cells, 2)
        return time.monotonic() - began, time.thread_time() - used

    (waited, used), (last_waited, _) = together(2, work)
    assert waited > 0.25
    assert used < 0.1
    assert last_waited < 0.25


# Rounds.


@st.composite
def rounds(draw):
    """Vectors of 2-4 workers with their weights, of which one at least is not zero."""
    size, dtype = draw(st.integers(2, 4)), draw(st.sampled_from([np.float32, np.float64]))
    length = draw(st.one_of(st.integers(0, 200), st.integers(2 * BLOCK - 20, 5 * BLOCK)))
    elements = st.floats(-1000, 1000, width=32, allow_subnormal=False)
    vectors = [draw(arrays(dtype, length, elements=elements, fill=elements)) for _ in range(size)]
    weight = st.one_of(st.just(0.0), st.floats(0.1, 1000))
    weights = draw(st.lists(weight, min_size=size, max_size=size).filter(any))
    return vectors, weights


def hold(vectors, weights, normalize):
    """Hold a round over copies of the vectors; return the copies."""
    room, copies = ThreadGroup(len(vectors)), [vector.copy() for vector in vectors]
    meetings = meetings_in(room, copies)
    room.weights[:] = weights
    answers = together(len(copies), lambda rank: reduce(meetings[rank], normalize, copies[rank]))
    assert answers == [0] * len(copies)
    return copies


def expected_of(vectors, weights, normalize):
    heavy = [(vector.astype(np.float64), weight) for vector, weight in zip(vectors, weights, strict=True) if weight]
    total = sum(weight for _, weight in heavy) if normalize else 1.0
    return sum((weight * vector for vector, weight in heavy), np.zeros(len(vectors[0]))) / total


@settings(deadline=None, max_examples=40)
@given(rounds(), st.booleans())
def test_everyone_gets_the_same_bits_of_the_weighted_mean_or_sum(drawn, normalize):
    vectors, weights = drawn
    held = hold(vectors, weights, normalize)
    scale = 1000 * (1 if normalize else sum(weights))
    np.testing.assert_allclose(held[0], expected_of(vectors, weights, normalize), rtol=1e-6, atol=1e-6 * scale)
    assert {vector.tobytes() for vector in held} == {held[0].tobytes()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_weight_of_zero_leaves_a_vector_out_nan_and_all(dtype, which):
    vectors = [np.full(300, rank + 1, dtype) for rank in range(3)]
    vectors[which][:] = np.nan
    weights = [0.0 if rank == which else 2.0 for rank in range(3)]
    mean = sum(rank + 1 for rank in range(3) if rank != which) / 2
    for vector in hold(vectors, weights, True):
        assert (vector == mean).all()


def test_a_vector_that_counts_shows_its_nan():
    vectors = [np.full(40, number, np.float32) for number in (1, np.nan)]
    assert np.isnan(hold(vectors, [1.0, 0.5], True)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_who_has_all_vectors_gets_the_bits_that_a_team_gets(dtype):
    rng = np.random.default_rng(0)
    vectors, weights = [rng.normal(size=5000).astype(dtype) for _ in range(3)], [1.0, 2.5, 4.0]
    out, brought = np.zeros(5000, dtype), [vector.copy() for vector in vectors]
    alone = shared_reduce.no_peers()._replace(
        addresses=np.array([vector.ctypes.data for vector in brought], np.uintp),
        weights=np.array(weights),
        bounds=bounds_of(5000, 1, out.itemsize),
    )
    combine_here(alone, True, out)
    assert out.tobytes() == hold(vectors, weights, True)[0].tobytes()
    assert [vector.tobytes() for vector in brought] == [vector.tobytes() for vector in vectors]
