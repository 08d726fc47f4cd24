"""The two findings of Alowaisheq & Dhami, each as a question, with theirs and ours as the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manyhands.records.statistics import paired_ratio, ratio_interval
from manyhands.reports import queries
from manyhands.reports.format import decimal, signed, span
from manyhands.reports.schema import Record

FASTER_QUESTION = "Alowaisheq & Dhami, finding 1: does parallel training converge faster?"
COMPARABLE_QUESTION = "Alowaisheq & Dhami, finding 2: is its accuracy comparable?"
BELOW_END = 0.01
"""How far below its end, as a share of all test rows, the accuracy of a sequential run lies that others have to reach:
at the end itself curves are flat, and the moment at which they cross is chance."""
_WORDS = {"same": "the same", "higher": "higher", "lower": "lower", "undecided": "undecided"}


@dataclass(frozen=True)
class Race:
    """How a group of runs came to what the sequential run of the same split reached, seed by seed.

    Attributes
    ----------
    epochs, seconds
        As a multiple of what the sequential run needed: below 1 the group was there sooner.
    interval
        The 95 % interval of `seconds`; None with a single split.
    missed
        Splits on which the group did not get there.
    """

    epochs: float
    seconds: float
    interval: list[float] | None
    missed: int

    @property
    def word(self) -> str:
        """Whether the time says yes, no, or neither."""
        low, high = self.interval or (self.seconds, self.seconds)
        return "sooner" if high < 1 else "later" if low > 1 else "undecided"


def findings(compare: Record) -> list[tuple[str, str]]:
    """Return both questions with their answers for a comparison; none if no parallel run is beside a sequential one."""
    rows = _rows(compare)
    if not rows:
        return []
    speeds, ends = ("; ".join(tell(compare, row) for row in rows) for tell in (_speed, _accuracy))
    goal = (
        f"to get within {100 * BELOW_END:g} point of where the sequential run of the same split ended "
        f"(medians of {queries.repetitions(compare)})"
    )
    return [
        (FASTER_QUESTION, f"Theirs: yes. Ours, {goal}: {speeds}."),
        (COMPARABLE_QUESTION, f"Theirs: yes. Ours, when training ends: {ends}."),
    ]


def _rows(compare: Record) -> list[Record]:
    """Return a row of each strategy: that of most workers which had cores of their own, if any had."""
    found = {}
    for row in sorted(queries.parallel_rows(compare), key=lambda row: (not row["oversubscribed"], row["workers"])):
        found[row["strategy"]] = row
    return [found[name] for name in queries.strategies(compare) if name in found]


def _speed(compare: Record, row: Record) -> str:
    race = race_of(compare, row)
    if race is None:
        return f"{queries.named(row)} was not measured along the way (--convergence)"
    often = queries.seeds_of(compare, row)
    if race.missed:
        return f"{queries.named(row)} did not get there on {race.missed} of {often} splits"
    interval = f" ({span(race.interval)})" if race.interval else ""
    crowd = ", though with more workers than cores this time means little" if row["oversubscribed"] else ""
    return (
        f"{queries.named(row)} needed {decimal(race.seconds)} times its training time{interval} and "
        f"{decimal(race.epochs)} times its epochs, {race.word}{crowd}"
    )


def _accuracy(_compare: Record, row: Record) -> str:
    interval = f", {span(row['delta_ci95'], sign=True)}" if row["delta_ci95"] else ""
    word = _WORDS.get(row["verdict"], "undecided")
    return f"{queries.named(row)} {signed(row['delta_pp'])} points{interval}, {word}"


def race_of(compare: Record, row: Record) -> Race | None:
    """Return the race of a row's runs against the sequential ones; None if curves are missing."""
    goals = {run["seed"]: run for run in _runs(compare, queries.SEQUENTIAL, 1)}
    pairs = [
        (goals[run["seed"]], run) for run in _runs(compare, row["strategy"], row["workers"]) if run["seed"] in goals
    ]
    if not pairs or not all(_curve(run) for pair in pairs for run in pair):
        return None
    theirs, ours, missed = [], [], 0
    for reference, run in pairs:
        level = _curve(reference)[-1]["accuracy"] - BELOW_END
        reached = _first_at(_curve(run), level)
        if reached is None:
            missed += 1
        else:
            theirs.append(_first_at(_curve(reference), level) or reached)
            ours.append(reached)
    if missed:
        return Race(0.0, 0.0, None, missed)
    seconds = [point["train_s"] for point in ours], [point["train_s"] for point in theirs]
    epochs = [point["epoch"] for point in ours], [point["epoch"] for point in theirs]
    return Race(paired_ratio(*epochs), paired_ratio(*seconds), ratio_interval(*seconds), 0)


def _runs(compare: Record, strategy: str, workers: int) -> list[Record]:
    return [run for run in compare["runs"] if (run["strategy"], run["workers"]) == (strategy, workers)]


def _curve(run: Record) -> list[Record]:
    """Return the points after the start that have what a race needs."""
    names = ("accuracy", "epoch", "train_s")
    return [point for point in run["curve"] or [] if all(point[name] for name in names)]


def _first_at(curve: Sequence[Record], level: float) -> Record | None:
    """Return the first point of a curve at an accuracy or above."""
    return next((point for point in curve if point["accuracy"] >= level), None)
