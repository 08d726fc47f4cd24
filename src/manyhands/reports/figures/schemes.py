"""Light and dark: the colours that a figure has on a dark page, which its own file does not know of."""

from __future__ import annotations

import re

PAPER, DARK_PAPER = "#ffffff", "#16191d"
DARK = {
    PAPER: DARK_PAPER,
    "#222222": "#e8e8e8",
    "#6e6e6e": "#a8a8a8",
    "#e4e4e4": "#3c424a",
    "#0072b2": "#4fa3e3",
    "#d55e00": "#f2853f",
    "#009e73": "#2fc096",
    "#cc79a7": "#e29ac2",
    "#e69f00": "#f0b429",
    "#56b4e9": "#a5dcff",
}
"""The colour on a dark page for each colour of `manyhands.reports.figures.style`."""
ON_DARK_FIELD, ON_LIGHT_FIELD = "#fefefe", "#232323"
"""Text on the fields of a picture, which are the same on both pages."""

_STYLE = re.compile(rb' style="([^"]*)"')
_COLOUR = re.compile(rb"#([0-9a-f]{6})\b")


def both_schemes(svg: bytes) -> bytes:
    """Return an SVG that shows its figure in light or dark colours, as the page does that it is part of.

    Only colours in styles are exchanged, and only those of `DARK`, so pictures inside the figure stay as they are.
    """
    names = {light[1:].encode(): b"c%d" % place for place, light in enumerate(DARK)}

    def exchanged(found: re.Match[bytes]) -> bytes:
        name = names.get(found[1])
        return found[0] if name is None else b"var(--%b)" % name

    coloured = _STYLE.sub(lambda found: b' style="' + _COLOUR.sub(exchanged, found[1]) + b'"', svg)
    light, dark = (
        ";".join(f"--c{place}:{colour}" for place, colour in enumerate(colours)) for colours in (DARK, DARK.values())
    )
    rules = f"<style>svg{{{light}}}@media (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>".encode()
    start = coloured.find(b">", coloured.find(b"<svg")) + 1
    return coloured[:start] + rules + coloured[start:] if start else svg
