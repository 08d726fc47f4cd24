"""Processor, cores and load. ``root`` is the folder that holds ``proc`` and ``sys``; tests give another one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from manyhands.runtime.affinity import allowed_cores, usable_cores
from manyhands.runtime.cgroups import cpu_quota
from manyhands.runtime.hardware import cpu_model, multiplies_bfloat16

_ROOT = Path("/")
# What kernels make use of: the name that people know, and LLVM's.
_VECTORS = {"AVX2": "avx2", "FMA": "fma", "AVX-512": "avx512f", "NEON": "neon", "SVE": "sve"}


def processor() -> dict[str, Any]:
    """Return the processor's name, its vector instructions, and whether our own matrix products can use them."""
    import llvmlite.binding as llvm

    from manyhands.learners.mlp.tiles import available

    features = llvm.get_host_cpu_features()
    return {
        "model": cpu_model(),
        "vectors": [name for name, flag in _VECTORS.items() if features.get(flag, False)],
        "tiles": available(),
        "bfloat16": multiplies_bfloat16(),
    }


def cores(root: Path = _ROOT) -> dict[str, Any]:
    """Return how many cores there are, and what limits how many of them this process may use.

    Returns
    -------
    dict
        ``total`` of the machine; ``affinity``, on how many of them this process may run; ``quota``, cores that its
        cgroups grant, or None; ``usable``, what is left of them; ``physical``, how many of those it may run on have
        arithmetic units of their own, or None if the system does not say.
    """
    return {
        "total": os.cpu_count() or 1,
        "affinity": len(allowed_cores()),
        "quota": cpu_quota(root),
        "usable": usable_cores(root),
        "physical": physical_cores(allowed_cores(), root),
    }


def physical_cores(numbers: set[int], root: Path = _ROOT) -> int | None:
    """Return how many physical cores the numbered ones belong to; None if the system does not say."""
    found = set()
    for number in numbers:
        place = root / f"sys/devices/system/cpu/cpu{number}/topology"
        try:
            found.add((place / "thread_siblings_list").read_text().strip())
        except OSError:
            return None
    return len(found) or None
