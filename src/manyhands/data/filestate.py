"""Inode, size and time stamp of files, by which a change is noticed while they are in use."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from manyhands.core.errors import DataError, shown


@dataclass(frozen=True)
class FileState:
    """An ordinary file at one moment.

    Attributes
    ----------
    path
        Its name.
    inode
        Device and number: another file under the same name has another one.
    size, changed_ns
        Bytes, and when it was written last.
    mapped
        Whether its bytes are used where they lie, and not a copy of them.
    """

    path: Path
    inode: tuple[int, int]
    size: int
    changed_ns: int
    mapped: bool = False

    @classmethod
    def of(cls, path: Path, descriptor: int | None = None) -> FileState | None:
        """Return the state of an open file, or of what has the name now; None if that is no ordinary file."""
        try:
            found = path.stat() if descriptor is None else os.fstat(descriptor)
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return cls(path, (found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns)


_SAID: set[FileState] = set()


def check_unchanged(states: Iterable[FileState], *, copied: bool = False) -> None:
    """Check that files were not written to since they had these states.

    For a file of which a copy was used (all, if ``copied``), a warning is logged. Files that were replaced or deleted
    do not matter: a process that had opened one still reads the old content.

    Raises
    ------
    DataError
        If a mapped file has been written to, lengthened or shortened.
    """
    for before in states:
        now = FileState.of(before.path)
        if now is None or now.inode != before.inode or replace(now, mapped=before.mapped) == before:
            continue
        if before.mapped and not copied:
            raise changed(before, now)
        if before not in _SAID:
            _SAID.add(before)
            what = f"{shown(before.path)} was changed {_how(before, now)} since it was read"
            logging.getLogger("manyhands").warning("note: %s; what was read before is used", what)


def changed(before: FileState, now: FileState) -> DataError:
    """Return the error for a file that was changed while it was used."""
    return DataError(
        f"the file was changed while it was used ({_how(before, now)}), so this result belongs to no file; run again, "
        "and write new data under another name",
        path=before.path,
    )


def _how(before: FileState, now: FileState) -> str:
    return f"from {before.size} to {now.size} bytes" if now.size != before.size else "at the same length"
