"""The IDX format of MNIST and EMNIST: a magic number, sizes, then the values, big-endian; plain or gzip.

``00 00 type dimensions``, one 32-bit size per dimension, data. See LeCun, Cortes, Burges: the MNIST database.
"""

from __future__ import annotations

import io
import math
import os
import stat
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import FormatError
from manyhands.data import download
from manyhands.data.filestate import FileState, changed
from manyhands.data.packed import CHUNK, opened, read_up_to, skip, too_large
from manyhands.runtime.atomic_files import readable
from manyhands.runtime.cgroups import memory_room

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_DIMENSIONS = 8
_LARGE = 1 << 28
"""Bytes from which on processes that read the same file share one copy of it."""
_DEFLATE_LIMIT = 1032
"""Bytes that one byte of a gzip file can become at most."""


class Idx(NamedTuple):
    """The array of an IDX file, and the file's state when it was read or mapped; None if it is no ordinary file."""

    values: NDArray[Any]
    state: FileState | None = None


def read_idx(path: str | Path) -> NDArray[Any]:
    """Return the array in an IDX file, in the machine's byte order; see :func:`load_idx`."""
    return load_idx(path).values


def load_idx(
    path: str | Path, *, rows: int | None = None, shared: bool = False, published: download.Published | None = None
) -> Idx:
    """Read an IDX file.

    It is read, not mapped: then no other process can change the values, or end this one (SIGBUS) by shortening the
    file, while they are used. Plain bytes are mapped only where a copy costs too much: if several processes of one
    machine would each have a large one, or a single one would take half of the memory that is left
    (`manyhands.data.filestate.check_unchanged` then finds changes). The array must not be written to.

    Parameters
    ----------
    path
        The file, plain or gzip.
    rows
        Number of first rows to keep. The others are checked for damage, but never held.
    shared
        Whether other processes of this machine read the same file.
    published
        The published file that it must be; checked before anything is unpacked.

    Returns
    -------
    Idx
        An array of the shape, but for ``rows``, and the type that the header says.

    Raises
    ------
    MissingDataError
        If there is no such file.
    ChecksumError
        If it is not the published one.
    FormatError
        If the file is empty, truncated, longer than its header says, not IDX, or broken gzip; names the byte.
    DataError
        If it cannot be read, was changed meanwhile, or has more values than there is memory.
    """
    path = readable(path)
    with opened(path, published) as (file, plain):
        if published is not None:
            return Idx(_parse(file, path, None, rows)[0])
        before = FileState.of(path, file.fileno())
        values, mapped = _parse(file, path, before.size if plain and before is not None else None, rows, shared=shared)
        now = FileState.of(path, file.fileno())
        if before is not None and now is not None and before != now:
            raise changed(before, now)
        return Idx(values, None if before is None else replace(before, mapped=mapped))


def read_idx_shape(path: str | Path) -> tuple[tuple[int, ...], bool]:
    """Return the shape in the header of an IDX file, and whether the file is plain; errors as :func:`load_idx`."""
    path = readable(path)
    with opened(path) as (file, plain):
        return _parse_header(file, path)[1], plain


def read_idx_header(path: Path) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return type and shape of a plain IDX file, and where its values begin; errors as :func:`load_idx`.

    Raises
    ------
    FormatError
        Also if it is a compressed file, or has another length than its header says.
    """
    path = readable(path)
    with opened(path) as (file, plain):
        if not plain:
            raise FormatError("a part must be plain, so that it can be read from any row on; unpack it", path=path)
        dtype, shape = _parse_header(file, path)
        begin = 4 + 4 * len(shape)
        _check_length(path, shape, begin + math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size)
        return dtype, shape, begin


def same_content(path: Path, other: Path) -> bool:
    """Return whether two files, plain or gzip, hold the same bytes; errors as :func:`load_idx`."""
    with opened(path) as (file, _), opened(other) as (second, _):
        while True:
            block, again = file.read(CHUNK), second.read(CHUNK)
            if block != again:
                return False
            if not block:
                return True


def _parse(
    file: BinaryIO, path: Path, length: int | None, rows: int | None, *, shared: bool = False
) -> tuple[NDArray[Any], bool]:
    """Return the values, and whether they are mapped; ``length`` is that of a plain, ordinary file."""
    dtype, shape = _parse_header(file, path)
    kept = (min(shape[0], shape[0] if rows is None else rows), *shape[1:])
    begin, size = 4 + 4 * len(shape), math.prod(shape) * dtype.itemsize
    needed = math.prod(kept) * dtype.itemsize
    if length is not None:
        _check_length(path, shape, begin + size, length)
        if dtype.itemsize == 1 and _too_large(needed, shared=shared):
            mapped = _mapped(file, dtype, shape, begin)
            if mapped is not None:
                return mapped[: kept[0]], True
    _check_room(path, kept, needed, dtype, file)
    data = read_up_to(file, needed) if length is None else _read_at_once(file, needed)
    read = len(data) + (0 if length is not None or len(data) < needed else skip(file, size - needed))
    if length is None or len(data) < needed:
        more = 1 if read == size and file.read(1) else 0
        _check_length(path, shape, begin + size, begin + read + more)
    values = np.frombuffer(data, dtype).reshape(kept)
    return values.astype(dtype.newbyteorder("="), copy=False), False


def _check_length(path: Path, shape: tuple[int, ...], promised: int, there: int) -> None:
    if there < promised:
        raise FormatError(
            f"the file is truncated: its header promises {promised} bytes for shape {shape}", path=path, byte=there
        )
    if there > promised:
        raise FormatError(f"the file goes on after the {promised} bytes its header promises", path=path, byte=promised)


def _too_large(needed: int, *, shared: bool) -> bool:
    """Return whether bytes of a plain file should be mapped and not copied."""
    room = memory_room()
    return (shared and needed > _LARGE) or (room is not None and needed > room[0] // 2)


def _check_room(path: Path, shape: tuple[int, ...], needed: int, dtype: np.dtype[Any], file: BinaryIO) -> None:
    """Refuse values that memory cannot hold before any is read; a file too short for them is refused later."""
    room = memory_room()
    copies = 1 if dtype.itemsize == 1 else 2  # the second in the machine's byte order
    if room is None or min(copies * needed, _most_in(file)) <= room[0]:
        return
    raise too_large(path, f"values of shape {shape}", copies * needed, room)


def _most_in(file: BinaryIO) -> float:
    """Return how many bytes can come out of a file at most."""
    try:
        found = os.fstat(file.fileno())
    except OSError:  # in memory: it is checked already
        return math.inf
    return _DEFLATE_LIMIT * found.st_size if stat.S_ISREG(found.st_mode) else math.inf


def _parse_header(file: BinaryIO, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    header = file.read(4)
    if not header:
        raise FormatError("the file is empty", path=path, byte=0)
    if len(header) < 4:
        raise FormatError("the file ends inside the magic number", path=path, byte=len(header))
    zero, code, dimensions = struct.unpack(">HBB", header)
    if zero != 0 or code not in _TYPES or not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise FormatError(f"not an IDX file: it begins with {header.hex(' ')}", path=path, byte=0)
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise FormatError("the file ends inside the list of sizes", path=path, byte=4 + len(sizes))
    shape = struct.unpack(f">{dimensions}I", sizes)
    dtype = np.dtype(_TYPES[code])
    if math.prod(max(size, 1) for size in shape) * dtype.itemsize > sys.maxsize:
        raise FormatError(f"no array can have the shape {shape} its header promises", path=path, byte=4)
    return dtype, shape


def _mapped(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...], begin: int) -> NDArray[Any] | None:
    """Return the bytes behind the header as they lie in the file; None where that is not possible (a pipe)."""
    count = math.prod(shape)
    if not count or os.fstat(file.fileno()).st_size != begin + count:
        return None
    try:
        # Copy on write, never written: kernels are compiled for arrays that could be. And a plain array, as what is
        # computed from a memmap would be of that class, too.
        return np.asarray(np.memmap(file, dtype, "c", offset=begin, shape=shape))
    except (OSError, ValueError):  # a file system without it
        file.seek(begin)  # memmap moved it
        return None


def _read_at_once(file: BinaryIO, count: int) -> NDArray[np.uint8]:
    """Read ``count`` bytes, which the file is known to have."""
    data = np.empty(count, np.uint8)
    read = cast(io.BufferedReader, file).readinto(data.data) if count else 0
    return data[:read]  # somebody may have shortened it
