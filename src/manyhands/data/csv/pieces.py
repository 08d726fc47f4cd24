r"""Pieces of a text file: ranges of bytes that begin and end with lines, so that each process can read its own.

Lines end as everywhere in CSV: ``\n``, ``\r\n`` or ``\r``.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from manyhands.core.errors import DataError, FormatError, MissingDataError
from manyhands.core.parameters import parameter
from manyhands.runtime.atomic_files import home_hint

ENCODING = "utf-8-sig"  # with or without a byte order mark
_BLOCK = 1 << 20
_MARKS = {*range(32), ord('"'), 0x7F, 0xC2} - set(b"\t\n\r")  # 0xC2 begins the control characters beyond ASCII
_OTHERS = bytes(set(range(256)) - _MARKS)
_OTHERS_OF_WORDS = bytes(set(range(256)) - _MARKS - {0xE1, 0xE2, 0xE3})  # these begin the spaces beyond ASCII


@dataclass(frozen=True)
class Piece:
    """Consecutive lines of a file: those in a range of bytes, or all, of which the first ``skip`` are the header."""

    path: Path
    begin: int = 0
    end: int | None = None
    skip: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the file."""
        return self.end is None


def cut_piece(whole: Piece, part: int, parts: int) -> Piece:
    """Return one of ``parts`` consecutive pieces of nearly equal length, or ``whole`` if the file is indivisible.

    Piece k begins with the first line at or after byte ``k * size // parts`` (below the header) and ends where piece
    k + 1 begins. Indivisible are compressed files, files with a quoted cell, which may contain a line end, and those
    without a row.
    """
    if parts == 1 or whole.path.suffix == ".gz":
        return whole
    with _explained(whole.path), open(whole.path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        rows_at = _line_at(file, 1) if whole.skip else 0
        if not _is_divisible(file, rows_at):
            return whole
        begin, end = (max(rows_at, _line_at(file, k * size // parts)) for k in (part, part + 1))
    return Piece(whole.path, begin, end)


def cut_lines(whole: Piece, size: int) -> list[Piece] | None:
    """Return consecutive pieces of about ``size`` bytes, as `cut_piece`; None if the file is indivisible."""
    if whole.path.suffix == ".gz":
        return None
    with _explained(whole.path), open(whole.path, "rb") as file:
        length = file.seek(0, os.SEEK_END)
        rows_at = _line_at(file, 1) if whole.skip else 0
        if not _is_divisible(file, rows_at):
            return None
        cuts = [max(rows_at, _line_at(file, byte)) for byte in range(0, length, size)]
    ends = sorted({*cuts, length})
    return [Piece(whole.path, begin, end) for begin, end in itertools.pairwise(ends)]


def _line_at(file: io.BufferedReader, byte: int) -> int:
    """Return where the first line begins at or after ``byte``, or the file ends."""
    if byte == 0:
        return 0
    file.seek(byte - 1)
    text = io.TextIOWrapper(file, encoding="latin-1", newline="")  # one character is one byte, all line ends count
    length = len(text.readline())
    text.detach()  # else it would close the file
    return byte - 1 + length


def _is_divisible(file: io.BufferedReader, rows_at: int) -> bool:
    """Return whether there is a row and no quoted cell.

    All processes must get the same answer, or rows would be lost or doubled. So each reads the whole file, which takes
    about 2 % of the time of parsing it.
    """
    file.seek(rows_at)
    rows = False
    while block := file.read(_BLOCK):
        if b'"' in block:
            return False
        rows = rows or bool(block.strip(b"\r\n"))
    return rows


def has_marks(piece: Piece, *, by_words: bool = False) -> bool:
    """Return whether there may be a quotation mark or a control character below the header of a piece.

    In rows divided by white space (``by_words``), spaces beyond ASCII count, too.
    Only bytes are compared, which takes a few per cent of the time of parsing them.
    """
    with _explained(piece.path), _bytes_of(piece) as file:
        for number, block in enumerate(iter(lambda: file.read(_BLOCK), b"")):
            rows = block
            for _ in range(0 if number else piece.skip):  # a longer header is looked at closely
                rows = re.split(rb"\r\n|\r|\n", rows, maxsplit=1)[-1]
            if rows.translate(None, _OTHERS_OF_WORDS if by_words else _OTHERS):
                return True
    return False


@contextlib.contextmanager
def _bytes_of(piece: Piece) -> Iterator[BinaryIO]:
    """Open the bytes of a piece, decompressed."""
    if piece.path.suffix == ".gz":
        with gzip.open(piece.path, "rb") as unpacked:
            yield cast(BinaryIO, unpacked)
    else:
        with open(piece.path, "rb") as file:
            yield file if piece.end is None else io.BufferedReader(_Range(file, piece.begin, piece.end), _BLOCK)


class _Range(io.RawIOBase):
    """The bytes of a file from ``begin`` to ``end`` as a file."""

    def __init__(self, file: io.BufferedReader, begin: int, end: int) -> None:
        file.seek(begin)
        self.file, self.left = file, end - begin

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self.file.readinto(memoryview(buffer)[: self.left])
        self.left -= count
        return count


@contextlib.contextmanager
def numpy_source(piece: Piece) -> Iterator[str | TextIO]:
    """Open a piece for NumPy, which reads a file of its own up to 1.6 times as fast as one of ours (short lines)."""
    if piece.is_whole:
        yield str(piece.path)
    else:
        with open_piece(piece) as file:
            yield file


@contextlib.contextmanager
def open_piece(piece: Piece) -> Iterator[TextIO]:
    """Open as text, and turn what can go wrong outside the table into our errors."""
    path = piece.path
    with _explained(path):
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding=ENCODING, newline="") as file:
                yield cast(TextIO, file)
        elif piece.end is None:
            with open(path, encoding=ENCODING, newline="") as file:
                yield file
        else:
            encoding = "utf-8" if piece.begin else ENCODING  # the mark is one at the beginning of a file only
            with open(path, "rb") as whole:
                lines = io.BufferedReader(_Range(whole, piece.begin, piece.end), _BLOCK)
                yield io.TextIOWrapper(lines, encoding=encoding, newline="")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of reading a file into ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingDataError(f"there is no such file{home_hint(path)}", path=path) from error
    except UnicodeDecodeError as error:
        raise FormatError(
            "not a text file in UTF-8: save it as UTF-8 (from Latin-1: iconv -f latin1 -t utf-8), if it is CSV at all",
            path=path,
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"broken gzip file ({error})", path=path) from error
    except IsADirectoryError as error:
        raise DataError(
            f"cannot be read as CSV: it is a folder; give that to {parameter('data')}", path=path
        ) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", path=path) from error


def lines_before(piece: Piece) -> int:
    """Count the lines of the file above a piece, as `csv.reader` counts them."""
    if not piece.begin:
        return 0
    with open_piece(Piece(piece.path, end=piece.begin)) as file:
        return sum(1 for _ in file)
