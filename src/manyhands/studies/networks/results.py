"""The results of a study of networks: its runs, and the rows that summarize them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from manyhands.records.statistics import Estimate, estimate
from manyhands.studies.base.study import Outcome
from manyhands.studies.compare.results import Comparison, SummaryRow

SCHEMA = "manyhands.networks/1"
_ELSEWHERE = ("target_s", "target_reached", "target_speedup", "scaled_speedup")


@dataclass(frozen=True)
class Reached:
    """How soon an accuracy was reached.

    Attributes
    ----------
    target
        The accuracy, 0..1.
    runs
        How many runs reached it.
    epochs, seconds
        Medians over those: epochs, and seconds of training.
    """

    target: float
    runs: int
    epochs: float | None
    seconds: float | None


@dataclass(frozen=True)
class NetworkRow:
    """One network, trained by one strategy with one number of workers, over all seeds.

    Attributes
    ----------
    network
        Its number in `Networks.networks`.
    row
        Accuracy and time, compared with the same network's runs with one worker.
    learning_rate
        Its rate, chosen or given.
    validation
        Accuracy on the validation rows, 0..1; None without such rows.
    confidence
        Mean probability of the predicted class, 0..1, on the test rows.
    calibration_error
        Expected calibration error, 0..1 (Guo et al. 2017), on the test rows.
    reached
        How soon every target was reached; empty if nothing was measured on the way.
    distinct
        For every hidden layer, the smallest number of neurons that differ in any run.
    """

    network: int
    row: SummaryRow
    learning_rate: float
    validation: Estimate | None
    confidence: Estimate
    calibration_error: Estimate
    reached: tuple[Reached, ...]
    distinct: list[int]

    def record(self) -> dict[str, Any]:
        """Return the row as the JSON file has it."""
        plain = {name: value for name, value in self.row.record().items() if name not in _ELSEWHERE}
        return {
            "network": self.network,
            **plain,
            "learning_rate": self.learning_rate,
            "validation_mean": None if self.validation is None else self.validation.mean,
            "validation_ci95": None if self.validation is None else self.validation.interval,
            "confidence_mean": self.confidence.mean,
            "confidence_ci95": self.confidence.interval,
            "calibration_error_mean": self.calibration_error.mean,
            "calibration_error_ci95": self.calibration_error.interval,
            "reached": [asdict(each) for each in self.reached],
            "distinct_neurons": self.distinct,
        }


@dataclass(repr=False)
class Networks(Outcome):
    """A finished, or interrupted, study of networks.

    Attributes
    ----------
    networks
        One record per network, see `manyhands.studies.networks.request.Network.describe`.
    runs
        One record per run: that of a comparison, with its network's number, confidence, calibration error, accuracy on
        the validation rows and distinct neurons.
    tried
        Learning rates that were tried: network, rate, seed, accuracy on the validation rows, or that it diverged.
    diverged
        Runs whose training diverged; they are in no mean.
    """

    networks: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    tried: list[dict[str, Any]] = field(default_factory=list)
    diverged: list[dict[str, Any]] = field(default_factory=list)

    def finished(self) -> list[tuple[str, dict[str, Any]]]:
        """See `manyhands.studies.base.study.Outcome`."""
        return [(self._name(record), record) for record in self.runs]

    def _name(self, record: dict[str, Any]) -> str:
        who = "" if record["workers"] == 1 else f", {record['strategy']} n={record['workers']}"
        return f"{self.networks[record['network']]['name']}{who}"

    @property
    def summary(self) -> list[NetworkRow]:
        """One row per network, strategy and number of workers."""
        groups: dict[int, list[dict[str, Any]]] = {}
        for record in self.runs:
            groups.setdefault(record["network"], []).append(record)
        return [row for number, group in groups.items() for row in self._rows(number, group)]

    def _rows(self, number: int, group: list[dict[str, Any]]) -> list[NetworkRow]:
        """Compare a network's runs with those of one worker; one without a partner is in no mean."""
        seeds = {record["seed"] for record in group if record["strategy"] == "sequential"}
        rows = []
        for row in Comparison(self.environment, self.settings, group).summary:
            key = (row.strategy, row.workers)
            mine = [each for each in group if (each["strategy"], each["workers"]) == key and each["seed"] in seeds]
            rows.append(self._row(number, row, mine))
        return rows

    def _row(self, number: int, row: SummaryRow, runs: Sequence[dict[str, Any]]) -> NetworkRow:
        validated = [record["validation_accuracy"] for record in runs]
        return NetworkRow(
            number,
            row,
            runs[0]["learning_rate"],
            None if None in validated else estimate(validated),
            estimate([record["confidence"] for record in runs]),
            estimate([record["calibration_error"] for record in runs]),
            tuple(_reached(target, runs) for target in self.settings["targets"]),
            [min(layer) for layer in zip(*(record["distinct_neurons"] for record in runs), strict=True)],
        )

    @property
    def best(self) -> NetworkRow | None:
        """The network with the highest accuracy on the validation rows with one worker; None without such rows.

        One that has diverged with some seeds, or has not run with all, is not compared with those that have.
        """
        alone = [row for row in self.summary if row.row.strategy == "sequential" and row.validation is not None]
        alone = [row for row in alone if row.row.seeds == self.settings["seeds"]] or alone
        return max(alone, key=lambda row: row.validation.mean if row.validation else 0.0, default=None)

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        best = self.best
        return {
            "schema": SCHEMA,
            **self.head(),
            "networks": self.networks,
            "runs": self.runs,
            "tried": self.tried,
            "diverged": self.diverged,
            "summary": [row.record() for row in self.summary],
            "best": None if best is None else best.network,
        }


def _reached(target: float, runs: Sequence[dict[str, Any]]) -> Reached:
    """Return how soon runs reached an accuracy, by their curves."""
    firsts = [next((point for point in run["curve"] or [] if point["accuracy"] >= target), None) for run in runs]
    found = [point for point in firsts if point is not None]
    if not found:
        return Reached(target, 0, None, None)
    epochs, seconds = (statistics.median(point[name] for point in found) for name in ("epoch", "train_s"))
    return Reached(target, len(found), epochs, seconds)
