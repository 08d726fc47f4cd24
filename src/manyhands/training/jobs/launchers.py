"""How the processes of a job of our own are started, and what is known when they end: by mpiexec, or one by one.

The launcher prints, and its processes do, into a file in the job's folder, which nobody reads unless the job fails.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from manyhands.core.errors import ManyhandsError, OutOfMemoryError, WorkerLost
from manyhands.core.extras import require
from manyhands.runtime.cgroups import oom_kills
from manyhands.teams import mpi_environment, torch_environment
from manyhands.teams.loopback import allow_loopback_only
from manyhands.teams.mpi_environment import end_of, last_words
from manyhands.training.jobs.folder import private

_OUTPUT = "output.txt"
_SIGNALLED = (  # how the mpiexec programs say that a process was killed: (rank or process number, signal)
    re.compile(r"process rank (?P<rank>\d+) with PID \d+ on node \S+\s+exited on\s+signal (?P<signal>\d+)"),
    re.compile(r"RANK (?P<rank>\d+) PID \d+ RUNNING AT .*?KILLED BY SIGNAL: (?P<signal>\d+)", re.DOTALL),
    re.compile(r"PID (?P<pid>\d+) RUNNING AT .*?EXIT CODE: (?P<signal>\d+)\s", re.DOTALL),
)


class Launcher(ABC):
    """Starts the processes of a job on this machine, and sees their ends.

    Parameters
    ----------
    size
        Number of processes.
    survives
        Whether the job goes on without lost workers.

    Attributes
    ----------
    pids : list of int
        The workers by rank, once they are known.
    """

    def __init__(self, size: int, *, survives: bool = False) -> None:
        self.size, self.survives = size, survives
        self.pids: list[int] = []
        self.started: list[subprocess.Popen[bytes]] = []
        self._oom_kills = oom_kills()

    @abstractmethod
    def start(self, program: Sequence[str], folder: Path, memory: Callable[[], Path | None]) -> None:
        """Start all processes.

        Parameters
        ----------
        program
            What each of them runs.
        folder
            That of the job.
        memory
            Makes a folder for memory that the processes share, if there is a place for it.

        Raises
        ------
        ManyhandsError
            If the system lets no process begin.
        """

    @abstractmethod
    def is_over(self) -> bool:
        """Return whether the job cannot go on."""

    def keep_to_itself(self) -> None:  # noqa: B027 - most need not
        """Keep other machines away from what has been started."""

    @abstractmethod
    def cause(self, folder: Path) -> ManyhandsError | None:
        """Return how a worker has ended, if a signal has ended it, or its end says something by itself."""

    @abstractmethod
    def end(self, folder: Path) -> ManyhandsError:
        """Return the error of a job of which nothing else is known than that it has ended."""

    def stopped(self, pid: int, words: str) -> ManyhandsError | None:
        """Return the error for a stopped process of the job that is no worker; None if it is a worker."""
        return None

    def terminate(self) -> None:
        """Ask what runs to end."""
        for process in self.started:
            if process.poll() is None:
                process.terminate()

    def await_end(self, seconds: float) -> None:
        """Wait until everything has ended, but no longer than this."""
        deadline = time.monotonic() + seconds
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))

    def kill(self) -> None:
        """End what has been started, and what that has started."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def bury(self) -> None:
        """Wait for the end of what has been killed."""
        for process in self.started:
            process.wait()

    def said(self, folder: Path) -> str:
        """Return the end of what has been printed."""
        return last_words((folder / _OUTPUT).read_text(errors="replace"))

    def _begin(self, command: Sequence[str], environment: dict[str, str], output: IO[bytes]) -> None:
        """Start one process."""
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                umask=0o077,
                start_new_session=True,  # the terminal's Ctrl-C comes to the owner alone, which ends the job
            )
        except OSError as error:  # no process more for this user, or the program has been removed
            raise ManyhandsError(f"{command[0]} cannot be started ({error.strerror or error})") from error
        self.started.append(process)

    def _lost(self, rank: int, number: int) -> ManyhandsError:
        """Return the error for a worker that was ended by a signal, or with a status that is none."""
        if number == signal.SIGKILL and oom_kills() > self._oom_kills:
            return OutOfMemoryError(
                f"worker {rank} was killed by signal 9 (SIGKILL), as the system does when memory has run out: "
                "use fewer workers, rows or neurons"
            )
        with contextlib.suppress(ValueError):
            return WorkerLost(rank, f"was killed by signal {number} ({signal.Signals(number).name})")
        return WorkerLost(rank, f"has ended with status {number}")


class Mpiexec(Launcher):
    """One mpiexec, which starts the processes and ends all when one fails."""

    def __init__(self, size: int, *, survives: bool = False) -> None:
        from manyhands.teams.mpi_world import library

        super().__init__(size, survives=survives)
        self._mpiexec, self._kind = mpi_environment.find_mpiexec(library())

    def start(self, program: Sequence[str], folder: Path, memory: Callable[[], Path | None]) -> None:
        """Start mpiexec."""
        command = mpi_environment.job_command(self._mpiexec, self._kind, self.size, survives=self.survives)
        environment = mpi_environment.job_environment(self._kind, folder, memory=memory())
        with open(folder / _OUTPUT, "wb", opener=private) as output:
            self._begin([*command, *program], environment, output)

    def keep_to_itself(self) -> None:
        """Let mpiexec accept nothing from other machines."""
        allow_loopback_only(self.started[0].pid)

    def is_over(self) -> bool:
        """Return whether mpiexec has ended."""
        return self.started[0].poll() is not None

    def stopped(self, pid: int, words: str) -> ManyhandsError | None:
        """Return the error for an mpiexec that is stopped."""
        if pid != self.started[0].pid:
            return None
        return ManyhandsError(f"the MPI job does not come up: mpiexec (process {pid}) {words}")

    def cause(self, folder: Path) -> ManyhandsError | None:
        """Return nothing: what the workers report counts for more than what mpiexec prints."""
        return None

    def end(self, folder: Path) -> ManyhandsError:
        """Return what mpiexec has printed about a killed process, or how it has ended itself."""
        text = (folder / _OUTPUT).read_text(errors="replace")
        for pattern in _SIGNALLED:
            killed = list(pattern.finditer(text))
            if len(killed) == 1:
                return self._killed(killed[0])
            if killed:  # Intel's mpiexec lists those that it has ended itself, too
                return ManyhandsError(f"a worker was killed; mpiexec does not say which{self.said(folder)}")
        return ManyhandsError(
            f"the MPI job is gone: {self._mpiexec} {end_of(self.started[0].returncode)}{self.said(folder)}"
        )

    def _killed(self, match: re.Match[str]) -> ManyhandsError:
        found = match.groupdict()
        pid = int(found.get("pid") or 0)
        rank = int(found["rank"]) if found.get("rank") else self.pids.index(pid) if pid in self.pids else -1
        return self._lost(rank, int(found["signal"]))


class OneByOne(Launcher):
    """Processes that find each other through a file, for torch.distributed; each is started here."""

    def __init__(self, size: int, *, survives: bool = False) -> None:
        super().__init__(size, survives=survives)
        require("torch")

    def start(self, program: Sequence[str], folder: Path, memory: Callable[[], Path | None]) -> None:
        """Start them all."""
        with open(folder / _OUTPUT, "wb", opener=private) as output:
            for rank in range(self.size):
                self._begin(program, torch_environment.job_environment(rank, self.size, folder / "store"), output)
        self.pids = [process.pid for process in self.started]

    def terminate(self) -> None:
        """End them all at once: they leave nothing but what is in the folder, and a stopped one would not listen."""
        self.kill()

    def is_over(self) -> bool:
        """Return whether one has ended: the others need it."""
        return any(process.poll() is not None for process in self.started)

    def cause(self, folder: Path) -> ManyhandsError | None:
        """Return the first worker that a signal has ended, which nobody but this knows."""
        for rank, process in enumerate(self.started):
            if (status := process.poll()) is not None and status < 0:
                return self._lost(rank, -status)
        return None

    def end(self, folder: Path) -> ManyhandsError:
        """Return the first worker that has ended."""
        ended = ((rank, process.poll()) for rank, process in enumerate(self.started))
        rank, status = next((rank, status) for rank, status in ended if status is not None)
        return WorkerLost(rank, f"{end_of(status)}{self.said(folder)}")


LAUNCHERS: dict[str, type[Launcher]] = {"mpi": Mpiexec, "torch": OneByOne}
"""By team: how a job for it is started."""
