"""What the processes of a torch job leave in their store for each other; PyTorch is not needed for that."""

import os

import pytest

from manyhands.core.errors import ManyhandsError
from manyhands.teams import torch_world
from manyhands.teams.torch_world import StoreMessages
from manyhands.teams.watchdog import Watch


class Store:
    """The part of a store of torch.distributed that is used, in one process."""

    def __init__(self):
        self.entries, self.broken = {}, False

    def set(self, name, value):
        if self.broken:
            raise RuntimeError("Connection reset by peer")
        self.entries[name] = str(value).encode()

    def get(self, name):
        return self.entries[name]

    def check(self, names):
        return set(names) <= self.entries.keys()

    def compare_set(self, name, _expected, value):
        if name not in self.entries:
            self.set(name, value)


@pytest.fixture
def store():
    return Store()


def messages(store, rank, size=3, here=(), abort=lambda status: None):
    return StoreMessages(store, rank, size, dict(here), abort)


def test_a_beat_is_heard_once_by_the_rank_before(store):
    first, second, third = (messages(store, rank) for rank in range(3))
    assert first.last_beat() is None
    second.beat(4.0)
    second.beat(7.5)
    assert [first.last_beat(), first.last_beat()] == [7.5, None]
    assert third.last_beat() is None
    first.beat(0.0)
    assert third.last_beat() == 0.0  # the last one, which is news all the same


def test_the_first_notice_counts_and_comes_to_all_others_once(store):
    first, second, third = (messages(store, rank) for rank in range(3))
    assert third.notice() is None
    second.notify(1, "fails: 漢🎲")
    first.notify(0, "fails because of that")
    assert [third.notice(), third.notice()] == [(1, "fails: 漢🎲"), None]
    assert (first.notice(), second.notice()) == (None, None)
    store.entries.clear()
    store.broken = True
    messages(store, 0).notify(2, "has ended")  # with the store, perhaps: that must not hide it


def test_a_process_on_this_machine_can_be_seen_to_run(store):
    assert not messages(store, 0, here={1: os.getpid()}).next_is_stopped()
    assert not messages(store, 0).next_is_stopped()


def test_who_is_silent_is_lost_and_the_job_ends(store, monkeypatch):
    monkeypatch.delenv("MANYHANDS_HANG_TIMEOUT", raising=False)
    now, statuses = [0.0], []
    watches = [Watch(messages(store, rank, abort=statuses.append), 10.0, lambda: now[0]) for rank in range(3)]
    for _ in range(100):
        now[0] += 0.25
        for watch in watches[:2] if now[0] > 5 else watches:
            watch.look()
    assert [watch.lost[0] if watch.lost else None for watch in watches] == [2, 2, None]
    assert [watch.mine for watch in watches] == [False, True, False]
    assert set(statuses) == {1}


def test_those_who_do_not_come_are_named(store, monkeypatch):
    monkeypatch.setattr(torch_world, "_COMING_LOOK_SECONDS", 0.0)
    store.set("here2", "")
    with pytest.raises(ManyhandsError, match=r"^worker 1, 3 has not joined this torch job within 0 s"):
        torch_world._meet(store, 0, 4, 0.0)
    for rank in (1, 3):
        store.set(f"here{rank}", "")
    torch_world._meet(store, 0, 4, 0.0)
