"""The bars: what the project promises, and what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from arithmetic import active_columns, operations, operations_done
from intervals import Median, Rounds, median, paired, ratio
from results import Missing, Results
from workloads import (
    COMMAND,
    DDP,
    DIVIDED,
    DTYPES,
    EAGER,
    FEW,
    GRADIENT,
    GZIP,
    LIMITS,
    LIMITS_2,
    OURS_CNN,
    PARALLEL_CNN,
    PERIODIC,
    PLAIN_CNN,
    PUBLISHED_2,
    READ_CSV,
    READ_IDX,
    READERS,
    ROWS,
    SCIKIT_LEARN,
    SEQUENTIAL,
    TARGET,
    drop_in,
    on_cores,
    theirs,
)

NARROW, WIDE = (784, 75, 10), (784, 2048, 2048, 10)
LEAST_ACCURACY = 0.881
"""What the published sequential classifier reached."""
SAME = 0.0025
"""Accuracies that differ by less count as the same: the margin of our tests for equivalence."""


@dataclass(frozen=True)
class Bar:
    """A claim and its bar; ``least`` tells whether it is to be reached from above or from below."""

    claim: str
    measured: Median | float | None
    bar: float | None
    least: bool = True
    digits: int = 2

    def said(self) -> str:
        """Return what was measured, for a table."""
        if self.measured is None:
            return "not measured"
        return self.measured.text(self.digits) if isinstance(self.measured, Median) else f"{self.measured:.2%}"

    def wanted(self) -> str:
        """Return the bar, for a table."""
        if self.bar is None:
            return ""
        number = f"{self.bar:.2%}" if isinstance(self.measured, float) else f"{self.bar:g}"
        return f"{'>=' if self.least else '<='} {number}"

    def met(self) -> str:
        """Return yes or no by the median; also if the interval is on both sides."""
        if self.bar is None or self.measured is None:
            return ""
        if not isinstance(self.measured, Median):
            return "yes" if self._met(self.measured) else "no"
        answer = "yes" if self._met(self.measured.value) else "no"
        both = self._met(self.measured.low) != self._met(self.measured.high)
        return f"{answer} (the interval has the bar inside)" if both else answer

    def _met(self, value: float) -> bool:
        return value >= self.bar if self.least else value <= self.bar  # type: ignore[operator]

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        measured = vars(self.measured) if isinstance(self.measured, Median) else self.measured
        return {"claim": self.claim, "measured": measured, "bar": self.bar, "least": self.least, "met": self.met()}


def all_bars(results: Results) -> list[Bar]:
    """Return all claims, also those that could not be measured."""
    parts = (_speed, _limits, _efficiency, _whole, _estimators, _convolutional, _accuracies)
    return [bar for part in parts for bar in part(results)]


def _made(
    claim: str, measure: Callable[[], Rounds | float], bar: float | None, least: bool = True, digits: int = 2
) -> Bar:
    try:
        values = measure()
    except Missing:
        return Bar(claim, None, bar, least, digits)
    return Bar(claim, values if isinstance(values, float) else median(values), bar, least, digits)


def _speed(results: Results) -> list[Bar]:
    """Compare with the peers on workload A."""
    one, two = (on_cores(SCIKIT_LEARN, cores) for cores in (1, 2))

    def times(peer: str, own: str) -> Callable[[], Rounds]:
        return lambda: ratio(results.values("A", peer), results.values("A", own))

    def best() -> Rounds:
        return times(results.fastest("A", [one, two]), PERIODIC)()

    eager = on_cores(EAGER, 1)
    return [
        _made(f"A: {one} / {SEQUENTIAL}", times(one, SEQUENTIAL), 3.0),
        _made(f"A: {eager} / {SEQUENTIAL}", times(eager, SEQUENTIAL), 4.0),
        _made(f"A: scikit-learn with both cores, the faster of 1 and 2 threads / {PERIODIC}", best, 4.5),
        _made(f"A: {DDP} / {PERIODIC}", times(DDP, PERIODIC), 4.0),
    ]


def _fraction(results: Results, letter: str, name: str, operations_a_row: float, limit: str) -> Rounds:
    """Return the useful operations per second of each run as a fraction of the limit measured in the same round."""
    seconds, epochs = results.values(letter, name), results.values(letter, name, "epochs")
    rates = results.values(letter, LIMITS, limit)
    return paired(lambda s, e, rate: operations_a_row * ROWS * e / s / rate, seconds, epochs, rates)


def _limits(results: Results) -> list[Bar]:
    """Compare with what one core can do at best; all products counted, and only those that are made."""
    cases = (
        ("A", SEQUENTIAL, NARROW, 200, "multiply_add", 0.62),
        ("C", f"{SEQUENTIAL}, batch 50", NARROW, 50, "multiply_add", 0.45),
        ("C", f"{SEQUENTIAL}, batch 33", NARROW, 33, "multiply_add", None),
        ("E", SEQUENTIAL, WIDE, 200, "product", 0.65),
    )
    limits = {"multiply_add": "the multiply-add peak", "product": "NumPy's matrix product"}
    bars = []
    for letter, name, widths, batch, limit, bar in cases:
        claim = f"{letter}: {name}: useful arithmetic, as a fraction of {limits[limit]}"
        less = f"{claim}, without zero columns ({active_columns(batch):.0f} of 784 are left)"
        for said, count, wanted in ((claim, operations(widths), bar), (less, operations_done(widths, batch), None)):
            bars.append(_made(said, partial(_fraction, results, letter, name, count, limit), wanted))
    return bars


def _efficiency(results: Results) -> list[Bar]:
    """Return sequential / (2 * two threads)."""

    def efficiency(letter: str, name: str) -> Callable[[], Rounds]:
        def per_epoch(who: str) -> Rounds:
            return ratio(results.values(letter, who), results.values(letter, who, "epochs"))

        return lambda: paired(lambda one, two: one / (2 * two), per_epoch(SEQUENTIAL), per_epoch(name))

    def machine(letter: str) -> Callable[[], Rounds]:
        def rate(who: str) -> Rounds:
            return results.values(letter, who, "product")

        return lambda: paired(lambda one, two: two / (2 * one), rate(LIMITS), rate(LIMITS_2))

    def divided() -> Rounds:
        return ratio(results.values("E", on_cores(EAGER, 2)), results.values("E", DIVIDED))

    controls = [
        _made(f"{letter}: for comparison, efficiency of NumPy's matrix product with 2 threads", machine(letter), None)
        for letter in "ABE"
    ]
    return [
        *controls,
        _made(f"A: efficiency of {PERIODIC}", efficiency("A", PERIODIC), 0.90),
        _made(f"B: efficiency of {PERIODIC}, per epoch", efficiency("B", PERIODIC), 0.95),
        _made(f"E: efficiency of {GRADIENT} (shared optimizer)", efficiency("E", GRADIENT), None),
        _made(f"E: efficiency of {DIVIDED}", efficiency("E", DIVIDED), 0.85),
        _made(f"E: {on_cores(EAGER, 2)} / {DIVIDED}", divided, 1.2),
    ]


def _whole(results: Results) -> list[Bar]:
    """Compare whole programs and reading."""

    def times(letter: str, above: str, below: str) -> Callable[[], Rounds]:
        return lambda: ratio(results.values(letter, above), results.values(letter, below))

    def csv() -> Rounds:
        return times("F", READ_CSV, results.fastest("F", list(READERS.values())))()

    return [
        _made(f"D: {PUBLISHED_2} / {COMMAND}", times("D", PUBLISHED_2, COMMAND), 8.0),
        _made(f"D: {PUBLISHED_2} / {FEW}", times("D", PUBLISHED_2, FEW), 8.0),
        _made("F: reading CSV, ours / the fastest peer", csv, 1.5, least=False),
        _made("F: reading IDX.gz, ours / gzip", times("F", READ_IDX, GZIP), 1.2, least=False),
    ]


def _estimators(results: Results) -> list[Bar]:
    """Compare our estimator with the one whose place it takes."""

    def part(dtype: str, workers: int) -> Rounds:
        peer = results.fastest("G", [theirs(dtype, cores) for cores in range(1, workers + 1)])
        return ratio(results.values("G", drop_in(dtype, workers)), results.values("G", peer))

    return [
        _made(
            f"G: fit with n_workers={workers}, {dtype} / scikit-learn's, the faster of up to {workers} threads",
            partial(part, dtype, workers),
            bar,
            least=False,
        )
        for dtype in DTYPES
        for workers, bar in ((1, 0.36), (2, 0.24))
    ]


def _convolutional(results: Results) -> list[Bar]:
    """Compare a convolutional network with PyTorch's plain loop, and its two workers with one."""
    seconds = partial(results.values, "H")
    one = OURS_CNN["float32"]

    def times(own: str) -> Callable[[], Rounds]:
        return lambda: ratio(seconds(PLAIN_CNN), seconds(own))

    def efficiency(two: str) -> Callable[[], Rounds]:
        return lambda: paired(lambda alone, both: alone / (2 * both), seconds(one), seconds(two))

    bars = {"float32": None, "bfloat16": 2.0}
    return [
        *(_made(f"H: {PLAIN_CNN} / {name}", times(name), bars[precision]) for precision, name in OURS_CNN.items()),
        *(_made(f"H: efficiency of {name}", efficiency(name), 0.90) for name in PARALLEL_CNN.values()),
        *(_made(f"H: accuracy of {name}", partial(results.mean, "H", name), 0.99) for name in OURS_CNN.values()),
    ]


def _accuracies(results: Results) -> list[Bar]:
    """Compare mean accuracies: of D, of B, and ours of A with scikit-learn's."""

    def mean(letter: str, name: str) -> Callable[[], float]:
        return lambda: results.mean(letter, name)

    bars = [_made(f"D: accuracy of {name}", mean("D", name), LEAST_ACCURACY) for name in (COMMAND, FEW)]
    if "B" in results.records:
        trained = [name for name in results.records["B"]["runs"] if name not in (LIMITS, LIMITS_2)]
        bars += [_made(f"B: accuracy of {name}", mean("B", name), TARGET) for name in trained]
    try:
        floor: float | None = results.mean("A", on_cores(SCIKIT_LEARN, 1)) - SAME
    except Missing:
        floor = None
    claim = "A: accuracy of {} (no lower than scikit-learn's, within 0.25 points)"
    return bars + [_made(claim.format(name), mean("A", name), floor) for name in (SEQUENTIAL, PERIODIC, GRADIENT)]
