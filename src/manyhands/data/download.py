"""Downloading published files: several mirrors in turn, checksums, whole files or none."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import stat
import threading
import time
import urllib.parse
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from manyhands.core.errors import ChecksumError, DownloadError, MissingDataError, shown
from manyhands.runtime.atomic_files import atomic_writer, make_folder
from manyhands.runtime.terminal import progress_bar

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 16
_CONNECT_SECONDS = 3.0
_READ_SECONDS = 5.0
_SLOWEST = 1000
"""Bytes per second; a mirror that sends less gives way to the next."""
_AHEAD, _MOVES = 16, 5


class Published(NamedTuple):
    """A published file: its SHA-256 in hexadecimal, and its length in bytes."""

    sha256: str
    size: int


def check(path: Path, published: Published) -> bytes:
    """Return the content of a file that has to be a published one.

    Raises
    ------
    MissingDataError
        If it cannot be read.
    ChecksumError
        If it is another file.
    """
    content = _content(path, published.size + 1)
    found = hashlib.sha256(content).hexdigest()
    if found != published.sha256:
        length = "" if len(content) == published.size else f", of {published.size} bytes"
        raise ChecksumError(
            f"the SHA-256 is {found[:12]}..., the published file's is {published.sha256[:12]}...{length}; "
            "delete the file to fetch it again",
            path=path,
        )
    return content


def _content(path: Path, most: int) -> bytes:
    """Return the first bytes of an ordinary file; reading a pipe could wait for ever."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MissingDataError("it is no ordinary file; delete it to fetch it again", path=path)
            return file.read(most)
    except OSError as error:
        raise MissingDataError(f"cannot be read ({error.strerror or error})", path=path) from error


def fetch_all(files: Mapping[str, Published], mirrors: Sequence[str], folder: Path, *, seconds: float) -> None:
    """Download the files that are not in ``folder`` yet, each from the first mirror (a base address) that works.

    Raises
    ------
    DownloadError
        If a file comes from no mirror within ``seconds`` for all of them; says what each mirror answered.
    OutputError
        If it cannot be written.
    """
    try:
        make_folder(folder)
    except OSError as error:
        raise DownloadError(f"cannot make the folder ({error.strerror})", path=folder) from error
    deadline = time.monotonic() + seconds
    for name, published in files.items():
        if not os.path.exists(folder / name):  # noqa: PTH110 - Path.exists raises where the folder may not be entered
            _fetch(name, published, mirrors, folder, deadline)


class _RefusedError(Exception):
    """A mirror did not give the file. No OSError, as those of requests are: atomic_writer would convert it."""


def _fetch(name: str, published: Published, mirrors: Sequence[str], folder: Path, deadline: float) -> None:
    """Download one file from the first mirror that has the right one."""
    answers = []
    for mirror in mirrors:
        try:
            with atomic_writer(folder / name) as file:
                _stream(f"{mirror.rstrip('/')}/{name}", file, name, published, deadline)
            return
        except _RefusedError as error:
            answers.append(f"  {mirror}: {error}")
        if time.monotonic() > deadline:
            break
    raise DownloadError(
        f"{name} could not be downloaded:\n" + "\n".join(answers) + f"\nPut the file into {folder} yourself, "
        "or set MANYHANDS_DATA to a folder that has it."
    )


def _stream(address: str, file: BinaryIO, name: str, published: Published, deadline: float) -> None:
    """Copy an address into ``file``, with progress on a terminal; refuse what is not the published file."""
    digest, left = hashlib.sha256(), published.size
    pieces = _paced(_pieces(address, published), deadline)
    with contextlib.closing(pieces), progress_bar(unit="KB") as advance:
        for piece in pieces:
            left -= len(piece)
            if left < 0:
                raise _RefusedError(f"more than the {published.size} bytes that the file has")
            digest.update(piece)
            file.write(piece)
            if advance is not None:
                advance(name, (published.size - left) / 1000, published.size / 1000)
    if digest.hexdigest() != published.sha256:
        raise _RefusedError(f"SHA-256 {digest.hexdigest()[:12]}... instead of {published.sha256[:12]}...")


def _paced(pieces: Iterator[bytes], deadline: float) -> Generator[bytes]:
    """Yield pieces that another thread downloads; raise _RefusedError when they come too slowly.

    Timeouts of the network are not enough: a server that sends its headers or its content byte by byte never meets one.
    """
    passed: queue.Queue[bytes | Exception | None] = queue.Queue(_AHEAD)
    given_up = threading.Event()
    threading.Thread(target=_pass_on, args=(pieces, passed, given_up), daemon=True).start()
    try:
        until, came = time.monotonic() + 2 * _READ_SECONDS + _CONNECT_SECONDS, 0
        while True:
            try:
                piece = passed.get(timeout=max(0.0, min(until, deadline) - time.monotonic()))
            except queue.Empty:
                raise _RefusedError("too slow") from None
            if piece is None:
                return
            if isinstance(piece, Exception):
                raise piece
            came += len(piece)
            if came >= _SLOWEST * _READ_SECONDS:
                until, came = time.monotonic() + _READ_SECONDS, 0
            yield piece
    finally:
        given_up.set()


def _pass_on(pieces: Iterator[bytes], passed: queue.Queue[bytes | Exception | None], given_up: threading.Event) -> None:
    """Put pieces into a queue until they end, fail, or are no longer wanted; a thread's target."""
    try:
        for piece in pieces:
            _offer(piece, passed, given_up)
            if given_up.is_set():
                return
        _offer(None, passed, given_up)
    except Exception as error:  # whatever it is, the other thread raises it
        _offer(error, passed, given_up)


def _offer(
    piece: bytes | Exception | None, passed: queue.Queue[bytes | Exception | None], given_up: threading.Event
) -> None:
    while not given_up.is_set():
        with contextlib.suppress(queue.Full):
            passed.put(piece, timeout=0.1)
            return


def _pieces(address: str, published: Published) -> Iterator[bytes]:
    """Yield the bytes of an answer as they arrive, not unpacked."""
    import urllib3

    try:
        with _answer(address) as response:
            response.raise_for_status()
            _check_headers(response.headers, published)
            while piece := response.raw.read1(_CHUNK, decode_content=False):
                yield piece
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:  # those of requests are the first
        raise _RefusedError(_short(error)) from error


def _answer(address: str) -> requests.Response:
    """Request an address, and those that it redirects to; https never leads to http."""
    import requests

    for _ in range(_MOVES):
        response = requests.get(
            address,
            stream=True,
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            headers={"Accept-Encoding": "identity"},
            allow_redirects=False,
        )
        if not response.is_redirect:
            return response
        response.close()
        before, address = address, urllib.parse.urljoin(address, response.headers["location"])
        if not address.startswith(("https://", "http://")[: 1 + before.startswith("http://")]):
            raise _RefusedError(f"it leads to {shown(address)[:80]}")
    raise _RefusedError("it leads from one address to the next")


def _check_headers(headers: Mapping[str, str], published: Published) -> None:
    """Refuse an answer whose announced length is another one, such as an error page, before it is read."""
    length = headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) != published.size:
        kind = shown(headers.get("Content-Type", "unknown"))[:40]
        raise _RefusedError(f"{length[:20]} bytes (type {kind}) instead of the file's {published.size}")


def _short(error: Exception) -> str:
    """Return an error in a few words: requests nests several exceptions into one long line."""
    text = str(error)
    return type(error).__name__ if len(text) > 100 or not text else text
