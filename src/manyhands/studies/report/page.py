"""The report as one HTML file that needs nothing else: styles and figures are inside, nothing is fetched or run."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from manyhands.studies.report.answer import answers
from manyhands.studies.report.canvas import Picture
from manyhands.studies.report.records import Record, parts
from manyhands.studies.report.tables import Table, make_tables
from manyhands.studies.report.wording import layers

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 60rem; padding: 1.2rem 1.2rem 3rem; background: #fff; color: #222;
  font: 1rem/1.5 system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.6em; line-height: 1.25; margin: 0.4rem 0 0.8rem; }
h2 { font-size: 1.25em; margin: 2.2rem 0 0.6rem; border-bottom: 1px solid #bbb; padding-bottom: 0.2rem; }
h3 { font-size: 1.02em; margin: 1.2rem 0 0.2rem; }
.answer { border-left: 0.3rem solid #0072b2; padding: 0.3rem 0 0.3rem 0.9rem; font-size: 1.15em; margin: 0; }
.subject, .note { color: #555; font-size: 0.92em; }
figure { margin: 1.4rem 0 2rem; }
figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { margin-top: 0.4rem; font-size: 0.95em; }
.scroll { overflow-x: auto; margin-top: 0.6rem; }
table { border-collapse: collapse; font-size: 0.86em; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.3rem; }
th, td { padding: 0.2rem 0.36rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; }
thead th { vertical-align: bottom; border-bottom: 2px solid #888; }
th.group { text-align: center; border-bottom: 1px solid #888; }
tbody th, th:first-child { text-align: left; font-weight: normal; white-space: nowrap; }
thead th:first-child { font-weight: bold; }
tr.marked th, tr.marked td { font-weight: bold; background: #eef5fa; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: 0.15rem 1rem; margin: 0.6rem 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: #f4f4f4; padding: 0.6rem 0.8rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.9em; }
ul.files { columns: 14rem; padding-left: 1.2rem; }
.interval { font-size: 0.86em; font-weight: normal; color: #555; white-space: nowrap; }
a { color: #00599c; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, tr, .answer { break-inside: avoid; page-break-inside: avoid; }
  h2, h3, caption { break-after: avoid; page-break-after: avoid; }
  .scroll { overflow-x: visible; }
  table { font-size: 7.5pt; } th, td { padding: 0.1rem 0.3rem; }
  pre, tr.marked th, tr.marked td { background: none; border-bottom: 1px solid #888; }
}
"""
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
_ENVIRONMENT = ("time", "cpu", "cores", "system", "threads", "manyhands", "python", "packages", "blas", "variables")


def make_page(record: Record, pictures: Sequence[tuple[Picture, bytes]], files: Sequence[str]) -> str:
    """Return the HTML of a report.

    Parameters
    ----------
    record
        Completed.
    pictures
        The figures, each with its SVG.
    files
        Names of the files beside the page, to link to.
    """
    found = answers(record)
    question, reply = found[0]
    sections = [
        f"<h1>{_text(question)}</h1>",
        f'<p class="answer">{_text(reply)}</p>',
        _subject(record),
        *(f"<h3>{_text(other)}</h3>\n<p>{_text(its)}</p>" for other, its in found[1:]),
        _section("Figures", _figures(record, pictures)),
        _section("Tables", [_table(table) for table in make_tables(record)]),
        _section("What the words mean", [_definitions(_WORDS)]),
        *_origin(record),
        _section("Files", [_links(files)]),
    ]
    body = "\n".join(section for section in sections if section)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Manyhands: {_text(question)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _text(value: Any) -> str:
    """Return anything as text that HTML shows as it is."""
    plain = "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in str(value))
    return html.escape(plain)


def _section(title: str, contents: Sequence[str]) -> str:
    inner = "\n".join(content for content in contents if content)
    return f"<section>\n<h2>{_text(title)}</h2>\n{inner}\n</section>" if inner else ""


def _subject(record: Record) -> str:
    """Return one line: data, network and machine."""
    inside = parts(record)
    settings = [part["settings"] for part in (inside.compare, inside.published, inside.sweep) if part is not None]
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
    return f'<p class="subject">{_text("; ".join(facts))}</p>' if facts else ""


def _rows(data: Record) -> str:
    counts = [f"{data[f'{kind}_rows']} {kind}" for kind in ("train", "test") if data.get(f"{kind}_rows") is not None]
    return f" ({', '.join(counts)} rows)" if counts else ""


def _figures(record: Record, pictures: Sequence[tuple[Picture, bytes]]) -> list[str]:
    """Return the figures with their numbers, and the numbers that they have in the paper which a study repeats."""
    theirs = _IN_PAPER if record.get("study") == "w1" else {}
    found = []
    for number, (picture, svg) in enumerate(pictures, start=1):
        paper = f" (figure {theirs[picture.name]} of Todorov et al. 2021)" if picture.name in theirs else ""
        found.append(_figure(picture, svg, f"Figure {number}{paper}."))
    return found


def _figure(picture: Picture, svg: bytes, title: str) -> str:
    source = base64.b64encode(svg).decode()
    width = round(96 * float(picture.figure.get_figwidth()))
    height = round(96 * float(picture.figure.get_figheight()))
    return (
        f'<figure id="{_text(picture.name)}">\n<img src="data:image/svg+xml;base64,{source}" '
        f'width="{width}" height="{height}" alt="{_text(picture.alt)}">\n'
        f"<figcaption><b>{_text(title)}</b> {_text(picture.caption)}</figcaption>\n</figure>"
    )


def _table(table: Table) -> str:
    """Return a table that scrolls if it is too wide."""
    groups = ""
    if table.groups:
        spans = (
            f'<th class="group" scope="colgroup" colspan="{span}">{_text(name)}</th>'
            if name
            else f'<td colspan="{span}"></td>'
            for name, span in table.groups
        )
        groups = f"<tr>{''.join(spans)}</tr>\n"
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in table.columns)
    lines = []
    for place, (name, *cells) in enumerate(table.rows):
        kind = ' class="marked"' if place in table.marked else ""
        inner = "".join(f"<td>{_cell(cell)}</td>" for cell in cells)
        lines.append(f'<tr{kind}><th scope="row">{_text(name)}</th>{inner}</tr>')
    note = f'\n<p class="note">{_text(table.note)}</p>' if table.note else ""
    rows = "\n".join(lines)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.title)}">\n<table>\n'
        f"<caption>{_text(table.title)}</caption>\n<thead>\n{groups}<tr>{head}</tr>\n</thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>{note}"
    )


def _cell(text: str) -> str:
    """Return a cell: a value, and its interval below."""
    value, _, interval = text.partition("\n")
    return _text(value) + (f'<br><span class="interval">{_text(interval)}</span>' if interval else "")


def _definitions(items: Mapping[str, Any]) -> str:
    inner = "\n".join(f"<dt>{_text(name)}</dt><dd>{_text(_plain(value))}</dd>" for name, value in items.items())
    return f"<dl>\n{inner}\n</dl>" if items else ""


def _plain(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items() if inner is not None) or "none"
    if isinstance(value, list):
        return ", ".join(layers(item) if _is_layers(item) else _plain(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _is_layers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) for item in value)


def _origin(record: Record) -> list[str]:
    """Return the exact command, the machine and the settings."""
    environment = record["environment"]
    machine = {name: environment[name] for name in _ENVIRONMENT if environment[name] not in (None, {})}
    command = environment["command"]
    inside = {name: part for name, part in vars(parts(record)).items() if part is not None}
    settings = [f"<h3>{_text(name)}</h3>\n{_definitions(_known(part['settings']))}" for name, part in inside.items()]
    return [
        _section("Command", [f"<pre><code>{_text(command)}</code></pre>"] if command else []),
        _section("Machine and versions", [_definitions(machine)]),
        _section("Settings", settings),
    ]


def _known(settings: Record) -> Record:
    """Return the settings that have a value."""
    return {name: value for name, value in settings.items() if value not in (None, {}, [])}


def _links(files: Sequence[str]) -> str:
    """Return links to the files beside the page; one needs nothing of them to read it."""
    inner = "\n".join(f'<li><a href="{_text(name)}">{_text(name)}</a></li>' for name in files)
    return f'<ul class="files">\n{inner}\n</ul>'
