"""Watching the processes of a job, so that none waits for ever for a worker that is gone.

A waiting process cannot know a slow worker from a dead one, and its library does not say. So every process shows, by a
thread of its own and a few bytes twice a second, that it is alive (a *beat*, sent to the rank before it, which watches
over it); and it looks at its own worker, which must not stand still in the middle of its steps. A process that finds
something wrong notifies all others (a *notice*). They then leave their kernels and collectives with `WorkerLost`, and
the job ends.

How long is too long follows from the measured time of a step: see `Watch.patience`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control
from manyhands.teams.startup_watchdog import STOPPED_SECONDS

_LOOK_SECONDS, _BEAT_SECONDS = 0.2, 0.4
_CALM_SECONDS = 60.0
"""Patience with a worker that is not training: it may be reading a large file."""
_SHORTEST_SECONDS = 4.0
_STEPS, _STRETCHES = 100, 20
"""A worker may stand still for this many mean steps, or this many times its longest step or call so far."""
_GRACE_SECONDS = 5.0
_LEAVING_SECONDS = 3.0
"""A worker that leaves is done: no other can need it for longer than a last message takes."""
_STOPPED_LOOK_SECONDS = 2.0
LONGEST_NOTICE = 4000
"""Characters in a notice."""


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


class Pace:
    """How fast a worker moves on, as its `Control.progress` shows, and since when it has not."""

    def __init__(self, control: Control, waiting: Callable[[], bool], now: float) -> None:
        self._control, self._waiting = control, waiting
        self.steps = int(control.progress[0])
        self._first = self.steps
        self._began = self._moved = now
        self._longest = 0.0

    def look(self, now: float) -> None:
        """Note whether it has moved. Waiting for others is not standing still."""
        steps = int(self._control.progress[0])
        if steps != self.steps or self._waiting():
            if self.steps > self._first:  # the first step may have to touch all memory for the first time
                self._longest = max(self._longest, now - self._moved)
            self.steps, self._moved = steps, now

    def patience(self) -> float | None:
        """Return how long it may stand still, from the steps so far; None before there are any."""
        taken = self.steps - self._first
        if taken < 1:
            return None
        step = (self._moved - self._began) / taken
        return max(_SHORTEST_SECONDS, _STEPS * step, _STRETCHES * self._longest)

    def still(self, now: float) -> float:
        """Return for how many seconds it has been standing still."""
        return now - self._moved


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
    """

    def __init__(
        self, messages: Messages, calm: float = _CALM_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._messages, self.rank = messages, messages.rank
        self.lost: tuple[int, str] | None = None
        self.mine = self.depends = False
        self._chosen = chosen_patience()
        self._unless_chosen = calm
        self._pace: Pace | None = None
        self._control: Control | None = None
        self._next = (self.rank + 1) % messages.size
        self._beat_sent = float("-inf")
        self._heard, self._allowed = clock(), self._chosen or calm
        self._next_left = False
        self._called_off = self._looked = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="manyhands-watch", daemon=True)

    def start(self) -> None:
        """Look five times a second: more often would disturb the worker."""
        self._thread.start()

    def follow(self, control: Control, waiting: Callable[[], bool]) -> None:
        """Look at a worker's steps from now on; set its ``control.stop`` when the job is called off."""
        self._control = control
        self._pace = Pace(control, waiting, self._clock())
        self._beat_sent = float("-inf")  # from now on its silence means more: let the neighbour know at once
        if self.lost is not None:
            control.stop[0] = 1

    @contextlib.contextmanager
    def patience_chosen(self, seconds: float | None) -> Iterator[None]:
        """Have this patience for the length of a block, or None: that of MANYHANDS_HANG_TIMEOUT, if it is set."""
        before, self._chosen = self._chosen, chosen_patience() if seconds is None else seconds
        self._beat_sent = float("-inf")  # the neighbour is to know at once
        try:
            yield
        finally:
            self._chosen = before

    def unfollow(self) -> None:
        """Look at no steps any more: the worker has done its work."""
        self._pace = self._control = None

    @property
    def patience(self) -> float:
        """Seconds that a worker may stand still.

        What the run or MANYHANDS_HANG_TIMEOUT says; else, from its second step on, 100 mean steps or 20 times the
        longest pause so far, but at least 4 s; else a minute.
        """
        if self._chosen is not None:
            return self._chosen
        pace = self._pace
        measured = None if pace is None else pace.patience()
        return _CALM_SECONDS if measured is None else measured

    @property
    def silence(self) -> float:
        """Seconds without a beat after which this process is lost.

        While its worker trains, nothing keeps the watch's thread from its beats for long; before, reading a file may.
        """
        if self._chosen is not None:
            return self._chosen
        pace = self._pace
        return self._unless_chosen if pace is None else max(_SHORTEST_SECONDS, pace.patience() or 0.0)

    def call_off(self, rank: int, reason: str) -> bool:
        """Notify all that worker ``rank`` will not come any more; return whether this was the first call."""
        if self.lost is not None:
            return False
        self.mine = True
        self._take_over(rank, reason)
        self._messages.notify(rank, reason[:LONGEST_NOTICE])
        return True

    def close(self) -> None:
        """End the watch, and notify the process that watches this one that it leaves in good order."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        if self.lost is None:
            self._beat(0.0)
            deadline = time.monotonic() + 1
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
            if self.lost is None:
                self.mine = True
                self._take_over(self._next, f"or another one cannot be reached ({error})")
        now = self._clock()
        if self.lost is None:
            self._check_workers(now)
        elif now - self._called_off > _GRACE_SECONDS:
            self._end()

    def _check_workers(self, now: float) -> None:
        """Call off for a worker that stands still, or a neighbour that is silent."""
        if self._pace is not None:
            self._pace.look(now)
        pace, patience = self._pace, self.patience
        if pace is not None and pace.still(now) > patience:
            self.call_off(
                self.rank,
                f"(process {os.getpid()} on {socket.gethostname()}) hangs: no step for {pace.still(now):.1f} s after "
                f"step {pace.steps}{_hint(patience)}",
            )
        elif self._next_left and self.depends and now - self._heard > _LEAVING_SECONDS:
            self.call_off(self._next, "has left the job, though the others still wait for it")
        elif not self._next_left and now - self._heard > (allowed := self._allowance(now)):
            self.call_off(
                self._next,
                f"has shown no sign of life for {now - self._heard:.1f} s: it is stopped or stuck, or its machine "
                f"is gone{_hint(allowed)}",
            )

    def _allowance(self, now: float) -> float:
        """Return the seconds that the neighbour may be silent: not so many if it can be seen to be stopped."""
        silent = now - self._heard
        if silent <= STOPPED_SECONDS or self._chosen is not None or now - self._looked < _STOPPED_LOOK_SECONDS:
            return self._allowed
        self._looked = now
        return min(self._allowed, STOPPED_SECONDS) if self._messages.next_is_stopped() else self._allowed

    def _beat(self, silence: float) -> None:
        """Show a sign of life, and for how long there may be none; 0: this was the last."""
        self._beat_sent = self._clock()
        self._messages.beat(silence)

    def _receive(self) -> None:
        """Receive all beats and notices that have come."""
        beat = self._messages.last_beat()
        if beat is not None:
            self._heard, self._next_left = self._clock(), beat == 0
            self._allowed = max(beat, 2 * _BEAT_SECONDS)
        while (notice := self._messages.notice()) is not None:
            self._take_over(*notice)

    def _take_over(self, rank: int, reason: str) -> None:
        """Note that a worker is lost, and let this process's worker stop."""
        if self.lost is None:
            self.lost, self._called_off = (rank, reason), self._clock()
        control = self._control
        if control is not None:
            control.stop[0] = 1

    def _end(self) -> None:
        """End the whole job: the time for ending in good order is over."""
        assert self.lost is not None
        if self.mine:
            os.write(2, f"manyhands: worker {self.lost[0]} {self.lost[1]}\n".encode())
        self._messages.abort(1)


def _hint(patience: float) -> str:
    return f" (patience: {patience:.1f} s; MANYHANDS_HANG_TIMEOUT sets another)"
