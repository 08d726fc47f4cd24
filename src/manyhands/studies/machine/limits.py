"""What the cgroups of this process grant it: cores and memory, by version 1 and version 2 of the kernel's interface.

Both can be in use on one machine, each for some of the resources. Limits nest: a container inside a batch job has the
smallest one of its own group and of all groups around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_USUAL_PLACE = "sys/fs/cgroup"
_NO_LIMIT = 1 << 62
"""Version 1 writes 'no limit' of memory as the largest multiple of a page in 63 bits."""


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return the cores that the cgroups grant, e.g. 1.5, or None if they set no limit.

    Parameters
    ----------
    root
        The folder that holds ``proc`` and ``sys``; another one for tests.
    """
    found = []
    for folder in _groups("cpu", root):
        limit, period = _words(folder / "cpu.max", 2)
        if limit is None:
            limit, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if limit is not None and period is not None and limit > 0 and period > 0:
            found.append(limit / period)
    return min(found, default=None)


def memory_limit(root: Path = _ROOT) -> int | None:
    """Return the bytes that the cgroups grant, or None if they set no limit.

    Parameters
    ----------
    root
        As for `cpu_quota`.
    """
    found = []
    for folder in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and 0 < limit < _NO_LIMIT:
                found.append(limit)
    return min(found, default=None)


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
