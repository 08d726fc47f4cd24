"""The results of a comparison: its runs, and the rows and laws that summarize them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from manyhands.core.html import curves
from manyhands.core.words import count
from manyhands.records.laws import fit_amdahl, fit_gustafson, fit_scalability
from manyhands.records.runs import with_communication
from manyhands.records.statistics import (
    DEFAULT_MARGIN,
    Estimate,
    Verdict,
    estimate,
    paired_difference,
    paired_ratio,
    ratio_interval,
    verdict,
)
from manyhands.studies.base.study import Outcome
from manyhands.training.result import TrainingResult

SCHEMA = "manyhands.compare/1"


@dataclass(frozen=True)
class SummaryRow:
    """One strategy at one number of workers, over all seeds.

    Attributes
    ----------
    accuracy
        Mean share of test rows classified correctly, 0..1, with its interval.
    delta
        Difference to the sequential run in percentage points, paired by seed; None for the sequential run itself.
    train_s, total_s
        Median seconds without and with reading and distributing.
    speedup, speedup_interval
        Median over the seeds of sequential training time over this one's, and its 95 % interval.
    efficiency
        Speedup per worker.
    impact, impact_with_communication
        Accuracy in percent over train_s, and over the time with communication (`with_communication` of
        `manyhands.records.runs`; Todorov et al. 2021, with s1 = s2 = 1).
    oversubscribed
        Whether there were more workers than usable cores.
    seeds
        How many runs this row summarizes.
    verdict
        Whether the accuracy is the sequential run's; None for that itself, and if the data grow with n.
    target_s, target_reached
        If a target accuracy was set: median seconds of training until it was reached, over the runs that did, and
        their number.
    target_speedup
        How many times as fast as the sequential run the target was reached, median over the seeds; None if either
        missed it in any.
    scaled_speedup
        If the data grow with n: how many times the work of the sequential run is done in its time (Gustafson 1988).
    """

    strategy: str
    workers: int
    accuracy: Estimate
    delta: Estimate | None
    train_s: float
    total_s: float
    speedup: float
    speedup_interval: list[float] | None
    efficiency: float
    impact: float
    impact_with_communication: float
    oversubscribed: bool
    seeds: int
    verdict: Verdict | None = None
    target_s: float | None = None
    target_reached: int | None = None
    target_speedup: float | None = None
    scaled_speedup: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the row as the JSON file has it."""
        return {
            "strategy": self.strategy,
            "workers": self.workers,
            "accuracy_mean": self.accuracy.mean,
            "accuracy_ci95": self.accuracy.interval,
            "delta_pp": None if self.delta is None else self.delta.mean,
            "delta_ci95": None if self.delta is None else self.delta.interval,
            "train_s": self.train_s,
            "total_s": self.total_s,
            "speedup": self.speedup,
            "speedup_ci95": self.speedup_interval,
            "efficiency": self.efficiency,
            "impact": self.impact,
            "impact_with_communication": self.impact_with_communication,
            "oversubscribed": self.oversubscribed,
            "verdict": None if self.verdict is None else self.verdict.word,
            "more_seeds": None if self.verdict is None else self.verdict.more_seeds,
            "target_s": self.target_s,
            "target_reached": self.target_reached,
            "target_speedup": self.target_speedup,
            "scaled_speedup": self.scaled_speedup,
        }


@dataclass(repr=False)
class Comparison(Outcome):
    """A finished, or interrupted, comparison.

    Attributes
    ----------
    runs
        One record per run; see the JSON schema in docs/guide.md.
    """

    runs: list[dict[str, Any]] = field(default_factory=list)

    def summary_text(self) -> str:
        """Return what has been compared, and the fastest of what lost no accuracy."""
        rows = [row for row in self.summary if row.workers > 1 and row.verdict is not None]
        same = [row for row in rows if row.verdict is not None and row.verdict.word in ("same", "higher")]
        best = max(same, key=lambda row: row.speedup, default=None)
        what = f"{count(len(self.runs), 'run')} on {super().summary_text()}"
        if best is None or best.speedup <= 1:
            return f"{what}; nothing was faster at the same accuracy" if rows else what
        return (
            f"{what}; fastest at the same accuracy: {best.strategy}, {count(best.workers, 'worker')}, "
            f"{best.speedup:.2f} times as fast"
        )

    def curves_html(self) -> str:
        """Return the accuracy by time of the first run of each case, if it was measured."""
        first: dict[str, list[tuple[float, float]]] = {}
        for run in self.runs:
            name = f"{run['strategy']}, {count(run['workers'], 'worker')}"
            first.setdefault(name, [(point["train_s"], point["accuracy"]) for point in run["curve"] or []])
        return curves("seconds of training", "accuracy on test samples", first)

    def finished(self) -> list[tuple[str, dict[str, Any]]]:
        """See `manyhands.studies.base.study.Outcome`."""
        return [(f"{record['strategy']} n={record['workers']}", record) for record in self.runs]

    @property
    def summary(self) -> list[SummaryRow]:
        """One row per strategy and number of workers, in the order they were first run."""
        sequential = {record["seed"]: record for record in self.runs if record["strategy"] == "sequential"}
        groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for record in self.runs:
            if record["seed"] in sequential:
                groups.setdefault((record["strategy"], record["workers"]), []).append(record)
        return [self._summarize(group, [sequential[record["seed"]] for record in group]) for group in groups.values()]

    def _summarize(self, group: list[dict[str, Any]], reference: list[dict[str, Any]]) -> SummaryRow:
        strategy, workers = group[0]["strategy"], group[0]["workers"]
        scores, base = _percent(group), _percent(reference)
        overlap = self._overlap
        percent = estimate(scores, overlap=overlap)
        scaled, parallel = self.settings.get("scaled", False), strategy != "sequential"
        train = [record["seconds"]["train"] for record in group]
        alone = [record["seconds"]["train"] for record in reference]
        train_s = statistics.median(train)
        total_s = statistics.median(record["seconds"]["total"] for record in group)
        communicated = statistics.median(with_communication(record["seconds"]) for record in group)
        speedup = paired_ratio(alone, train)
        scaled_speedup = speedup * group[0]["rows"] / reference[0]["rows"] if scaled else None
        reached = [record["target_s"] for record in group if record.get("target_s") is not None]
        return SummaryRow(
            strategy=strategy,
            workers=workers,
            accuracy=estimate([score / 100 for score in scores], overlap=overlap),
            delta=paired_difference(scores, base, overlap) if parallel else None,
            train_s=train_s,
            total_s=total_s,
            speedup=speedup,
            speedup_interval=ratio_interval(alone, train),
            efficiency=(speedup if scaled_speedup is None else scaled_speedup) / workers,
            impact=percent.mean / train_s,
            impact_with_communication=percent.mean / communicated,
            oversubscribed=workers > self.environment["cores"],
            seeds=len(group),
            verdict=self._verdict(scores, base) if parallel and not scaled else None,
            target_s=statistics.median(reached) if reached else None,
            target_reached=len(reached) if self.settings.get("target") is not None else None,
            target_speedup=_target_speedup(reference, group) if parallel else None,
            scaled_speedup=scaled_speedup,
        )

    def _verdict(self, scores: Sequence[float], base: Sequence[float]) -> Verdict:
        differences = [score - other for score, other in zip(scores, base, strict=True)]
        return verdict(differences, self.settings.get("margin", DEFAULT_MARGIN), self._overlap)

    @property
    def _overlap(self) -> float:
        """Test rows over training rows, if the runs have random splits of the same rows; else 0."""
        if self.settings.get("splits") is None:
            return 0.0
        data = self.settings["data"]
        return float(data["test_rows"] / data["train_rows"])

    @property
    def laws(self) -> list[dict[str, Any]]:
        """How the speedup of each strategy depends on the number of workers, as the JSON file has it."""
        groups: dict[str, list[SummaryRow]] = {}
        for row in self.summary:
            if row.strategy != "sequential":
                groups.setdefault(row.strategy, []).append(row)
        return [_law(strategy, rows) for strategy, rows in groups.items()]

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        summary = [row.record() for row in self.summary]
        return {"schema": SCHEMA, **self.head(), "runs": self.runs, "summary": summary, "laws": self.laws}


def _target_speedup(reference: Sequence[dict[str, Any]], group: Sequence[dict[str, Any]]) -> float | None:
    """Return the median ratio of the times to the target; None unless all runs reached it."""
    base = [float(record["target_s"]) for record in reference if record.get("target_s") is not None]
    times = [float(record["target_s"]) for record in group if record.get("target_s") is not None]
    return paired_ratio(base, times) if len(base) == len(times) == len(group) else None


def _percent(records: Sequence[dict[str, Any]]) -> list[float]:
    return [100 * record["accuracy"] for record in records]


def _law(strategy: str, rows: Sequence[SummaryRow]) -> dict[str, Any]:
    """Fit all laws to one strategy's speedups."""
    scaled = rows[0].scaled_speedup is not None
    amdahl, amdahl_crowded = _fit(rows, 1, fit_amdahl)
    usl, usl_crowded = _fit(rows, 2, fit_scalability)
    gustafson, gustafson_crowded = _fit(rows, 1, fit_gustafson)
    laws = {
        "amdahl": None
        if amdahl is None or scaled
        else {"serial_fraction": amdahl.serial_fraction, "oversubscribed": amdahl_crowded},
        "usl": None
        if usl is None or scaled
        else {
            "contention": usl.contention,
            "coherency": usl.coherency,
            "best_workers": usl.best_workers,
            "peak_speedup": usl.peak_speedup,
            "oversubscribed": usl_crowded,
        },
        "gustafson": None
        if gustafson is None or not scaled
        else {"serial_fraction": gustafson.serial_fraction, "oversubscribed": gustafson_crowded},
    }
    return {
        "strategy": strategy,
        "workers": [row.workers for row in rows],
        "speedups": [_speedup(row) for row in rows],
        **laws,
        "oversubscribed": any(law is not None and law["oversubscribed"] for law in laws.values()),
    }


def _speedup(row: SummaryRow) -> float:
    return row.speedup if row.scaled_speedup is None else row.scaled_speedup


Law = TypeVar("Law")


def _fit(
    rows: Sequence[SummaryRow], needed: int, fit: Callable[[Sequence[int], Sequence[float]], Law | None]
) -> tuple[Law | None, bool]:
    """Fit a law, if possible without points that had more workers than cores; also return whether those were needed."""
    fair = [row for row in rows if not row.oversubscribed]
    enough = len({row.workers for row in fair if row.workers > 1}) >= needed
    used = fair if enough else rows
    law = fit([row.workers for row in used], [_speedup(row) for row in used])
    return law, not enough and any(row.oversubscribed for row in rows)


def run_record(result: TrainingResult, split: int | None = None, target: float | None = None) -> dict[str, Any]:
    """Return one run as the JSON file has it, with its random split, and the time to a target accuracy, 0..1."""
    plan = result.plan
    return {
        "strategy": plan.label,
        "resolved": plan.strategy.name,
        "batch": None if plan.needs.sums else plan.batch,
        "learning_rate": None if plan.needs.sums else plan.network.learning_rate,
        "schedule": None if plan.needs.sums else plan.schedule.name,
        "workers": plan.workers,
        "team": plan.team,
        "learner": plan.learner,
        "sharding": plan.sharding,
        "seed": plan.seed,
        "accuracy": result.accuracy,
        "steps": result.steps,
        "rounds": result.rounds,
        "bytes_sent": result.bytes_sent,
        "examples": result.examples,
        "loss": result.losses[-1] if result.losses else None,
        "seconds": result.seconds,
        "rows": plan.rows,
        "split": split,
        "target_s": None if target is None else result.seconds_to(target),
        "curve": result.curve or None,
        "problem": result.problem,
    }
