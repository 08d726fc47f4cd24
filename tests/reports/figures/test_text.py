"""Names in figures: every letter that the font has is drawn, and names stay distinct."""

import pytest

from manyhands.reports.figures.text import inches, label


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("Barbera é", "Barbera é"),
        ("Barbera e\u0301", "Barbera é"),
        ("straße, ñandú, Łódź, Ελλάδα, дом", "straße, ñandú, Łódź, Ελλάδα, дом"),
        ("a$\\frac{\x00\n中", "a$\\frac{???"),
        ("", ""),
    ],
)
def test_what_the_font_has_is_drawn(name, drawn):
    assert label(name) == drawn


def test_long_names_stay_distinct():
    names = [label(f"{'x' * 100}{number}") for number in range(3)]
    assert len(set(names)) == 3
    assert {len(name) for name in names} == {40}
    assert len(label("x" * 100, 12)) == 12


def test_width_of_a_text():
    assert inches("mm", 10) == pytest.approx(2 * inches("m", 10), rel=0.05)
    assert inches("m", 20) == pytest.approx(2 * inches("m", 10), rel=0.05)
    assert 0.1 < inches("m", 10) < 0.2
