"""The processor cores that workers may run on, and the pinning of a worker to one of them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.core.words import count
from manyhands.runtime.cgroups import cpu_quota

_CROWD, _FEW = 4, 8


def allowed_cores() -> set[int]:
    """Return the numbers of the cores that this process may run on; where the system does not say, of all."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use: affinity, and the cgroups' quota if it is smaller."""
    allowed, quota = len(allowed_cores()), cpu_quota(root)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def crowd(workers: int) -> str | None:
    """Return a warning about workers that are several times as many as the usable cores; None if they are not."""
    if workers <= _FEW:
        return None
    cores = usable_cores()
    if workers <= _CROWD * cores:
        return None
    return (
        f"{workers} workers have {count(cores, 'usable core')} here and take turns on "
        f"{'them' if cores > 1 else 'it'}: this takes much longer than with {cores}"
    )


def warn_if_oversubscribed(workers: int) -> None:
    """Warn if there are several times as many workers as usable cores."""
    said = crowd(workers)
    if said is not None:
        logging.getLogger("manyhands").warning(said)


def check_pinning() -> None:
    """Raise SettingsError if threads cannot be bound to cores here."""
    if not hasattr(os, "sched_setaffinity"):
        raise SettingsError(f"this system cannot bind threads to cores; leave out {parameter('pin')}")


def pin(number: int) -> int:
    """Bind the calling thread to the core of worker ``number`` on this machine; return the core's number.

    Workers take the allowed cores in turn, and share them if there are more workers than cores. Errors are those of
    `check_pinning`.
    """
    check_pinning()
    cores = sorted(allowed_cores())
    core = cores[number % len(cores)]
    os.sched_setaffinity(0, {core})
    return core
