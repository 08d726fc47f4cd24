"""The report as one HTML file that needs nothing else: styles and figures are inside, nothing is fetched or run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from manyhands.reports.figures.style import Picture
from manyhands.reports.format import layers
from manyhands.reports.headline import answers
from manyhands.reports.html.elements import (
    definitions,
    document,
    escaped,
    figure_html,
    links,
    missing_html,
    origin,
    section,
    table_html,
)
from manyhands.reports.schema import Record, parts
from manyhands.reports.tables.all import make_tables

_WORDS = {
    "worker": "one of the n executors, threads or processes, that train at the same time",
    "round": "one synchronization between the workers",
    "strategy": "when the workers talk: sequential never (one worker, the reference), one-shot once at the end, "
    "periodic after so many epochs or steps, minibatch the same on rows drawn anew for every round, gradient inside "
    "every step",
    "train, total": "seconds from every worker having its data to the merged parameters being ready; total adds "
    "reading and distributing; compiling, start-up and evaluation are in neither",
    "speedup": "the sequential run's training time over this one's, paired by seed; efficiency is speedup per worker",
    "vs sequential": "the difference of the accuracies in percentage points, paired by seed: both runs have the same "
    "start and the same order of examples",
    "95 % interval": "where the true mean lies, by Student's t; for speedups by resampling the pairs",
    "verdict": "same: the whole interval of the difference lies within the margin; lower or higher: it lies on one "
    "side of zero; undecided: more seeds are needed, about as many as stand below",
    "impact factor": "accuracy in percent over seconds of training; with communication, over total seconds",
    "Amdahl's law": "a part of the work is serial, and no number of workers makes it shorter",
    "universal scalability law": "workers also wait for each other (contention) and keep each other informed "
    "(coherency), so that there is a best number n of them",
    "Gustafson's law": "the data grow with the workers, so that the serial part weighs less",
    "more workers than cores": "such workers take turns on the same cores; their accuracies count, their times do not",
}
_WORDS_OF_NETWORKS = {
    "base": "the network around which one axis at a time is varied",
    "tuned rate": "the learning rate, of a few multiples of the optimizer's own, with which one worker does best on "
    "the validation rows; several workers have the same. Test rows choose nothing",
    "vs one worker": "the difference of the accuracies in percentage points between several workers and one, of the "
    "same network, paired by seed",
    "confidence": "the mean probability that the network gives to the class it predicts",
    "calibration error": "how far confidence and accuracy are apart: the mean distance over 15 bins of confidence, by "
    "their rows (Guo et al. 2017)",
    "learning speed": "epochs, and seconds of training, until an accuracy is first measured; medians over the runs "
    "that reached it. Measuring stops all clocks, and yet runs of several workers take longer by it; one-shot is "
    "measured at its end only, as its workers differ until then",
    "neurons that differ": "neurons of a hidden layer that read the same with the same weights count as one",
}
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
    """Return the HTML of a report.

    Parameters
    ----------
    record
        Completed.
    pictures
        The figures, each with its SVG.
    files
        Names of the files beside the page, to link to.
    missing
        Figures that could not be drawn, and why.
    """
    found = answers(record)
    question, reply = found[0]
    sections = [
        f"<h1>{escaped(question)}</h1>",
        f'<p class="answer">{escaped(reply)}</p>',
        _subject(record),
        *(f"<h3>{escaped(other)}</h3>\n<p>{escaped(its)}</p>" for other, its in found[1:]),
        section("Figures", [*_figures(record, pictures), missing_html(missing or {})]),
        section("Tables", [table_html(table) for table in make_tables(record)]),
        section("What the words mean", [definitions(_words(record))]),
        *_origin(record),
        section("Files", [links(files)]),
    ]
    return document(f"Manyhands: {question}", sections)


def _words(record: Record) -> dict[str, str]:
    """Return the words that a page needs."""
    if parts(record).networks is None:
        return _WORDS
    both = ("worker", "round", "strategy", "95 % interval", "verdict", "more workers than cores")
    return {**{name: _WORDS[name] for name in both}, **_WORDS_OF_NETWORKS}


def _subject(record: Record) -> str:
    """Return one line: data, network and machine."""
    inside = parts(record)
    settings = [part["settings"] for part in vars(inside).values() if part is not None]
    data = next((each["data"] for each in (record["settings"], *settings) if each["data"]["name"]), {"name": None})
    network = settings[0]["network"] if settings and inside.sweep is not record else {}
    facts = []
    if data["name"]:
        facts.append(f"data {data['name']}{_rows(data)}")
    if isinstance(network.get("hidden"), list):
        facts.append(f"hidden {layers(network['hidden'])}")
    environment = record["environment"]
    if environment["cpu"]:
        facts.append(environment["cpu"])
    if environment["cores"]:
        facts.append(f"{environment['cores']} usable core{'s' if environment['cores'] != 1 else ''}")
    if environment["time"]:
        facts.append(environment["time"])
    if record["interrupted"]:
        facts.append("interrupted: only finished runs are counted")
    if any(part.get("resumed") for part in vars(inside).values() if part is not None):
        facts.append("resumed from a checkpoint: times come from more than one session")
    return f'<p class="subject">{escaped("; ".join(facts))}</p>' if facts else ""


def _rows(data: Record) -> str:
    counts = [f"{data[f'{kind}_rows']} {kind}" for kind in ("train", "test") if data.get(f"{kind}_rows") is not None]
    return f" ({', '.join(counts)} rows)" if counts else ""


def _figures(record: Record, pictures: Sequence[tuple[Picture, bytes]]) -> list[str]:
    """Return the figures with their numbers, and the numbers that they have in the paper which a study repeats."""
    theirs = _IN_PAPER if record.get("study") == "exemplar" else {}
    found = []
    for number, (picture, svg) in enumerate(pictures, start=1):
        paper = f" (figure {theirs[picture.name]} of Todorov et al. 2021)" if picture.name in theirs else ""
        found.append(figure_html(picture, svg, f"Figure {number}{paper}."))
    return found


def _origin(record: Record) -> list[str]:
    """Return the exact command, the machine and the settings."""
    inside = {name: part for name, part in vars(parts(record)).items() if part is not None}
    settings = [f"<h3>{escaped(name)}</h3>\n{definitions(_known(part['settings']))}" for name, part in inside.items()]
    return [*origin(record["environment"]), section("Settings", settings)]


def _known(settings: Record) -> Record:
    """Return the settings that have a value."""
    return {name: value for name, value in settings.items() if value not in (None, {}, [])}
