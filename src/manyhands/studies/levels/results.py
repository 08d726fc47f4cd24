"""The results of a study of the levels of parallelism: its runs, and the rows that summarize them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from manyhands.core.words import count
from manyhands.records.statistics import paired_ratio, ratio_interval
from manyhands.studies.base.study import Outcome
from manyhands.studies.levels.request import ONE, SESSION, Case
from manyhands.training.result import TrainingResult

SCHEMA = "manyhands.levels/1"
_FACTS = ("name", "hidden", "level", "workers", "exchanges", "array_bytes", "predicted_ms")


@dataclass(frozen=True)
class LevelRow:
    """One case over all repeats.

    Attributes
    ----------
    facts
        What is known of the case; see `manyhands.studies.levels.facts.case_facts`.
    repeats
        How many runs it has.
    step_ms, step_interval
        Median milliseconds of a step, and its 95 % interval, of n trainings side by side those of n steps over n.
    speedup, speedup_interval
        One worker's milliseconds over these, paired by repeat: the median.
    communicate_ms
        Median milliseconds of a step in which a worker exchanges or waits.
    sent
        Bytes that a worker sends in a step.
    peak_bytes
        The largest peak of a worker's resident memory, as the operating system has measured it; None for threads.
    oversubscribed
        Whether there were more workers than usable cores.
    """

    facts: dict[str, Any]
    repeats: int
    step_ms: float
    step_interval: list[float] | None
    speedup: float
    speedup_interval: list[float] | None
    communicate_ms: float
    sent: float
    peak_bytes: int | None
    oversubscribed: bool

    @property
    def efficiency(self) -> float:
        """Speedup per worker."""
        return float(self.speedup / self.facts["workers"])

    def record(self) -> dict[str, Any]:
        """Return the row as the JSON file has it."""
        return {
            **{name: self.facts[name] for name in _FACTS},
            "repeats": self.repeats,
            "step_ms": self.step_ms,
            "step_ms_ci95": self.step_interval,
            "speedup": self.speedup,
            "speedup_ci95": self.speedup_interval,
            "efficiency": self.efficiency,
            "communicate_ms": self.communicate_ms,
            "sent_bytes": self.sent,
            "peak_bytes": self.peak_bytes,
            "oversubscribed": self.oversubscribed,
        }


@dataclass(repr=False)
class Levels(Outcome):
    """A finished, or interrupted, study of the levels of parallelism.

    Attributes
    ----------
    cases
        What is known of each case, in their order.
    chosen
        Which grid `auto` would choose for each network and number of workers.
    model
        What the cost model says at many widths of two equal hidden layers.
    runs
        One record per timed run.
    peaks
        One record per run, in processes of its own, whose memory was measured.
    """

    cases: list[dict[str, Any]] = field(default_factory=list)
    chosen: list[dict[str, Any]] = field(default_factory=list)
    model: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    peaks: list[dict[str, Any]] = field(default_factory=list)

    def summary_text(self) -> str:
        """Return what has been measured."""
        return f"{count(len(self.runs), 'run')} on {super().summary_text()}"

    @property
    def summary(self) -> list[LevelRow]:
        """One row per case of which a run was finished, in the order of the cases."""
        rows = (self._row(case) for case in self.cases)
        return [row for row in rows if row is not None]

    def _row(self, case: dict[str, Any]) -> LevelRow | None:
        """Return the row of a case; None if no run of it was finished."""
        runs = [run for run in self.runs if _is_of(run, case)]
        if not runs:
            return None
        alone = {"hidden": case["hidden"], "level": ONE, "workers": 1}
        reference = {run["repeat"]: run["step_ms"] for run in self.runs if _is_of(run, alone)}
        times, base = [run["step_ms"] for run in runs], [reference[run["repeat"]] for run in runs]
        peaks = [peak["peak_bytes"] for peak in self.peaks if _is_of(peak, case)]
        return LevelRow(
            facts=case,
            repeats=len(runs),
            step_ms=statistics.median(times),
            step_interval=_median_interval(times),
            speedup=paired_ratio(base, times),
            speedup_interval=ratio_interval(base, times) if case["level"] != ONE else None,
            communicate_ms=statistics.median(run["communicate_ms"] for run in runs),
            sent=statistics.median(run["sent_bytes"] for run in runs),
            peak_bytes=max(peaks, default=None),
            oversubscribed=case["workers"] > self.environment["cores"],
        )

    def row_of(self, hidden: Sequence[int], level: str, workers: int) -> LevelRow:
        """Return the row of a case, or raise KeyError."""
        wanted = {"hidden": list(hidden), "level": level, "workers": workers}
        for row in self.summary:
            if _is_of(row.facts, wanted):
                return row
        raise KeyError(wanted)

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        return {
            "schema": SCHEMA,
            **self.head(),
            "cases": self.cases,
            "chosen": self.chosen,
            "model": self.model,
            "runs": self.runs,
            "peaks": self.peaks,
            "summary": [row.record() for row in self.summary],
        }


def _is_of(record: dict[str, Any], case: dict[str, Any]) -> bool:
    return all(record[name] == case[name] for name in ("hidden", "level", "workers"))


def _median_interval(values: Sequence[float]) -> list[float] | None:
    """Return the interval of the median: that of its ratio to 1."""
    return ratio_interval(values, [1.0] * len(values))


def level_record(case: Case, repeat: int, batch: int, result: TrainingResult) -> dict[str, Any]:
    """Return one timed run as the JSON file has it; a step is one of ``batch`` samples.

    Of trainings side by side, only computing counts: they have nothing to say to each other until they are merged.
    """
    alone = case.level == SESSION
    steps = result.examples / batch if alone else result.steps
    seconds = result.seconds["compute"] / case.workers if alone else result.seconds["train"]
    return {
        **case.key,
        "repeat": repeat,
        "steps": round(steps),
        "step_ms": 1000 * seconds / steps,
        "communicate_ms": 0.0 if alone else 1000 * result.seconds["communicate"] / steps,
        "sent_bytes": 0.0 if alone else result.bytes_sent / steps,
        "seconds": result.seconds,
    }
