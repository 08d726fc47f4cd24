"""The questions that studies answer, and their answers: one plain sentence each, then what it rests on."""

from __future__ import annotations

from typing import Any

from manyhands.records.statistics import DEFAULT_MARGIN
from manyhands.reports import alowaisheq, classifiers, levels, networks, queries, sentences, speculative
from manyhands.reports.format import classifier, decimal, first_capital, impact, signed, span, trained
from manyhands.reports.schema import Record, complete, parts

QUESTION = "Can we increase the speed, keeping the same accuracy?"  # the title of Todorov et al. 2021
SCALED_QUESTION = "Can more workers train on more data in the same time?"
PUBLISHED_QUESTION = "Does the published method increase the speed, keeping the same accuracy?"
SWEEP_QUESTION = "Which classifier has the best trade-off?"
_NOTHING = networks.NOTHING


def answer(record: Any) -> tuple[str, str]:
    """Return the main question of a record as loaded from JSON, and its answer; errors as `complete`."""
    return answers(complete(record))[0]


def answers(record: Record) -> list[tuple[str, str]]:
    """Return the questions that the parts of a completed record answer, the main one first."""
    inside = parts(record)
    found = []
    if inside.compare is not None:
        question = SCALED_QUESTION if inside.compare["settings"]["scaled"] else QUESTION
        found.append((question, _of_comparison(inside.compare)))
        found += alowaisheq.findings(inside.compare) if record.get("study") == "minibatch" else []
    if inside.published is not None:
        found.append((PUBLISHED_QUESTION, _of_published(inside.published)))
    if inside.sweep is not None:
        found.append((SWEEP_QUESTION, _of_sweep(inside.sweep)))
    if inside.networks is not None:
        found.append((networks.QUESTION, networks.answer(inside.networks)))
    if inside.speculative is not None:
        found.append((speculative.QUESTION, speculative.answer(inside.speculative)))
    if inside.levels is not None:
        found.append((levels.QUESTION, levels.answer(inside.levels)))
    if inside.classifiers is not None:
        found.append((classifiers.QUESTION, classifiers.answer(inside.classifiers)))
    return found or [(QUESTION, _NOTHING)]


def _of_comparison(compare: Record) -> str:
    """Return the fastest row that kept the accuracy; else what is undecided; else what was lost."""
    rows = queries.parallel_rows(compare)
    if not compare["summary"]:
        return _NOTHING
    if not rows:
        return sentences.joined("No answer: no run with two or more workers was finished.", _unfinished(compare))
    if problem := queries.reference_problem(compare):
        return f"No answer: the sequential run itself has come to nothing. {first_capital(problem)}."
    if compare["settings"]["scaled"]:
        return _of_scaled(compare, rows)
    faster = [row for row in rows if row["speedup"] > 1]
    kept = [row for row in faster if row["verdict"] in ("same", "higher")]
    if sure := [row for row in kept if queries.surely_faster(row)]:
        row = queries.fastest(sure)
        return sentences.joined(f"Yes: use {queries.named(row)}. It {_gain(row)}.", _rest(compare, row))
    undecided = [row for row in faster if row["verdict"] == "undecided"]
    if unclear := kept + undecided:
        return _doubt(compare, queries.fastest(unclear))
    return _loss(compare, queries.fastest(faster or rows))


def _trained(row: Record) -> str:
    """Return how fast a row trained."""
    interval = f" ({span(row['speedup_ci95'])})" if row["speedup_ci95"] else ""
    return f"trained {decimal(row['speedup'])} times as fast{interval} as the sequential run"


def _gain(row: Record) -> str:
    return f"{_trained(row)}{sentences.accuracy_clause(row)}"


def _rest(compare: Record, row: Record) -> str:
    """Return what the answer rests on, and what weakens it."""
    wrong = queries.problems(compare, row["strategy"], row["workers"])
    return sentences.joined(
        sentences.basis(queries.repetitions(compare, row), compare["settings"]["margin"]),
        f"More workers than the {queries.cores(compare)}: this time says nothing about more cores."
        if row["oversubscribed"]
        else "",
        f"In {len(wrong)} of its runs {wrong[0]}." if wrong else "",
        sentences.caveats(compare, row["verdict"]),
    )


def _unfinished(record: Record) -> str:
    return "Interrupted: not all runs were finished." if record["interrupted"] else ""


def _doubt(compare: Record, row: Record) -> str:
    """Return what is undecided, accuracy or speed, and how many more seeds would settle it."""
    pairs, unit = queries.seeds_of(compare, row), "seed" if compare["settings"]["splits"] is None else "split"
    doubt = "" if row["verdict"] == "undecided" else "It may be no faster at all."
    fact = f"Undecided: {queries.named(row)} {_gain(row)}."
    return sentences.joined(fact, doubt, _rest(compare, row), sentences.advice(row, pairs, unit))


def _loss(compare: Record, row: Record) -> str:
    """Return what the fastest row lost, or that none was faster."""
    if row["speedup"] > 1:
        fact = f"No: what was faster lost accuracy. The fastest, {queries.named(row)}, {_gain(row)}."
    else:
        fact = f"No: nothing was faster than the sequential run. The fastest, {queries.named(row)}, {_gain(row)}."
    return sentences.joined(fact, _rest(compare, row))


def _of_scaled(compare: Record, rows: list[Record]) -> str:
    """Return the answer for runs in which n workers train on n times the rows."""
    measured = [row for row in rows if row["scaled_speedup"]]
    if not measured:
        return sentences.joined("No answer: no scaled speedup was measured.", _unfinished(compare))
    row = max(measured, key=lambda row: (not row["oversubscribed"], row["scaled_speedup"]))
    times = row["workers"] / row["scaled_speedup"]
    word = "Yes" if times < 1.1 else "Nearly" if times < 1.5 else "No"
    change = "" if row["delta_pp"] is None else f", and its accuracy changed by {signed(row['delta_pp'])} points"
    often = first_capital(queries.repetitions(compare, row))
    crowd = f"; more workers than the {queries.cores(compare)}" if row["oversubscribed"] else ""
    return sentences.joined(
        f"{word}: {queries.named(row)} trained on {row['workers']} times the samples in {decimal(times)} times the "
        f"sequential time{change}.",
        f"{often}; scaled speedup {decimal(row['scaled_speedup'])}{crowd}.",
        _unfinished(compare),
    )


def _of_published(published: Record) -> str:
    """Return whether the repeated experiment was faster, and how much accuracy it lost."""
    tables = published["tables"]
    here = {row["processes"]: row for row in tables["table2"]["here"]}
    others = [row for row in here.values() if row["processes"] > 1 and row["time_s"]]
    if 1 not in here or not others:
        return sentences.joined("No answer: one process and several were not both measured.", _unfinished(published))
    cores = published["environment"]["cores"] or max(here)
    best = min(others, key=lambda row: (row["processes"] > cores, row["time_s"]))
    n, times = best["processes"], here[1]["time_s"] / best["time_s"]
    lost = here[1]["accuracy_pct"] - best["accuracy_pct"]
    crowd = f" on {cores} cores" if n > cores else ""
    change = "stayed at" if abs(lost) <= DEFAULT_MARGIN else "fell" if lost > 0 else "rose"
    accuracy = (
        f"{change} {decimal(best['accuracy_pct'])} %"
        if change == "stayed at"
        else f"{change} from {decimal(here[1]['accuracy_pct'])} to {decimal(best['accuracy_pct'])} %"
    )
    words = "Faster, yes" if times > 1 else "Faster, no", "yes" if lost <= DEFAULT_MARGIN else "no"
    return sentences.joined(
        f"{words[0]}; same accuracy, {words[1]}: {n} processes{crowd} trained {decimal(times)} times as fast as one, "
        f"and the accuracy {accuracy}.",
        _their_facts(tables["table2"]["published"], n),
        _unfinished(published),
    )


def _their_facts(rows: list[Record], n: int) -> str:
    """Return the published speedup and accuracies for n processes; nothing if they have none."""
    theirs = {row["processes"]: row for row in rows}
    if not {1, n} <= theirs.keys() or not theirs[n]["time_s"]:
        return ""
    times = theirs[1]["time_s"] / theirs[n]["time_s"]
    ends = decimal(theirs[1]["accuracy_pct"]), decimal(theirs[n]["accuracy_pct"])
    return f"Published: {decimal(times)} times as fast, from {ends[0]} to {ends[1]} %."


def _of_sweep(sweep: Record) -> str:
    """Return the best classifier and the reason why it is the best."""
    best = sweep["best"]
    if best is None:
        return sentences.joined(f"{_none_able(sweep)}.", _unfinished(sweep))
    reason = (best["reason"] or _highest(sweep, best)).strip().rstrip(".")
    network = classifier(best["hidden"], sweep["settings"]["architecture"])
    reason = reason.removeprefix(f"{trained(network, best['epochs'])}: ")
    name = trained(f"{network}{' neurons' if best['hidden'] else ''}", best["epochs"])
    sentence = sentences.joined(f"{name}{': ' + reason if reason else ''}.", _unfinished(sweep))
    return sentence if sweep["settings"]["architecture"] else first_capital(sentence)  # a name is not respelled


def _none_able(sweep: Record) -> str:
    """Return why no classifier was chosen."""
    target = sweep["settings"]["target"]
    if target is None or not sweep["table"]:
        return "No answer: no best classifier was chosen"
    highest = max(row["accuracy_pct"] for row in sweep["table"])
    return f"None: no classifier reaches {100 * target:g} %; the highest accuracy is {decimal(highest)} %"


def _highest(sweep: Record, best: Record) -> str:
    """Return a reason for a file that gives none."""
    for row in sweep["table"]:
        if (row["hidden"], row["epochs"]) == (best["hidden"], best["epochs"]) and row["impact"] is not None:
            return f"the chosen one, with an impact factor of {impact(row['impact'])}"
    return ""
