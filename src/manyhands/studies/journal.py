"""A journal: finished pieces of a long study, line by line, so that a killed one goes on where it was.

The first line says what the study is; every other is one finished piece, as JSON. A line is on the disk (fsync) before
the next piece is reported as finished, and one that was cut off by a crash is dropped: pieces are there whole or not at
all.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from manyhands.errors import FormatError, OutputError, SettingsError
from manyhands.files import open_in_place

SCHEMA = "manyhands.journal/1"
_BEGIN = f'{{"schema": "{SCHEMA}"'.encode()


class Journal:
    """An open journal; use it in a ``with`` statement.

    Parameters
    ----------
    path
        The file; made if it is not there.
    study
        What the study is, as plain data: pieces of another one are of no use.

    Attributes
    ----------
    entries : list of dict
        The pieces, in the order in which they were finished; those of earlier attempts first.

    Raises
    ------
    SettingsError
        If the file is the journal of another study, or another process is writing it.
    FormatError
        If it is no journal, or damaged before its last line.
    OutputError
        If it cannot be written.
    """

    def __init__(self, path: str | Path, study: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.entries: list[dict[str, Any]] = []
        self._file = open_in_place(path, os.O_RDWR)
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise OutputError(f"cannot write {path}: it is a device or a pipe; give an ordinary file")
            self._open(json.loads(json.dumps(study)))
        except BaseException:
            os.close(self._file)
            raise

    def _open(self, study: dict[str, Any]) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(f"{self.path}: another process is writing this journal") from error
        whole, _, rest = self._content().rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        first = lines[0] if lines else rest  # without any whole line: what was cut off while it was written
        if first and not first.startswith(_BEGIN) and (lines or not _BEGIN.startswith(first)):
            raise FormatError("this is no journal of a study; give another file", path=self.path, line=1)
        if not lines:
            self._cut(0)
            self._append({"schema": SCHEMA, "study": study})
            return
        records = [self._parse(line, number) for number, line in enumerate(lines, 1)]
        if len(records) == 1 and records[0].get("study") != study:  # nothing is lost by beginning anew
            self._cut(0)
            self._append({"schema": SCHEMA, "study": study})
            return
        if records[0].get("study") != study:
            raise SettingsError(
                f"{self.path} is the journal of a study with other settings "
                f"({_difference(records[0].get('study'), study)}); give another file, or delete it"
            )
        self._cut(len(whole) + 1)
        self.entries = records[1:]

    def _content(self) -> bytes:
        with open(self._file, "rb", closefd=False) as file:
            return file.read()

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict):
                return record
        raise FormatError("this line of the journal is damaged; delete the file", path=self.path, line=number)

    def _cut(self, length: int) -> None:
        """Forget what stands behind ``length``: the beginning of a line that was never finished."""
        os.ftruncate(self._file, length)
        os.lseek(self._file, length, os.SEEK_SET)

    def add(self, entry: dict[str, Any]) -> None:
        """Append a finished piece, whole or not at all.

        Raises
        ------
        OutputError
            If there is no room.
        """
        self._append(entry)
        self.entries.append(entry)

    def _append(self, record: dict[str, Any]) -> None:
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        before = os.lseek(self._file, 0, os.SEEK_CUR)
        try:
            written = os.write(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            self._cut(before)
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error
        if written < len(line):
            self._cut(before)
            raise OutputError(f"cannot write {self.path}: the disk is full")

    def remove(self) -> None:
        """Delete the file: what it was kept for is saved elsewhere."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        os.close(self._file)


def _difference(one: Any, other: Any) -> str:
    """Name the first setting that differs."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                inner = _difference(one.get(key), other.get(key))
                return f"{key} {inner}" if isinstance(one.get(key), dict) else f"{key}: {inner}"
    return f"{one} there, {other} now"
