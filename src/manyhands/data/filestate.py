"""What a file looks like from outside, so that a change is noticed while it is in use."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from manyhands.errors import DataError


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
    """

    path: Path
    inode: tuple[int, int]
    size: int
    changed_ns: int

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


def check_unchanged(states: Iterable[FileState]) -> None:
    """Check that files are what they were.

    One that has been replaced or deleted is no matter: who had it open still has the old one.

    Raises
    ------
    DataError
        If one has been written to, lengthened or shortened.
    """
    for before in states:
        now = FileState.of(before.path)
        if now is not None and now.inode == before.inode and now != before:
            raise changed(before, now)


def changed(before: FileState, now: FileState) -> DataError:
    """Return the error for a file that was changed while it was used."""
    how = f"from {before.size} to {now.size} bytes" if now.size != before.size else "at the same length"
    return DataError(
        f"the file was changed while it was used ({how}), so this result belongs to no file; run again, and write new "
        "data under another name",
        path=before.path,
    )
