"""Finished runs of a study by their keys: none is done twice, now or after a crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from manyhands.runtime.signals import uninterrupted
from manyhands.studies.base.journal import Journal

Key = Mapping[str, Any]
"""All that distinguishes a run from the others of its study, as plain data."""
Record = dict[str, Any]
Check = Callable[[Key, Mapping[str, Any]], None]
"""Raises ValueError, KeyError or TypeError unless key and record, as read from a file, are a run of this study."""


class Ledger:
    """Records of finished runs; use it in a ``with`` statement.

    With a path they are kept in a file, too, and those that it has are taken over; ``study`` is the identity of the
    study. For the errors, see `manyhands.studies.base.journal.Journal`.
    """

    def __init__(self, path: str | Path | None, study: Mapping[str, Any], check: Check) -> None:
        self._check = check
        self._records: dict[str, Record] = {}
        self._earlier: set[str] = set()
        self._stack = ExitStack()
        self._journal = None if path is None else self._stack.enter_context(Journal(path, study))

    def __enter__(self) -> Ledger:
        if self._journal is not None:
            self._journal.take_over(self._accept)
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def _accept(self, entry: Record) -> None:
        """Take over a run of an earlier attempt."""
        key = {name: value for name, value in entry.items() if name != "record"}
        self._check(key, entry["record"])
        self._records[_text(key)] = entry["record"]
        self._earlier.add(_text(key))

    def get(self, key: Key) -> Record | None:
        """Return the record of a run, or None if it is not done."""
        return self._records.get(_text(key))

    def is_earlier(self, key: Key) -> bool:
        """Return whether an earlier attempt did a run."""
        return _text(key) in self._earlier

    def add(self, key: Key, record: Record, collect: Callable[[], None] = lambda: None) -> None:
        """Write a finished run down, or raise OutputError; an interruption comes before, or after ``collect``."""
        with uninterrupted():
            if self._journal is not None:
                self._journal.add({**key, "record": record})
            self._records[_text(key)] = record
            collect()


def _text(key: Key) -> str:
    return json.dumps(key, sort_keys=True)
