"""Queries on a study of networks: its groups of networks, its rows, and its answer."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.core.words import count
from manyhands.records.axes import AXIS_TITLES
from manyhands.reports import queries
from manyhands.reports.format import decimal, listed, seconds
from manyhands.reports.schema import Record

QUESTION = "Which networks are good, and which keep their accuracy when several workers train them?"
NOTHING = "No answer: no run was finished."
_MOST_NAMED = 5


def groups(study: Record) -> dict[str, list[int]]:
    """Return the networks that are compared with each other: by axis, with the base first; or all, if crossed."""
    finished = {row["network"] for row in study["summary"]}
    found: dict[str, list[int]] = {}
    bases = []
    for number, network in enumerate(study["networks"]):
        if number not in finished:
            continue
        if network["axis"]:
            found.setdefault(network["axis"], []).append(number)
        else:
            bases.append(number)
    if not found:
        return {"": bases} if bases else {}
    return {axis: bases + members for axis, members in found.items()}


def title(axis: str) -> str:
    """Return what an axis is called."""
    return AXIS_TITLES.get(axis, axis) if axis else "networks"


def rows_of(study: Record, network: int) -> list[Record]:
    """Return the rows of a network: one worker first, then by strategy and workers."""
    return [row for row in study["summary"] if row["network"] == network]


def alone(study: Record) -> dict[int, Record]:
    """Return every network's row with one worker."""
    return {row["network"]: row for row in study["summary"] if row["strategy"] == queries.SEQUENTIAL}


def who(row: Record) -> str:
    """Return the strategy and the number of workers of a row, as in ``one-shot n=2``."""
    return queries.SEQUENTIAL if row["strategy"] == queries.SEQUENTIAL else f"{row['strategy']} n={row['workers']}"


def trainers(study: Record) -> list[str]:
    """Return all strategies and numbers of workers, in the order of the rows."""
    return list(dict.fromkeys(who(row) for row in study["summary"]))


def answer(study: Record) -> str:
    """Return the answer: the network that validation rows choose, and how averaging changes all networks."""
    if not study["summary"]:
        return NOTHING
    unfinished = " Interrupted: only finished runs are counted." if study["interrupted"] else ""
    return f"{_best(study)}{' '.join(_survival(study, each) for each in trainers(study)[1:])}{unfinished}".strip()


def _best(study: Record) -> str:
    row = alone(study).get(-1 if study["best"] is None else study["best"])
    if row is None:
        return ""
    name = study["networks"][row["network"]]["name"]
    among = count(len(alone(study)), "network")
    return (
        f"Of {among}, {name} is the best on the validation rows with one worker: "
        f"{decimal(100 * row['accuracy_mean'])} % of the test rows in {seconds(row['train_s'])} s. "
    )


def _survival(study: Record, trainer: str) -> str:
    """Return how one way to train with several workers changes the accuracies of all networks."""
    rows = [row for row in study["summary"] if who(row) == trainer]
    phrases = []
    for verdict, text in (("same", "the same accuracy for"), ("higher", "higher for"), ("lower", "lower for")):
        mine = [row for row in rows if row["verdict"] == verdict]
        if mine:
            names = "" if verdict == "same" else f" ({_named(study, mine)})"
            phrases.append(f"{text} {len(mine)}{names}")
    undecided = sum(row["verdict"] == "undecided" for row in rows)
    if undecided:
        phrases.append(f"undecided for {undecided}")
    return f"{trainer}: {listed(phrases)} of {count(len(rows), 'network')}."


def _named(study: Record, rows: Sequence[Record]) -> str:
    """Return the networks with the largest differences."""
    ordered = sorted(rows, key=lambda row: -abs(row["delta_pp"] or 0))
    names = [f"{study['networks'][row['network']]['name']} {row['delta_pp'] or 0:+.2f}" for row in ordered]
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
