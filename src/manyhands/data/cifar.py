"""The binary layout of CIFAR-10 and CIFAR-100: images of 32 x 32 in three colours, each behind its label bytes.

An image is one label byte (CIFAR-100: the coarse label, then the fine one) and 3,072 pixels: 1,024 red, 1,024 green,
1,024 blue, row by row. A file is nothing but images. See https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import FormatError, shown
from manyhands.data.packed import too_large
from manyhands.runtime.cgroups import memory_room

SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_IMAGES = 2048  # in one block
NAMES_BYTES = 1 << 16
"""No file of class names has so many."""


class LabelByte(NamedTuple):
    """One of the label bytes before each image: what it is called, how many classes it has, the file of their names."""

    kind: str
    classes: int
    names_file: str


@dataclass(frozen=True)
class Layout:
    """The layout of the files of one data set.

    Attributes
    ----------
    title
        Its name in messages.
    label_bytes
        What stands before the pixels of each image.
    train, test
        Names of the files, without ``.bin``.
    """

    title: str
    label_bytes: tuple[LabelByte, ...]
    train: tuple[str, ...]
    test: str

    @property
    def record(self) -> int:
        """Bytes of one image with its labels."""
        return len(self.label_bytes) + _PIXELS


CIFAR10 = Layout(
    "CIFAR-10",
    (LabelByte("class", 10, "batches.meta.txt"),),
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test_batch",
)
CIFAR100 = Layout(
    "CIFAR-100",
    (LabelByte("coarse", 20, "coarse_label_names.txt"), LabelByte("fine", 100, "fine_label_names.txt")),
    ("train",),
    "test",
)
_OTHER = {"CIFAR-10": CIFAR100, "CIFAR-100": CIFAR10}


def blocks_of(content: BinaryIO | memoryview, layout: Layout) -> Iterator[bytes | memoryview]:
    """Yield whole images of an open file, or of bytes in memory, many at a time; the last block may end inside one."""
    size = _IMAGES * layout.record
    if isinstance(content, memoryview):
        yield from (content[begin : begin + size] for begin in range(0, len(content), size))
        return
    while block := content.read(size):
        yield block


class Images:
    """Images collected from one file after the other, and never more of them than memory can hold.

    Parameters
    ----------
    layout
        Of the files.
    rows
        Number of first images to keep; None for all. The others are checked, but not held.

    Attributes
    ----------
    seen
        Number of images so far, those that are not kept among them.
    """

    def __init__(self, layout: Layout, rows: int | None = None) -> None:
        self._layout = layout
        self._rows = rows
        self._room = memory_room()
        self.seen = 0
        self._pixels, self._labels = bytearray(), bytearray()  # not bytes: arrays of these could not be written to

    def add(self, blocks: Iterator[bytes | memoryview], path: Path, length: int | None = None) -> None:
        """Check the blocks of one file, from :func:`blocks_of`, and keep their images.

        Parameters
        ----------
        blocks
            The content.
        path
            Its file, for messages.
        length
            Its bytes, if they are known before.

        Raises
        ------
        FormatError
            If the file is empty, ends inside an image, or a label byte is too large; names the byte.
        DataError
            If memory cannot hold its images.
        """
        self._check_room(path, 0 if length is None else length // self._layout.record)
        begin = 0
        for block in blocks:
            count = len(block) // self._layout.record
            found = np.frombuffer(block, np.uint8, count * self._layout.record).reshape(count, self._layout.record)
            if wrong := self._wrong_label(found):
                raise self._no_class(*wrong, begin, begin + len(block) + sum(map(len, blocks)), path)
            self._check_room(path, count)
            self._keep(found)
            begin += len(block)
            if len(block) % self._layout.record:
                raise self._truncated(begin, path)
        if begin == 0:
            raise FormatError("the file is empty", path=path, byte=0)

    def _check_room(self, path: Path, more: int) -> None:
        have = len(self._labels) // len(self._layout.label_bytes)
        images = have + more if self._rows is None else min(have + more, self._rows)
        if self._room is not None and images * self._layout.record > self._room[0]:
            raise too_large(path, f"{images} images", images * self._layout.record, self._room)

    def _wrong_label(self, found: NDArray[np.uint8]) -> tuple[int, int, int] | None:
        """Return row, place and value of the first label byte that is no class; None if there is none."""
        most = np.array([each.classes for each in self._layout.label_bytes])
        wrong = np.argwhere(found[:, : len(most)] >= most)
        return (int(wrong[0, 0]), int(wrong[0, 1]), int(found[tuple(wrong[0])])) if len(wrong) else None

    def _no_class(self, row: int, place: int, value: int, begin: int, length: int, path: Path) -> FormatError:
        label, byte = self._layout.label_bytes[place], begin + row * self._layout.record + place
        return FormatError(
            f"the {label.kind} label of image {byte // self._layout.record + 1} is {value}, and {self._layout.title} "
            f"has 0 to {label.classes - 1}{self._hint(length)}",
            path=path,
            byte=byte,
        )

    def _truncated(self, length: int, path: Path) -> FormatError:
        return FormatError(
            f"the file ends inside image {length // self._layout.record + 1}: an image of {self._layout.title} has "
            f"{self._layout.record} bytes{self._hint(length)}",
            path=path,
            byte=length,
        )

    def _hint(self, length: int) -> str:
        """Return what a file's length says about the other data set."""
        own, other = self._layout, _OTHER[self._layout.title]
        if length % other.record:
            return ""
        if length % own.record == 0:
            return f"; its length, {length} bytes, is one of {own.title} and of {other.title} too"
        return (
            f"; its length is one of {other.title} ({length // other.record} images of {other.record} bytes), whose "
            f"files are called {other.train[0]}.bin and {other.test}.bin"
        )

    def _keep(self, found: NDArray[np.uint8]) -> None:
        count = len(self._layout.label_bytes)
        have = len(self._labels) // count
        self.seen += len(found)
        kept = found if self._rows is None else found[: max(0, self._rows - have)]
        self._labels += kept[:, :count].tobytes()
        self._pixels += kept[:, count:].tobytes()

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return pixels of shape (images, 3, 32, 32) and labels of shape (images, label bytes)."""
        labels = np.frombuffer(self._labels, np.uint8).reshape(-1, len(self._layout.label_bytes))
        return np.frombuffer(self._pixels, np.uint8).reshape(-1, *SHAPE), labels


def read_names(content: bytes, label: LabelByte, path: Path) -> NDArray[np.str_]:
    """Return the names of the classes in a text file, one in a line.

    Raises
    ------
    FormatError
        If it has not one for each class, two are the same, or it is no text; names the line.
    """
    if len(content) >= NAMES_BYTES:
        raise FormatError(f"{NAMES_BYTES} bytes or more are no names of {label.classes} classes", path=path)
    try:
        lines = [line.strip() for line in content.decode().rstrip().splitlines()]
    except UnicodeDecodeError as error:
        raise FormatError("the names of the classes are no text (UTF-8)", path=path, byte=error.start) from error
    for number, name in enumerate(lines, 1):
        if not name or not name.isprintable() or name in lines[: number - 1]:
            raise FormatError(f"{shown(name)!r} is no name of a class of its own", path=path, line=number)
    if len(lines) != label.classes:
        raise FormatError(f"there are {len(lines)} names for {label.classes} classes", path=path, line=len(lines))
    return np.array(lines)
