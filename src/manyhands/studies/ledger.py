"""Finished runs of a study by what each of them was: none is done twice, now or after a crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from manyhands.errors import FormatError
from manyhands.interruption import uninterrupted
from manyhands.studies.journal import Journal

Check = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
"""Tells whether a place and a record, as read from a file, are a run of this study."""


class Ledger:
    """Records of finished runs, in a journal too if there is one.

    Parameters
    ----------
    journal
        Open; what it has is taken over.
    check
        See :data:`Check`.

    Raises
    ------
    FormatError
        If a line of the journal is no run of this study.
    """

    def __init__(self, journal: Journal | None, check: Check) -> None:
        self._journal = journal
        self._records: dict[str, dict[str, Any]] = {}
        for line, entry in enumerate([] if journal is None else journal.entries, 2):
            place = {name: value for name, value in entry.items() if name != "record"}
            try:
                record = entry["record"]
                if not check(place, record):
                    raise ValueError
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise FormatError(
                    "this line of the journal is no run of this study; delete the file",
                    path=None if journal is None else journal.path,
                    line=line,
                ) from error
            self._records[_key(place)] = record

    def get(self, place: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the record of the run at ``place`` (plain data that says what it is), or None if it is not done."""
        return self._records.get(_key(place))

    def add(self, place: Mapping[str, Any], record: dict[str, Any], count: Callable[[], None] = lambda: None) -> None:
        """Write a finished run down; ``count`` is called with it or not at all, whatever interrupts.

        Raises
        ------
        OutputError
            If the journal cannot be written.
        """
        with uninterrupted():
            if self._journal is not None:
                self._journal.add({**place, "record": record})
            self._records[_key(place)] = record
            count()


def _key(place: Mapping[str, Any]) -> str:
    return json.dumps(place, sort_keys=True)
