import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.errors import SettingsError
from manyhands.strategies import parse_strategy

# What may be written -> the canonical name.
WRITTEN = {
    "sequential": "sequential",
    "one-shot": "one-shot",
    " gradient ": "gradient",
    "periodic:1epoch": "periodic:1epoch",
    "periodic:2epochs": "periodic:2epoch",
    "periodic:50": "periodic:50",
    "periodic:50steps": "periodic:50",
    "periodic: 50 ": "periodic:50",
    "periodic:every=50": "periodic:50",
    "periodic:every=1epoch": "periodic:1epoch",
}


@pytest.mark.parametrize(("text", "name"), WRITTEN.items())
def test_text_becomes_a_strategy(text, name):
    assert parse_strategy(text).name == name


@pytest.mark.parametrize("name", WRITTEN.values())
def test_canonical_names_parse_to_equal_strategies(name):
    assert parse_strategy(parse_strategy(name).name) == parse_strategy(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "averaging",
        "periodic",
        "periodic:",
        "periodic:0",
        "periodic:-1",
        "periodic:1.5",
        "periodic:often",
        "periodic:1epoch,2",
        "periodic:every=1,every=2",
        "periodic:every=",
        "periodic:=3",
        "periodic:3,every=4",
        "periodic:unit=epoch",
        "one-shot:3",
        "one-shot:sharding=global",
        "gradient:1",
        "sequential:x=1",
    ],
)
def test_mistakes_are_named_and_shown_how_to_mend(text):
    with pytest.raises(SettingsError, match=r"one-shot|periodic:|twice") as caught:
        parse_strategy(text)
    assert "Traceback" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_gives_a_strategy_or_a_typed_error(text):
    with contextlib.suppress(SettingsError):
        assert parse_strategy(text).name


@given(st.sampled_from(sorted(set(WRITTEN.values()))), st.integers(1, 40), st.integers(1, 8))
def test_rounds_move_on_and_end_with_the_run(name, steps_per_epoch, epochs):
    strategy, total = parse_strategy(name), steps_per_epoch * epochs
    step = 0
    while step < total:
        following = strategy.next_round(step, steps_per_epoch, total)
        assert step < following <= total
        step = following
    assert step == total


def test_when_rounds_are_due():
    due = {
        name: parse_strategy(name).next_round(7, 5, 30)
        for name in ("one-shot", "periodic:1epoch", "periodic:2epoch", "periodic:4", "gradient")
    }
    assert due == {"one-shot": 30, "periodic:1epoch": 10, "periodic:2epoch": 10, "periodic:4": 8, "gradient": 30}
