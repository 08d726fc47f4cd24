"""Parts that are arrays in files (NumPy's .npy, IDX): any rows of them are read in one call, into memory that is there.

They are read and not mapped: pages of a mapped file count as this process's memory as long as the system keeps them.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import DataError, FormatError, MissingDataError, shown
from manyhands.data.idx import read_idx_header
from manyhands.data.parts.description import BLOCK_BYTES, Block, Part, State, check_state, row_blocks


class Header(NamedTuple):
    """What the first bytes of an array's file say: its type and shape, and where its values begin."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.dtype.itemsize * math.prod(self.shape[1:])


def read_header(path: Path) -> Header:
    """Return the header of a .npy or an IDX file.

    Raises
    ------
    MissingDataError
        If there is no such file.
    FormatError
        If it is damaged, truncated or longer than it says, holds Python objects, or is stored by columns.
    """
    if path.suffix.lower() != ".npy":
        return Header(*read_idx_header(path))
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            header, size = Header(dtype, shape, file.tell()), os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise MissingDataError("this part is not there", path=path) from error
    except OSError as error:
        raise DataError(f"this part cannot be read ({error.strerror or error})", path=path) from error
    except ValueError as error:
        raise FormatError(f"no .npy file, or a damaged one ({error}); save it again", path=path) from error
    if dtype.hasobject:
        raise FormatError("the array has Python objects, which are never loaded; save numbers", path=path)
    if by_columns and len(shape) > 1:
        raise FormatError(
            "the array is stored by columns, so its rows are all over the file; save numpy.ascontiguousarray of it",
            path=path,
        )
    promised = header.begin + math.prod(shape) * dtype.itemsize
    if promised != size:
        wrong = "is truncated" if size < promised else "goes on after its end"
        raise FormatError(
            f"the file {wrong}: its header promises {promised} bytes", path=path, byte=min(size, promised)
        )
    return header


def array_part(features: Path, labels: Path, *, codes: bool = False) -> tuple[Part, tuple[int, ...]]:
    """Return a part of two arrays, and the shape of a sample; ``codes`` says whether labels are class numbers.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the two do not fit; names it.
    """
    values, classes = read_header(features), read_header(labels)
    if len(values.shape) < 2 or values.dtype.kind not in "buif":
        raise DataError(
            f"features are numbers of shape (rows, ...), not {values.dtype} of shape {values.shape}", path=features
        )
    if len(classes.shape) != 1:
        raise DataError(f"labels have one dimension, these have the shape {classes.shape}", path=labels)
    if values.shape[0] != classes.shape[0]:
        raise DataError(
            f"there are {classes.shape[0]} labels for {values.shape[0]} rows in {shown(features.name)}", path=labels
        )
    if not values.shape[0] or not values.row_bytes:
        raise DataError("this part has no rows", path=features)
    layout = {
        "features": [values.dtype.str, values.begin, math.prod(values.shape[1:])],
        "labels": [classes.dtype.str, classes.begin],
        "codes": codes,
    }
    states = (State.of(features), State.of(labels))
    blocks = row_blocks(values.shape[0], max(1, BLOCK_BYTES // values.row_bytes))
    shape = values.shape[1:]
    part = Part("array", (features, labels), states, values.shape[0], layout, blocks)
    return part, (1, *shape) if len(shape) == 2 else shape


def read(
    part: Part, block: Block, out: NDArray[Any] | None = None, begin: int = 0, end: int | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return features and labels of the rows begin..end-1 of a block; features are read into ``out`` if that fits."""
    rows = (block.rows if end is None else end) - begin
    dtype, at, width = part.layout["features"]
    kind = np.dtype(dtype)
    fits = out is not None and out.dtype == kind and out.flags.c_contiguous
    features = out if fits and out is not None else np.empty((rows, width), kind)
    first = block.start + begin
    _read_at(part, 0, at + first * width * kind.itemsize, features)
    dtype, at = part.layout["labels"]
    labels = np.empty(rows, np.dtype(dtype))
    _read_at(part, 1, at + first * labels.itemsize, labels)
    return features, labels


def _read_at(part: Part, number: int, offset: int, target: NDArray[Any]) -> None:
    """Fill an array from one of a part's files, which must be as it was."""
    path = part.files[number]
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            check_state(path, part.states[number], State.of(path, descriptor))
            _fill(path, descriptor, offset, target)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise MissingDataError("this part is not there any more", path=path) from error
    except OSError as error:
        raise DataError(f"this part cannot be read ({error.strerror or error})", path=path) from error


def _fill(path: Path, descriptor: int, offset: int, target: NDArray[Any]) -> None:
    view = memoryview(target.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    done = 0
    while done < len(view):
        got = os.preadv(descriptor, [view[done:]], offset + done)
        if not got:
            raise FormatError("this part has become shorter", path=path, byte=offset + done)
        done += got
