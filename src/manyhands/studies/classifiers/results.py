"""The results of a study of classifiers: its runs, and the rows that summarize them."""

from __future__ import annotations

import statistics
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.words import count
from manyhands.data.checksum import checksum_of
from manyhands.records.runs import with_communication
from manyhands.records.statistics import (
    DEFAULT_MARGIN,
    Estimate,
    estimate,
    paired_difference,
    paired_ratio,
    ratio_interval,
    verdict,
)
from manyhands.studies.base.study import Outcome
from manyhands.studies.classifiers.reference import Reference
from manyhands.studies.compare.results import run_record
from manyhands.training.result import TrainingResult

SCHEMA = "manyhands.classifiers/1"
Runs = Mapping[int, dict[str, Any]]
"""Runs of one case by their seeds."""


@dataclass(frozen=True)
class Beside:
    """The accuracies of a case beside those of another one, paired by seed.

    Attributes
    ----------
    delta
        The difference in percentage points.
    word, more_seeds
        The verdict; see `manyhands.records.statistics.Verdict`.
    """

    delta: Estimate
    word: str
    more_seeds: int | None

    @classmethod
    def of(cls, runs: Runs, others: Runs, margin: float) -> Beside | None:
        """Return the comparison of runs with those of the same seeds; None if there is none."""
        seeds = [seed for seed in runs if seed in others]
        if not seeds:
            return None
        own, base = _percent([runs[seed] for seed in seeds]), _percent([others[seed] for seed in seeds])
        found = verdict([one - other for one, other in zip(own, base, strict=True)], margin)
        return cls(paired_difference(own, base), found.word, found.more_seeds)

    def record(self, before: str = "") -> dict[str, Any]:
        """Return it as fields of a row in the JSON file, with something before their names."""
        return {
            f"{before}delta_pp": self.delta.mean,
            f"{before}delta_ci95": self.delta.interval,
            f"{before}verdict": self.word,
            f"{before}more_seeds": self.more_seeds,
        }


@dataclass(repr=False)
class Classifiers(Outcome):
    """A finished, or interrupted, study of classifiers.

    Attributes
    ----------
    runs
        One record per run.
    references
        One record per fit of scikit-learn's estimators.
    tried
        The regularizations of qda that were tried on samples held out, each with its accuracy.
    """

    runs: list[dict[str, Any]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    tried: list[dict[str, Any]] = field(default_factory=list)

    def summary_text(self) -> str:
        """Return what has been measured."""
        return f"{count(len(self.runs), 'run')} on {super().summary_text()}"

    def finished(self) -> list[tuple[str, dict[str, Any]]]:
        """See `manyhands.studies.base.study.Outcome`."""
        return [(f"{record['learner']} n={record['workers']}", record) for record in self.runs]

    @property
    def best_regularization(self) -> float | None:
        """The regularization of qda with the best accuracy on samples held out, of equals the first; None if none."""
        best = max(self.tried, key=lambda each: float(each["accuracy"]), default=None)
        return None if best is None else float(best["value"])

    @property
    def summary(self) -> list[dict[str, Any]]:
        """One row per case of which a run was finished, as the JSON file has it, in the order of learners and n."""
        cases = [(name, workers) for name in self.settings["learners"] for workers in self.settings["workers"]]
        return [self._row(*case) for case in cases if self._runs_of(*case)]

    @property
    def theirs(self) -> list[dict[str, Any]]:
        """One row per estimator of scikit-learn that was fitted, as the JSON file has it."""
        return [self._reference_row(name) for name in self.settings["learners"] if self._fits_of(name)]

    def _runs_of(self, learner: str, workers: int) -> dict[int, dict[str, Any]]:
        """Return the runs of a case that have one with one worker beside them, by their seeds."""
        alone = {run["seed"] for run in self.runs if (run["learner"], run["workers"]) == (learner, 1)}
        mine = (run for run in self.runs if (run["learner"], run["workers"]) == (learner, workers))
        return {run["seed"]: run for run in mine if run["seed"] in alone}

    def _fits_of(self, learner: str) -> dict[int, dict[str, Any]]:
        return {fit["seed"]: fit for fit in self.references if fit["learner"] == learner}

    def _row(self, learner: str, workers: int) -> dict[str, Any]:
        runs, alone = self._runs_of(learner, workers), self._runs_of(learner, 1)
        group, base = list(runs.values()), [alone[seed] for seed in runs]
        with_s, base_s = ([with_communication(run["seconds"]) for run in each] for each in (group, base))
        compute_s = statistics.median(run["seconds"]["compute"] for run in group)
        train_s, speedup = statistics.median(with_s), paired_ratio(base_s, with_s)
        percent = estimate(_percent(group))
        beside = Beside.of(runs, alone, self._margin) if workers > 1 else None
        return {
            "learner": learner,
            "workers": workers,
            "runs": len(group),
            **_accuracy(percent),
            "compute_s": compute_s,
            "train_s": train_s,
            "speedup": speedup,
            "speedup_ci95": ratio_interval(base_s, with_s) if workers > 1 else None,
            "efficiency": speedup / workers,
            "impact": percent.mean / compute_s,
            "impact_with_communication": percent.mean / train_s,
            "rounds": statistics.median(run["rounds"] for run in group),
            "bytes_sent": statistics.median(run["bytes_sent"] for run in group),
            "oversubscribed": workers > self.environment["cores"],
            "same_model": _all_same("model", runs, alone) if workers > 1 else None,
            **({} if beside is None else beside.record()),
            **self._beside_theirs(runs, learner),
        }

    def _beside_theirs(self, runs: Runs, learner: str) -> dict[str, Any]:
        """Return a case beside scikit-learn's estimator: accuracy, answers, and how many times as fast it is."""
        fits = self._fits_of(learner)
        seeds, beside = [seed for seed in runs if seed in fits], Beside.of(runs, fits, self._margin)
        if beside is None:
            return {}
        times = [with_communication(runs[seed]["seconds"]) for seed in seeds]
        return {
            **beside.record("sklearn_"),
            "same_answers": _all_same("answers", {seed: runs[seed] for seed in seeds}, fits),
            "times_as_fast_as_sklearn": paired_ratio([fits[seed]["fit_s"] for seed in seeds], times),
        }

    def _reference_row(self, learner: str) -> dict[str, Any]:
        fits = list(self._fits_of(learner).values())
        fit_s, percent = statistics.median(fit["fit_s"] for fit in fits), estimate(_percent(fits))
        return {
            "learner": learner,
            "runs": len(fits),
            **_accuracy(percent),
            "fit_s": fit_s,
            "impact": percent.mean / fit_s,
        }

    @property
    def _margin(self) -> float:
        return float(self.settings.get("margin", DEFAULT_MARGIN))

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        return {
            "schema": SCHEMA,
            **self.head(),
            "runs": self.runs,
            "references": self.references,
            "tried": self.tried,
            "summary": self.summary,
            "theirs": self.theirs,
        }


def _percent(records: Sequence[Mapping[str, Any]]) -> list[float]:
    return [100 * record["accuracy"] for record in records]


def _accuracy(percent: Estimate) -> dict[str, Any]:
    """Return the accuracy of a row as a share."""
    share = percent.times(0.01)
    return {"accuracy_mean": share.mean, "accuracy_ci95": share.interval}


def _all_same(name: str, runs: Runs, others: Runs) -> bool:
    """Return whether a checksum is the same in all runs as in the others of the same seeds."""
    return all(run[name] == others[seed][name] for seed, run in runs.items())


def classified(result: TrainingResult, answers: NDArray[Any]) -> dict[str, Any]:
    """Return one run as the JSON file has it, with checksums of its model and of the classes of the test samples."""
    found = run_record(result)
    checksum = 0
    for name, block in sorted(result.model.learner.weights().items()):
        form = f"{name} {block.dtype} {block.shape}".encode()
        checksum = checksum_of(np.ascontiguousarray(block), zlib.crc32(form, checksum))
    return {**found, "passes": result.passes, "model": checksum, "answers": _checksum_of_classes(answers)}


def reference_record(learner: str, seed: int, found: Reference) -> dict[str, Any]:
    """Return one fit of scikit-learn's estimator as the JSON file has it."""
    return {
        "learner": learner,
        "seed": seed,
        "accuracy": found.accuracy,
        "fit_s": found.seconds,
        "answers": _checksum_of_classes(found.classes),
    }


def _checksum_of_classes(classes: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(classes, np.int64).data)
