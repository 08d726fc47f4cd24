"""The pieces of a page: HTML that needs nothing else. Styles and figures are inside, nothing is fetched or run."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from manyhands.core.errors import missing
from manyhands.reports.figures.style import Picture
from manyhands.reports.format import layers
from manyhands.reports.tables.table import Table

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
_ENVIRONMENT = ("time", "cpu", "cores", "system", "threads", "manyhands", "python", "packages", "blas", "variables")


def document(title: str, sections: Sequence[str]) -> str:
    """Return the whole page."""
    body = "\n".join(part for part in sections if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def escaped(value: Any) -> str:
    """Return anything as text that HTML shows as it is."""
    plain = "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in str(value))
    return html.escape(plain)


def section(title: str, contents: Sequence[str]) -> str:
    """Return a section; nothing if nothing is in it."""
    inner = "\n".join(content for content in contents if content)
    return f"<section>\n<h2>{escaped(title)}</h2>\n{inner}\n</section>" if inner else ""


def figure_html(picture: Picture, svg: bytes, title: str) -> str:
    """Return a figure with its caption, the drawing inside."""
    source = base64.b64encode(svg).decode()
    width = round(96 * float(picture.figure.get_figwidth()))
    height = round(96 * float(picture.figure.get_figheight()))
    return (
        f'<figure id="{escaped(picture.name)}">\n<img src="data:image/svg+xml;base64,{source}" '
        f'width="{width}" height="{height}" alt="{escaped(picture.alt)}">\n'
        f"<figcaption><b>{escaped(title)}</b> {escaped(picture.caption)}</figcaption>\n</figure>"
    )


def missing_html(reasons: Mapping[str, str]) -> str:
    """Return what figures are missing and why; nothing if none is."""
    return f'<p class="note">Not drawn: {escaped(missing(reasons))}.</p>' if reasons else ""


def table_html(table: Table) -> str:
    """Return a table that scrolls if it is too wide."""
    groups = ""
    if table.groups:
        spans = (
            f'<th class="group" scope="colgroup" colspan="{span}">{escaped(name)}</th>'
            if name
            else f'<td colspan="{span}"></td>'
            for name, span in table.groups
        )
        groups = f"<tr>{''.join(spans)}</tr>\n"
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in table.columns)
    lines = []
    for place, (name, *cells) in enumerate(table.rows):
        kind = ' class="marked"' if place in table.marked else ""
        inner = "".join(f"<td>{_cell(cell)}</td>" for cell in cells)
        lines.append(f'<tr{kind}><th scope="row">{escaped(name)}</th>{inner}</tr>')
    note = f'\n<p class="note">{escaped(table.note)}</p>' if table.note else ""
    rows = "\n".join(lines)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(table.title)}">\n<table>\n'
        f"<caption>{escaped(table.title)}</caption>\n<thead>\n{groups}<tr>{head}</tr>\n</thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>{note}"
    )


def _cell(text: str) -> str:
    """Return a cell: a value, and its interval below."""
    value, _, interval = text.partition("\n")
    return escaped(value) + (f'<br><span class="interval">{escaped(interval)}</span>' if interval else "")


def definitions(items: Mapping[str, Any]) -> str:
    """Return names with what they stand for, as text; nothing if there are none."""
    inner = "\n".join(f"<dt>{escaped(name)}</dt><dd>{escaped(_plain(value))}</dd>" for name, value in items.items())
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


def links(files: Sequence[str]) -> str:
    """Return links to the files beside the page; one needs nothing of them to read it."""
    inner = "\n".join(f'<li><a href="{escaped(name)}">{escaped(name)}</a></li>' for name in files)
    return f'<ul class="files">\n{inner}\n</ul>'


def origin(environment: Mapping[str, Any]) -> list[str]:
    """Return sections with the exact command and the machine."""
    machine = {name: environment[name] for name in _ENVIRONMENT if environment[name] not in (None, {})}
    command = environment["command"]
    return [
        section("Command", [f"<pre><code>{escaped(command)}</code></pre>"] if command else []),
        section("Machine and versions", [definitions(machine)]),
    ]
