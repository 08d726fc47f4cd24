"""Connections between two workers of Spark tasks: a stream of bytes, whose lengths both sides know, and messages."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from manyhands.teams.startup_watchdog import is_stopped
from manyhands.teams.world import Bytes

LOOK_MS = 100
"""So long at most one waits for the system before one looks for what else has happened."""
LENGTH = struct.Struct("!I")
"""Of a message, before it."""
_LONGEST_TEXT = 1 << 26


class LostConnection(RuntimeError):  # noqa: N818 - `World.wait` takes it for what it is
    """Another worker's connection is closed.

    Attributes
    ----------
    rank : int
        That worker.
    """

    def __init__(self, rank: int, why: str) -> None:
        super().__init__(why)
        self.rank = rank


class Stream:
    """A connection whose bytes are sent and received in the order in which transfers were started.

    Parameters
    ----------
    connection
        Is not blocking from now on.
    rank
        The worker at the other end.
    """

    def __init__(self, connection: socket.socket, rank: int) -> None:
        connection.setblocking(False)
        self.connection, self.rank = connection, rank
        self.outgoing: deque[memoryview] = deque()
        self.incoming: deque[memoryview] = deque()
        self.sent = self.received = 0
        """Bytes so far."""
        self.to_send = self.to_receive = 0
        """Bytes so far, and those of transfers that were started."""

    def send(self, content: Bytes) -> int:
        """Start to send; return up to which byte this goes."""
        if len(content):
            self.outgoing.append(content.data)
            self.to_send += len(content)
        return self.to_send

    def receive(self, room: Bytes) -> int:
        """Start to receive; return up to which byte this goes."""
        if len(room):
            self.incoming.append(room.data)
            self.to_receive += len(room)
        return self.to_receive

    def events(self) -> int:
        """Return what this end waits for."""
        return (select.POLLOUT if self.outgoing else 0) | (select.POLLIN if self.incoming else 0)

    def move(self) -> None:
        """Send and receive as much as goes without waiting."""
        try:
            while self.outgoing:
                self.sent += (count := self.connection.send(self.outgoing[0]))
                _cut(self.outgoing, count)
        except BlockingIOError:
            pass
        except OSError as error:
            raise LostConnection(self.rank, str(error)) from error
        try:
            while self.incoming:
                self.received += (count := self.connection.recv_into(self.incoming[0]))
                if not count:
                    raise LostConnection(self.rank, "the connection was closed")
                _cut(self.incoming, count)
        except BlockingIOError:
            pass
        except OSError as error:
            raise LostConnection(self.rank, str(error)) from error


def _cut(queue: deque[memoryview], count: int) -> None:
    """Take so many bytes away from the first piece."""
    rest = queue[0][count:]
    if len(rest):
        queue[0] = rest
    else:
        queue.popleft()


class SocketMessages:
    """Texts, beats and notices; see `manyhands.teams.watchdog.Messages`. All calls come from any thread.

    Parameters
    ----------
    rank
        This worker.
    connections
        Those that are for texts, by rank; None for this worker's own.
    here
        The process numbers of the job's workers on this machine, by rank.
    """

    def __init__(self, rank: int, connections: Sequence[socket.socket | None], here: dict[int, int]) -> None:
        self.rank, self.size = rank, len(connections)
        self._next, self._here = (rank + 1) % self.size, here
        self._connections = dict(enumerate(connections))
        self._coming = {number: bytearray() for number in range(self.size)}
        self._texts: deque[tuple[int, int, str]] = deque()
        self._beats: deque[float] = deque()
        self._notices: deque[tuple[int, str]] = deque()
        self._sending, self._taking = threading.Lock(), threading.Lock()
        for connection in connections:
            if connection is not None:
                connection.setblocking(False)

    def send(self, to: int, message: dict[str, Any]) -> None:
        """Send a message, waiting a moment where there is no room; one who takes nothing is passed over."""
        connection = self._connections[to]
        if connection is None:
            self._sort(to, message)
            return
        content = json.dumps(message).encode()
        rest = memoryview(LENGTH.pack(len(content)) + content)
        with self._sending:
            while len(rest):
                try:
                    rest = rest[connection.send(rest) :]
                except BlockingIOError:
                    select.select([], [connection], [], LOOK_MS / 1000)
                except OSError as error:
                    raise LostConnection(to, str(error)) from error

    def take(self, tag: int) -> tuple[int, str] | None:
        """Return the first text of a tag, and who has sent it; None if there is none."""
        self._receive()
        with self._taking:
            for place, (source, found, text) in enumerate(self._texts):
                if found == tag:
                    del self._texts[place]
                    return source, text
        return None

    def beat(self, silence: float) -> None:
        """Send one to the rank before this one."""
        with contextlib.suppress(LostConnection):  # whoever watches over this one's neighbour will find out
            self.send((self.rank - 1) % self.size, {"beat": silence})

    def last_beat(self) -> float | None:
        """Return the newest that has come."""
        self._receive()
        found = None
        while self._beats:
            found = self._beats.popleft()
        return found

    def notify(self, rank: int, reason: str) -> None:
        """Send a notice to every other process that can be reached."""
        for other in range(self.size):
            if other != self.rank:
                with contextlib.suppress(LostConnection):
                    self.send(other, {"lost": rank, "reason": reason})

    def notice(self) -> tuple[int, str] | None:
        """Return a notice that has come."""
        self._receive()
        return self._notices.popleft() if self._notices else None

    def next_is_stopped(self) -> bool:
        """Return whether it is on this machine, and stopped."""
        return self._next in self._here and is_stopped(self._here[self._next])

    def flushed(self) -> bool:
        """Return True: what is sent is with the system."""
        return True

    def abort(self, status: int) -> None:
        """End this process, and those on this machine that are stopped and could not end themselves."""
        for rank, pid in self._here.items():
            if rank != self.rank and is_stopped(pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        os._exit(status)

    def _receive(self) -> None:
        """Take over all that has come."""
        with self._taking:
            for source, connection in self._connections.items():
                if connection is not None:
                    self._read(source, connection)

    def _read(self, source: int, connection: socket.socket) -> None:
        coming = self._coming[source]
        with contextlib.suppress(OSError):  # a closed connection has nothing more to say
            while part := connection.recv(1 << 16):
                coming += part
        while len(coming) >= LENGTH.size:
            length = LENGTH.unpack_from(coming)[0]
            if length > _LONGEST_TEXT:
                raise LostConnection(source, "what comes from it is no message")
            if len(coming) < LENGTH.size + length:
                break
            message = json.loads(bytes(coming[LENGTH.size : LENGTH.size + length]))
            del coming[: LENGTH.size + length]
            self._sort(source, message)

    def _sort(self, source: int, message: dict[str, Any]) -> None:
        if "beat" in message:
            self._beats.append(float(message["beat"]))
        elif "lost" in message:
            self._notices.append((int(message["lost"]), str(message["reason"])))
        else:
            self._texts.append((source, int(message["tag"]), str(message["text"])))
