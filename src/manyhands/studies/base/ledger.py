"""Finished runs of a study by what each of them was: none is done twice, now or after a crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from manyhands.runtime.signals import uninterrupted
from manyhands.studies.base.journal import Journal

Check = Callable[[Mapping[str, Any], Mapping[str, Any]], None]
"""Raises ValueError, or what a missing field or a wrong type raises, unless place and record, as read from a file, are
a whole run of this study."""


class Ledger:
    """Records of finished runs, in a journal too if there is one.

    Parameters
    ----------
    journal
        Open; what it has is taken over. Lines that are no run of this study are named and left out.
    check
        See :data:`Check`.
    """

    def __init__(self, journal: Journal | None, check: Check) -> None:
        self._journal, self._check = journal, check
        self._records: dict[str, dict[str, Any]] = {}
        if journal is not None:
            journal.take_over(self._accept)

    def _accept(self, entry: dict[str, Any]) -> None:
        """Take over a run of an earlier attempt."""
        place = {name: value for name, value in entry.items() if name != "record"}
        self._check(place, entry["record"])
        self._records[_key(place)] = entry["record"]

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
