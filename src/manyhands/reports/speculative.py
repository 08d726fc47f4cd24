"""Queries on a study of speculative back-propagation: its cases, the rows to be shown, and its answer."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.core.words import count
from manyhands.reports import queries, sentences
from manyhands.reports.format import decimal, span
from manyhands.reports.networks import NOTHING
from manyhands.reports.schema import Record

QUESTION = "Do lanes and speculation shorten training, keeping the same accuracy?"
_LANES = ("balanced", "pipelined", "plain", "predicted")
_WORDS = {"same": "the same", "higher": "a higher", "lower": "a lower", "undecided": "an undecided"}


def cases_of(study: Record, kind: str) -> list[Record]:
    """Return the cases of a kind of which runs were finished."""
    finished = {run["case"] for run in study["runs"]}
    return [case for case in study["cases"] if case["kind"] == kind and case["name"] in finished]


def typical(study: Record, kind: str) -> Record | None:
    """Return the case of a kind that stands for all: speculating on most, with the fewest lanes; None if none is."""
    ordered = sorted(cases_of(study, kind), key=lambda case: (-(case["threshold"] or 0), case["lanes"]))
    return ordered[0] if ordered else None


def runs_of(study: Record, case: Record) -> list[Record]:
    """Return the runs of a case, in their order."""
    return [run for run in study["runs"] if run["case"] == case["name"]]


def lane_rows(study: Record) -> list[Record]:
    """Return the rows of the cases that have lanes."""
    names = {case["name"] for case in study["cases"] if case["kind"] in _LANES}
    return [row for row in study["summary"] if row["case"] in names]


def gains(row: Record) -> bool:
    """Return whether a row is surely faster than the reference, and no less accurate."""
    return queries.surely_faster(row) and row["verdict"] in ("same", "higher")


def repetitions(study: Record, case: str | None = None) -> str:
    """Return how often was measured, as in ``5 seeds``: a case, by its name, or the one measured most often."""
    runs = [run["case"] for run in study["runs"]]
    return count(max((runs.count(name) for name in ([case] if case else set(runs))), default=0), "seed")


def answer(study: Record) -> str:
    """Return the answer: the fastest lanes that keep the accuracy, and what else was measured beside them."""
    rows = lane_rows(study)
    unfinished = " Interrupted: only finished runs are counted." if study["interrupted"] else ""
    if not rows:
        return f"{NOTHING}{unfinished}"
    word, best = _verdict(rows)
    return sentences.joined(f"{word} {_found(best)}.", _rest(study, best), _beside(study, best)) + unfinished


def _verdict(rows: Sequence[Record]) -> tuple[str, Record]:
    """Return the answer's beginning, and the row it is about: the fastest that has kept the accuracy, or may have."""
    faster = [row for row in rows if row["speedup"] > 1]
    if sure := [row for row in faster if gains(row)]:
        best = queries.fastest(sure)
        return f"Yes: use {best['case']}. It", best
    if unclear := [row for row in faster if row["verdict"] != "lower"]:
        best = queries.fastest(unclear)
        return f"Undecided: {best['case']}", best
    word = "what was faster lost accuracy" if faster else "nothing was faster than the sequential run"
    best = queries.fastest(faster or rows)
    return f"No: {word}. The fastest, {best['case']},", best


def _found(row: Record) -> str:
    """Return time and accuracy of a row."""
    return f"{_time(row)}{_interval(row)} than the sequential run{sentences.accuracy_clause(row)}"


def _rest(study: Record, row: Record) -> str:
    """Return what a finding rests on, what would settle it, and what its lanes could have saved."""
    limit = row["ceiling"]
    return sentences.joined(
        sentences.basis(repetitions(study, row["case"]), study["settings"]["margin"]),
        f"More lanes or workers than the {queries.cores(study)}." if row["oversubscribed"] else "",
        sentences.advice(row, sum(run["case"] == row["case"] for run in study["runs"]), "seed"),
        sentences.caveats({**study, "interrupted": False}, row["verdict"]),
        "" if limit is None else f"Lanes that never wait would save {decimal(100 * limit, 1)} %.",
    )


def _time(row: Record) -> str:
    percent = row["reduction_pct"]
    return f"trained in {decimal(abs(percent), 1)} % {'less' if percent >= 0 else 'more'} time"


def _interval(row: Record) -> str:
    """Return the interval of what `_time` says: of more time, if it is more."""
    ends = row["reduction_ci95"]
    if ends is None:
        return ""
    return f" ({span(ends if row['reduction_pct'] >= 0 else [-ends[1], -ends[0]], 1)})"


def _accuracy(row: Record) -> str:
    return f"{_WORDS[row['verdict']]} accuracy"


def _beside(study: Record, but: Record) -> list[str]:
    """Return what the published form, data-parallel workers and the ordinary learner took, ``but`` for one row."""
    rows = {row["case"]: row for row in study["summary"] if row is not but}
    cases = [case for kind in ("plain", "workers", "ordinary") for case in cases_of(study, kind)]
    found = [rows[case["name"]] for case in cases if case["name"] in rows]
    return [f"{row['case']} {_time(row)} with {_accuracy(row)}." for row in found]
