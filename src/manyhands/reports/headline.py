"""The questions that studies answer, and their answers in one sentence each."""

from __future__ import annotations

from typing import Any

from manyhands.core.words import count
from manyhands.records.statistics import DEFAULT_MARGIN
from manyhands.reports import alowaisheq, networks, queries, speculative
from manyhands.reports.format import classifier, decimal, first_capital, impact, signed, span
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
    return found or [(QUESTION, _NOTHING)]


def _of_comparison(compare: Record) -> str:
    """Return the fastest row that kept the accuracy; else what is undecided; else what was lost."""
    rows = queries.parallel_rows(compare)
    if not compare["summary"]:
        return _NOTHING
    if not rows:
        return f"No answer: no run with two or more workers was finished{_unfinished(compare, '; ')}."
    if compare["settings"]["scaled"]:
        return _of_scaled(compare, rows)
    faster = [row for row in rows if row["speedup"] > 1]
    kept = [row for row in faster if row["verdict"] in ("same", "higher")]
    if sure := [row for row in kept if queries.surely_faster(row)]:
        return f"Yes: {_gain(compare, queries.fastest(sure))}."
    undecided = [row for row in faster if row["verdict"] == "undecided"]
    if unclear := kept + undecided:
        return f"Undecided: {_doubt(compare, queries.fastest(unclear))}."
    return f"No: {_loss(compare, queries.fastest(faster or rows))}."


def _trained(compare: Record, row: Record) -> str:
    """Return how fast a row trained, and whether its time may be believed."""
    interval = f" (95 % interval {span(row['speedup_ci95'])})" if row["speedup_ci95"] else ""
    text = f"{queries.named(row)} trained {decimal(row['speedup'])} times as fast{interval}"
    if row["oversubscribed"]:
        text += f", though on {queries.cores(compare)} only (this timing is not meaningful for more cores),"
    return text


def _evidence(compare: Record, row: Record) -> str:
    """Return the difference of the accuracies, in parentheses, with all that it rests on."""
    facts = []
    if row["delta_pp"] is not None:
        interval = f", {span(row['delta_ci95'], sign=True)}" if row["delta_ci95"] else ""
        facts.append(f"{signed(row['delta_pp'])} points{interval}")
    facts += [f"margin {compare['settings']['margin']:g}", queries.repetitions(compare, row)]
    return f"({'; '.join(facts)}{_unfinished(compare, '; ')})"


def _unfinished(record: Record, before: str) -> str:
    return f"{before}interrupted, not all runs were finished" if record["interrupted"] else ""


def _gain(compare: Record, row: Record) -> str:
    return f"{_trained(compare, row)} with {_kept(row)} accuracy {_evidence(compare, row)}"


def _doubt(compare: Record, row: Record) -> str:
    """Return what is undecided, accuracy or speed, and how many more seeds would settle it."""
    fact = f"{_trained(compare, row)}{'' if row['oversubscribed'] else ','} but "
    if row["verdict"] != "undecided":
        return f"{fact}with {_kept(row)} accuracy {_evidence(compare, row)} it may be no faster at all"
    if queries.seeds_of(compare, row) == 1 or row["delta_ci95"] is None:
        return f"{fact}one run says nothing about the spread of its accuracy {_evidence(compare, row)}; take 5 seeds"
    more = row["more_seeds"]
    unit = "split" if compare["settings"]["splits"] is not None else "seed"
    needed = f"about {count(more, f'more {unit}')} would tell" if more else "only more samples would tell"
    return f"{fact}whether the accuracy is the same is not clear yet {_evidence(compare, row)}; {needed}"


def _kept(row: Record) -> str:
    return {"same": "the same", "higher": "a higher", "lower": "a lower"}.get(row["verdict"], "an undecided")


def _loss(compare: Record, row: Record) -> str:
    """Return what the fastest row lost, or that none was faster."""
    fact = "what was faster lost accuracy;" if row["speedup"] > 1 else "nothing was faster; at best"
    return f"{fact} {_gain(compare, row)}"


def _of_scaled(compare: Record, rows: list[Record]) -> str:
    """Return the answer for runs in which n workers train on n times the rows."""
    measured = [row for row in rows if row["scaled_speedup"]]
    if not measured:
        return f"No answer: no scaled speedup was measured{_unfinished(compare, '; ')}."
    row = max(measured, key=lambda row: (not row["oversubscribed"], row["scaled_speedup"]))
    times = row["workers"] / row["scaled_speedup"]
    word = "Yes" if times < 1.1 else "Nearly" if times < 1.5 else "No"
    crowd = f", on {queries.cores(compare)} only" if row["oversubscribed"] else ""
    facts = [f"scaled speedup {decimal(row['scaled_speedup'])}", queries.repetitions(compare, row)]
    if row["delta_pp"] is not None:
        facts.insert(1, f"accuracy {signed(row['delta_pp'])} points")
    return (
        f"{word}: {queries.named(row)} trained on {row['workers']} times the samples in {decimal(times)} times the "
        f"sequential time{crowd} ({'; '.join(facts)}{_unfinished(compare, '; ')})."
    )


def _of_published(published: Record) -> str:
    """Return whether the repeated experiment was faster, and how much accuracy it lost."""
    tables = published["tables"]
    here = {row["processes"]: row for row in tables["table2"]["here"]}
    others = [row for row in here.values() if row["processes"] > 1 and row["time_s"]]
    if 1 not in here or not others:
        return f"No answer: one process and several were not both measured{_unfinished(published, '; ')}."
    cores = published["environment"]["cores"] or max(here)
    best = min(others, key=lambda row: (row["processes"] > cores, row["time_s"]))
    n, times = best["processes"], here[1]["time_s"] / best["time_s"]
    lost = here[1]["accuracy_pct"] - best["accuracy_pct"]
    speed = f"{decimal(times)} times as fast with {n} processes{f' on {cores} cores' if n > cores else ''}"
    change = "stayed at" if abs(lost) <= DEFAULT_MARGIN else "fell" if lost > 0 else "rose"
    accuracy = (
        f"{change} {decimal(best['accuracy_pct'])} %"
        if change == "stayed at"
        else f"{change} from {decimal(here[1]['accuracy_pct'])} to {decimal(best['accuracy_pct'])} %"
    )
    words = "Faster, yes" if times > 1 else "Faster, no", "yes" if lost <= DEFAULT_MARGIN else "no"
    theirs = _their_facts(tables["table2"]["published"], n)
    tail = f" ({theirs}{_unfinished(published, '; ')})" if theirs else _unfinished(published, ", ")
    return f"{words[0]}; same accuracy, {words[1]}: training was {speed}, and the accuracy {accuracy}{tail}."


def _their_facts(rows: list[Record], n: int) -> str:
    """Return the published speedup and accuracies for n processes; nothing if they have none."""
    theirs = {row["processes"]: row for row in rows}
    if not {1, n} <= theirs.keys() or not theirs[n]["time_s"]:
        return ""
    times = theirs[1]["time_s"] / theirs[n]["time_s"]
    ends = decimal(theirs[1]["accuracy_pct"]), decimal(theirs[n]["accuracy_pct"])
    return f"published: {decimal(times)} times as fast, from {ends[0]} to {ends[1]} %"


def _of_sweep(sweep: Record) -> str:
    """Return the best classifier and the reason why it is the best."""
    best = sweep["best"]
    if best is None:
        return f"{_none_able(sweep)}{_unfinished(sweep, '; ')}."
    reason = (best["reason"] or _highest(sweep, best)).strip().rstrip(".")
    network = classifier(best["hidden"], sweep["settings"]["architecture"])
    reason = reason.removeprefix(f"{network}, {count(best['epochs'], 'epoch')}: ")
    name = f"{network}{' neurons' if best['hidden'] else ''}, {count(best['epochs'], 'epoch')}"
    sentence = f"{name}{': ' + reason if reason else ''}{_unfinished(sweep, '; ')}."
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
