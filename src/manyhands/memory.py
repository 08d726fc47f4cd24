"""Memory: vectors that compiled code reads with whole registers, and how much there is left."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_LINE = 64  # bytes of a cache line, and of the widest register


def aligned_zeros(size: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return a zero vector of shape (size,) that begins at a cache line.

    NumPy aligns to 16 bytes; then every wide load of a matrix may touch two cache lines, or none, by chance.
    """
    kind = np.dtype(dtype)
    raw = np.zeros(size * kind.itemsize + _LINE, np.uint8)
    begin = -raw.ctypes.data % _LINE
    return raw[begin : begin + size * kind.itemsize].view(kind)


def available_memory() -> int | None:
    """Return the bytes that this process can still have: of the machine, its cgroup, its own limit; None: unknown."""
    found = [each for each in (_machine_has(), _group_has(), _limit_leaves()) if each is not None]
    return min(found, default=None)


def _machine_has() -> int | None:
    kilobytes = _numbers(Path("/proc/meminfo")).get("MemAvailable:")
    return None if kilobytes is None else kilobytes * 1024


def _group_has() -> int | None:
    """Return what this process's cgroup leaves it (version 2); files that it has in memory count as free."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
        folder = Path("/sys/fs/cgroup") / group.lstrip("/")
        limit, used = int((folder / "memory.max").read_text()), int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # "max": there is no limit
        return None
    return max(0, limit - used + _numbers(folder / "memory.stat").get("inactive_file", 0))


def _limit_leaves() -> int | None:
    """Return what ``ulimit -v`` leaves; its size now is the first number in /proc/self/statm, in pages."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return limit
    return max(0, limit - pages * resource.getpagesize())


def _numbers(path: Path) -> dict[str, int]:
    """Return the lines ``name number`` of one of the system's files."""
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {each[0]: int(each[1]) for each in words if len(each) > 1 and each[1].isdigit()}
