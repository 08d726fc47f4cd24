"""What the watches of an MPI job send each other (`manyhands.teams.watchdog.Messages`), and the end of such a job."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from typing import Any

import numpy as np

from manyhands.teams.startup_watchdog import siblings, stopped
from manyhands.teams.watchdog import LONGEST_NOTICE

_BEAT, _NOTICE = 1, 2
_MOST_PENDING = 64
_NOTICE_BYTES = 12 * LONGEST_NOTICE + 64
"""JSON needs up to 12 bytes for a character."""
_ALARM_SECONDS = 5


class MPIMessages:
    """Beats and notices as messages of a few bytes, sent without waiting.

    Parameters
    ----------
    comm
        A communicator of its own (mpi4py), of two or more processes.
    """

    def __init__(self, comm: Any) -> None:
        self._comm, self.rank, self.size = comm, int(comm.Get_rank()), int(comm.Get_size())
        self._next = (self.rank + 1) % self.size
        self._pending: list[tuple[Any, Any]] = []
        self._sending = threading.Lock()
        self.launched: list[int] | None = None
        """The ranks that the launcher has given to the processes, if not 0, 1, 2, ..."""
        self.forgiving = False
        """Whether messages to processes that are gone are forgotten, and no errors."""

    def beat(self, silence: float) -> None:
        """Send one to the rank before this one."""
        self._send(np.array([silence]), (self.rank - 1) % self.size, _BEAT)

    def last_beat(self) -> float | None:
        """Receive all that have come from the rank after this one."""
        found = None
        while self._comm.Iprobe(source=self._next, tag=_BEAT):
            beat = np.zeros(1)
            self._comm.Recv(beat, source=self._next, tag=_BEAT)
            found = float(beat[0])
        return found

    def notify(self, rank: int, reason: str) -> None:
        """Send a notice to every other process."""
        content = np.frombuffer(json.dumps([rank, reason]).encode(), np.uint8).copy()
        for other in range(self.size):
            if other != self.rank:
                with contextlib.suppress(RuntimeError):  # it is gone
                    self._send(content, other, _NOTICE)

    def notice(self) -> tuple[int, str] | None:
        """Receive a notice."""
        while self._comm.Iprobe(tag=_NOTICE):
            content = np.zeros(_NOTICE_BYTES, np.uint8)
            self._comm.Recv(content, tag=_NOTICE)
            with contextlib.suppress(ValueError, TypeError):
                rank, reason = json.loads(content.tobytes().rstrip(b"\0"))
                return int(rank), str(reason)
        return None

    def next_is_stopped(self) -> bool:
        """Look for it among the processes of the job on this machine."""
        return self._launched(self._next) in stopped(os.getpid())

    def failed(self) -> list[int]:
        """Return the workers that MPI knows to be gone, and let messages of the others come again."""
        group, all_ = self._comm.Get_failed(), self._comm.Get_group()
        ranks = [int(rank) for rank in group.Translate_ranks(None, all_)] if group.Get_size() else []
        if ranks:
            self._comm.Ack_failed()
        group.Free()
        all_.Free()
        return ranks

    def end(self, rank: int) -> None:
        """End a worker's processes, if they are on this machine."""
        for pid in siblings(os.getpid()).get(self._launched(rank), []):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _launched(self, rank: int) -> int:
        """Return the rank that the launcher has given to a worker: others may have been lost since."""
        return rank if self.launched is None else self.launched[rank]

    def flushed(self) -> bool:
        """Return whether all messages have been taken."""
        self._sweep()
        return not self._pending

    def abort(self, status: int) -> None:
        """End the job."""
        abort(status)

    def _send(self, content: Any, to: int, tag: int) -> None:
        """Send without waiting; messages that a stopped process does not take do not pile up."""
        with self._sending:
            self._sweep()
            if len(self._pending) < _MOST_PENDING or tag == _NOTICE:
                self._pending.append((self._comm.Isend(content, dest=to, tag=tag), content))

    def _sweep(self) -> None:
        self._pending = [pair for pair in self._pending if not self._is_done(pair[0])]

    def _is_done(self, request: Any) -> bool:
        """Return whether a message has been taken, or never will be."""
        try:
            return bool(request.Test())
        except RuntimeError:
            if not self.forgiving:
                raise
            return True


def abort(status: int) -> None:
    """End all processes of the job, and this one in any case, even if mpiexec does not listen any more."""
    from mpi4py import MPI

    if hasattr(signal, "alarm"):
        signal.alarm(_ALARM_SECONDS)  # its default action ends the process, whatever it hangs in
    MPI.COMM_WORLD.Abort(status)  # of a copy of it, MPICH under srun ends the caller alone
