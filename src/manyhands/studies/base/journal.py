"""Journals: files behind ledgers, with finished runs line by line, so that a killed study can be resumed.

The first line names the study; every other is the record of one run, as JSON. A line is on the disk (fsync) before the
next run is reported as finished, and one that was cut off by a crash is dropped. Every line ends with a checksum over
itself and the first line, and must be, byte for byte, what would be written for its record. So every changed line is
found and reported, and its run is done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from manyhands.core.errors import FormatError, OutputError, SettingsError, shown
from manyhands.runtime.atomic_files import open_in_place
from manyhands.runtime.memory import check_memory

SCHEMA = "manyhands.journal/2"
_BEGIN = f'{{"schema": "{SCHEMA}"'.encode()
_WITHOUT_CHECKSUMS = b'{"schema": "manyhands.journal/1"'
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DIGITS = 16  # of SHA-256: against accidents, not against forgers
_MOST_NAMED = 5
_MOST_WRONG = 2
_TIMES_IN_MEMORY = 3  # the bytes, again as lines, and what they say

_LOG = logging.getLogger("manyhands")


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
        The whole pieces, in the order in which they were finished; those of earlier attempts first.
    damaged : list of int
        1-based numbers of the lines that are no longer what was written. They are no entries.

    Raises
    ------
    SettingsError
        If the file is the journal of another study, or another process is writing it.
    FormatError
        If it is no journal, or its first line is damaged.
    OutputError
        If it cannot be written.
    """

    def __init__(self, path: str | Path, study: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.entries: list[dict[str, Any]] = []
        self.damaged: list[int] = []
        self._lines: list[int] = []  # of the entries that were in the file
        self._file = open_in_place(path, os.O_RDWR)
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise OutputError(f"cannot write {shown(path)}: it is a device or a pipe; give an ordinary file")
            self._open(json.loads(json.dumps(study)))
        except BaseException:
            os.close(self._file)
            raise

    def _open(self, study: dict[str, Any]) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(f"{shown(self.path)}: another process is writing this checkpoint") from error
        whole, _, rest = self._content().rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        self._first = _line({"schema": SCHEMA, "study": study}, b"")
        if not lines:
            self._check_beginning(rest)
            self._begin()
            return
        there = self._read_first(lines[0])
        if there != study:
            if len(lines) > 1:
                raise SettingsError(
                    f"{shown(self.path)} is the checkpoint of a study with other settings "
                    f"({_difference(there, study)}); give another file, or delete it"
                )
            self._begin()  # nothing is lost
            return
        self._read_pieces(lines[1:])
        if rest:
            _LOG.warning(
                "%s, line %d: it was never finished; what it had is run again", shown(self.path), len(lines) + 1
            )
        self._cut(len(whole) + 1)

    def _check_beginning(self, rest: bytes) -> None:
        """Check that a file without any whole line is a journal that was cut off while it was begun."""
        if not rest.startswith(_BEGIN) and not _BEGIN.startswith(rest):
            raise self._no_journal(rest)

    def _begin(self) -> None:
        """Write the first line of a new journal."""
        self._cut(0)
        self._append(self._first)

    def _read_first(self, line: bytes) -> Any:
        """Return the study that a whole first line names."""
        record = _parsed(line, b"")
        if record is None or record.keys() != {"schema", "study"} or record["schema"] != SCHEMA:
            raise self._no_journal(line)
        return record["study"]

    def _no_journal(self, line: bytes) -> FormatError:
        """Return what is wrong with a first line."""
        if line.startswith(_WITHOUT_CHECKSUMS):
            problem = "an older version wrote this checkpoint, without checksums; delete it, and all in it is run again"
        elif _is_like(line.removeprefix(_BYTE_ORDER_MARK), _BEGIN):
            problem = f"this line, which says what study it is, is damaged{_how(line)}; restore the file, or delete it"
        else:
            problem = "this is no checkpoint of a study; give another file"
        return FormatError(problem, path=self.path, line=1)

    def _read_pieces(self, lines: Sequence[bytes]) -> None:
        """Read the entries, and the numbers of the damaged lines."""
        for number, line in enumerate(lines, 2):
            record = _parsed(line, self._first)
            if record is None:
                self.damaged.append(number)
            else:
                self.entries.append(record)
                self._lines.append(number)

    def _content(self) -> bytes:
        size = _TIMES_IN_MEMORY * os.fstat(self._file).st_size
        check_memory(size, f"the checkpoint {shown(self.path)}", "give another file, or delete it")
        with open(self._file, "rb", closefd=False) as file:
            return file.read()

    def _cut(self, length: int) -> None:
        """Remove what stands behind ``length``: the beginning of a line that was never finished."""
        os.ftruncate(self._file, length)
        os.lseek(self._file, length, os.SEEK_SET)

    def take_over(self, accept: Callable[[dict[str, Any]], None]) -> None:
        """Pass the entries of earlier attempts to ``accept``, and warn of damaged lines and those that it refuses.

        It raises KeyError, IndexError, TypeError, ValueError or AttributeError for an entry of no run of this study.
        """
        useless = list(self.damaged)
        for number, entry in zip(self._lines, self.entries, strict=False):
            try:
                accept(entry)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError):
                useless.append(number)
        if useless:
            _LOG.warning(
                "%s, %s: damaged, or no piece of this study; left out, and what is missing is run again",
                shown(self.path),
                _named(sorted(useless)),
            )

    def add(self, entry: dict[str, Any]) -> None:
        """Append a record, whole or not at all (then OutputError)."""
        self._append(_line(entry, self._first))
        self.entries.append(entry)

    def _append(self, record: bytes) -> None:
        line = record + b"\n"
        before = os.lseek(self._file, 0, os.SEEK_CUR)
        try:
            written = os.write(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            self._cut(before)
            raise OutputError(f"cannot write {shown(self.path)}: {error.strerror or error}") from error
        if written < len(line):
            self._cut(before)
            raise OutputError(f"cannot write {shown(self.path)}: the disk is full")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        os.close(self._file)


def _line(record: Mapping[str, Any], first: bytes) -> bytes:
    """Return the line of a record, with a checksum over it and the journal's first line."""
    body = json.dumps(record, allow_nan=False)
    checksum = hashlib.sha256(first + body.encode()).hexdigest()[:_DIGITS]
    return json.dumps({**record, "checksum": checksum}).encode()


def _parsed(line: bytes, first: bytes) -> dict[str, Any] | None:
    """Return the record of a line; None if anything about it is not as it was written."""
    try:
        record = json.loads(line)
        del record["checksum"]
        return record if isinstance(record, dict) and _line(record, first) == line else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _is_like(line: bytes, beginning: bytes) -> bool:
    """Return whether a line begins so, but for a letter or two."""
    wrong = sum(one != other for one, other in zip(line, beginning, strict=False))
    return len(line) >= len(beginning) and wrong <= _MOST_WRONG


def _how(line: bytes) -> str:
    """Return what a text editor has done to a line, if anything."""
    if line.startswith(_BYTE_ORDER_MARK):
        return " (an editor has put a byte-order mark before it)"
    return " (an editor or a copy has changed the ends of lines to CR LF)" if line.endswith(b"\r") else ""


def _named(lines: Sequence[int]) -> str:
    """Return the numbers of lines in words."""
    if len(lines) == 1:
        return f"line {lines[0]}"
    more = f" and {len(lines) - _MOST_NAMED} more" if len(lines) > _MOST_NAMED else ""
    return f"lines {', '.join(map(str, lines[:_MOST_NAMED]))}{more}"


def _difference(one: Any, other: Any) -> str:
    """Return the first setting that differs, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                inner = _difference(one.get(key), other.get(key))
                return f"{key} {inner}" if isinstance(one.get(key), dict) else f"{key}: {inner}"
    return f"{one} there, {other} now"
