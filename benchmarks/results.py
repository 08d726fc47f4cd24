"""Raw runs, as the harness has written them, in the form that tables and bars ask for."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from intervals import Rounds
from workloads import WORKLOADS, Workload


class Missing(Exception):  # noqa: N818 - an answer, not an error
    """Something was not measured; says what."""


class Results:
    """All runs of all workloads that were run.

    Parameters
    ----------
    raw
        The folder with a file for each workload.
    """

    def __init__(self, raw: Path) -> None:
        paths = {letter: raw / f"{letter}.json" for letter in WORKLOADS}
        self.records: dict[str, dict[str, Any]] = {
            letter: json.loads(path.read_text()) for letter, path in paths.items() if path.is_file()
        }

    def workloads(self) -> list[tuple[Workload, dict[str, Any]]]:
        """Return the workloads that were run, with their records."""
        return [(WORKLOADS[letter], record) for letter, record in self.records.items()]

    def values(self, letter: str, name: str, key: str = "seconds") -> Rounds:
        """Return a number of each run of a contestant.

        Raises
        ------
        Missing
            If there is none.
        """
        runs = self.records.get(letter, {"runs": {}})["runs"].get(name, [])
        found = {run["round"]: run[key] for run in runs if key in run}
        if not found:
            raise Missing(f"{letter}: {name}")
        return found

    def mean(self, letter: str, name: str, key: str = "accuracy") -> float:
        """Return the mean of a number of each run."""
        return statistics.fmean(self.values(letter, name, key).values())

    def fastest(self, letter: str, names: list[str]) -> str:
        """Return who has the smallest median of seconds; who was not measured cannot win.

        Raises
        ------
        Missing
            If nobody was measured.
        """
        medians = {}
        for name in names:
            try:
                medians[name] = statistics.median(self.values(letter, name).values())
            except Missing:
                continue
        if not medians:
            raise Missing(f"{letter}: {', '.join(names)}")
        return min(medians, key=medians.__getitem__)
