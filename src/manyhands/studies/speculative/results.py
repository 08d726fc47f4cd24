"""The results of a study of speculative back-propagation: its runs, and the rows that summarize them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from manyhands.studies.base.study import Outcome
from manyhands.studies.compare.results import Comparison, SummaryRow, run_record
from manyhands.studies.speculative.request import Case
from manyhands.training.result import TrainingResult

SCHEMA = "manyhands.speculative/1"
MEASURED = ("hit_rate", "saved", "ceiling", "ideal")
"""What a speculative learner measures of a run, each from 0 to 1; time saved may be negative."""
_COMPARED = (
    *("accuracy_mean", "accuracy_ci95", "delta_pp", "delta_ci95", "train_s", "total_s", "speedup", "speedup_ci95"),
    *("verdict", "more_seeds"),
)
"""Fields of a comparison's row that a row of this study has, too."""


@dataclass(frozen=True)
class SpeculativeRow:
    """One case over all seeds.

    Attributes
    ----------
    case
        Which one.
    row
        Accuracy and time, compared with the sequential reference's, seed by seed.
    oversubscribed
        Whether there were more lanes or workers than usable cores.
    hit_rate, saved, ceiling, ideal
        Medians over the seeds, from 0 to 1: samples whose gradient came from a stored outcome; by how much the lanes'
        parts took less time than one after the other, and by how much at best, by the measured times and by
        multiply-adds. None for the ordinary learner.
    """

    case: Case
    row: SummaryRow
    oversubscribed: bool
    hit_rate: float | None
    saved: float | None
    ceiling: float | None
    ideal: float | None

    @property
    def reduction(self) -> float:
        """By how many percent training took less time than the reference: 1 - 1 / speedup."""
        return _reduction(self.row.speedup)

    @property
    def reduction_interval(self) -> list[float] | None:
        """The 95 % interval of the reduction, that of the speedup in the other unit."""
        interval = self.row.speedup_interval
        return None if interval is None else [_reduction(end) for end in interval]

    def record(self) -> dict[str, Any]:
        """Return the row as the JSON file has it."""
        compared = self.row.record()
        return {
            "case": self.case.name,
            **{name: compared[name] for name in _COMPARED},
            "reduction_pct": self.reduction,
            "reduction_ci95": self.reduction_interval,
            "oversubscribed": self.oversubscribed,
            **{name: getattr(self, name) for name in MEASURED},
        }


def _reduction(speedup: float) -> float:
    return 100 * (1 - 1 / speedup)


@dataclass(repr=False)
class Speculation(Outcome):
    """A finished, or interrupted, study of speculative back-propagation.

    Attributes
    ----------
    cases
        All cases, in their order.
    runs
        One record per run: that of a comparison, with the case's name, and what the speculative learner measured.
    diverged
        Runs whose training diverged; they are in no mean, nor are those that would be compared with them.
    """

    cases: list[Case] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    diverged: list[dict[str, Any]] = field(default_factory=list)

    def finished(self) -> list[tuple[str, dict[str, Any]]]:
        """See `manyhands.studies.base.study.Outcome`."""
        return [(record["case"], record) for record in self.runs]

    @property
    def summary(self) -> list[SpeculativeRow]:
        """One row per case of which a run was finished, in the order of the cases."""
        # A comparison groups runs by strategy and number of workers; here it is the cases that differ.
        runs = [{**run, "strategy": run["case"]} for run in self.runs]
        rows = {row.strategy: row for row in Comparison(self.environment, self.settings, runs).summary}
        return [self._row(case, rows[case.name]) for case in self.cases if case.name in rows]

    def _row(self, case: Case, row: SummaryRow) -> SpeculativeRow:
        facts = [run["speculation"] for run in self.runs if run["case"] == case.name and run["speculation"]]
        medians = {name: statistics.median(each[name] for each in facts) if facts else None for name in MEASURED}
        crowded = max(case.lanes, case.workers) > self.environment["cores"]
        return SpeculativeRow(case, row, crowded, **medians)

    def row_of(self, name: str) -> SpeculativeRow:
        """Return the row of a case by its name, or raise KeyError."""
        return {row.case.name: row for row in self.summary}[name]

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        return {
            "schema": SCHEMA,
            **self.head(),
            "cases": [case.describe() for case in self.cases],
            "runs": self.runs,
            "diverged": self.diverged,
            "summary": [row.record() for row in self.summary],
        }


def case_record(case: Case, result: TrainingResult) -> dict[str, Any]:
    """Return one run as the JSON file has it."""
    reports: Sequence[dict[str, Any]] = result.reports or [{}]
    return {"case": case.name, **run_record(result), "speculation": reports[0].get("speculation")}
