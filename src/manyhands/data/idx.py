"""The IDX format of MNIST and EMNIST: a magic number, sizes, then the values, big-endian; plain or gzip.

``00 00 type dimensions``, one 32-bit size per dimension, data. See LeCun, Cortes, Burges: the MNIST database.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import DataError, FormatError, MissingDataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_DIMENSIONS = 8
_CHUNK = 1 << 24
_GZIP = b"\x1f\x8b"


def read_idx(path: str | Path) -> NDArray[Any]:
    """Return the array in an IDX file, in the machine's byte order.

    The bytes of a plain file are not read but mapped, so that each process reads only the rows it looks at; what has
    to be unpacked or byte-swapped, or cannot be mapped, is read. Nobody should write into the array; what is written
    does not reach the file.

    A mapped file must not be shortened while the array is in use: looking behind the new end kills the process with
    SIGBUS. Replacing it by another under the same name does no harm.

    Parameters
    ----------
    path
        The file, plain or gzip.

    Returns
    -------
    ndarray of the shape and the type that the header says

    Raises
    ------
    MissingDataError
        If there is no such file.
    FormatError
        If the file is empty, truncated, longer than its header says, not IDX, or broken gzip; names the byte.
    """
    path = Path(path)
    with _opened(path) as (file, plain):
        return _parse(file, path, plain)


def read_idx_shape(path: str | Path) -> tuple[tuple[int, ...], bool]:
    """Return the shape that the header of an IDX file promises, and whether the file is plain (True) or packed.

    Raises
    ------
    DataError
        As :func:`read_idx`, as far as the header tells.
    """
    path = Path(path)
    with _opened(path) as (file, plain):
        return _parse_header(file, path)[1], plain


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """Open a file, unpacking it if necessary; say whether it is plain; turn what goes wrong into a DataError."""
    try:
        with open(path, "rb") as file:  # once, as a pipe can be opened only once
            if file.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:  # compression is seen in the content, not in the name
                yield file, True
            else:
                with gzip.open(file, "rb") as unpacked:
                    yield cast(BinaryIO, unpacked), False
    except FileNotFoundError as error:
        raise MissingDataError("there is no such file", path=path) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"broken gzip file ({error}); fetch it again", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", path=path) from error


def _parse(file: BinaryIO, path: Path, plain: bool) -> NDArray[Any]:
    dtype, shape = _parse_header(file, path)
    begin = 4 + 4 * len(shape)
    if plain and dtype.itemsize == 1 and (mapped := _mapped(file, dtype, shape, begin)) is not None:
        return mapped
    expected = math.prod(shape) * dtype.itemsize
    data = _read_up_to(file, expected)
    if len(data) < expected:
        raise FormatError(
            f"the file is truncated: its header promises {begin + expected} bytes for shape {shape}",
            path=path,
            byte=begin + len(data),
        )
    if file.read(1):
        raise FormatError(
            f"the file goes on after the {begin + expected} bytes its header promises",
            path=path,
            byte=begin + expected,
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


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
    """Return the bytes behind the header as they lie in the file; None if they cannot be mapped, or are not as many.

    Pipes and the like have size 0, and NumPy cannot map an array without elements.
    """
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


def _read_up_to(file: BinaryIO, count: int) -> bytearray:
    """Read at most ``count`` bytes, never reserving what a lying header asks for.

    Not into immutable bytes: kernels would be compiled once more, for arrays that cannot be written to.
    """
    data = bytearray()
    while count > 0 and (piece := file.read(min(count, _CHUNK))):
        data += piece
        count -= len(piece)
    return data
