"""The processes of an MPI job on this machine, as the system shows them: which are stopped or gone.

`MPI_Init` returns when all processes have called it, keeps Python's lock all the time, and waits for ever for one that
is stopped, or has ended well without it. So a little program of its own looks meanwhile (`guarded`): this file, run by
a Python without any package.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator

STOPPED_SECONDS = 8.0
"""Patience with a process that is seen to be stopped: it is not just slow."""
_COMING_SECONDS = 300.0
"""Patience with processes that do not come, and cannot be seen: the program may do something else before it joins."""
_LOOK_SECONDS = 1.0
_GUARDS = 4
"""So many processes of a machine, and the last, have a guard: it is enough if one of them is there and not stopped."""
_SPEAK_SECONDS, _END_SECONDS = 1.5, 5.0
_ADVICE = "let each of them make the same calls, with the same team"
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
_LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_LOCAL_SIZES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
_LAUNCHERS = ("prte", "orte", "mpi", "hydra", "pmi")
"""How the programs are called that start the processes of a job on a machine, and see that they have ended."""
_LEAVING = "manyhands-ends"
"""What a process calls itself that ends without having joined its job: MPI makes it wait for the others."""
_NAME = "PMIX_NAMESPACE"
"""The name of a job, where the launcher gives it one; else its processes on a machine have the same parent."""


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped (SIGSTOP, Ctrl-Z), as far as the system shows it; not if in a debugger."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except (OSError, IndexError):
        return False


def is_gone(pid: int) -> bool:
    """Return whether a process of this machine has ended, as far as the system shows it."""
    return os.path.isdir("/proc/self") and _is_dead(pid)  # noqa: PTH112 - pathlib takes long


def rank_of(pid: int) -> int | None:
    """Return the rank that a launcher has given to a process; None if that is not known."""
    variables = _environment(pid)
    for name in _RANKS:
        with contextlib.suppress(KeyError, ValueError):
            return int(variables[name])
    return None


def siblings(pid: int) -> dict[int, list[int]]:
    """Return the processes on this machine, by rank, of the job that process ``pid`` is in, itself among them."""
    found: dict[int, list[int]] = {}
    name, parent = _environment(pid).get(_NAME), parent_of(pid)
    for each in _all():
        if (rank := rank_of(each)) is not None:
            other = _environment(each).get(_NAME)
            if (other == name) if name is not None else (other is None and parent_of(each) == parent):
                found.setdefault(rank, []).append(each)
    return found


def stopped(pid: int) -> dict[int, int]:
    """Return the stopped ones among `siblings`: their ranks, and a process of each."""
    return {rank: next(filter(is_stopped, pids)) for rank, pids in siblings(pid).items() if any(map(is_stopped, pids))}


def absent(pid: int) -> list[int] | None:
    """Return the ranks on this machine that have ended without joining the job of process ``pid``, or are about to.

    None means that none has, as far as the system shows it; an empty list, that some have, but not which.
    """
    here, variables = siblings(pid), _environment(pid)
    leaving = sorted(rank for rank, pids in here.items() if any(_words(each, "comm") == _LEAVING for each in pids))
    if leaving:
        return leaving
    number = next((int(variables[name]) for name in _LOCAL_SIZES if variables.get(name, "").isdigit()), 0)
    launcher = parent_of(pid)
    while rank_of(launcher) is not None:  # a shell or a debugger between them
        launcher = parent_of(launcher)
    if not _words(launcher, "comm").startswith(_LAUNCHERS):
        return None  # of a container of its own, a process does not see the others
    known = {each for pids in here.values() for each in pids}
    others = sum(parent_of(each) == launcher and not _is_dead(each) for each in _all() if each not in known)
    if len(here) + others >= number:
        return None
    whole = next((variables[name] for name in _SIZES if name in variables), "")
    return sorted(set(range(number)) - set(here)) if whole == str(number) else []


def say_leaving() -> None:
    """Let the others of the job see that this process ends, and joins it no more."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write(_LEAVING)


def _all() -> list[int]:
    """Return all processes that the system shows."""
    names = os.listdir("/proc") if os.path.isdir("/proc") else []  # noqa: PTH112, PTH208 - pathlib takes long
    return [int(name) for name in names if name.isdigit()]


def _words(pid: int, name: str) -> str:
    """Return what a file of a process says; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/{name}", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_dead(pid: int) -> bool:
    """Return whether a process has ended, and only its status is still there."""
    return _words(pid, "stat").rpartition(")")[2].split()[:1] in ([], ["Z"], ["X"])


def _environment(pid: int) -> dict[str, str]:
    """Return the environment with which a process of this user was started; empty for others."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            words = file.read().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(word.split("=", 1) for word in words if "=" in word)


def parent_of(pid: int) -> int:
    """Return the process that has started a process, as far as the system shows it; -1 if it does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return -1


@contextlib.contextmanager
def guarded(patience: float | None) -> Iterator[None]:
    """End this process, and with it its job, if in the block one of its siblings is stopped for too long, or gone.

    ``patience`` is the number of seconds that the user has chosen; None: `STOPPED_SECONDS`.
    """
    import subprocess

    number, size = (
        next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), 0)
        for names in (_LOCAL_RANKS, _LOCAL_SIZES)
    )
    guard = None
    if (number < _GUARDS or number == size - 1) and os.path.isdir("/proc/self"):  # noqa: PTH112 - pathlib takes long
        with contextlib.suppress(OSError):
            words = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(patience or STOPPED_SECONDS)]
            guard = subprocess.Popen(words, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        if guard is not None:
            guard.kill()
            guard.communicate()


class StartupCheck:
    """Finds out whether the processes that a job waits for will come, from what the system shows once a second.

    ``patience`` is in seconds, and is for processes that are stopped or have ended; ``now`` is when the job began to
    start.
    """

    def __init__(self, patience: float, now: float) -> None:
        self._patience, self._began, self._together = patience, now, now
        self._seen: dict[int, float] = {}

    def look(self, now: float, stopped: dict[int, int], gone: list[int] | None, here: list[int]) -> str | None:
        """Return what is wrong, if the patience is over.

        ``stopped`` and ``gone`` are the results of :func:`stopped` and :func:`absent`, ``here`` are the ranks on this
        machine. Of a stopped process the looks are counted and not the time: this process may have been stopped, too.
        """
        self._seen = {rank: self._seen.get(rank, 0.0) + _LOOK_SECONDS for rank in stopped}
        for rank, seconds in self._seen.items():
            if seconds >= self._patience:
                return (
                    f"worker {rank} (process {stopped[rank]}) has been stopped for {seconds:.0f} s while the job was "
                    f"coming up (SIGSTOP or Ctrl-Z; kill -CONT {stopped[rank]} would have let it go on; "
                    "MANYHANDS_HANG_TIMEOUT sets another patience)"
                )
        if gone is None:
            self._together = now
        elif now - self._together >= self._patience:
            return f"{_named(gone)} ended without joining this MPI job, and all its processes must: {_ADVICE}"
        if now - self._began > max(self._patience, _COMING_SECONDS):
            return (
                f"MPI has not come up within {now - self._began:.0f} s: not all processes have come; of this machine "
                f"there are worker {', '.join(map(str, sorted(here)))} (MANYHANDS_HANG_TIMEOUT sets another patience)"
            )
        return None


def watch_over(pid: int, patience: float) -> None:
    """Guard process ``pid``, until the standard input ends."""
    check = StartupCheck(patience, time.monotonic())
    while not select.select([0], [], [], _LOOK_SECONDS)[0]:
        found = {} if is_stopped(pid) else stopped(pid)
        wrong = check.look(time.monotonic(), found, absent(pid), list(siblings(pid)))
        if wrong is not None:
            _end(pid, wrong)


def _named(ranks: list[int]) -> str:
    if len(ranks) == 1:
        return f"worker {ranks[0]} has"
    return f"{'workers ' + ', '.join(map(str, ranks)) if ranks else 'some of its workers on this machine'} have"


def _end(pid: int, words: str) -> None:
    """Say why, once for the job on this machine, and end it."""
    here = siblings(pid)
    free = [rank for rank, pids in here.items() if not any(map(is_stopped, pids))]
    if rank_of(pid) == min(free, default=None):
        os.write(2, f"manyhands: {words}\n".encode())
        time.sleep(_SPEAK_SECONDS / 3)
    else:
        time.sleep(_SPEAK_SECONDS)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
    time.sleep(_END_SECONDS)  # mpiexec ends the others; srun does not
    for rank, pids in here.items():
        for other in pids:
            if other != os.getpid() and rank_of(other) == rank:
                with contextlib.suppress(OSError):
                    os.kill(other, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        watch_over(int(sys.argv[1]), float(sys.argv[2]))
