"""HTML for notebooks: tables, and curves as inline SVG. Colours are the notebook's own, light or dark."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _BELOW = 420, 170, 64, 24
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe & Ito 2008: different to every eye."""
Points = Sequence[tuple[float, float]]


def facts(title: str, rows: Mapping[str, str]) -> str:
    """Return names and values as a table of two columns."""
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(n)}</th><td style="text-align:left">{escape(v)}</td></tr>'
        for n, v in rows.items()
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{cells}</tbody></table>"


def grid(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], marked: Collection[int] = (), note: str = ""
) -> str:
    """Return a table with headings; ``marked`` rows are bold, and a line break in a cell is kept."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(_row(cells, bold=place in marked) for place, cells in enumerate(rows))
    below = f"<p>{escape(note)}</p>" if note else ""
    return (
        f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
    )


def _row(cells: Sequence[str], *, bold: bool) -> str:
    style = ' style="font-weight:bold"' if bold else ""
    return f"<tr{style}>" + "".join(f"<td>{escape(cell).replace(chr(10), '<br>')}</td>" for cell in cells) + "</tr>"


def curves(x: str, y: str, lines: Mapping[str, Points]) -> str:
    """Return curves as SVG, with the names of the axes; an empty text if no curve has two points.

    Points that are not finite are left out.
    """
    kept = {name: [point for point in points if all(map(math.isfinite, point))] for name, points in lines.items()}
    kept = {name: points for name, points in kept.items() if len(points) > 1}
    if not kept:
        return ""
    ends = [[point[axis] for points in kept.values() for point in points] for axis in (0, 1)]
    (left, right), (low, high) = ((min(each), max(each)) for each in ends)
    wide, tall = (right - left) or 1.0, (high - low) or 1.0

    def place(point: tuple[float, float]) -> str:
        across = _LEFT + (point[0] - left) / wide * (_WIDTH - _LEFT - 8)
        return f"{across:.1f},{8 + (high - point[1]) / tall * (_HEIGHT - 16 - _BELOW):.1f}"

    parts = [
        f'<polyline fill="none" stroke="{_COLOURS[number % len(_COLOURS)]}" stroke-width="1.5" '
        f'points="{" ".join(map(place, points))}"><title>{escape(name)}</title></polyline>'
        for number, (name, points) in enumerate(kept.items())
    ]
    bottom = _HEIGHT - 4
    parts += [
        _text(_LEFT - 4, 14, f"{high:.4g}", "end"),
        _text(_LEFT - 4, _HEIGHT - _BELOW - 4, f"{low:.4g}", "end"),
        _text(_LEFT, bottom, f"{left:.4g}", "start"),
        _text(_WIDTH - 8, bottom, f"{right:.4g}", "end"),
        _text((_LEFT + _WIDTH) / 2, bottom, x, "middle"),
    ]
    legend = " &nbsp; ".join(
        f'<span style="color:{_COLOURS[number % len(_COLOURS)]}">&#9632;</span> {escape(name)}'
        for number, name in enumerate(kept)
    )
    return (
        f'<div>{escape(y)}: {legend}</div><svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(y)} by {escape(x)}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="11" fill="currentColor" text-anchor="{anchor}">{escape(text)}</text>'
