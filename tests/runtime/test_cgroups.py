"""What this process may have; the readers of cgroups have their tests with `doctor`'s."""

import pytest

from manyhands.runtime import cgroups
from manyhands.runtime.cgroups import meminfo, memory_room, oom_kills

GIB = 1 << 30
V2 = "30 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def machine(root, available=8, groups=None):
    """A made-up machine with so many GiB free, in a group with these files."""
    files = {"proc/meminfo": f"MemTotal: {16 << 20} kB\nMemAvailable: {available << 20} kB\nSwapFree: {1 << 20} kB\n"}
    files |= {"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": V2, "proc/self/statm": "1000 10 10\n"}
    for name, text in (files | {f"sys/fs/cgroup/a/{name}": str(text) for name, text in (groups or {}).items()}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_machine_has_what_is_free_and_what_can_be_swapped(tmp_path):
    assert memory_room(machine(tmp_path)) == (9 * GIB, "free on this machine")
    assert meminfo(machine(tmp_path))["MemTotal"] == 16 * GIB


@pytest.mark.parametrize(
    "files",
    [
        {"memory.max": 3 * GIB, "memory.current": 2 * GIB, "memory.stat": f"anon 5\ninactive_file {GIB}\n"},
        {
            "memory.limit_in_bytes": 3 * GIB,
            "memory.usage_in_bytes": 2 * GIB,
            "memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
        },
    ],
    ids=["version 2", "version 1"],
)
def test_a_group_grants_what_is_not_used_and_what_can_be_dropped(tmp_path, files):
    assert memory_room(machine(tmp_path, groups=files)) == (2 * GIB, "left of the cgroup's memory limit")


def test_a_group_that_is_full_grants_nothing(tmp_path):
    found = memory_room(machine(tmp_path, groups={"memory.max": GIB, "memory.current": 2 * GIB}))
    assert found == (0, "left of the cgroup's memory limit")


def test_a_group_without_limit_is_none(tmp_path):
    assert memory_room(machine(tmp_path, groups={"memory.max": "max", "memory.current": GIB}))[0] == 9 * GIB


def test_addresses_are_limited_too(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (GIB, GIB))
    room, what = memory_room(machine(tmp_path))
    assert room == GIB - 1000 * resource.getpagesize()
    assert "ulimit -v" in what


def test_where_nothing_says_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroups, "_room_of_addresses", lambda _: iter(()))
    assert memory_room(tmp_path) is None
    assert meminfo(tmp_path) == {}


def test_processes_that_were_killed_for_want_of_memory_are_counted(tmp_path):
    assert oom_kills(tmp_path) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("pgfault 7\noom_kill 3\n")
    assert oom_kills(tmp_path) == 3
