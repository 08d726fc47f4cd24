"""When MPI jobs of our own end: at once, or, on the command line, after their results are written.

To end a job in good order takes a second, in which no user should have to wait for a result, or lose it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack

_late: list[ExitStack] = []


@contextlib.contextmanager
def closing_deferred() -> Iterator[None]:
    """Let the jobs that are closed in the block end with it, or when the next one begins."""
    with ExitStack() as stack:
        _late.append(stack)
        try:
            yield
        finally:
            _late.remove(stack)


def close(jobs: ExitStack) -> None:
    """End the jobs on a stack, which have done all their work: now, or with the block of `closing_deferred`."""
    if _late:
        _late[-1].push(jobs.pop_all())
    else:
        jobs.close()


def close_others() -> None:
    """End the jobs that wait for the end of the block, so that they do not become more and more."""
    if _late:
        _late[-1].close()
