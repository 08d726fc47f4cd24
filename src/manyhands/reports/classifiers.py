"""Queries on a study of classifiers: its rows, what is better suited for parallel execution, and its answer."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.core.words import count
from manyhands.reports import queries, sentences
from manyhands.reports.format import decimal, listed
from manyhands.reports.networks import NOTHING
from manyhands.reports.schema import Record

QUESTION = (
    "Are Naive Bayes, decision trees, and linear and quadratic discriminant analysis better suited for parallel "
    "execution than neural networks?"
)
"""The last sentence of Todorov et al. 2021, as a question."""
NETWORK = "mlp"
BETTER, OPEN, NOT_BETTER, OTHER_MODEL = "better", "undecided", "not better", "another model"


def rows_at(study: Record, workers: int) -> list[Record]:
    """Return the rows of one number of workers."""
    return [row for row in study["summary"] if row["workers"] == workers]


def row_of(study: Record, learner: str, workers: int) -> Record | None:
    """Return the row of a classifier at a number of workers; None if there is none."""
    return next((row for row in rows_at(study, workers) if row["learner"] == learner), None)


def theirs_of(study: Record, learner: str) -> Record | None:
    """Return the row of scikit-learn's estimator of a kind; None if there is none."""
    return next((row for row in study["theirs"] if row["learner"] == learner), None)


def learners(study: Record) -> list[str]:
    """Return the classifiers that have rows, in their order."""
    return list(dict.fromkeys(row["learner"] for row in study["summary"]))


def most_workers(study: Record) -> int | None:
    """Return the largest number of workers, above one, of which each had a core of its own; None if there is none."""
    fair = (row["workers"] for row in study["summary"] if not row["oversubscribed"])
    return max((number for number in fair if number > 1), default=None)


def standing(row: Record, network: Record) -> str:
    """Return whether a classifier uses its workers better than the network, by the intervals of their speedups.

    Only one that has, to the bit, the model of one worker can be better.
    """
    if not row["same_model"]:
        return OTHER_MODEL
    own, other = row["speedup_ci95"], network["speedup_ci95"]
    if own is None or other is None or (own[0] <= other[1] and other[0] <= own[1]):
        return OPEN
    return BETTER if own[0] > other[1] else NOT_BETTER


def point_ms(row: Record) -> float:
    """Return milliseconds of training, with communication, for each percentage point of accuracy."""
    return float(10 * row["train_s"] / row["accuracy_mean"]) if row["accuracy_mean"] else float("inf")


def model_word(row: Record) -> str:
    """Return how the model is to that of one worker: to the bit, or in its accuracy; nothing for one worker."""
    if row["workers"] == 1:
        return ""
    return "same model" if row["same_model"] else row["verdict"] or ""


def sklearn_word(row: Record) -> str:
    """Return how the model is to scikit-learn's: in all its answers, or in its accuracy; nothing if there is none."""
    return "same answers" if row["same_answers"] else row["sklearn_verdict"] or ""


def short_seconds(value: float | None) -> str:
    """Return seconds with three digits or so, also where they are thousandths of a second."""
    if value is None:
        return ""
    if value < 1e-3:
        return f"{value:.2g}"
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 100 else f"{value:.0f}"


def short_ms(value: float) -> str:
    """Return milliseconds with two or three digits."""
    return f"{value:.2g}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def answer(study: Record) -> str:
    """Return the answer: who is better suited than the network, at what time per point, and what it rests on."""
    unfinished = "Interrupted: only finished runs are counted." if study["interrupted"] else ""
    if not study["summary"]:
        return sentences.joined(NOTHING, unfinished)
    workers = most_workers(study)
    if workers is None:
        lead = "No answer: no run with several workers that had a core each was finished."
        return sentences.joined(lead, unfinished)
    rows = sorted(rows_at(study, workers), key=lambda row: -float(row["efficiency"]))
    network = next((row for row in rows if row["learner"] == NETWORK), None)
    others = [row for row in rows if row["learner"] != NETWORK]
    lead = _without_network(others, workers) if network is None or not others else _beside(network, others)
    return sentences.joined(lead, _extremes(rows), _basis(study, rows), unfinished)


def _without_network(rows: Sequence[Record], workers: int) -> str:
    """Return the efficiencies if there is nothing to compare, or nothing to compare with."""
    if not rows:
        return "No answer: no classifier but the neural network was studied."
    found = listed([f"{row['learner']} {decimal(row['efficiency'])}" for row in rows])
    several = count(workers, "worker")
    return f"No answer without the neural network ({NETWORK}); with {several}, the efficiency is: {found}."


def _beside(network: Record, others: Sequence[Record]) -> str:
    """Return in one sentence who is better suited than the network, who is not, and of whom it is open."""
    groups: dict[str, list[Record]] = {}
    for row in others:
        groups.setdefault(standing(row, network), []).append(row)
    better = groups.get(BETTER, [])
    word = "Yes" if len(better) == len(others) else "Some are" if better else "Undecided" if OPEN in groups else "No"
    own = f"the neural network ({decimal(network['efficiency'])}, {short_ms(point_ms(network))} ms)"
    parts = []
    if better:
        verbs = ("has", "is") if len(better) == 1 else ("have", "are")
        parts.append(
            f"{_named(better)} {verbs[1]} better suited than {own}: higher in efficiency, and {verbs[0]} to the bit "
            "the model of one worker"
        )
    else:
        parts.append(f"no classifier is surely better suited than {own}")
    words = {OPEN: "undecided", NOT_BETTER: "less efficient", OTHER_MODEL: "not the model of one worker"}
    parts += [f"{text}: {_named(groups[name])}" for name, text in words.items() if name in groups]
    start = f"with {count(network['workers'], 'worker')} (efficiency, and time per point of accuracy)"
    return f"{word}: {start}, {'; '.join(parts)}."


def _named(rows: Sequence[Record]) -> str:
    return listed([f"{row['learner']} ({decimal(row['efficiency'])}, {short_ms(point_ms(row))} ms)" for row in rows])


def _extremes(rows: Sequence[Record]) -> str:
    """Return who has the least time per point and who the highest accuracy: efficiency alone is no reason."""
    least, best = min(rows, key=point_ms), max(rows, key=lambda row: float(row["accuracy_mean"]))
    facts = [_trained(row) for row in (least, best)]
    if least is best:
        return f"The least time per point and the highest accuracy has {facts[0]}."
    return f"The least time per point has {facts[0]}, the highest accuracy {facts[1]}."


def _trained(row: Record) -> str:
    return f"{row['learner']} ({decimal(100 * row['accuracy_mean'])} % in {short_seconds(row['train_s'])} s)"


def _basis(study: Record, rows: Sequence[Record]) -> str:
    """Return what it rests on."""
    runs = max((row["runs"] or 0 for row in rows), default=0)
    beyond = sorted({row["workers"] for row in study["summary"] if row["oversubscribed"]})
    crowd = ""
    if beyond:
        numbers = listed(list(map(str, beyond)))
        crowd = f" {numbers} workers are more than the {queries.cores(study)}, and count for nothing here."
    return f"Of {count(runs, 'run')} each, by the 95 % intervals of their speedups.{crowd}"
