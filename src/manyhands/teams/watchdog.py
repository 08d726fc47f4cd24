"""Watching the processes of a job, so that none waits for ever for a worker that is gone.

A waiting process cannot know a slow worker from a dead one, and its library does not say. So every process shows, by a
thread of its own and a few bytes twice a second, that it is alive (a *beat*, sent to the rank before it, which watches
over it); and it looks at its own worker, which must not stand still in the middle of its steps. A process that finds
something wrong notifies all others (a *notice*). They then leave their kernels and collectives with `WorkerLost`, and
the job ends, or goes on without the lost ones (`Watch.goes_on`).

How long is too long follows from the measured time of a step: see `Watch.patience`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control
from manyhands.teams.pace import SHORTEST_SECONDS, Pace
from manyhands.teams.startup_watchdog import STOPPED_SECONDS

_LOOK_SECONDS, _BEAT_SECONDS = 0.2, 0.4
_CALM_SECONDS = 60.0
"""Patience with a worker that is not training: it may be reading a large file."""
_GRACE_SECONDS = 5.0
_LEAVING_SECONDS = 3.0
"""A worker that leaves is done: no other can need it for longer than a last message takes."""
_STOPPED_LOOK_SECONDS = 2.0
LONGEST_NOTICE = 4000
"""Characters in a notice."""
_REGROUP_SECONDS = 30.0
"""Survivors wait for each other at least so long."""
_FLUSH_SECONDS = 1.0
_END, _REGROUP = 1, 2
"""What `Control.stop` says: the run ends, or it goes on after a loss."""
GONE = "has ended: it was killed, or its machine is gone"
"""What is known about a process that the system says is gone."""


def chosen_patience() -> float | None:
    """Return the seconds set by MANYHANDS_HANG_TIMEOUT, or None."""
    text = os.environ.get("MANYHANDS_HANG_TIMEOUT")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SettingsError(f"MANYHANDS_HANG_TIMEOUT={text}: give a number of seconds, such as 30")
    return seconds


class Messages(Protocol):
    """How the watches of a job talk: every call returns at once, and raises RuntimeError if others are out of reach."""

    rank: int
    size: int

    def beat(self, silence: float) -> None:
        """Show the rank before this one a sign of life, and for how many seconds there may be none; 0: the last."""

    def last_beat(self) -> float | None:
        """Return the seconds of the newest beat of the rank after this one; None if no new one has come."""

    def notify(self, rank: int, reason: str) -> None:
        """Notify all other processes that worker ``rank`` is lost."""

    def notice(self) -> tuple[int, str] | None:
        """Return a notice that has come, if there is one."""

    def next_is_stopped(self) -> bool:
        """Return whether the rank after this one can be seen to be stopped."""

    def flushed(self) -> bool:
        """Return whether everything is on its way."""

    def abort(self, status: int) -> None:
        """End all processes of the job, and this one in any case."""


class Survivors(Protocol):
    """What a job needs to go on without lost workers."""

    def failed(self) -> list[int]:
        """Return the workers that the system knows to be gone."""

    def end(self, rank: int) -> None:
        """End a worker that is lost, if it is on this machine: it may be stopped."""


@dataclass
class _Choice:
    """The patience that a run has chosen; what follows a watch has the same."""

    seconds: float | None


class Watch:
    """One process's watch, from joining the job to its end: `start` looks regularly, in a thread of its own.

    Parameters
    ----------
    messages
        How the watches of the two or more processes talk.
    calm
        Seconds without a beat from a worker that is not training.
    clock
        Returns the time in seconds.

    Attributes
    ----------
    lost : tuple of (int, str) or None
        The first worker that is gone, and what is known about it.
    mine : bool
        Whether this process has found that out by itself: then it is the one to report it to the user.
    depends : bool
        Set by the process while it waits for the others.
    goes_on : Survivors or None
        If given, the job goes on without lost workers: each process that is lost ends, by itself if it can.
    final : bool
        Whether the job ends in any case.
    reasons : dict of int to str
        What is known about each worker that is lost.
    """

    def __init__(
        self, messages: Messages, calm: float = _CALM_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._messages, self.rank = messages, messages.rank
        self.lost: tuple[int, str] | None = None
        self.mine = self.depends = self.final = False
        self.goes_on: Survivors | None = None
        self.reasons: dict[int, str] = {}
        self._choice = _Choice(chosen_patience())
        self._unless_chosen = calm
        self._pace: Pace | None = None
        self._control: Control | None = None
        self._waiting: Callable[[], bool] = lambda: False
        self._next = (self.rank + 1) % messages.size
        self._beat_sent = float("-inf")
        self._heard, self._allowed = clock(), self.chosen or calm
        self._next_left = False
        self._called_off = self._looked = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="manyhands-watch", daemon=True)

    def start(self) -> None:
        """Look five times a second: more often would disturb the worker."""
        self._thread.start()

    def follow(self, control: Control, waiting: Callable[[], bool]) -> None:
        """Look at a worker's steps from now on; set its ``control.stop`` when the job is called off."""
        self._control, self._waiting = control, waiting
        self._pace = Pace(control, waiting, self._clock())
        self._beat_sent = float("-inf")  # from now on its silence means more: let the neighbour know at once
        if self.lost is not None:
            self._stop(control)

    def heir(self, messages: Messages, survivors: Survivors) -> Watch:
        """Return a watch over the survivors, which looks at the same worker with the same patience."""
        watch = Watch(messages, self._unless_chosen, self._clock)
        watch._choice, watch.goes_on = self._choice, survivors
        if self._control is not None:
            watch.follow(self._control, self._waiting)
        return watch

    @property
    def chosen(self) -> float | None:
        """The patience that the run or MANYHANDS_HANG_TIMEOUT says; None if they say nothing."""
        return self._choice.seconds

    @contextlib.contextmanager
    def patience_chosen(self, seconds: float | None) -> Iterator[None]:
        """Have this patience for the length of a block, or None: that of MANYHANDS_HANG_TIMEOUT, if it is set."""
        choice, before = self._choice, self.chosen
        choice.seconds = chosen_patience() if seconds is None else seconds
        self._beat_sent = float("-inf")  # the neighbour is to know at once
        try:
            yield
        finally:
            choice.seconds = before

    def unfollow(self) -> None:
        """Look at no steps any more: the worker has done its work."""
        self._pace = self._control = None

    @property
    def patience(self) -> float:
        """Seconds that a worker may stand still.

        What the run or MANYHANDS_HANG_TIMEOUT says; else, from its second step on, 100 mean steps or 20 times the
        longest pause so far, but at least 4 s; else a minute.
        """
        if self.chosen is not None:
            return self.chosen
        pace = self._pace
        measured = None if pace is None else pace.patience()
        return _CALM_SECONDS if measured is None else measured

    @property
    def silence(self) -> float:
        """Seconds without a beat after which this process is lost.

        While its worker trains, nothing keeps the watch's thread from its beats for long; before, reading a file may.
        """
        if self.chosen is not None:
            return self.chosen
        pace = self._pace
        return self._unless_chosen if pace is None else max(SHORTEST_SECONDS, pace.patience() or 0.0)

    @property
    def regroup_seconds(self) -> float:
        """Seconds within which all survivors must have come, to go on without the lost ones."""
        return max(_REGROUP_SECONDS, self.patience)

    def call_off(self, rank: int, reason: str, *, final: bool = True) -> bool:
        """Notify all that worker ``rank`` will not come any more; return whether this was the first call.

        If it is not ``final``, a job that goes on without lost workers does so.
        """
        if self.final or (rank in self.reasons and not final) or (self.lost is not None and self.goes_on is None):
            return False
        self.mine = True
        sent = _final(rank) if final and self.goes_on is not None else rank
        self._take_over(sent, reason)
        self._messages.notify(sent, reason[:LONGEST_NOTICE])
        return True

    def leave(self, reason: str, words: str | None = None) -> NoReturn:
        """End this process, which is lost, in a job that goes on without it; ``words`` are for the user.

        It ends by a signal, because MPI does not notice other ends.
        """
        os.write(2, f"manyhands: worker {self.rank} {words or reason}\n".encode())
        self._halt()  # two threads must not receive at the same time
        with contextlib.suppress(RuntimeError):
            self._messages.notify(self.rank, reason[:LONGEST_NOTICE])
            self._flush()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    def retire(self) -> None:
        """End the watch of a process that waits until all survivors have come; it shows no signs of life then."""
        self._halt()
        with contextlib.suppress(RuntimeError):
            self._beat(2 * self.regroup_seconds)
            self._flush()

    def hear(self) -> None:
        """Receive what those who are lost have said last, though this has retired."""
        self._note_failed()
        with contextlib.suppress(RuntimeError):
            self._receive_notices()

    def release(self) -> None:
        """Let the worker go on, if only a loss that has been overcome has stopped it."""
        if self._control is not None and self._control.stop[0] == _REGROUP:
            self._control.stop[0] = 0

    def close(self) -> None:
        """End the watch, and notify the process that watches this one that it leaves in good order."""
        self._halt()
        if self.lost is None:
            self._beat(0.0)
            self._flush()

    def _halt(self) -> None:
        """Look no more."""
        self._closing.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _flush(self) -> None:
        """Wait until all messages are on their way, but not for long."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        while not self._messages.flushed() and time.monotonic() < deadline:
            self._receive()
            time.sleep(0.001)

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Send a beat if it is time, receive those of others, and find out whether a worker is lost."""
        try:
            if self._clock() - self._beat_sent >= _BEAT_SECONDS:
                self._beat(self.silence)
            self._receive()
        except RuntimeError as error:  # of mpi4py or PyTorch, where this process survives lost ones
            if self.lost is None and self.goes_on is None:
                self.mine = True
                self._take_over(self._next, f"or another one cannot be reached ({error})")
        self._note_failed()
        now = self._clock()
        if self.lost is None or self._regroups:
            self._check_workers(now)
        if self.lost is not None and now - self._called_off > self.grace:
            self._end()

    @property
    def _regroups(self) -> bool:
        """Whether the job goes on after a loss."""
        return self.goes_on is not None and not self.final

    @property
    def grace(self) -> float:
        """Seconds after a loss until which the worker must have ended, or regrouped with the others."""
        return 2 * self.regroup_seconds if self._regroups else _GRACE_SECONDS

    def _note_failed(self) -> None:
        """Note which workers are gone, as far as the system says it."""
        if self.goes_on is None:
            return
        with contextlib.suppress(RuntimeError):
            for rank in self.goes_on.failed():
                if rank not in self.reasons:
                    self._take_over(rank, GONE)

    def _check_workers(self, now: float) -> None:
        """Call off for a worker that stands still, or a neighbour that is silent."""
        if self._pace is not None:
            self._pace.look(now)
        pace, patience = self._pace, self.patience
        if pace is not None and pace.still(now) > patience:
            self._report_hang(
                f"(process {os.getpid()} on {socket.gethostname()}) hangs: no step for {pace.still(now):.1f} s after "
                f"step {pace.steps}{_hint(patience)}"
            )
        elif self._next in self.reasons:
            return  # it is known to be lost
        elif self._next_left and self.depends and now - self._heard > _LEAVING_SECONDS:
            self.call_off(self._next, "has left the job, though the others still wait for it")
        elif not self._next_left and now - self._heard > (allowed := self._allowance(now)):
            self.call_off(
                self._next,
                f"has shown no sign of life for {now - self._heard:.1f} s: it is stopped or stuck, or its machine "
                f"is gone{_hint(allowed)}",
                final=False,
            )

    def _report_hang(self, reason: str) -> None:
        """Call this process's own worker off; where the others go on, it must be gone."""
        if self._regroups:
            self.leave(reason)
        self.call_off(self.rank, reason)

    def _allowance(self, now: float) -> float:
        """Return the seconds that the neighbour may be silent: not so many if it can be seen to be stopped."""
        silent = now - self._heard
        if silent <= STOPPED_SECONDS or self.chosen is not None or now - self._looked < _STOPPED_LOOK_SECONDS:
            return self._allowed
        self._looked = now
        return min(self._allowed, STOPPED_SECONDS) if self._messages.next_is_stopped() else self._allowed

    def _beat(self, silence: float) -> None:
        """Show a sign of life, and for how long there may be none; 0: this was the last."""
        self._beat_sent = self._clock()
        self._messages.beat(silence)

    def _receive(self) -> None:
        """Receive all beats and notices that have come."""
        if self.goes_on is not None:
            self._receive_notices()  # the neighbour, whose beats cannot be received any more, may be the one to go
        beat = self._messages.last_beat()
        if beat is not None:
            self._heard, self._next_left = self._clock(), beat == 0
            self._allowed = max(beat, 2 * _BEAT_SECONDS)
        self._receive_notices()

    def _receive_notices(self) -> None:
        """Receive all notices that have come."""
        while (notice := self._messages.notice()) is not None:
            self._take_over(*notice)

    def _take_over(self, rank: int, reason: str) -> None:
        """Note that a worker is lost, and let this process's worker stop."""
        if rank < 0 or self.goes_on is None:
            rank = rank if rank >= 0 else _final(rank)
            if not self.final and self.lost is not None and self.goes_on is not None:
                self.lost = None  # the end of the job is the greater news
            self.final = True
        elif not self.final:
            self._let_go(rank, reason)
        if self.lost is None:
            self.lost, self._called_off = (rank, reason), self._clock()
        if self._control is not None:
            self._stop(self._control)

    def _let_go(self, rank: int, reason: str) -> None:
        """Note that the job goes on without a worker, and see that it is gone: all others wait for its end."""
        assert self.goes_on is not None
        if rank == self.rank:
            self.leave(f"{reason}: the others go on without it")
        if self.reasons.get(rank, GONE) == GONE:
            self.reasons[rank] = reason
        self.goes_on.end(rank)

    def _stop(self, control: Control) -> None:
        """Let a worker stop, for good or until it has regrouped with the others."""
        if not self._regroups:
            control.stop[0] = _END
        elif control.stop[0] == 0:
            control.stop[0] = _REGROUP

    def _end(self) -> None:
        """End the whole job: the time for ending in good order is over."""
        assert self.lost is not None
        if self.mine:
            os.write(2, f"manyhands: worker {self.lost[0]} {self.lost[1]}\n".encode())
        self._messages.abort(1)


def _final(rank: int) -> int:
    """Return how a notice names a worker whose loss ends the job, where others do not; and the worker of such a name.

    Where every loss ends the job, the notice names the worker itself.
    """
    return -1 - rank


def _hint(patience: float) -> str:
    return f" (patience: {patience:.1f} s; MANYHANDS_HANG_TIMEOUT sets another)"
