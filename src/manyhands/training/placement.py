"""Where on the machine the workers run, and how many threads the matrix products of each may use."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from threadpoolctl import ThreadpoolController

from manyhands.core.checks import truth, whole
from manyhands.core.errors import SettingsError
from manyhands.runtime.affinity import check_pinning

_MOST_THREADS = 2**31 - 1  # what libraries take


@dataclass(frozen=True)
class Placement:
    """Where workers run; what they compute does not depend on it.

    Attributes
    ----------
    pin
        Whether every worker stays on a core of its own (workers take the allowed cores in turn).
    blas_threads
        Threads of the BLAS of each process: a second way to share the work, inside the matrix products of wide layers
        (over 1,024 neurons, or float64; others are products of our own, on one core).

    Raises
    ------
    SettingsError
        If there are fewer than 1 BLAS threads, or this system cannot pin, or both are asked for: all BLAS threads
        would share the worker's core.
    """

    pin: bool = False
    blas_threads: int = 1

    def __post_init__(self) -> None:
        threads = whole("the number of BLAS threads", self.blas_threads, least=1, most=_MOST_THREADS)
        object.__setattr__(self, "blas_threads", threads)
        object.__setattr__(self, "pin", truth("pin", self.pin))
        if self.pin:
            check_pinning()
        if self.pin and self.blas_threads > 1:
            raise SettingsError("a worker that is pinned to one core has no use for several BLAS threads; choose one")

    def __str__(self) -> str:
        parts = ["pinned to cores"] if self.pin else []
        return ", ".join(parts + ([f"{self.blas_threads} BLAS threads"] if self.blas_threads > 1 else []))


_counting = threading.Lock()
_limits: list[Any] = []
_running = 0
_threads = 1
_found: tuple[int, ThreadpoolController] | None = None


@contextlib.contextmanager
def blas_limited(threads: int) -> Iterator[None]:
    """Limit the thread pools of this process's libraries (BLAS, OpenMP) for the length of a block.

    The limits belong to the process, and runs may overlap in it (joblib's threading backend): the last one to end
    restores what the first one found. What that one asked for holds for all of them.

    Parameters
    ----------
    threads
        How many each pool may have.
    """
    global _running, _threads
    with _counting:
        if not _running:
            _threads = threads
        _limits.append(_libraries().limit(limits=_threads))  # once more: libraries may have been loaded since
        _running += 1
    try:
        yield
    finally:
        with _counting:
            _running -= 1
            while not _running and _limits:
                _limits.pop().restore_original_limits()


def _libraries() -> ThreadpoolController:
    """Return what controls the libraries that are loaded; looking for them takes longer than a small run."""
    global _found
    modules = len(sys.modules)
    if _found is None or _found[0] != modules:
        _found = modules, ThreadpoolController()
    return _found[1]
