"""How workers of Spark tasks connect with each other, and only with those that know the secret of their job."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from manyhands.core.errors import ManyhandsError
from manyhands.runtime import signals
from manyhands.teams.socket_streams import LENGTH
from manyhands.teams.watchdog import chosen_patience

_COMING_SECONDS, _HANDSHAKE_SECONDS, _COMING_LOOK_SECONDS = 120.0, 10.0, 0.05
_CHALLENGE, _PROOF = 32, 32
DATA, WORDS = b"D", b"W"
"""The two kinds of connections: for transfers, and for messages."""
Connections = dict[tuple[int, bytes], socket.socket]
"""By the other worker's rank, and kind."""
_HELLO = struct.Struct("!ic")
"""Who calls, and for which kind of connection."""


def meet(rank: int, addresses: Sequence[tuple[str, int]], listening: socket.socket, secret: bytes) -> Connections:
    """Connect a worker with all others: it calls those before it, and is called by those behind it.

    See `manyhands.teams.socket_world.connect`.
    """
    found: Connections = {}
    try:
        with contextlib.closing(listening):
            _connect_all(rank, addresses, listening, secret, found)
    except BaseException:
        for connection in found.values():
            connection.close()
        raise
    return found


def _connect_all(
    rank: int,
    addresses: Sequence[tuple[str, int]],
    listening: socket.socket,
    secret: bytes,
    found: Connections,
) -> None:
    """Make all connections of a worker."""
    end = time.monotonic() + (chosen_patience() or _COMING_SECONDS)
    for other in range(rank):
        for kind in (DATA, WORDS):
            found[other, kind] = _call(rank, kind, addresses[other], secret, end)
    listening.settimeout(_COMING_LOOK_SECONDS)
    while len(found) < 2 * (len(addresses) - 1):
        signals.check()
        if time.monotonic() > end:
            missing = [str(each) for each in range(len(addresses)) if each != rank and (each, WORDS) not in found]
            raise ManyhandsError(f"worker {', '.join(missing)} has not connected with worker {rank} of this Spark job")
        with contextlib.suppress(TimeoutError):
            _answer(listening.accept()[0], secret, found)


def _call(rank: int, kind: bytes, address: tuple[str, int], secret: bytes, end: float) -> socket.socket:
    """Call another worker, prove that this one knows the secret, and have it proven."""
    while True:
        signals.check()
        try:
            connection = socket.create_connection(address, timeout=_HANDSHAKE_SECONDS)
            break
        except OSError as error:
            if time.monotonic() > end:
                raise ManyhandsError(f"worker {rank} cannot reach another one at {address[0]}: {error}") from error
            time.sleep(_COMING_LOOK_SECONDS)
    try:
        hello, own = _HELLO.pack(rank, kind), secrets.token_bytes(_CHALLENGE)
        theirs = _exactly(connection, _CHALLENGE)
        connection.sendall(hello + own + _proof(secret, b"caller", hello, theirs, own))
        if hmac.compare_digest(_exactly(connection, _PROOF), _proof(secret, b"called", hello, own, theirs)):
            return _ready(connection)
        why = "it does not know the secret of this job"
    except OSError as error:
        why = str(error)
    connection.close()
    raise ManyhandsError(f"worker {rank} was not answered by another one at {address[0]}:{address[1]}: {why}")


def _answer(connection: socket.socket, secret: bytes, found: Connections) -> None:
    """Let a caller prove that it knows the secret; anybody else is sent away."""
    connection.settimeout(_HANDSHAKE_SECONDS)
    own = secrets.token_bytes(_CHALLENGE)
    try:
        connection.sendall(own)
        hello = _exactly(connection, _HELLO.size)
        theirs, proof = _exactly(connection, _CHALLENGE), _exactly(connection, _PROOF)
        if hmac.compare_digest(proof, _proof(secret, b"caller", hello, own, theirs)):
            connection.sendall(_proof(secret, b"called", hello, theirs, own))
            found[_HELLO.unpack(hello)] = _ready(connection)
            return
    except OSError:
        pass
    connection.close()


def _proof(secret: bytes, *parts: bytes) -> bytes:
    return hmac.new(secret, b"".join(parts), hashlib.sha256).digest()


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ConnectionError("the connection was closed")
        found += part
    return found


def _ready(connection: socket.socket) -> socket.socket:
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def processes_here(rank: int, found: Connections) -> dict[int, int]:
    """Return the process numbers of the workers on this machine, by rank: those whose address is this one's."""
    mine = json.dumps([_machine(), os.getpid()]).encode()
    words = {other: connection for (other, kind), connection in found.items() if kind == WORDS}
    for connection in words.values():
        connection.sendall(LENGTH.pack(len(mine)) + mine)
    here = {rank: os.getpid()}
    for other, connection in words.items():
        length = LENGTH.unpack(_exactly(connection, LENGTH.size))[0]
        machine, pid = json.loads(_exactly(connection, length))
        if machine == _machine():
            here[other] = pid
    return here


def _machine() -> str:
    """Return what only processes that can see each other have in common: this start of a machine, or a container."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return f"{file.read().strip()} {Path('/proc/self/ns/pid').stat().st_ino}"
    return socket.gethostname()
