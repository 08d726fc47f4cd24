"""Pieces of the texts of studies that are made from their records: tables in Markdown, and the limits of a result."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

from manyhands.core.words import count
from manyhands.reports.schema import Record, complete
from manyhands.studies.base.study import Outcome


def as_reports_see_it(found: Outcome) -> Record:
    """Return the completed record of a study's results, as it will be read from its file."""
    return complete(json.loads(json.dumps(found.record())))


def plain_heads(heads: Sequence[str]) -> list[str]:
    """Return the heads of a terminal's table in one line each."""
    return [head.replace("-\n", "").replace("\n", " ").strip() for head in heads]


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table without the columns that no row fills."""
    filled = [any(cells) for cells in zip(*rows, strict=True)]
    rule = ("---", *("---:" for _ in heads[1:]))
    return "\n".join(f"| {' | '.join(itertools.compress(line, filled))} |" for line in (heads, rule, *rows))


def limit_notes(study: Record) -> list[str]:
    """Return notes on the limits of what a table shows."""
    notes = []
    if any(row["oversubscribed"] for row in study["summary"]):
        cores = count(study["environment"]["cores"], "usable core")
        notes.append(f"* more workers than the {cores}: timings are not meaningful for more cores.")
    if study.get("resumed"):
        notes.append("Resumed from a checkpoint: times come from more than one session.")
    if study["interrupted"]:
        notes.append("Interrupted: only finished runs are counted.")
    return notes
