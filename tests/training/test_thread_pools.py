"""Where workers run changes no bit of what they compute."""

import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import manyhands
from manyhands.core.errors import SettingsError
from manyhands.learners.mlp.blas import description
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec
from manyhands.training.thread_pools import blas_limited

can_pin = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind threads to cores")


def train(**changes):
    settings = {"strategy": "periodic:1epoch", "workers": 2, "epochs": 3, "hidden": (16,), **changes}
    return manyhands.train("digits", **settings)


def bits(result):
    return result.model.learner.parameters.tobytes()


class Watching:
    """A callback that notes, for each worker, what a function says in its thread."""

    def __init__(self, look):
        self.found, self._look, self._lock = {}, look, threading.Lock()

    def __call__(self, event):
        with self._lock:
            self.found.setdefault(event.rank, []).append(self._look())


# What is possible.


@can_pin
def test_a_pinned_worker_has_one_blas_thread():
    with pytest.raises(SettingsError, match="choose one"):
        RunSpec(pin=True, blas_threads=2)
    assert RunSpec(pin=True, blas_threads=1).pin


def test_a_system_that_cannot_pin_is_found_out_before_training(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(SettingsError, match="leave out pin"):
        RunSpec(pin=True)
    assert RunSpec(blas_threads=2).blas_threads == 2


# What is said.


@can_pin
def test_the_plan_says_where_workers_run(blobs):
    plain, pinned, threaded = (
        resolve(RunSpec(strategy="gradient", workers=2, **placement), blobs)
        for placement in ({}, {"pin": True}, {"blas_threads": 3})
    )
    assert "pinned to cores" in str(pinned)
    assert "3 BLAS threads" in str(threaded)
    for word in ("pinned", "BLAS"):
        assert word not in str(plain)
    assert str(pinned) == str(plain).replace("(threads), ", "(threads), pinned to cores, ")


# What happens.


@can_pin
def test_pinning_changes_no_bit():
    free, pinned = train(), train(pin=True)
    assert pinned.plan.pin
    assert bits(pinned) == bits(free)
    assert (pinned.losses, pinned.rounds, pinned.accuracy) == (free.losses, free.rounds, free.accuracy)


@can_pin
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_pinned_worker_is_on_one_core_and_the_caller_is_on_all(blobs, workers):
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    watching = Watching(lambda: os.sched_getaffinity(0))
    plan = resolve(
        RunSpec(strategy="periodic:1epoch", workers=workers, epochs=2, network=MLPSettings(hidden=(4,)), pin=True),
        blobs,
    )
    run(plan, blobs, callbacks=[watching])
    assert {rank: set().union(*sets) for rank, sets in watching.found.items()} == {
        rank: {cores[rank % len(cores)]} for rank in range(workers)
    }
    assert os.sched_getaffinity(0) == before


@can_pin
def test_workers_that_are_not_pinned_may_run_anywhere():
    watching = Watching(lambda: os.sched_getaffinity(0))
    train(epochs=1, callbacks=[watching])
    assert all(cores == os.sched_getaffinity(0) for sets in watching.found.values() for cores in sets)


@pytest.mark.parametrize("threads", [1, 2])
def test_blas_has_so_many_threads_during_the_run_and_one_again_afterwards(threads):
    watching = Watching(lambda: description()["threads"])
    result = train(epochs=1, blas_threads=threads, callbacks=[watching])
    assert {count for counts in watching.found.values() for count in counts} == {threads}
    assert sorted(watching.found) == [0, 1]
    assert result.plan.blas_threads == threads
    assert description()["threads"] == 1


def test_blas_has_one_thread_again_after_a_failure():
    def fail(_event):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(epochs=1, blas_threads=2, callbacks=[fail])
    assert description()["threads"] == 1


def test_several_blas_threads_come_to_the_same_up_to_rounding(blobs):
    results = [
        run(
            resolve(RunSpec(epochs=2, network=MLPSettings(hidden=(1100,)), blas_threads=threads), blobs),
            blobs,
        )
        for threads in (1, 2)
    ]
    assert results[0].losses == pytest.approx(results[1].losses, rel=1e-3)


# Runs that overlap in one process.


def pools():
    """The number of threads of each library."""
    return {each["filepath"]: each["num_threads"] for each in threadpool_info()}


def test_the_last_of_overlapping_runs_restores_what_the_first_one_found():
    np.zeros((2, 2)) @ np.zeros((2, 2))
    with threadpool_limits(3):
        before = pools()
        assert set(before.values()) == {3}
        one, other, third = blas_limited(1), blas_limited(2), blas_limited(1)
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        assert set(pools().values()) == {1}  # as the first one asked
        third.__enter__()
        other.__exit__(None, None, None)
        assert set(pools().values()) == {1}
        third.__exit__(None, None, None)
        assert pools() == before
        with blas_limited(2):
            assert set(pools().values()) == {2}
        assert pools() == before


def test_a_run_that_fails_restores_them_too():
    before = pools()
    with pytest.raises(KeyError), blas_limited(1), blas_limited(1):
        raise KeyError
    assert pools() == before


def test_runs_at_once_restore_them():
    before, errors = pools(), []

    def work(seed):
        try:
            train(seed=seed, epochs=2 + 3 * seed)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {path: pools()[path] for path in before} == before
