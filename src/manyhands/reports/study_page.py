"""The page of a study: its answer, figures, tables, words, origin and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from manyhands.core.errors import missing as reasons_text
from manyhands.core.words import count
from manyhands.reports.figures.style import Picture
from manyhands.reports.format import layers
from manyhands.reports.headline import answers
from manyhands.reports.page import Page
from manyhands.reports.schema import Record, parts
from manyhands.reports.tables.registry import make_tables

_Kind = Literal["study", "networks", "speculative", "levels", "classifiers"]
_IN_PAPER = {
    "time_surface": 3,
    "accuracy_surface": 4,
    "training_time": 5,
    "speedup": 6,
    "accuracy": 7,
    "impact": 8,
    "published_time": 5,
    "published_speedup": 6,
    "published_accuracy": 7,
    "published_impact": 8,
}


def make_page(
    record: Record,
    pictures: Sequence[tuple[Picture, bytes]],
    files: Sequence[str],
    missing: Mapping[str, str] | None = None,
) -> str:
    """Return the HTML of the report of a completed record; see `manyhands.reports.publishing.MakePage`."""
    inside = {name: part for name, part in vars(parts(record)).items() if part is not None}
    (question, reply), *others = answers(record)
    return Page(
        kind=_kind(inside),
        question=question,
        answer=reply,
        subject=_subject(record),
        environment=record["environment"],
        figures=pictures,
        tables=make_tables(record),
        files=files,
        notes=[f"Not drawn: {reasons_text(missing)}."] if missing else [],
        others=others,
        settings={name: _known(part["settings"]) for name, part in inside.items()},
        in_paper=_IN_PAPER if record.get("study") == "exemplar" else {},
    ).html()


def _kind(inside: Mapping[str, Record]) -> _Kind:
    """Return the kind of page that the parts of a record have; most are studies."""
    kinds: tuple[_Kind, ...] = ("networks", "speculative", "levels", "classifiers")
    return next((kind for kind in kinds if kind in inside), "study")


def _subject(record: Record) -> str:
    """Return one line about data, network and machine."""
    inside = parts(record)
    settings = [part["settings"] for part in vars(inside).values() if part is not None]
    data = next((each["data"] for each in (record["settings"], *settings) if each["data"]["name"]), {"name": None})
    network = settings[0]["network"] if settings and inside.sweep is not record else {}
    facts = []
    if data["name"]:
        facts.append(f"data {data['name']}{_rows(data)}")
    if settings and settings[0]["architecture"]:
        facts.append(settings[0]["architecture"])
    elif isinstance(network.get("hidden"), list):
        facts.append(f"hidden {layers(network['hidden'])}")
    environment = record["environment"]
    if environment["cpu"]:
        facts.append(environment["cpu"])
    if environment["cores"]:
        facts.append(count(environment["cores"], "usable core"))
    if environment["time"]:
        facts.append(environment["time"])
    if record["interrupted"]:
        facts.append("interrupted: only finished runs are counted")
    if any(part.get("resumed") for part in vars(inside).values() if part is not None):
        facts.append("resumed from a checkpoint: times come from more than one session")
    return "; ".join(facts)


def _rows(data: Record) -> str:
    counts = [f"{data[f'{kind}_rows']} {kind}" for kind in ("train", "test") if data.get(f"{kind}_rows") is not None]
    return f" ({', '.join(counts)} rows)" if counts else ""


def _known(settings: Record) -> Record:
    """Return the settings that have a value."""
    return {name: value for name, value in settings.items() if value not in (None, {}, [])}
