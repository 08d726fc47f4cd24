"""What a watched training has come to, in words: how much faster, and whether the accuracy is the same."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manyhands.core.words import count
from manyhands.records.statistics import (
    DEFAULT_MARGIN,
    FEWEST_PAIRS,
    estimate,
    paired_difference,
    paired_ratio,
    ratio_interval,
    verdict,
)


@dataclass(frozen=True)
class Ended:
    """A run that has ended: its seed, seconds of training, and accuracy on the test samples, 0..1."""

    seed: int
    seconds: float
    accuracy: float


def alone(runs: Sequence[Ended], test_rows: int) -> dict[str, Any]:
    """Return the result of runs that are compared with nothing."""
    scores = [100 * run.accuracy for run in runs]
    found = estimate(scores)
    spread = "" if found.half_width is None else f" \N{PLUS-MINUS SIGN} {found.half_width:.2f}"
    seconds = statistics.fmean(run.seconds for run in runs)
    text = (
        f"{found.mean:.2f}{spread} % of {count(test_rows, 'test sample')} are classified correctly after "
        f"{seconds:.2f} s of training{_of(len(runs))}."
    )
    return {"text": text, "notes": []}


def compared(workers: int, parallel: Sequence[Ended], sequential: Sequence[Ended], test_rows: int) -> dict[str, Any]:
    """Return the result of runs of several workers and of one, pair by pair of the same seed."""
    times, reference = [run.seconds for run in parallel], [run.seconds for run in sequential]
    speedup, interval = paired_ratio(reference, times), ratio_interval(reference, times)
    scores, others = [100 * run.accuracy for run in parallel], [100 * run.accuracy for run in sequential]
    between = "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"
    seconds = f"{statistics.median(times):.2f} s instead of {statistics.median(reference):.2f} s"
    text = (
        f"{count(workers, 'worker')} took {seconds}: {speedup:.2f} times as fast{between}. "
        f"The accuracy on {count(test_rows, 'test sample')} is {_difference(scores, others)}."
    )
    return {"text": text, "notes": _notes(scores, others), "speedup": speedup, "workers": workers}


def _difference(scores: Sequence[float], others: Sequence[float]) -> str:
    """Return how accuracies differ, as the end of a sentence."""
    found = paired_difference(scores, others)
    half = "" if found.half_width is None else f" \N{PLUS-MINUS SIGN} {found.half_width:.2f}"
    means = f"{statistics.fmean(scores):.2f} % instead of {statistics.fmean(others):.2f} %"
    return f"{means}, a difference of {found.mean:+.2f}{half} percentage points{_of(len(scores))}"


def _of(seeds: int) -> str:
    return "" if seeds == 1 else f" (means of {count(seeds, 'seed')}, 95 % intervals)"


def _notes(scores: Sequence[float], others: Sequence[float]) -> list[str]:
    """Return what the difference of accuracies proves."""
    if len(scores) < FEWEST_PAIRS:
        return ["This is one seed, and no proof: another seed changes both accuracies by as much. Train several seeds."]
    found = verdict([one - other for one, other in zip(scores, others, strict=True)], DEFAULT_MARGIN)
    if found.word == "undecided":
        return [f"Whether the accuracy is the same is undecided: {found.advice()}."]
    if found.word == "same":
        return [f"The accuracy is the same: the interval lies within {DEFAULT_MARGIN:g} points of no difference."]
    return [f"The accuracy is {found.word}: the interval does not hold zero."]
