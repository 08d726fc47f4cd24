"""Numbers and names as they are read."""

import pytest

from manyhands.reports import format as wording


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.6314, "0.631"), (99.9994, "99.999"), (123.45, "123.5"), (4567.8, "4568")]
)
def test_seconds(value, text):
    assert wording.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, ""), (-0.001, "+0.00"), (0.0, "+0.00"), (-0.89, "-0.89")])
def test_signed_has_no_negative_zero(value, text):
    assert wording.signed(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, ""), (0.01234, "0.0123"), (148.72, "148.7"), (123456.7, "123,457")])
def test_impact(value, text):
    assert wording.impact(value) == text


def test_span():
    assert wording.span([1.614, 1.8]) == "1.61 to 1.80"
    assert wording.span([-0.0801, 0.08], sign=True) == "-0.08 to +0.08"
    assert wording.span(None) == ""


def test_layers():
    assert (wording.layers([512, 128]), wording.layers([])) == ("512-128", "none")


def test_listed():
    assert [wording.listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
