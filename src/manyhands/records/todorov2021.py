"""The numbers that Todorov et al. 2021 printed, and the rows of a repetition in the same form."""

from __future__ import annotations

import csv
import importlib.resources
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manyhands.records.runs import with_communication

WHAT_DIFFERS = (
    "What differs from manyhands compare: the pixels go in raw (0 to 255), which costs accuracy at every n; and every "
    "process takes batches of 200 from its own share, so that with n processes it takes n times fewer steps an epoch. "
    "The accuracy falls with n because each process learns from its own share only, with one mean at the end, and "
    "because, with raw pixels, it takes too few steps."
)


@dataclass(frozen=True)
class PublishedRow:
    """One number of processes: seconds, accuracy on the test rows in percent, and impact factor."""

    processes: int
    time_s: float
    accuracy_pct: float
    impact: float


def published_table(number: int) -> list[PublishedRow]:
    """Return Table II (2: without communication) or III (3: with) of Todorov et al. 2021, as printed there."""
    return [
        PublishedRow(int(row["processes"]), float(row["time_s"]), float(row["accuracy_pct"]), float(row["impact"]))
        for row in _printed(number)
    ]


def published_sweep() -> list[dict[str, Any]]:
    """Return Table I as printed: hidden, epochs, time_s, accuracy_pct and impact of 25 classifiers."""
    whole = ("hidden", "epochs")
    return [{name: (int if name in whole else float)(value) for name, value in row.items()} for row in _printed(1)]


def _printed(number: int) -> list[dict[str, str]]:
    text = importlib.resources.files("manyhands.records").joinpath("published_tables", f"table{number}.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def processes_table(runs: Sequence[dict[str, Any]], number: int) -> list[PublishedRow]:
    """Return Table II (2) or III (3) of runs that differ in their number of workers and in their seed."""
    rows = []
    for processes in dict.fromkeys(record["workers"] for record in runs):
        group = [record for record in runs if record["workers"] == processes]
        seconds = [record["seconds"] for record in group]
        without = [each["compute"] for each in seconds]
        times = without if number == 2 else list(map(with_communication, seconds))
        time_s = statistics.median(times)
        percent = statistics.fmean(100 * record["accuracy"] for record in group)
        rows.append(PublishedRow(processes, time_s, percent, percent / time_s))
    return rows
