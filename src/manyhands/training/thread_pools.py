"""How many threads the matrix products of this process may use."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from threadpoolctl import ThreadpoolController

_counting = threading.Lock()
_limits: list[Any] = []
_running = 0
_threads = 1
_found: tuple[int, ThreadpoolController] | None = None


@contextlib.contextmanager
def blas_limited(threads: int) -> Iterator[None]:
    """Limit each thread pool of this process's libraries (BLAS, OpenMP) to so many threads for the length of a block.

    The limits belong to the process, and runs may overlap in it (joblib's threading backend): the last one to end
    restores what the first one found. What that one asked for holds for all of them.
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
