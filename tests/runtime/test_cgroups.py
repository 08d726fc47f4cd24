"""What this process may have: cores and memory, on made-up machines."""

import os

import pytest

from manyhands.runtime import cgroups
from manyhands.runtime.affinity import usable_cores
from manyhands.runtime.cgroups import cpu_quota, meminfo, memory_limit, memory_room, oom_kills

GIB = 1 << 30
V2 = "30 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1_CPU = "31 20 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
V1_MEMORY = "32 20 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
V1_GROUPS, BOTH_GROUPS = "3:cpu,cpuacct:/job\n0::/\n", "2:cpu,cpuacct:/\n0::/\n"
BOTH = V1_CPU + V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
HOSTS = V2.replace("0:25 / ", "0:25 /docker/abc ")


def with_groups(root, mounts, memberships, limits):
    """Make a machine with cgroups; `limits` are the files below /sys/fs/cgroup."""
    files = {"proc/self/mountinfo": mounts, "proc/self/cgroup": memberships}
    for name, text in {**files, **{f"sys/fs/cgroup/{name}": text for name, text in limits.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def v1(quota):
    return {"cpu,cpuacct/job/cpu.cfs_quota_us": quota, "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("mounts", "memberships", "limits", "quota"),
    [
        (V2, "0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        (V2, "0::/\n", {"cpu.max": "max 100000\n"}, None),
        (V2, "0::/\n", {"cpu.max": "nonsense here"}, None),
        (V2, "0::/\n", {"cpu.max": "100000 0"}, None),
        (V1_CPU, V1_GROUPS, v1("250000"), 2.5),
        (V1_CPU, V1_GROUPS, v1("-1"), None),
        (V1_CPU, V1_GROUPS, v1(""), None),
        (V2, "0::/a/b\n", {"cpu.max": "max 1", "a/cpu.max": "200000 100000", "a/b/cpu.max": "400000 100000"}, 2.0),
        (V2, "0::/b\n", {"a/cpu.max": "100000 100000", "b/cpu.max": "300000 100000"}, 3.0),
        (
            BOTH,
            BOTH_GROUPS,
            {
                "unified/cpu.max": "300000 100000",
                "cpu,cpuacct/cpu.cfs_quota_us": "100000",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            1.0,
        ),
        (HOSTS, "0::/docker/abc/inner\n", {"cpu.max": "200000 100000", "inner/cpu.max": "100000 100000"}, 1.0),
        (V2, "0::/../elsewhere\n", {"cpu.max": "200000 100000"}, 2.0),
        (V2, "0::/not/mounted\n", {"cpu.max": "200000 100000"}, 2.0),
        ("", "", {"cpu.max": "50000 100000"}, 0.5),
        ("", "", {}, None),
    ],
    ids=[
        *("version 2", "no limit", "nonsense", "period 0", "version 1", "no limit in version 1", "empty file"),
        *("smallest of nested groups", "groups of others", "both versions", "part of the host's tree"),
        *("outside of what is mounted", "not mounted", "no mountinfo", "no cgroup"),
    ],
)
def test_cpu_quota(tmp_path, mounts, memberships, limits, quota):
    assert cpu_quota(with_groups(tmp_path, mounts, memberships, limits)) == quota


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity")
def test_a_quota_lowers_the_usable_cores_but_never_below_one(tmp_path):
    assert usable_cores(with_groups(tmp_path, V2, "0::/\n", {"cpu.max": "30000 100000"})) == 1


@pytest.mark.parametrize(
    ("mounts", "memberships", "limits", "expected"),
    [
        (V2, "0::/a\n", {"memory.max": "max", "a/memory.max": f"{GIB}\n"}, GIB),
        (V1_MEMORY, "4:memory:/job\n", {"memory/job/memory.limit_in_bytes": "2000000000"}, 2_000_000_000),
        (V1_MEMORY, "4:memory:/job\n", {"memory/job/memory.limit_in_bytes": "9223372036854771712"}, None),
    ],
    ids=["version 2", "version 1", "no limit in version 1"],
)
def test_memory_limit(tmp_path, mounts, memberships, limits, expected):
    assert memory_limit(with_groups(tmp_path, mounts, memberships, limits)) == expected


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
