"""How the processes of an MPI job that are left go on without those that are lost (ULFM, Bland et al. 2013).

MPI makes a communicator of the survivors, and waits for all that it does not know to be gone. So whoever is lost must
be gone: it ends itself, or is ended by a survivor on the same machine (`manyhands.teams.watchdog`). Two survivors may
see a further loss at different moments; whether all are well is therefore what they agree on last.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from manyhands.core.errors import WorkerLost
from manyhands.core.parameters import parameter
from manyhands.teams.startup_watchdog import STOPPED_SECONDS, is_stopped, siblings
from manyhands.teams.watchdog import GONE, Watch

_NAP, _LONG_NAP, _LOOK_SECONDS = 5e-4, 0.05, 1.0
_SETTLE_SECONDS = 0.3
_LONGEST_REASON = 400

Result = TypeVar("Result")


@dataclass(frozen=True)
class Regrouped:
    """What the survivors have in common.

    Attributes
    ----------
    comm, words
        Communicators of the survivors: for transfers, and for their watches.
    launched : list of int
        The ranks that the launcher has given to them.
    place, workers_here : int
        Which of the survivors on its machine this process is, and how many these are.
    lost : list of (int, str)
        The old ranks of those that are lost, and what is known about them.
    kept : list
        What messages may still come into.
    """

    comm: Any
    words: Any
    launched: list[int]
    place: int
    workers_here: int
    lost: list[tuple[int, str]]
    kept: list[Any]


def regrouped(comm: Any, watch: Watch, *, unmet: bool) -> Regrouped:
    """Return the survivors among the processes of a communicator; all of them call this.

    WorkerLost if they do not all come in time.

    Parameters
    ----------
    comm
        Where some are lost.
    watch
        The one over it, which has retired.
    unmet
        Whether the others may still ask this process to agree with them that all are well.
    """
    old = _launched(comm)
    waiting = _Waiting(watch)
    comm.Revoke()  # whoever still waits in it learns of the loss
    if unmet:
        waiting.agreed(comm, False)
    while True:
        waiting.settle()
        comm = waiting.shrunk(comm)
        watch.hear()
        reasons = {old[rank]: reason for rank, reason in watch.reasons.items() if reason != GONE}
        reasons = waiting.reasons | reasons
        words, told = None, None
        with contextlib.suppress(_Interrupted):
            words = waiting.shrunk(comm)
            told = _exchanged(comm, {"host": _host(), "reasons": reasons}, waiting)
        complete = words is not None and told is not None and words.Get_size() == comm.Get_size()
        if waiting.agreed(comm, complete):
            break
        comm.Revoke()
    assert told is not None
    return _outcome(comm, words, old, told, waiting.kept)


def _outcome(comm: Any, words: Any, old: list[int], told: list[dict[str, Any]], kept: list[Any]) -> Regrouped:
    """Return what follows from what all survivors have said."""
    launched, rank = _launched(comm), int(comm.Get_rank())
    known: dict[int, str] = {}
    for each in told:
        for name, reason in each["reasons"].items():
            if known.get(int(name), GONE) == GONE:
                known[int(name)] = reason
    hosts = [each["host"] for each in told]
    return Regrouped(
        comm=comm,
        words=words,
        launched=launched,
        place=hosts[:rank].count(hosts[rank]),
        workers_here=hosts.count(hosts[rank]),
        lost=[(number, known.get(name, GONE)) for number, name in enumerate(old) if name not in launched],
        kept=kept,
    )


def _launched(comm: Any) -> list[int]:
    """Return the ranks that the launcher has given to the processes of a communicator."""
    from mpi4py import MPI

    return [int(rank) for rank in comm.Get_group().Translate_ranks(None, MPI.COMM_WORLD.Get_group())]


def _host() -> str:
    return socket.gethostname()


class _Interrupted(Exception):  # noqa: N818 - it is no fault
    """Another process has been lost meanwhile."""


class _Waiting:
    """Waits for the other survivors, within limits, and sees that those who are stopped do not keep them waiting."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.kept: list[Any] = []
        self._limit = watch.regroup_seconds
        self._deadline = time.monotonic() + self._limit
        self._patience = watch.chosen or STOPPED_SECONDS
        self.reasons: dict[int, str] = {}
        self._looked, self._stopped_since = time.monotonic(), dict[int, float]()

    def settle(self) -> None:
        """Wait until no further loss has become known for a moment.

        Open MPI 5.0 ends with a segmentation fault if it learns of a loss just while it makes a communicator.
        """
        known, since = -1, time.monotonic()
        while time.monotonic() - since < _SETTLE_SECONDS:
            self._watch.hear()
            if len(self._watch.reasons) != known:
                known, since = len(self._watch.reasons), time.monotonic()
            time.sleep(_LONG_NAP)

    def shrunk(self, comm: Any) -> Any:
        """Return a communicator of all that are not known to be gone."""
        while True:
            with contextlib.suppress(_Interrupted):
                return self._done(comm.Shrink)

    def agreed(self, comm: Any, well: bool) -> bool:
        """Return whether all are well, and none is gone; all have the same answer."""
        with contextlib.suppress(_Interrupted):
            return bool(self._done(lambda: comm.Agree(int(well))))
        return False

    def _done(self, call: Callable[[], Result]) -> Result:
        """Return the result of a call that waits for the others."""
        try:
            return call_aside(call, self._look)
        except WorkerLost:
            raise
        except RuntimeError as error:  # of mpi4py
            raise _Interrupted from error

    def until(self, request: Any) -> None:
        """Wait for a request."""
        try:
            while not request.Test():
                self._look()
                time.sleep(_NAP)
        except WorkerLost:
            raise
        except RuntimeError as error:  # of mpi4py
            raise _Interrupted from error

    def _look(self) -> None:
        """End who has been stopped for too long; give up after the limit."""
        now = time.monotonic()
        if now > self._deadline:
            raise self._given_up()
        if self._watch.final:
            assert self._watch.lost is not None
            raise WorkerLost(*self._watch.lost)
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        here = siblings(os.getpid())
        stopped = [pid for pids in here.values() for pid in pids if is_stopped(pid)]
        self._stopped_since = {pid: self._stopped_since.get(pid, now) for pid in stopped}
        for rank, pids in here.items():
            for pid in pids:
                seconds = now - self._stopped_since.get(pid, now)
                if seconds >= self._patience:
                    self.reasons.setdefault(rank, f"(process {pid}) has been stopped for {seconds:.0f} s")
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)

    def _given_up(self) -> WorkerLost:
        rank, reason = self._watch.lost or (self._watch.rank, "lost the others")
        return WorkerLost(
            rank,
            f"{reason}; and the other workers have not come together again within {self._limit:.0f} s, so the training "
            f"cannot go on without it: begin again, with {parameter('on_loss', 'restart')} or from a checkpoint",
        )


def call_aside(call: Callable[[], Result], look: Callable[[], None]) -> Result:
    """Return the result of a call that waits in MPI for others, and call ``look`` meanwhile, which may raise.

    It has a thread of its own: Open MPI 5.0 has such calls that do not block, but frees memory twice in them.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="manyhands-regroup", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LONG_NAP)
        look()
    if errors:
        raise errors[0]
    return results[0]


def _exchanged(comm: Any, mine: dict[str, Any], waiting: _Waiting) -> list[dict[str, Any]]:
    """Return what all say, in rank order."""
    content = np.frombuffer(_as_text(mine).encode(), np.uint8).copy()
    lengths = np.zeros(comm.Get_size(), np.int64)
    lengths[comm.Get_rank()] = len(content)
    waiting.kept.append(lengths)
    _begin(waiting, lambda: comm.Iallgather(_in_place(), lengths))
    ends = np.cumsum(lengths)
    together = np.zeros(int(ends[-1]), np.uint8)
    waiting.kept.append(together)
    begins = ends - lengths
    begin = int(begins[comm.Get_rank()])
    together[begin : begin + len(content)] = content
    _begin(waiting, lambda: comm.Iallgatherv(_in_place(), [together, (lengths.tolist(), begins.tolist())]))
    return [json.loads(bytes(together[first:last])) for first, last in zip(begins, ends, strict=True)]


def _begin(waiting: _Waiting, start: Callable[[], Any]) -> None:
    """Start a transfer and wait for it."""
    try:
        request = start()
    except RuntimeError as error:  # of mpi4py
        raise _Interrupted from error
    waiting.kept.append(request)
    waiting.until(request)


def _as_text(said: dict[str, Any]) -> str:
    reasons = {str(rank): reason[:_LONGEST_REASON] for rank, reason in said["reasons"].items()}
    return json.dumps({**said, "reasons": reasons})


def _in_place() -> Any:
    from mpi4py import MPI

    return MPI.IN_PLACE
