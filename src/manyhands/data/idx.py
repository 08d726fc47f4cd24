"""The IDX format of MNIST and EMNIST: a magic number, sizes, then the values, big-endian; plain or gzip.

``00 00 type dimensions``, one 32-bit size per dimension, data. See LeCun, Cortes, Burges: the MNIST database.
"""

from __future__ import annotations

import gzip
import math
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import DataError, FormatError, MissingDataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_DIMENSIONS = 8
_CHUNK = 1 << 24


def read_idx(path: str | Path) -> NDArray[Any]:
    """Return the array in an IDX file, in the machine's byte order.

    Raises
    ------
    MissingDataError
        If there is no such file.
    FormatError
        If the file is empty, truncated, longer than its header says, not IDX, or broken gzip; names the byte.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            return _parse(file, path)
    except FileNotFoundError as error:
        raise MissingDataError("there is no such file", path=path) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"broken gzip file ({error}); fetch it again", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", path=path) from error


def _open(path: Path) -> BinaryIO:
    """Open plain or gzip, by content and not by name."""
    with open(path, "rb") as file:
        start = file.read(2)
    if start == b"\x1f\x8b":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return open(path, "rb")


def _parse(file: BinaryIO, path: Path) -> NDArray[Any]:
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
    expected = math.prod(shape) * dtype.itemsize
    data = _read_up_to(file, expected)
    begin = 4 + 4 * dimensions
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


def _read_up_to(file: BinaryIO, count: int) -> bytes:
    """Read at most ``count`` bytes, never reserving what a lying header asks for."""
    pieces = []
    while count > 0 and (piece := file.read(min(count, _CHUNK))):
        pieces.append(piece)
        count -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
