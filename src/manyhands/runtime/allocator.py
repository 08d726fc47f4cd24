"""How the C library's allocator treats freed memory.

PyTorch allocates the outputs of all layers anew in every step. By default, glibc gives blocks of some hundred kilobytes
back to the system as soon as they are free, and the next step pays for every page again: a third to a half of the time
of a step of a small convolutional network (docs/speed.md).
"""

from __future__ import annotations

import ctypes
import functools
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_FROM_HEAP = 32 << 20  # glibc refuses more
_KEPT = 2**31 - 1
_SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep up to 2 GB of freed memory for its next allocations; return whether it does.

    It does not if the user has set one of glibc's own variables (``MALLOC_TRIM_THRESHOLD_``, ...), or the C library is
    another one.
    """
    if any(name in os.environ for name in _SET_BY_USER):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - only glibc has it; others give these numbers other meanings
        mallopt = libc.mallopt
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_FROM_HEAP) and mallopt(_TRIM_THRESHOLD, _KEPT))
