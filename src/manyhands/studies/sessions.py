"""What a sweep has come to: its sessions, Table I and the best trade-off."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manyhands.studies.published import published_sweep
from manyhands.studies.seal import write_record
from manyhands.studies.statistics import Estimate, estimate
from manyhands.studies.tables import seconds_text

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
    """

    hidden: tuple[int, ...]
    epochs: int
    runs: int
    time_s: float
    time_falsified: bool
    accuracy_pct: Estimate
    test_pct: float
    impact: float

    @property
    def name(self) -> str:
        """The widths of its hidden layers, as ``75`` or ``64-32``."""
        return "-".join(map(str, self.hidden)) or "none"

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


@dataclass
class Sweep:
    """A finished, or interrupted, sweep.

    Attributes
    ----------
    environment, settings
        What was run on what.
    sessions
        One record per session, by its number; see the JSON schema in docs/guide.md.
    interrupted
        Whether sessions are missing.
    """

    environment: dict[str, Any]
    settings: dict[str, Any]
    sessions: dict[int, dict[str, Any]] = field(default_factory=dict)
    interrupted: bool = False

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
            return f"no classifier reaches {100 * (target or 0):g} % on the {rows} rows; the highest is {highest:.2f} %"
        name = f"{best.name} hidden, {best.epochs} epochs" if best.hidden else f"no hidden layer, {best.epochs} epochs"
        time_s = f"{best.time_s:.3f}" if best.time_s >= 0.1 else f"{best.time_s:.3g}"
        score = f"{best.accuracy_pct.mean:.2f} % of the {rows} rows in {time_s} s"
        if target is not None:
            return f"{name}: the fastest with at least {100 * target:g} %, {score}"
        return f"{name}: the largest impact factor, {_impact(best.impact)} ({score})"

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
            "environment": self.environment,
            "settings": self.settings,
            "interrupted": self.interrupted,
            "sessions": self.runs,
            "table": [row.record() for row in self.table],
            "best": chosen,
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`record` as JSON with a checksum, whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        write_record(path, self.record())


def sweep_text(sweep: Sweep) -> str:
    """Return Table I, ours beside the published one, as text of at most 100 columns."""
    rows, best = sweep.table, sweep.best
    if not rows:
        return "No session was finished."
    theirs: dict[tuple[tuple[int, ...], int], dict[str, Any]]
    theirs = {((row["hidden"],), row["epochs"]): row for row in published_sweep()}
    beside = any((row.hidden, row.epochs) in theirs for row in rows)
    on_test = sweep.settings["chosen_on"] == "test"
    header = ("hidden", "epochs", "time s", "test %" if on_test else "validation %", *(() if on_test else ("test %",)))
    header += ("impact", *(("time s", "accuracy %", "impact") if beside else ()))
    lines = [header]
    for row in rows:
        other = theirs.get((row.hidden, row.epochs))
        published = ("", "", "")
        if other is not None:
            published = f"{other['time_s']:.2f}", f"{other['accuracy_pct']:.2f}", f"{other['impact']:.2f}"
        lines.append((*_cells(row, on_test), *(published if beside else ())))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    ours = 5 if on_test else 6
    text = [_line(line, widths, ours) for line in lines]
    if beside:
        left, right = sum(widths[:ours]) + 2 * (ours - 1), sum(widths[ours:]) + 4
        text.insert(0, f"{'here':>{left}}    {'published (MIPRO 2021)':>{right}}".rstrip())
    text.insert(1 + beside, "-" * max(map(len, text)))
    text[2 + beside :] = [
        f"{line}{' <-' if row is best or row == best else ''}"
        for line, row in zip(text[2 + beside :], rows, strict=True)
    ]
    return "\n".join(
        [
            *text,
            "",
            textwrap.fill(f"best: {sweep.reason}", 100, break_on_hyphens=False),
            "",
            *_notes(sweep, rows, beside=beside),
        ]
    )


def _cells(row: SweepRow, on_test: bool) -> tuple[str, ...]:
    half = row.accuracy_pct.half_width
    percent = f"{row.accuracy_pct.mean:.2f}" + ("" if half is None else f" ±{half:.2f}")
    time_s = f"{seconds_text(row.time_s)}{'~' if row.time_falsified else ''}"
    test = () if on_test else (f"{row.test_pct:.2f}",)
    return row.name, str(row.epochs), time_s, percent, *test, _impact(row.impact)


def _impact(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.1f}" if value < 1e4 else f"{value:.0f}"


def _line(cells: Sequence[str], widths: Sequence[int], ours: int) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return ("  ".join(padded[:ours]) + ("    " + "  ".join(padded[ours:]) if padded[ours:] else "")).rstrip()


def _notes(sweep: Sweep, rows: Sequence[SweepRow], *, beside: bool) -> list[str]:
    """Explain the table, and what must not be read into it."""
    settings = sweep.settings
    runs = settings["runs"]
    what = "random splits" if settings["splits"] is not None else "runs"
    notes = [
        f"Medians of training times and means of accuracies over {runs} {what if runs > 1 else what[:-1]}, ± the 95 % "
        "interval. impact: accuracy in percent * s1 / (time * s2), "
        f"s1 = {settings['s1']:g}, s2 = {settings['s2']:g}: they rescale it and never change the order."
    ]
    if settings["target"] is None:
        notes[0] += " A trade-off that does: --target A, the fastest with at least that accuracy."
    if settings["chosen_on"] == "test":
        notes.append(
            "As published, the best is chosen on the test rows, so its accuracy there is a little too good to be true."
        )
    else:
        drawn = ", drawn anew from both for each split" if settings["splits"] is not None else ""
        notes.append(
            f"The best is chosen on validation rows, training rows that are not trained on{drawn}; test rows choose "
            "nothing."
        )
    if any(row.time_falsified for row in rows):
        side = max(record["side_by_side"] for record in sweep.runs)
        notes.append(
            f"~ measured while up to {side} sessions ran side by side, which falsifies times, impact and what is "
            "chosen by them. --retime measures again, one alone at a time."
        )
    if beside:
        notes.append("Published times: a six-core Intel i7-9750H, raw pixels, accuracy on the test rows.")
    if sweep.interrupted:
        notes.append("Interrupted: only finished sessions are counted.")
    return [textwrap.fill(note, 100, break_on_hyphens=False) for note in notes]
