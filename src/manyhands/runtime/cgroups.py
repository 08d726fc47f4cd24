"""Cores and memory that this process may use, by the machine, by the limits of processes, and by its cgroups.

Both versions of the kernel's interface to cgroups are read, which can be in use on one machine, each for some of the
resources. Limits nest: a container inside a batch job has the smallest one of its own group and of all groups around
it. ``root`` is the folder that holds ``proc`` and ``sys``; tests give another one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_USUAL_PLACE = "sys/fs/cgroup"
_NO_LIMIT = 1 << 62
"""Version 1 writes 'no limit' of memory as the largest multiple of a page in 63 bits."""


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return the cores that the cgroups grant, e.g. 1.5, or None if they set no limit."""
    found = []
    for folder in _groups("cpu", root):
        limit, period = _words(folder / "cpu.max", 2)
        if limit is None:
            limit, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if limit is not None and period is not None and limit > 0 and period > 0:
            found.append(limit / period)
    return min(found, default=None)


def memory_limit(root: Path = _ROOT) -> int | None:
    """Return the bytes that the cgroups grant, or None if they set no limit."""
    found = []
    for folder in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and 0 < limit < _NO_LIMIT:
                found.append(limit)
    return min(found, default=None)


def memory_room(root: Path = _ROOT) -> tuple[int, str] | None:
    """Return how many bytes this process may still take, and what sets that limit; None if it is unknown."""
    machine, rooms = meminfo(root), []
    if "MemAvailable" in machine:
        # What is swapped out is slow, but it is not what ends a process.
        rooms.append((machine["MemAvailable"] + machine.get("SwapFree", 0), "free on this machine"))
    rooms += [(room, "left of the cgroup's memory limit") for room in _rooms_of_groups(root)]
    rooms += [(room, "left of the limit of ulimit -v") for room in _room_of_addresses(root)]
    return min(rooms, default=None)


def oom_kills(root: Path = _ROOT) -> int:
    """Return how many processes the kernel has killed for want of memory, on the whole machine; 0 if unknown."""
    for line in _lines(root / "proc/vmstat"):
        name, _, count = line.partition(" ")
        if name == "oom_kill" and count.strip().isdecimal():
            return int(count)
    return 0


def meminfo(root: Path = _ROOT) -> dict[str, int]:
    """Return the fields of /proc/meminfo in bytes; none where there is no /proc."""
    found = {}
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        with contextlib.suppress(ValueError, IndexError):
            found[name] = 1024 * int(value.split()[0])
    return found


def _rooms_of_groups(root: Path) -> Iterator[int]:
    """Yield what each group that limits memory still grants; what the kernel can drop at once counts as free."""
    for folder in _groups("memory", root):
        for most, now in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = _number(folder / most), _number(folder / now)
            if limit is not None and used is not None and 0 < limit < _NO_LIMIT:
                dropped = [line.split()[-1] for line in _lines(folder / "memory.stat") if "inactive_file " in line]
                yield max(limit - used + max((int(word) for word in dropped if word.isdecimal()), default=0), 0)


def _room_of_addresses(root: Path) -> Iterator[int]:
    """Yield what RLIMIT_AS still grants."""
    try:
        import resource  # not on every system
    except ImportError:
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    words = " ".join(_lines(root / "proc/self/statm")).split()
    if limit != resource.RLIM_INFINITY and words:
        yield max(limit - int(words[0]) * resource.getpagesize(), 0)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups for a controller, each with all that are around it."""
    memberships = dict(_memberships(controller, root))
    mounts = list(_mounts(controller, root))
    if not mounts:  # a sandbox that does not show them
        mounts = [(True, "/", f"/{_USUAL_PLACE}"), (False, "/", f"/{_USUAL_PLACE}/{controller}")]
    for version2, shown, place in mounts:
        top = root / place.lstrip("/")
        yield top
        inner = PurePosixPath(memberships.get(version2, "/"))
        # In a container the path may be the host's, of which only a part is mounted, or lead out of what is mounted.
        if inner.is_relative_to(shown) and ".." not in inner.parts:
            folder = top
            for part in inner.relative_to(shown).parts:
                folder = folder / part
                yield folder


def _memberships(controller: str, root: Path) -> Iterator[tuple[bool, str]]:
    """Yield (whether version 2, path of this process's group): lines such as ``0::/a`` and ``4:cpu,cpuacct:/a``."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if (number == "0" and not names) or controller in names.split(","):
            yield not names, path


def _mounts(controller: str, root: Path) -> Iterator[tuple[bool, str, str]]:
    """Yield (whether version 2, which part of the tree is mounted, where) for what has a controller's files."""
    for line in _lines(root / "proc/self/mountinfo"):
        front, _, back = line.partition(" - ")
        fields, kind = front.split(), back.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        version2 = kind[0] == "cgroup2"
        if version2 or (kind[0] == "cgroup" and controller in kind[2].split(",")):
            yield version2, fields[3], fields[4]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _words(path: Path, count: int) -> list[int | None]:
    """Return the whole numbers in a file of ``count`` words; None for each that is none, such as ``max``."""
    words = " ".join(_lines(path)).split()
    if len(words) != count:
        return [None] * count
    return [int(word) if word.lstrip("-").isdecimal() else None for word in words]


def _number(path: Path) -> int | None:
    return _words(path, 1)[0]
