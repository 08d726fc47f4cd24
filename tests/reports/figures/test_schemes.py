"""Figures can be read on a dark page: their colours are exchanged, and keep their contrast."""

import re

import pytest

from manyhands.reports.figures import style
from manyhands.reports.figures.registry import make_figures
from manyhands.reports.figures.schemes import DARK, DARK_PAPER, PAPER, both_schemes


def luminance(colour):
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_as_wcag_has_it():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#ffffff", "#777777") == pytest.approx(4.48, abs=0.01)


def test_text_and_series_stand_out_on_dark_paper():
    for light, dark in DARK.items():
        if light not in (PAPER, style.PALE):
            assert contrast(dark, DARK_PAPER) >= 4.5, light
    assert contrast(style.INK, PAPER) >= 4.5
    assert 1.3 < contrast(DARK[style.PALE], DARK_PAPER) < 3  # lines of the grid are behind everything
    assert len(set(DARK.values())) == len(DARK)


def test_every_colour_of_the_style_has_a_dark_one():
    assert {style.INK, style.GREY, style.PALE, *map(str.lower, style._COLOURS)} <= DARK.keys()


def test_page_css_has_contrast_in_both_schemes():
    from importlib.resources import files

    css = files("manyhands.reports").joinpath("templates/style.css").read_text().replace("{{ dark_paper }}", DARK_PAPER)
    light, dark = (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in css.split("@media", 2)[:2])
    whole = {
        name: colour if len(colour) == 7 else "#" + "".join(2 * c for c in colour[1:]) for name, colour in light.items()
    }
    assert light.keys() == dark.keys()
    for scheme in (whole, dark):
        for name in ("ink", "soft", "link"):
            for paper in ("paper", "mark", "field"):
                assert contrast(scheme[name], scheme[paper]) >= 4.5, (name, paper)


def test_only_colours_of_styles_are_exchanged(records):
    picture = make_figures(records.compare(1, (2,), {"#222222": (0, 0.1)}))[0]
    plain = style.svg(picture)
    both = both_schemes(plain).decode()
    styles = " ".join(re.findall(r' style="([^"]*)"', both))
    assert not set(re.findall(r"#[0-9a-f]{6}", styles)) & DARK.keys()
    assert "@media (prefers-color-scheme:dark)" in both
    names = re.findall(r"var\(--(c\d+)\)", both)
    assert {f"--{name}:" for name in names} <= set(re.findall(r"--c\d+:", both))
    assert plain == style.svg(picture)  # the file beside the page has plain colours, for programs that know no others
    assert b"var(" not in plain
