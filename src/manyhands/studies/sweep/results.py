"""The results of a sweep: its sessions, Table I and the best trade-off."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from manyhands.core.words import count
from manyhands.records.statistics import Estimate, estimate
from manyhands.reports.format import classifier, network_name, trained
from manyhands.studies.base.study import Outcome

SCHEMA = "manyhands.sweep/1"
_ROUNDING = 1e-9


@dataclass(frozen=True)
class SweepRow:
    """One classifier of Table I, over all its sessions.

    Attributes
    ----------
    hidden, epochs
        Which.
    runs
        How many sessions this row summarizes.
    time_s
        Median seconds of training, of those sessions that were timed alone if there are any.
    time_falsified
        Whether other sessions ran meanwhile.
    accuracy_pct
        In percent, with its interval, on the rows that choices are made on.
    test_pct
        Mean on the test rows.
    impact
        accuracy_pct * s1 / (time_s * s2).
    architecture
        The name of a network that has layers of its own.
    """

    hidden: tuple[int, ...]
    epochs: int
    runs: int
    time_s: float
    time_falsified: bool
    accuracy_pct: Estimate
    test_pct: float
    impact: float
    architecture: str | None = None

    @property
    def name(self) -> str:
        """The widths of its hidden layers, as ``75`` or ``64-32``, or the name of its architecture."""
        return network_name(self.hidden, self.architecture)

    def record(self) -> dict[str, Any]:
        """Return the row as the JSON file has it."""
        return {
            "hidden": list(self.hidden),
            "epochs": self.epochs,
            "runs": self.runs,
            "time_s": self.time_s,
            "time_falsified": self.time_falsified,
            "accuracy_pct": self.accuracy_pct.mean,
            "accuracy_ci95": self.accuracy_pct.interval,
            "test_pct": self.test_pct,
            "impact": self.impact,
        }


@dataclass(repr=False)
class Sweep(Outcome):
    """A finished, or interrupted, sweep.

    Attributes
    ----------
    sessions
        One record per session, by its number; see the JSON schema in docs/guide.md.
    """

    sessions: dict[int, dict[str, Any]] = field(default_factory=dict)

    def summary_text(self) -> str:
        """Return what has been swept over, and the best of it."""
        what = f"{count(len(self.sessions), 'session')} on {super().summary_text()}"
        return what if self.best is None else f"{what}; best: {self.reason}"

    def finished(self) -> list[tuple[str, dict[str, Any]]]:
        """See `manyhands.studies.base.study.Outcome`."""
        architecture = self.settings.get("architecture")
        return [(trained(classifier(record["hidden"], architecture), record["epochs"]), record) for record in self.runs]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """All sessions, in the order of Table I whatever finished first."""
        return [self.sessions[number] for number in sorted(self.sessions)]

    @property
    def table(self) -> list[SweepRow]:
        """Table I: one row per network and number of epochs."""
        groups: dict[tuple[tuple[int, ...], int], list[dict[str, Any]]] = {}
        for record in self.runs:
            groups.setdefault((tuple(record["hidden"]), record["epochs"]), []).append(record)
        return [self._summarize(hidden, epochs, group) for (hidden, epochs), group in groups.items()]

    def _summarize(self, hidden: tuple[int, ...], epochs: int, group: Sequence[dict[str, Any]]) -> SweepRow:
        alone = [record["seconds"]["train"] for record in group if record["side_by_side"] == 1]
        alone += [record["retimed_s"] for record in group if record["retimed_s"] is not None]
        time_s = statistics.median(alone or [record["seconds"]["train"] for record in group])
        score = "accuracy" if self.settings["chosen_on"] == "test" else "validation_accuracy"
        percent = estimate([100 * record[score] for record in group], overlap=self._overlap)
        return SweepRow(
            hidden,
            epochs,
            len(group),
            time_s,
            not alone,
            percent,
            statistics.fmean(100 * record["accuracy"] for record in group),
            percent.mean * self.settings["s1"] / (time_s * self.settings["s2"]),
            self.settings.get("architecture"),
        )

    @property
    def _overlap(self) -> float:
        """Rows scored over rows trained on, if the runs have random splits of the same rows; else 0."""
        if self.settings["splits"] is None:
            return 0.0
        data = self.settings["data"]
        scored = data["test_rows"] if self.settings["chosen_on"] == "test" else data["validation_rows"]
        return float(scored / data["train_rows"])

    @property
    def best(self) -> SweepRow | None:
        """The classifier with the best trade-off; None if there is none."""
        rows, target = self.table, self.settings["target"]
        if target is None:
            return max(rows, key=lambda row: row.impact, default=None)
        able = [row for row in rows if row.accuracy_pct.mean >= 100 * target - _ROUNDING]
        return min(able, key=lambda row: row.time_s, default=None)

    @property
    def reason(self) -> str:
        """Why the best is the best, or why there is none, in one sentence."""
        best, target, rows = self.best, self.settings["target"], self.settings["chosen_on"]
        if best is None:
            highest = max((row.accuracy_pct.mean for row in self.table), default=float("nan"))
            return (
                f"no classifier reaches {100 * (target or 0):g} % on the {rows} samples; the highest is {highest:.2f} %"
            )
        name = trained(classifier(best.hidden, best.architecture), best.epochs)
        time_s = f"{best.time_s:.3f}" if best.time_s >= 0.1 else f"{best.time_s:.3g}"
        score = f"{best.accuracy_pct.mean:.2f} % of the {rows} samples in {time_s} s"
        if target is not None:
            return f"{name}: the fastest with at least {100 * target:g} %, {score}"
        return f"{name}: the largest impact factor, {impact_text(best.impact)} ({score})"

    def record(self) -> dict[str, Any]:
        """Return everything as the JSON file has it."""
        best = self.best
        chosen = None
        if best is not None:
            chosen = {
                "hidden": list(best.hidden),
                "epochs": best.epochs,
                "tradeoff": self.settings["tradeoff"],
                "reason": self.reason,
            }
        return {
            "schema": SCHEMA,
            **self.head(),
            "sessions": self.runs,
            "table": [row.record() for row in self.table],
            "best": chosen,
        }


def impact_text(value: float) -> str:
    """Return an impact factor with three digits or so."""
    return f"{value:.2f}" if value < 100 else f"{value:,.1f}" if value < 1e4 else f"{value:,.0f}"
