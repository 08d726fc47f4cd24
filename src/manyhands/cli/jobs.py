"""The command line as one process of an MPI job: which process prints, and how all end when one cannot go on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from manyhands.cli.output import forget_output
from manyhands.core.errors import Terminated, WorkerLost
from manyhands.runtime import signals
from manyhands.runtime.terminal import message
from manyhands.teams.job import is_first_process
from manyhands.teams.membership import joined

_unspoken: list[OSError] = []
_TURN_SECONDS, _SPOKEN_SECONDS, _FIRST_SECONDS, _KNOWN_SECONDS = 0.3, 0.1, 3.0, 3.0


def speak(text: str) -> None:
    """Print something on the way to a result; that nobody can read it does not end the way: see `check_spoken`."""
    try:
        print(text, flush=True)
    except OSError as error:
        _unspoken.append(error)
        forget_output()


def check_spoken() -> None:
    """Raise the error of the first thing that could not be printed."""
    if _unspoken:
        raise _unspoken.pop()


def let_first_speak(words: str) -> None:
    """Wait for the first process to print its error, after which mpiexec ends this one; else print ``words``."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # how mpiexec ends the others; they have nothing to say
    time.sleep(_FIRST_SECONDS)
    print(words.rstrip(), file=sys.stderr, flush=True)


def in_multiprocess_job() -> bool:
    """Return whether there are other processes in this one's job."""
    world = joined()
    return world is not None and world.size > 1


def end_all(prefix: str, error: BaseException, status: int) -> int:
    """Print an error, once for the whole job, and end it; return the exit status if there is no job."""
    world = joined()
    if world is None or world.size == 1:
        if is_first_process():
            print(message(f"{prefix}: {error}"), file=sys.stderr, flush=True)
        else:
            let_first_speak(f"{prefix}: {error}")
        return status
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # from here on mpiexec may end this process at once
    if isinstance(error, WorkerLost) and world.watch is not None and not world.watch.mine:
        time.sleep(_KNOWN_SECONDS)  # the one who knows the cause is saying it, and ends the job
        world.abort(status)
    world.call_off(world.rank, f"failed: {error}")
    if world.rank > 0:
        time.sleep(_TURN_SECONDS)  # what all have met (a missing file, say), rank 0 says
    lost_here = isinstance(error, WorkerLost)  # then the message names the worker
    place = "" if world.rank == 0 or lost_here else f"worker {world.rank}: "
    print(message(f"{prefix}: {place}{error}"), file=sys.stderr, flush=True)
    time.sleep(_SPOKEN_SECONDS)  # mpiexec passes the line on, before its own many about the abort
    world.abort(status)
    return status


def interrupted(prefix: str, error: KeyboardInterrupt) -> int:
    """Print that this process was interrupted, and return the exit status."""
    if is_first_process():
        signals.say(f"{prefix}: {str(error) or 'interrupted'}")
    status = signals.status_of(error)
    if isinstance(error, Terminated) and in_multiprocess_job():
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(status)  # mpiexec is ending the whole job, and has said why
    return status
