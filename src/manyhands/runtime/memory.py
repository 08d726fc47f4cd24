"""Aligned vectors for compiled code, and errors about a lack of memory.

Linux grants an array that does not fit into memory, and kills the process that writes into it. So the size of large
arrays is compared with the free memory before they are made.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyhands.core.errors import ManyhandsError, OutOfMemoryError
from manyhands.runtime.cgroups import memory_room

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_LINE = 64  # bytes of a cache line, and of the widest register
_SMALL = 16 << 20
"""Bytes up to which nothing is checked: reading the limits takes longer than many a small run."""
_LIBRARIES = 256 << 20
"""Bytes of addresses that the compiler and its libraries take."""
_TOO_LARGE = ("array is too big", "Maximum allowed dimension", "array is too large")
"""How NumPy refuses arrays that no machine could hold: by a ValueError."""


def aligned_zeros(size: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return a zero vector of shape (size,) that begins at a cache line.

    NumPy aligns to 16 bytes; then every wide load of a matrix may touch two cache lines, or none, by chance.
    """
    import numpy as np

    kind = np.dtype(dtype)
    raw = np.zeros(size * kind.itemsize + _LINE, np.uint8)
    begin = -raw.ctypes.data % _LINE
    return raw[begin : begin + size * kind.itemsize].view(kind)


def check_memory(size: int, what: str, remedy: str) -> None:
    """Raise OutOfMemoryError if ``size`` bytes are not free; ``what`` and ``remedy`` begin and end its message."""
    if size <= _SMALL:
        return
    room = memory_room()
    if room is not None and size > room[0]:
        raise OutOfMemoryError(f"{what} would take {in_words(size)}, and {in_words(room[0])} are {room[1]}; {remedy}")


def in_words(size: int) -> str:
    """Return a number of bytes as people read it, such as ``3.2 GiB``."""
    if size >= 1 << 80:
        return f"{float(size):.1e} bytes" if size < 10**300 else "more bytes than can be counted"
    power = max((size.bit_length() - 1) // 10, 0)
    return f"{size} bytes" if not power else f"{size / (1 << 10 * power):.1f} {'KMGTPEZ'[power - 1]}iB"


def peak_resident() -> int:
    """Return the peak of this process's resident memory in bytes, as the operating system measures it; 0 if unknown.

    On Linux it is that of this program: what the process was before it became this one does not count.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    with contextlib.suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0


@contextlib.contextmanager
def memory_errors_explained(what: str) -> Iterator[None]:
    """Raise OutOfMemoryError, with the subject ``what``, for errors about memory in the block; also a decorator.

    It replaces any other MemoryError, NumPy's ValueError for arrays that no memory could hold, and the errors of
    libraries that find no room for their code.
    """
    try:
        yield
    except ManyhandsError:  # which says what it is about
        raise
    except (MemoryError, ValueError, ImportError, OSError, SystemError) as error:
        if not _is_about_memory(error):
            raise
        raise out_of_memory(what, error) from error


def _is_about_memory(error: BaseException) -> bool:
    """Return whether an error comes from a lack of memory."""
    if isinstance(error, ValueError):
        return str(error).startswith(_TOO_LARGE)
    # Libraries that find no room for their code fail in ways of their own: no module, no file, no reason at all.
    loading = not isinstance(error, MemoryError) and getattr(error, "errno", None) is None
    return isinstance(error, MemoryError) or (loading and _is_scarce())


def _is_scarce() -> bool:
    """Return whether libraries may find no room for their code."""
    try:
        room = memory_room()
    except MemoryError:
        return True
    return room is not None and room[0] < _LIBRARIES


def out_of_memory(what: str, error: BaseException) -> OutOfMemoryError:
    """Return the error that says what has run out of memory, and how much there is."""
    try:
        room = memory_room()
    except MemoryError:  # not even for that
        room = None
    left = "" if room is None else f"; {in_words(room[0])} are {room[1]}"
    said = f" ({str(error).strip().splitlines()[-1]})" if str(error).strip() else ""
    return OutOfMemoryError(
        f"{what} has run out of memory{said}{left}: use less of it (fewer rows, workers or neurons), or allow more"
    )
