"""Members of a tar archive, read into memory: nothing is ever unpacked to the disk.

Archives are fetched from elsewhere, and may be made to do harm: names that lead out of a folder, links, members and
headers that claim to be larger than memory. Only ordinary members with a wanted name are read, with a limit.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from manyhands.core.errors import DataError, FormatError, shown
from manyhands.data.filestate import FileState
from manyhands.data.packed import read_up_to, skip, too_large, watched
from manyhands.runtime.cgroups import memory_room

_MOST_MEMBERS = 1000
_MOST_HEADERS = 1 << 20  # bytes of all headers together
_PADDING = 1 << 20  # bytes behind the last member
_MOST_EMPTY = 2  # reads at the end: tarfile looks there once for each member that it believes in


class Members(dict[str, tuple[Path, bytearray]]):
    """Contents of members with their places for messages (archive/folder/name), by the last part of their names.

    Attributes
    ----------
    state
        The archive's when it was read; None if it is no ordinary file.
    """

    state: FileState | None = None


def read_members(path: Path, wanted: Callable[[str], bool]) -> Members:
    """Read the wanted members of an archive, plain or gzip.

    Parameters
    ----------
    path
        The archive.
    wanted
        Whether a member is needed, by the last part of its name.

    Raises
    ------
    MissingDataError
        If there is no such file.
    FormatError
        If the archive is damaged or truncated, a name leads out of it, a wanted member is a link or is there twice, or
        there are far too many headers; names the byte (of the unpacked archive).
    DataError
        If it cannot be read, was changed meanwhile, or memory cannot hold its members.
    """
    found = Members()
    with watched(path) as (file, _, found.state):
        try:
            for member in _members(file, path):
                _take(member, file, path, wanted, found)
        except DataError:
            raise
        except (tarfile.TarError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise FormatError(f"no tar archive, or a damaged one ({error})", path=path) from error
        if skip(file, _PADDING) == _PADDING:  # to the end, where gzip has its checksum
            raise FormatError("the archive goes on after its last member", path=path)
    return found


class _Headers:
    """A file for tarfile, which reads only headers from it, and would hold one of any claimed length in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left, self._empty = _MOST_HEADERS, 0
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        self._left -= size
        if not 0 <= size <= size + self._left:
            raise tarfile.ReadError(f"headers of more than {_MOST_HEADERS} bytes")
        content = self._file.read(size)
        self._empty += not content and size > 0
        if self._empty > _MOST_EMPTY:
            raise tarfile.ReadError("it ends inside a header")
        return content


def _members(file: BinaryIO, path: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive whose names lead nowhere else."""
    archive = tarfile.TarFile(fileobj=cast(Any, _Headers(file)), mode="r")
    for number, member in enumerate(archive):
        name = PurePosixPath(member.name)
        if number == _MOST_MEMBERS or member.size < 0:
            raise FormatError("no archive of this data set: too many members", path=path, byte=member.offset)
        if name.is_absolute() or ".." in name.parts:
            raise FormatError(
                f"the member {shown(member.name)!r} leads out of the archive: fetch the published one",
                path=path,
                byte=member.offset,
            )
        yield member


def _take(member: tarfile.TarInfo, file: BinaryIO, path: Path, wanted: Callable[[str], bool], found: Members) -> None:
    """Read a member if it is wanted."""
    name = PurePosixPath(member.name).name.lower()
    if not wanted(name) or member.isdir():
        return
    place = path / member.name
    if not member.isreg() or member.issparse():
        raise FormatError("the member is no ordinary file: fetch the published archive", path=place, byte=member.offset)
    if name in found:
        raise FormatError(f"the archive has {shown(name)} twice", path=path, byte=member.offset)
    _check_room(member, place)
    file.seek(member.offset_data)
    content = read_up_to(file, member.size)
    if len(content) < member.size:
        raise FormatError(f"the archive ends inside this member of {member.size} bytes", path=place, byte=file.tell())
    found[name] = place, content


def _check_room(member: tarfile.TarInfo, place: Path) -> None:
    """Refuse what memory cannot hold before it is read: twice, because pixels are then taken out of the content."""
    needed, room = 2 * member.size, memory_room()
    if room is not None and needed > room[0]:
        raise too_large(place, f"{member.size} bytes, read and sorted,", needed, room)
