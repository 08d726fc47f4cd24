"""Processor and memory of this machine, read from the folders ``proc`` and ``sys`` below ``root``."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from manyhands.runtime.cgroups import meminfo, memory_limit

_ROOT = Path("/")
_TOLERATED_LOAD = 0.5
_LOOKS, _LOOK_SECONDS = 5, 0.01


def memory(root: Path = _ROOT) -> dict[str, int | None]:
    """Return bytes of memory: ``total``, ``available`` now, and the ``limit`` of the cgroups; None: unknown."""
    found = meminfo(root)
    total = found.get("MemTotal")
    return {
        "total": _total_by_pages() if total is None else total,
        "available": found.get("MemAvailable"),
        "limit": memory_limit(root),
    }


def _total_by_pages() -> int | None:
    """Return the machine's memory where there is no /proc."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def load(root: Path = _ROOT) -> dict[str, float | None]:
    """Return how many processes want a core; None if the system does not say.

    Returns
    -------
    dict
        ``one_minute``, on average over the last minute; ``running``, others that run just now.
    """
    try:
        average = round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        average = None
    return {"one_minute": average, "running": _others_running(root)}


def _others_running(root: Path) -> int | None:
    """Return how many other processes run or want to, the median of a few looks."""
    looks = []
    try:
        for _ in range(_LOOKS):
            looks.append(int((root / "proc/loadavg").read_text().split()[3].split("/")[0]) - 1)
            time.sleep(_LOOK_SECONDS)
    except (OSError, ValueError, IndexError):
        return None
    return max(0, int(statistics.median(looks)))


def is_busy(load: Mapping[str, float | None], total: int, usable: int) -> bool:
    """Return whether other work takes so much of a machine's ``total`` cores that few of the ``usable`` are left.

    The average alone would count what this user has just finished.
    """
    average = load["one_minute"]
    if average is None or load.get("running") == 0:
        return False
    return total - average < usable - max(_TOLERATED_LOAD, 0.05 * usable)


def busy_text(load: Mapping[str, float | None], total: int) -> str:
    """Return what a busy machine means for measurements, as a sentence without its full stop."""
    return (
        f"other work keeps this machine busy (load {load['one_minute']:.2f} on {total} cores), so times and rates "
        "measured now are not to be trusted"
    )


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def multiplies_bfloat16(root: Path = _ROOT) -> bool:
    """Return whether the processor multiplies bfloat16 numbers itself (AVX512-BF16, AMX), and need not convert them."""
    try:
        text = (root / "proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return "avx512_bf16" in flags or "amx_bf16" in flags
