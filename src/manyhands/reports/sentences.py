"""Parts of sentences that the answers of several studies have in common: accuracies, and what a finding rests on."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.records.statistics import FEWEST_PAIRS, advice_for, coarse_margin
from manyhands.reports.format import first_capital, signed, span
from manyhands.reports.schema import Record

_KEPT = {"same": "kept its accuracy", "higher": "raised its accuracy", "lower": "lost accuracy"}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def accuracy_clause(row: Record) -> str:
    """Return what happened to the accuracy, as in `` and kept its accuracy (+0.00 points, -0.08 to +0.08)``."""
    if row["verdict"] not in _KEPT:
        return f", but whether it kept the accuracy is open{difference(row)}"
    return f" and {_KEPT[row['verdict']]}{difference(row)}"


def difference(row: Record) -> str:
    """Return the difference of the accuracies with its interval, in parentheses; nothing if there is none."""
    if row["delta_pp"] is None:
        return ""
    interval = f", {span(row['delta_ci95'], sign=True)}" if row["delta_ci95"] else ""
    return f" ({signed(row['delta_pp'])} points{interval})"


def basis(often: str, margin: float) -> str:
    """Return what verdicts rest on, as in ``Five seeds; within 0.25 points counts as the same``."""
    number, _, rest = often.partition(" ")
    if number.isdigit() and int(number) < len(_NUMBERS):
        often = f"{_NUMBERS[int(number)]} {rest}"
    return f"{first_capital(often)}; within {margin:g} points counts as the same."


def advice(row: Record, pairs: int, unit: str) -> str:
    """Return what would settle a row's open question, as a sentence; nothing if it is settled."""
    if row["verdict"] != "undecided":
        return ""
    return f"{first_capital(advice_for(row['more_seeds'] or None, unit, too_few=pairs < FEWEST_PAIRS))}."


def caveats(study: Record, verdict: str | None) -> list[str]:
    """Return what weakens the answer of any study: too few test samples for the margin, missing runs."""
    settings = study["settings"]
    rows = (settings.get("data") or {}).get("test_rows") or 0
    coarse = coarse_margin(settings["margin"], rows) if verdict == "same" else None
    found = [] if coarse is None else [f"Beware: {coarse}"]
    return found + (["Interrupted: not all runs were finished."] if study["interrupted"] else [])


def joined(*sentences: str | Sequence[str]) -> str:
    """Return sentences as one text, without those that are empty."""
    flat = [each for part in sentences for each in ([part] if isinstance(part, str) else part)]
    return " ".join(filter(None, flat))
