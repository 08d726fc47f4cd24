"""Queries on a study of the levels of parallelism: its rows, where dividing begins to pay, and its answer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from manyhands.core.grid import LEVELS
from manyhands.core.words import count
from manyhands.reports import queries, sentences
from manyhands.reports.format import decimal, layers, listed, span
from manyhands.reports.networks import NOTHING
from manyhands.reports.schema import Record

QUESTION = "At which level of parallelism should workers share a network?"
ONE, SESSION, EXEMPLAR = "one", "session", "exemplar"
DIVIDING = LEVELS
NEAR = 1.1
"""A level that takes up to so many times the time of the fastest is as good a choice."""


def rows_of(study: Record, hidden: Sequence[int], workers: int | None = None) -> list[Record]:
    """Return the rows of a network, of one number of workers if one is given."""
    return [
        row for row in study["summary"] if row["hidden"] == list(hidden) and workers in (None, row["workers"])
    ]  # fmt: skip


def network_names(study: Record) -> dict[tuple[int, ...], str]:
    """Return the names of the networks that the tables are about, by their hidden layers, if they have rows."""
    names = {tuple(row["hidden"]): row["name"] for row in study["summary"]}
    return {tuple(each): names[tuple(each)] for each in study["settings"]["networks"] if tuple(each) in names}


def title(study: Record, hidden: Sequence[int]) -> str:
    """Return a network's name and, if that is another one, its hidden layers."""
    name = network_names(study)[tuple(hidden)]
    shape = layers(hidden) if len(hidden) < 4 or len(set(hidden)) > 1 else f"{len(hidden)} layers of {hidden[0]}"
    return name if name == shape else f"{name} ({shape})"


def competitors(rows: Sequence[Record]) -> list[Record]:
    """Return the rows of levels that shorten one training: sessions side by side train several."""
    return [row for row in rows if row["level"] not in (ONE, SESSION)]


def fastest(rows: Sequence[Record]) -> Record | None:
    """Return the row of the shortest step of one training; None if there is none."""
    return min(competitors(rows), key=lambda row: row["step_ms"], default=None)


def chosen_level(study: Record, hidden: Sequence[int], workers: int) -> str | None:
    """Return the level of the grid that `auto` would choose; None if it is none that was measured."""
    found = (each for each in study["chosen"] if (each["hidden"], each["workers"]) == (list(hidden), workers))
    return next((each["level"] for each in found), None)


def chosen_well(study: Record, hidden: Sequence[int], workers: int) -> bool | None:
    """Return whether auto's level is as fast as the fastest, within 10 %; None if one was not measured."""
    rows = rows_of(study, hidden, workers)
    best, level = fastest(rows), chosen_level(study, hidden, workers)
    own = next((row for row in competitors(rows) if row["level"] == level), None)
    return None if own is None or best is None else bool(own["step_ms"] <= NEAR * best["step_ms"])


def points(study: Record, level: str) -> list[tuple[int, Record]]:
    """Return the rows of a level over the width of two equal hidden layers, ascending."""
    workers = study["settings"]["crossing_workers"]
    return [
        (width, row)
        for width in sorted(study["settings"]["widths"])
        for row in rows_of(study, (width, width), 1 if level == ONE else workers)
        if row["level"] == level and row["step_ms"] > 0
    ]


def model_line(study: Record, level: str) -> list[tuple[int, float]]:
    """Return the cost model's milliseconds of a level over the width of two equal hidden layers, ascending."""
    found = [(each["width"], each["predicted_ms"]) for each in study["model"] if each["level"] == level]
    return sorted((width, ms) for width, ms in found if ms > 0)


def crossover(study: Record, *, by_model: bool = False) -> float | None:
    """Return the width from which on dividing the network takes less time than dividing the samples; None if none.

    Between two widths it is where the ratio of the times is 1 if its logarithm is linear in that of the width.
    """
    own = dict(_times(study, EXEMPLAR, by_model))
    divided: dict[int, float] = {}
    for level in ("node", "pairs"):
        for width, ms in _times(study, level, by_model):
            divided[width] = min(ms, divided.get(width, math.inf))
    ratios = [(width, math.log(divided[width] / own[width])) for width in sorted(own.keys() & divided.keys())]
    if not ratios or ratios[-1][1] >= 0:
        return None
    for (low, above), (high, below) in reversed(list(itertools.pairwise(ratios))):
        if above >= 0:
            part = above / (above - below)
            return math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
    return float(ratios[0][0])


def _times(study: Record, level: str, by_model: bool) -> list[tuple[int, float]]:
    if by_model:
        return model_line(study, level)
    return [(width, row["step_ms"]) for width, row in points(study, level)]


def crossover_text(study: Record) -> str:
    """Return where dividing begins to pay, measured and by the model; nothing if widths were not compared."""
    widths = [width for width, _ in points(study, EXEMPLAR)]
    if not widths or not any(points(study, level) for level in ("node", "pairs")):
        return ""
    workers = count(study["settings"]["crossing_workers"], "worker")
    found = _width_text(crossover(study), widths)
    said = _width_text(crossover(study, by_model=True), widths)
    model = f" (by the cost model {said})" if study["model"] else ""
    return (
        f"Of two equal hidden layers, with {workers}, dividing the network takes less time than dividing the samples "
        f"{found}{model}."
    )


def _width_text(width: float | None, widths: Sequence[int]) -> str:
    if width is None:
        return f"at no width up to {max(widths)}"
    return f"from a width of about {width:.0f} on" if width > min(widths) else f"at all widths from {min(widths)} on"


def answer(study: Record) -> str:
    """Return the answer: the fastest level of each network, and where dividing the network begins to pay."""
    unfinished = "Interrupted: only finished runs are counted." if study["interrupted"] else ""
    found = [_of_network(study, hidden) for hidden in network_names(study)]
    return sentences.joined(*(filter(None, found) if any(found) else (NOTHING,)), crossover_text(study), unfinished)


def _of_network(study: Record, hidden: tuple[int, ...]) -> str:
    """Return the fastest level of a network with the fewest workers above one, and what it sends."""
    several = {row["workers"] for row in competitors(rows_of(study, hidden))}
    if not several:
        return ""
    workers = min(several)
    rows = rows_of(study, hidden, workers)
    best = fastest(rows)
    assert best is not None
    interval = f" ({span(best['speedup_ci95'])})" if best["speedup_ci95"] else ""
    others = sorted((row for row in competitors(rows) if row is not best), key=lambda row: float(row["step_ms"]))
    behind = f"; {listed([_behind(row, best) for row in others])}" if others else ""
    crowd = f" (more workers than the {queries.cores(study)})" if best["oversubscribed"] else ""
    lead = "" if best["speedup"] > 1 else "no level is faster than one worker; the best, "
    sent = f"{megabytes(best['sent_bytes'])} MB in {count(best['exchanges'], 'exchange')}"
    return (
        f"{title(study, hidden)}: {lead}{best['level']}, with {count(workers, 'worker')}{crowd} "
        f"{decimal(best['speedup'])} times as fast as one{interval}, sends {sent} a step{behind}."
    )


def _behind(row: Record, best: Record) -> str:
    return f"{row['level']} takes {decimal(row['step_ms'] / best['step_ms'])} times as long"


def megabytes(number: float | None) -> str:
    """Return bytes as megabytes with three digits at most; nothing for None."""
    if number is None:
        return ""
    value = number / 1e6
    return "0" if value == 0 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def milliseconds(value: float | None) -> str:
    """Return milliseconds with three digits or so; nothing for None."""
    if value is None:
        return ""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
