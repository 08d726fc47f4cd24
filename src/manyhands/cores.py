"""The processor cores that workers run on: which there are, and keeping a worker on one of them."""

from __future__ import annotations

import os

from manyhands.errors import SettingsError


def allowed_cores() -> set[int]:
    """Return the numbers of the cores that this process may run on; where the system does not say, of all."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def check_pinning() -> None:
    """Refuse to pin where the system cannot.

    Raises
    ------
    SettingsError
        If threads cannot be bound to cores here.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise SettingsError("this system cannot bind threads to cores; leave out --pin")


def pin(number: int) -> int:
    """Keep the calling thread on one core: that of worker ``number`` on this machine; return the core's number.

    Workers take the allowed cores in turn, and share them if there are more workers than cores. It ends with the
    thread.

    Raises
    ------
    SettingsError
        As `check_pinning`.
    """
    check_pinning()
    cores = sorted(allowed_cores())
    core = cores[number % len(cores)]
    os.sched_setaffinity(0, {core})
    return core
