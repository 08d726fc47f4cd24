"""Data files that may be gzip: opened by their content, read piece by piece, damage as an error of ours."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from manyhands.core.errors import DataError, FormatError, MissingDataError
from manyhands.core.parameters import parameter
from manyhands.data import download
from manyhands.data.filestate import FileState, changed
from manyhands.runtime.atomic_files import home_hint

CHUNK = 1 << 24
"""Bytes that are read at once."""
_GZIP = b"\x1f\x8b"


@contextlib.contextmanager
def opened(path: Path, published: download.Published | None = None) -> Iterator[tuple[BinaryIO, bool]]:
    """Open a file, unpacking it if necessary, and whether it is plain.

    Parameters
    ----------
    path
        The file.
    published
        The published file that it must be; checked before anything is unpacked.

    Raises
    ------
    MissingDataError
        If there is no such file.
    FormatError
        If it is broken gzip, also where that is found inside the block.
    DataError
        If it cannot be read.
    """
    try:
        with _source(path, published) as file:  # once, as a pipe can be opened only once
            if file.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:  # compression is seen in the content, not in the name
                yield file, True
            else:
                with gzip.open(file, "rb") as unpacked:
                    yield cast(BinaryIO, unpacked), False
    except FileNotFoundError as error:
        raise MissingDataError(f"there is no such file{home_hint(path)}", path=path) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"broken gzip file ({error}); fetch it again", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", path=path) from error


def _source(path: Path, published: download.Published | None) -> io.BufferedReader:
    """Open a file; a published one is read and checked at once, so that nobody can change it after the check."""
    if published is None:
        return open(path, "rb")
    return io.BufferedReader(io.BytesIO(download.check(path, published)))


@contextlib.contextmanager
def watched(path: Path) -> Iterator[tuple[BinaryIO, int | None, FileState | None]]:
    """Open a file as `opened`, and refuse it if it was changed when the block ends without an error.

    Yields
    ------
    file, length, state
        The file; its length in bytes if it is plain and ordinary, else None; its state if it is ordinary, else None.

    Raises
    ------
    DataError
        As `opened`, or if the file was written to meanwhile.
    """
    with opened(path) as (file, plain):
        before = FileState.of(path, file.fileno())
        yield file, before.size if plain and before is not None else None, before
        now = FileState.of(path, file.fileno())
        if before is not None and now is not None and before != now:
            raise changed(before, now)


def too_large(path: Path, what: str, needed: int, room: tuple[int, str]) -> DataError:
    """Return the error for values that memory cannot hold; ``room`` is what `memory_room` returned."""
    return DataError(
        f"{what} need {needed / 1e9:.2f} GB of memory, and {room[0] / 1e9:.2f} GB are {room[1]}; use fewer training "
        f"rows ({parameter('train_size')}), or smaller files",
        path=path,
    )


def read_up_to(file: BinaryIO, count: int) -> bytearray:
    """Read at most ``count`` bytes; no memory is reserved for a header that promises too many."""
    # Not into immutable bytes: kernels would be compiled once more, for arrays that cannot be written to.
    data = bytearray()
    while count > 0 and (piece := file.read(min(count, CHUNK))):
        data += piece
        count -= len(piece)
    return data


def skip(file: BinaryIO, count: int) -> int:
    """Read bytes without keeping them; return how many there were."""
    left = count
    while left > 0 and (piece := file.read(min(left, CHUNK))):
        left -= len(piece)
    return count - left
