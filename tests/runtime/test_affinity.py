"""The cores of this machine, and staying on one of them."""

import os
import threading

import pytest

from manyhands.core.errors import SettingsError
from manyhands.runtime import affinity as module
from manyhands.runtime.affinity import allowed_cores, check_pinning, crowd, pin, usable_cores

can_pin = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind threads to cores")


def pinned(number):
    """Pin a thread of its own; return what `pin` says, and where the thread may run afterwards."""
    found = []

    def work():
        found.append(pin(number))
        found.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    return tuple(found)


@can_pin
def test_pinning_binds_the_thread_that_asks_and_no_other():
    before = os.sched_getaffinity(0)
    core, cores = pinned(0)
    assert cores == {core}
    assert core == min(before)
    assert os.sched_getaffinity(0) == before


@can_pin
def test_workers_take_the_cores_in_turn_and_share_them_when_there_are_no_more():
    cores = sorted(os.sched_getaffinity(0))
    found = [pinned(number)[0] for number in range(2 * len(cores) + 1)]
    assert found == [*cores, *cores, cores[0]]


@can_pin
def test_only_allowed_cores_are_taken(monkeypatch):
    bound = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 3, 12})
    monkeypatch.setattr(os, "sched_setaffinity", lambda who, cores: bound.append((who, cores)))
    assert [pin(number) for number in range(5)] == [3, 7, 12, 3, 7]
    assert bound == [(0, {core}) for core in (3, 7, 12, 3, 7)]


def test_a_system_that_cannot_pin_is_named_with_what_to_do(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    for attempt in (check_pinning, lambda: pin(0)):
        with pytest.raises(SettingsError, match=r"cannot bind threads.*leave out pin"):
            attempt()


@can_pin
def test_checking_binds_nobody():
    before = os.sched_getaffinity(0)
    check_pinning()
    assert os.sched_getaffinity(0) == before


def test_the_allowed_cores_are_those_the_system_says(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5}, raising=False)
    assert allowed_cores() == {1, 5}


@pytest.mark.parametrize(("count", "cores"), [(4, {0, 1, 2, 3}), (None, {0})])
def test_where_the_system_does_not_say_all_cores_are_allowed(monkeypatch, count, cores):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert allowed_cores() == cores


def test_usable_cores_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr(module, "cpu_quota", lambda _root: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5, 6}, raising=False)
    assert usable_cores() == 3


@pytest.mark.parametrize(("quota", "cores"), [(0.3, 1), (1.0, 1), (2.5, 2), (64.0, 8)])
def test_quota_lowers_the_cores_but_never_below_one(monkeypatch, quota, cores):
    monkeypatch.setattr(module, "cpu_quota", lambda _root: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("workers", "cores", "said"),
    [(1, 1, None), (8, 1, None), (9, 1, "1 usable core "), (16, 4, None), (17, 4, "17 workers have 4"), (64, 64, None)],
)
def test_a_crowd_is_several_times_as_many_workers_as_cores(monkeypatch, workers, cores, said):
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    found = crowd(workers)
    assert found is None if said is None else said in found
