"""Fetching published files: several mirrors in turn, checksums, whole files or none."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from manyhands.errors import ChecksumError, DownloadError, MissingDataError
from manyhands.files import atomic_writer, make_folder

_CHUNK = 1 << 16
_CONNECT_SECONDS = 3.0
_READ_SECONDS = 5.0


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises
    ------
    MissingDataError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MissingDataError(f"cannot be read ({error.strerror})", path=path) from error


def check(path: Path, expected: str) -> None:
    """Check a file against its published SHA-256.

    Raises
    ------
    ChecksumError
        If it differs.
    """
    found = sha256_of(path)
    if found != expected:
        raise ChecksumError(
            f"the SHA-256 is {found[:12]}..., the published file's is {expected[:12]}...; "
            "delete the file to fetch it again",
            path=path,
        )


def fetch_all(files: Mapping[str, str], mirrors: Sequence[str], folder: Path, *, seconds: float) -> None:
    """Bring files into ``folder`` that are not there yet.

    Parameters
    ----------
    files
        Name -> SHA-256.
    mirrors
        Base addresses, tried in turn for each file.
    folder
        Made if missing.
    seconds
        Time for all of it; then it counts as failed.

    Raises
    ------
    DownloadError
        If a file comes from no mirror in time; says what each mirror answered.
    OutputError
        If it cannot be written.
    """
    try:
        make_folder(folder)
    except OSError as error:
        raise DownloadError(f"cannot make the folder ({error.strerror})", path=folder) from error
    deadline = time.monotonic() + seconds
    for name, digest in files.items():
        if not (folder / name).exists():
            _fetch(name, digest, mirrors, folder, deadline)


class _RefusedError(Exception):
    """A mirror did not give the file. No OSError, as those of requests are: atomic_writer would convert it."""


def _fetch(name: str, digest: str, mirrors: Sequence[str], folder: Path, deadline: float) -> None:
    """Fetch one file from the first mirror that has it whole and right."""
    answers = []
    for mirror in mirrors:
        try:
            with atomic_writer(folder / name) as file:
                found = _stream(f"{mirror.rstrip('/')}/{name}", file, name, deadline)
                if found != digest:
                    raise _RefusedError(f"SHA-256 {found[:12]}... instead of {digest[:12]}...")
            return
        except _RefusedError as error:
            answers.append(f"  {mirror}: {error}")
        if time.monotonic() > deadline:
            break
    raise DownloadError(
        f"{name} could not be downloaded:\n" + "\n".join(answers) + f"\nPut the file into {folder} yourself, "
        "or set MANYHANDS_DATA to a folder that has it."
    )


def _stream(address: str, file: BinaryIO, name: str, deadline: float) -> str:
    """Copy an address into ``file``, with progress on a terminal; return the SHA-256 of what came."""
    from tqdm import tqdm

    digest = hashlib.sha256()
    with tqdm(desc=name, unit="B", unit_scale=True, disable=None, leave=False, file=sys.stderr) as bar:
        for piece in _pieces(address, deadline):
            digest.update(piece)
            file.write(piece)
            bar.update(len(piece))
    return digest.hexdigest()


def _pieces(address: str, deadline: float) -> Iterator[bytes]:
    """Yield what comes as it comes: not unpacked, and without waiting until a piece is full."""
    import requests
    import urllib3

    timeout = (_CONNECT_SECONDS, _READ_SECONDS)
    try:
        with requests.get(address, stream=True, timeout=timeout, headers={"Accept-Encoding": "identity"}) as response:
            response.raise_for_status()
            while piece := response.raw.read1(_CHUNK, decode_content=False):
                if time.monotonic() > deadline:
                    raise _RefusedError("too slow")
                yield piece
    except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise _RefusedError(_short(error)) from error


def _short(error: Exception) -> str:
    """Return an error's heart: requests nests several exceptions into one long line."""
    text = str(error)
    return type(error).__name__ if len(text) > 100 or not text else text
