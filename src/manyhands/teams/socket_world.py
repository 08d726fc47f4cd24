"""The job of Spark tasks that this process is a member of: transfers over plain TCP connections.

Every two workers have two connections. One carries the bytes of transfers: both sides know how many come next, so they
are nothing but these bytes. The other one carries texts, beats and notices. gloo, which carries the rounds of the team
torch, would do the same, and take 210 MB more memory in every task, as PyTorch is there for it alone (docs/spark.md).

Connections are made by workers that know the job's secret, and by no others; what goes over them is not encrypted.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np

from manyhands.teams import spark_environment
from manyhands.teams.exit_hooks import leave_at_exit
from manyhands.teams.socket_meeting import DATA, WORDS, meet, processes_here
from manyhands.teams.socket_streams import LOOK_MS, LostConnection, SocketMessages, Stream
from manyhands.teams.world import Bytes, Transfer, World, begins_of


class _Transfer:
    """Up to which bytes of which streams a transfer goes; it keeps what is sent alive."""

    def __init__(self, kept: Any = None) -> None:
        self.ends: list[tuple[Stream, int, int]] = []
        self.kept = kept

    def is_done(self) -> bool:
        return all(each.sent >= sent and each.received >= received for each, sent, received in self.ends)


class SocketWorld(World):
    """The place of this process in a job of Spark tasks.

    Parameters
    ----------
    rank
        This worker.
    streams
        The data connections, by rank; None for this worker's own.
    words
        The other connections.
    here
        The process numbers of the job's workers on this machine, by rank.
    calm
        Seconds of patience with a worker that is not training.
    """

    job = "a Spark job"

    def __init__(
        self,
        rank: int,
        streams: Sequence[Stream | None],
        words: SocketMessages,
        here: dict[int, int],
        *,
        calm: float | None = None,
    ) -> None:
        super().__init__()
        self.rank, self.size = rank, len(streams)
        self.place = sorted(here).index(rank)
        self.library = "TCP"
        self._streams, self._words = streams, words
        self._others = [each for each in streams if each is not None]
        self._mark = np.zeros(1, np.uint8)
        if self.size > 1:
            self.begin_watch(words, calm)

    def start_all_to_all(
        self, sent: Bytes, counts: Sequence[int], received: Bytes, expected: Sequence[int]
    ) -> Transfer:
        """Send to each, and receive from each."""
        outward, inward = begins_of(counts), begins_of(expected)
        mine = self.rank
        received[inward[mine] : inward[mine] + expected[mine]] = sent[outward[mine] : outward[mine] + counts[mine]]
        transfer = _Transfer(sent)
        for stream in self._others:
            to, came = stream.rank, stream.rank
            self._begin(
                transfer,
                stream,
                sent[outward[to] : outward[to] + counts[to]],
                received[inward[came] : inward[came] + expected[came]],
            )
        return transfer

    def start_exchange(self, parts: Bytes, counts: Sequence[int], rows: Bytes) -> Transfer:
        """Send the parts of the others."""
        begins, width = begins_of(counts), counts[self.rank]
        transfer = _Transfer(parts)
        for stream in self._others:
            to = stream.rank
            room = rows[to * width : (to + 1) * width]
            self._begin(transfer, stream, parts[begins[to] : begins[to] + counts[to]], room)
        return transfer

    def start_all_gather(self, parts: Bytes, counts: Sequence[int]) -> Transfer:
        """Send the own part to each, and receive theirs in their places."""
        begins = begins_of(counts)
        mine = parts[begins[self.rank] : begins[self.rank] + counts[self.rank]]
        transfer = _Transfer(parts)
        for stream in self._others:
            came = stream.rank
            self._begin(transfer, stream, mine, parts[begins[came] : begins[came] + counts[came]])
        return transfer

    def start_broadcast(self, content: Bytes, root: int) -> Transfer:
        """Send to all, or receive."""
        transfer, nothing = _Transfer(content), content[:0]
        if self.rank == root:
            for stream in self._others:
                self._begin(transfer, stream, content, nothing)
        else:
            source = self._streams[root]
            assert source is not None
            self._begin(transfer, source, nothing, content)
        return transfer

    def start_barrier(self) -> Transfer:
        """Exchange a byte with each."""
        room = np.zeros(self.size, np.uint8)
        transfer = _Transfer(room)
        for stream in self._others:
            self._begin(transfer, stream, self._mark, room[stream.rank : stream.rank + 1])
        return transfer

    def _begin(self, transfer: _Transfer, stream: Stream, content: Bytes, room: Bytes) -> None:
        transfer.ends.append((stream, stream.send(content), stream.receive(room)))

    def complete(self, transfers: Sequence[Transfer], *, idle: bool) -> None:
        """Sleep until the system can take or give bytes, and move them."""
        while True:
            for stream in self._others:
                stream.move()
            if all(each.is_done() for each in transfers):
                return
            poll = select.poll()
            for stream in self._others:
                if events := stream.events():
                    poll.register(stream.connection, events)
            poll.poll(LOOK_MS)
            self.check()

    def send_text(self, text: str, to: int, tag: int) -> None:
        """Send it over the other connection."""
        self._words.send(to, {"text": text, "tag": tag})

    def take_text(self, tag: int) -> tuple[int, str] | None:
        """Take the first one that has come."""
        return self._words.take(tag)

    def blamed(self, error: RuntimeError) -> tuple[int, str]:
        """Return the worker whose connection is closed."""
        if isinstance(error, LostConnection):
            return error.rank, f"has ended or cannot be reached ({error})"
        return self.rank, str(error)

    def abort(self, status: int) -> None:
        """End this process: its task fails, and Spark ends the others."""
        self._words.abort(status)

    def is_over(self) -> bool:
        """Return False: nobody else ends the connections."""
        return False

    def end(self) -> None:
        """Keep the connections until the process ends: the others may still receive what it has sent."""


_joined: SocketWorld | None = None


def join(*, calm: float | None = None, guard: bool = True) -> SocketWorld:
    """Return this process's place in its job of Spark tasks; a ManyhandsError says who has not come."""
    global _joined
    if _joined is None:
        found = spark_environment.place()
        assert found is not None
        with os.fdopen(found.secret, "rb") as pipe:
            secret = pipe.read()
        listening = socket.socket(fileno=found.listening)
        _joined = connect(found.rank, found.addresses, listening, secret, calm=calm)
        leave_at_exit(_joined)
    return _joined


def joined() -> SocketWorld | None:
    """Return this process's place in its job if it has joined it."""
    return _joined


def connect(
    rank: int,
    addresses: Sequence[tuple[str, int]],
    listening: socket.socket,
    secret: bytes,
    *,
    calm: float | None = None,
) -> SocketWorld:
    """Connect a worker with all others: it calls those before it, and is called by those behind it.

    Parameters
    ----------
    rank
        This worker.
    addresses
        Host and port of each.
    listening
        The socket that this one is called on; it is closed.
    secret
        What only the workers of the job know.

    Raises
    ------
    ManyhandsError
        If some do not come.
    """
    found = meet(rank, addresses, listening, secret)
    here = processes_here(rank, found)
    ordered = [found.get((other, WORDS)) for other in range(len(addresses))]
    streams = [None if each == rank else Stream(found[each, DATA], each) for each in range(len(addresses))]
    return SocketWorld(rank, streams, SocketMessages(rank, ordered, here), here, calm=calm)
