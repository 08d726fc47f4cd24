"""If a program ends by an error in one process of a job, the others are notified, whatever they wait for.

Python prints the error and ends. MPI then waits, at the end of this process, for the ends of all others, which may be
waiting in a collective for this one.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from manyhands.teams.environment import in_job
from manyhands.teams.failures import describe, is_shared
from manyhands.teams.mpi_messages import abort
from manyhands.teams.startup_watchdog import say_leaving

if TYPE_CHECKING:
    from manyhands.teams.world import World

CallOff = Callable[[str], object]
"""Notifies the other processes that this one will not come any more, and why."""
_call_off: CallOff | None = None


def report_uncaught_errors(call_off: CallOff | None = None) -> None:
    """From now on, notify the other processes of an error that ends this program, or of an end before joining the job.

    ``call_off`` notifies them, once the job is joined. Outside of any job nothing is changed.
    """
    global _call_off
    _call_off = call_off or _call_off
    if in_job() and not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook(sys.excepthook)
        atexit.register(_notify_those_who_join, os.getpid())


def leave_at_exit(world: World) -> None:
    """Let this process leave the job at its end, and notify the others of an error that ends it."""
    atexit.register(world.leave)
    if world.size > 1:
        report_uncaught_errors(lambda reason: world.call_off(world.rank, reason))


class _Hook:
    """Stands in for `sys.excepthook`: does what that did, then notifies the others."""

    def __init__(self, before: Any) -> None:
        self.before, self._process = before, os.getpid()

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.before(kind, error, trace)
        sys.stderr.flush()
        if os.getpid() != self._process:  # the end of a fork does not concern the job
            return
        if _call_off is None:
            _end_those_who_join()
        elif not is_shared(error):
            _call_off(describe(error))  # leaving, at the end of this process, then ends the job


def _is_begun() -> bool:
    """Return whether MPI has begun here, so that this process waits at its end for the others."""
    mpi = sys.modules.get("mpi4py.MPI")
    return bool(mpi and mpi.Is_initialized() and not mpi.Is_finalized() and mpi.COMM_WORLD.Get_size() > 1)


def _notify_those_who_join(process: int) -> None:
    """Let others that are joining the job see that this process, which ends in good order, will not come."""
    if _call_off is None and os.getpid() == process and _is_begun():
        say_leaving()


def _end_those_who_join() -> None:
    """End a job that this process has not joined: others may be joining it, which takes all."""
    if _is_begun():
        abort(1)  # mpiexec would do so as soon as this process had ended, which it does not before the others
