"""Queries on a completed comparison, which the answer, the figures and the tables have in common."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.core.words import count
from manyhands.reports.schema import Record

SEQUENTIAL = "sequential"


def strategies(compare: Record) -> list[str]:
    """Return the names of the strategies in the order of the summary."""
    return list(dict.fromkeys(row["strategy"] for row in compare["summary"]))


def parallel_strategies(compare: Record) -> list[str]:
    """Return the strategies other than the sequential reference."""
    return [name for name in strategies(compare) if name != SEQUENTIAL]


def rows_of(compare: Record, strategy: str) -> list[Record]:
    """Return the rows of one strategy, by number of workers."""
    return sorted((row for row in compare["summary"] if row["strategy"] == strategy), key=lambda row: row["workers"])


def parallel_rows(compare: Record) -> list[Record]:
    """Return the rows with two or more workers."""
    return [row for row in compare["summary"] if row["strategy"] != SEQUENTIAL and row["workers"] > 1]


def reference(compare: Record) -> Record | None:
    """Return the row of the sequential run; None if there is none."""
    return next((row for row in compare["summary"] if row["strategy"] == SEQUENTIAL), None)


def fastest(rows: Sequence[Record]) -> Record:
    """Return the row of the largest speedup, one whose workers had cores of their own if there is any."""
    return max(rows, key=lambda row: (not row["oversubscribed"], row["speedup"]))


def surely_faster(row: Record) -> bool:
    """Return whether the interval of the speedup lies above 1; without an interval, whether the speedup does."""
    interval = row["speedup_ci95"]
    return bool(row["speedup"] > 1 if interval is None else interval[0] > 1)


def worker_numbers(compare: Record) -> list[int]:
    """Return the numbers of workers, ascending."""
    return sorted({row["workers"] for row in compare["summary"]})


def crowded(compare: Record) -> set[int]:
    """Return the numbers of workers for which there were too few cores."""
    return {row["workers"] for row in compare["summary"] if row["oversubscribed"]}


def seeds_of(compare: Record, row: Record) -> int:
    """Return how many runs a row summarizes."""
    group = (row["strategy"], row["workers"])
    return sum((run["strategy"], run["workers"]) == group for run in compare["runs"])


def repetitions(compare: Record, row: Record | None = None) -> str:
    """Return how often was measured, as in ``5 seeds``; for all rows if none is given."""
    rows = compare["summary"] if row is None else [row]
    counts = [number for number in (seeds_of(compare, each) for each in rows) if number]
    noun = "random split" if compare["settings"]["splits"] else "seed"
    if not counts:
        return "an unknown number of seeds"
    low, high = min(counts), max(counts)
    return count(high, noun) if low == high else f"{low} to {count(high, noun)}"


def problems(compare: Record, strategy: str, workers: int) -> list[str]:
    """Return what is wrong with a group's runs that have come to nothing; see `manyhands.training.outcome`."""
    group = (strategy, workers)
    runs = [run for run in compare["runs"] if (run["strategy"], run["workers"]) == group]
    return [str(run["problem"]) for run in runs if run.get("problem")]


def reference_problem(compare: Record) -> str | None:
    """Return what is wrong with the sequential runs if half of them or more have come to nothing."""
    base = reference(compare)
    if base is None:
        return None
    found = problems(compare, SEQUENTIAL, base["workers"])
    return found[0] if found and 2 * len(found) >= seeds_of(compare, base) else None


def starred(law: Record, kind: str) -> str:
    """Return an asterisk if a law was fitted to points with more workers than cores, for lack of others."""
    inner = law[kind]["oversubscribed"]
    return "*" if (law["oversubscribed"] if inner is None else inner) else ""


def fitted_crowded(compare: Record) -> bool:
    """Return whether any law needed points with more workers than cores."""
    return any(
        starred(law, kind)
        for law in compare["laws"]
        for kind in ("amdahl", "usl", "gustafson")
        if law[kind] is not None
    )


def cores(record: Record) -> str:
    """Return the machine's cores, as in ``2 cores``."""
    number = record["environment"]["cores"]
    return "usable cores" if number is None else count(number, "core")


def named(row: Record) -> str:
    """Return a row's name, as in ``one-shot with 2 workers``."""
    return f"{row['strategy']} with {count(row['workers'], 'worker')}"
