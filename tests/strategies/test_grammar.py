import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.errors import SettingsError
from manyhands.strategies import EXAMPLES, STRATEGIES, parse_strategy

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
    "minibatch": "minibatch:5epochs",
    "minibatch:5epochs": "minibatch:5epochs",
    "minibatch:5": "minibatch:5epochs",
    "minibatch: 3 epochs ": "minibatch:3epochs",
    "minibatch:1epoch": "minibatch:1epoch",
    "minibatch:1epochs": "minibatch:1epoch",
    "minibatch:epochs=7": "minibatch:7epochs",
    "minibatch:epochs=02epoch": "minibatch:2epochs",
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
        "minibatch:",
        "minibatch:0",
        "minibatch:0epochs",
        "minibatch:-5",
        "minibatch:2.5epochs",
        "minibatch:five",
        "minibatch:5steps",
        "minibatch:5,3",
        "minibatch:epochs=5,epochs=5",
        "minibatch:passes=5",
        "minibatch:sharding=global",
        "periodic:" + "9" * 5000,
        "minibatch:" + "9" * 5000,
    ],
)
def test_mistakes_are_named_and_shown_how_to_mend(text):
    with pytest.raises(SettingsError, match=r"one-shot|periodic:|minibatch:|twice") as caught:
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
        for name in ("one-shot", "periodic:1epoch", "periodic:2epoch", "periodic:4", "gradient", "minibatch:3epochs")
    }
    assert due == {
        "one-shot": 30,
        "periodic:1epoch": 10,
        "periodic:2epoch": 10,
        "periodic:4": 8,
        "gradient": 30,
        "minibatch:3epochs": 10,  # a mini-batch is used up after the steps of one epoch, however often it is taken
    }


def test_only_minibatch_goes_through_its_rows_more_than_once():
    passes = {
        name: parse_strategy(name).passes for name in ("minibatch:7", "minibatch", *sorted(set(WRITTEN.values())))
    }
    assert (passes.pop("minibatch:7"), passes.pop("minibatch")) == (7, 5)
    assert (passes.pop("minibatch:5epochs"), passes.pop("minibatch:3epochs")) == (5, 3)
    assert (passes.pop("minibatch:7epochs"), passes.pop("minibatch:2epochs")) == (7, 2)
    assert set(passes.values()) == {1}


def test_every_strategy_is_among_the_examples():
    assert [name for name in STRATEGIES if name not in EXAMPLES] == []
    for text in EXAMPLES.split(", "):
        assert parse_strategy(text).name == text
