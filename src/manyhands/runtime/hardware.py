"""Processor and memory of this machine, read from the folders ``proc`` and ``sys`` below ``root``."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from manyhands.runtime.cgroups import meminfo, memory_limit

_ROOT = Path("/")


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
