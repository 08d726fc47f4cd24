"""HTML for notebooks: what is shown is escaped, and curves are where their numbers are."""

import re
from xml.etree import ElementTree

from manyhands.core.html import curves, facts, grid

NASTY = '<script>alert("1")</script> & "co"'


def parsed(text):
    return ElementTree.fromstring(f"<div>{text.replace('&nbsp;', ' ').replace('<br>', '<br/>')}</div>")


def test_texts_are_escaped():
    page = facts(NASTY, {NASTY: NASTY}) + grid(NASTY, [NASTY], [[NASTY]], {0}, NASTY)
    page += curves(NASTY, NASTY, {NASTY: [(0, 1), (1, 2)]})
    assert "<script" not in page
    assert "".join(parsed(page).itertext()).count(NASTY) >= 8


def test_lines_in_a_cell_and_marked_rows_stand_out():
    rows = list(parsed(grid("t", ["a"], [["1\n2"], ["3"]], {1})).iter("tr"))
    assert rows[1].find("td/br") is not None
    assert ["bold" in row.get("style", "") for row in rows] == [False, False, True]


def test_points_keep_their_order_and_place():
    page = curves("epoch", "loss", {"a": [(1, 4.0), (2, 2.0), (3, float("nan")), (5, 1.0)]})
    line = next(parsed(page).iter("{http://www.w3.org/2000/svg}polyline")).get("points")
    points = [tuple(map(float, pair.split(","))) for pair in line.split()]
    assert len(points) == 3
    (x1, y1), (x2, y2), (x3, y3) = points
    assert (x2 - x1) / (x3 - x1) == 0.25
    assert round((y2 - y1) / (y3 - y1), 2) == 0.67
    assert y1 < y3  # down is less
    assert re.findall(r">([\d.]+)</text>", page) == ["4", "1", "1", "5"]


def test_too_few_points_are_no_curve():
    assert curves("x", "y", {}) == curves("x", "y", {"a": [(1, 2)], "b": [(1, float("inf")), (2, 3)]}) == ""
