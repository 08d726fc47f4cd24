"""Learning-rate schedules: every factor worked out by hand, and PyTorch's formula for the one that is PyTorch's."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.training.schedules import EXAMPLES, SCHEDULES, RateSchedule, parse_schedule

# Schedule, epochs of the run, {position in epochs: factor}.
BY_HAND = [
    ("constant", 10, {0: 1, 3.7: 1, 9.99: 1}),
    # The warm-up takes 2 epochs, and begins a hundredth of an epoch in: (0 + 0.01) / 2, (1 + 0.01) / 2.
    ("constant:warmup=2epochs", 10, {0: 0.005, 1: 0.505, 2: 1, 9: 1}),
    ("constant:warmup=20%", 10, {0: 0.005, 1: 0.505, 2: 1, 9: 1}),
    # Shorter than an epoch: a hundredth of itself in. (0 + 0.005) / 0.5, (0.25 + 0.005) / 0.5.
    ("constant:warmup=5%", 10, {0: 0.01, 0.25: 0.51, 0.5: 1}),
    ("constant:warmup=0%", 10, {0: 1, 5: 1}),
    # Longer than the run: the whole run is one. (5 + 0.01) / 10.
    ("constant:warmup=30epochs", 10, {0: 0.001, 5: 0.501}),
    ("step:30epochs", 90, {0: 1, 29.99: 1, 30: 0.1, 59.99: 0.1, 60: 0.01, 89.99: 0.01}),
    ("step:30epochs,factor=0.5", 90, {29.99: 1, 30: 0.5, 60: 0.25}),
    ("step", 10, {0: 1, 4.99: 1, 5: 0.1, 9.99: 0.1}),  # half-way, to a tenth
    ("step:33%", 10, {2.99: 1, 3: 0.1, 6: 0.01, 9: 0.001}),  # 3.3 epochs are 3 whole ones
    ("step:1%", 10, {0.99: 1, 1: 0.1, 2: 0.01}),  # 0.1 epochs: one at least
    ("step:50%,factor=0", 10, {4.99: 1, 5: 0}),
    ("step:50%,factor=1", 10, {4.99: 1, 5: 1}),
    # Drops are counted from the beginning of the run, not from the end of the warm-up.
    ("step:3epochs,factor=0.5,warmup=1epoch", 10, {0: 0.01, 0.49: 0.5, 1: 1, 2.99: 1, 3: 0.5, 6: 0.25}),
    # (1 + cos(pi/4)) / 2 = (1 + 0.7071068) / 2; half-way it is half-way down; the end is never reached.
    ("cosine", 8, {0: 1, 2: 0.8535534, 4: 0.5, 6: 0.1464466, 8: 0}),
    ("cosine:to=0.1", 8, {0: 1, 4: 0.55, 8: 0.1}),  # 0.1 + 0.9 / 2
    ("cosine:to=1", 8, {0: 1, 4: 1}),
    # After a warm-up of 2 epochs, 8 are left to fall in.
    ("cosine:warmup=2epochs", 10, {0: 0.005, 1: 0.505, 2: 1, 4: 0.8535534, 6: 0.5, 10: 0}),
    ("cosine:warmup=100%", 10, {5: 0.501, 9.99: 1}),
    ("linear", 10, {0: 1, 2.5: 0.75, 5: 0.5, 10: 0}),
    ("linear:hold=50%", 10, {0: 1, 5: 1, 7.5: 0.5, 10: 0}),
    ("linear:hold=5epochs", 10, {4.99: 1, 5: 1, 7.5: 0.5}),
    ("linear:hold=100%", 10, {0: 1, 9.99: 1}),
    ("linear:hold=30epochs", 10, {0: 1, 9.99: 1}),
    # Up in 2 epochs, held for 2, down in 6.
    ("linear:hold=20%,warmup=2epochs", 10, {0: 0.005, 1: 0.505, 2: 1, 4: 1, 7: 0.5, 10: 0}),
    # From 1/25 up in 3 epochs, half-way 0.04 + 0.96 / 2; down to 1/250,000 in 7, half-way (1 + 0.000004) / 2.
    ("one-cycle", 10, {0: 0.04, 1.5: 0.52, 3: 1, 6.5: 0.500002, 10: 0.000004}),
    ("one-cycle:rise=3epochs", 10, {0: 0.04, 1.5: 0.52, 3: 1, 6.5: 0.500002, 10: 0.000004}),
    ("one-cycle:rise=0%", 10, {0: 1, 5: 0.500002}),
    ("one-cycle:rise=100%", 10, {0: 0.04, 5: 0.52}),
    ("one-cycle:rise=99epochs", 10, {0: 0.04, 5: 0.52}),
]

# What may be written -> the canonical name.
WRITTEN = {
    "constant": "constant",
    " cosine ": "cosine",
    "constant:warmup=5%": "constant:warmup=5%",
    "step": "step:50%,factor=0.1",
    "step:30epochs": "step:30epochs,factor=0.1",
    "step:every=1epoch": "step:1epoch,factor=0.1",
    "step:1epochs , factor = 0.25": "step:1epoch,factor=0.25",
    "step:12.5%,factor=1e-3,warmup=1.5epochs": "step:12.5%,factor=0.001,warmup=1.5epochs",
    "cosine:to=0": "cosine",
    "cosine:0.1": None,
    "cosine:to=0.1,warmup=2epochs": "cosine:to=0.1,warmup=2epochs",
    "cosine:warmup=2epochs,to=0.1": "cosine:to=0.1,warmup=2epochs",
    "linear": "linear",
    "linear:hold=0%": "linear",
    "linear:warmup=5%,hold=1epoch": "linear:hold=1epoch,warmup=5%",
    "linear:50%": None,
    "one-cycle": "one-cycle:rise=30%",
    "one-cycle:15epochs": None,
    "one-cycle:rise=15epochs": "one-cycle:rise=15epochs",
}

MISTAKES = [
    "",
    "magic",
    "constant:",
    "constant:5%",
    "constant:warmup",
    "constant:warmup=",
    "constant:warmup=5",
    "constant:warmup=-5%",
    "constant:warmup=101%",
    "constant:warmup=5%,warmup=5%",
    "step:30",
    "step:30steps",
    "step:often",
    "step:30epochs,0.1",
    "step:30epochs,factor=-0.1",
    "step:30epochs,factor=1.1",
    "step:30epochs,factor=nan",
    "step:30epochs,factor=ten",
    "step:30epochs,every=30epochs",
    "cosine:to=2",
    "cosine:restarts=3",
    "linear:to=0.1",
    "linear:hold=long",
    "one-cycle:warmup=5%",
    "one-cycle:rise=high",
    "constant:warmup=" + "9" * 5000 + "%",
]


@pytest.mark.parametrize(("text", "epochs", "expected"), BY_HAND, ids=[case[0] for case in BY_HAND])
def test_factors_by_hand(text, epochs, expected):
    factors = parse_schedule(text).factors(np.array(list(expected), np.float64), epochs)
    assert (factors.dtype, factors.shape) == (np.float64, (len(expected),))
    np.testing.assert_allclose(factors, list(expected.values()), rtol=1e-6, atol=1e-9)


def one_cycle_of_pytorch(at, epochs, rise):
    """PyTorch's OneCycleLR: anneal_strategy="cos", div_factor=25, final_div_factor=1e4, with max_lr = 1."""

    def anneal(start, end, done):
        return end + (start - end) / 2 * (math.cos(math.pi * done) + 1)

    initial = 1 / 25
    if at < rise:
        return anneal(initial, 1, at / rise)
    return anneal(1, initial / 1e4, (at - rise) / (epochs - rise))


@pytest.mark.parametrize(("epochs", "percent"), [(10, 30), (7, 25), (75, 10), (1, 50)])
def test_one_cycle_is_that_of_pytorch(epochs, percent):
    at = np.arange(8 * epochs) / 8
    expected = [one_cycle_of_pytorch(each, epochs, percent * epochs / 100) for each in at]
    factors = parse_schedule(f"one-cycle:rise={percent}%").factors(at, epochs)
    np.testing.assert_allclose(factors, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "epochs", "first"),
    [
        ("constant", 10, None),
        ("constant:warmup=50%", 10, None),
        ("cosine", 10, None),
        ("linear:hold=50%", 10, None),
        ("one-cycle", 10, None),
        ("step", 10, 5),
        ("step:30epochs", 90, 30),
        ("step:33%", 10, 3),
        ("step:1%", 10, 1),
        ("step:2epochs,warmup=1epoch", 10, 2),
    ],
)
def test_the_first_drop_is_where_the_factors_drop(text, epochs, first):
    schedule = parse_schedule(text)
    assert schedule.first_decay(epochs) == first
    if first is not None:
        before, after = schedule.factors(np.array([first - 1e-9, first]), epochs)
        assert after < before


@pytest.mark.parametrize(("text", "name"), WRITTEN.items())
def test_text_becomes_a_schedule(text, name):
    if name is None:  # only what a schedule is about may be a mere value
        with pytest.raises(SettingsError, match="do not fit"):
            parse_schedule(text)
    else:
        assert parse_schedule(text).name == name
        assert parse_schedule(name) == parse_schedule(text)


lengths = st.one_of(
    st.integers(0, 100).map("{}%".format),
    st.integers(0, 99_999).map("{}epochs".format),
    st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda each: f"{each[0]}.{each[1]:02d}%"),
)
fractions = st.integers(0, 10_000).map(lambda each: f"{each / 10_000}")
schedules = st.one_of(
    lengths.map("constant:warmup={}".format),
    st.tuples(lengths, fractions).map(lambda each: f"step:{each[0]},factor={each[1]}"),
    st.tuples(lengths, fractions, lengths).map(lambda each: f"step:{each[0]},factor={each[1]},warmup={each[2]}"),
    st.tuples(fractions, lengths).map(lambda each: f"cosine:to={each[0]},warmup={each[1]}"),
    st.tuples(lengths, lengths).map(lambda each: f"linear:hold={each[0]},warmup={each[1]}"),
    lengths.map("one-cycle:rise={}".format),
)


@given(schedules)
@example("linear:hold=0epochs")
def test_names_parse_back(text):
    schedule = parse_schedule(text)
    assert parse_schedule(schedule.name) == schedule
    assert parse_schedule(schedule.name).name == schedule.name


@pytest.mark.parametrize(
    "text",
    [
        "step:1234567epochs",
        "step:33.3333333%",
        "constant:warmup=0.00001%",
        "one-cycle:rise=66.6666667%",
        "step:30epochs,factor=0.33333333",
        "cosine:to=0.123456789",
    ],
)
def test_names_keep_every_digit(text):
    schedule = parse_schedule(text)
    assert parse_schedule(schedule.name) == schedule


@given(schedules, st.integers(1, 300), st.integers(1, 1000))
def test_factors_are_between_zero_and_one(text, epochs, steps_per_epoch):
    factors = parse_schedule(text).factors(np.arange(min(epochs * steps_per_epoch, 999)) / steps_per_epoch, epochs)
    assert np.isfinite(factors).all()
    assert factors.min() >= 0
    assert factors.max() <= 1


@pytest.mark.parametrize("warmup", ["1epoch", "5%", "3epochs"])
def test_a_warm_up_rises_to_the_full_rate_and_not_beyond(warmup):
    # 300 steps an epoch, as the 60,000 rows of MNIST in batches of 200.
    factors = parse_schedule(f"constant:warmup={warmup}").factors(np.arange(3000) / 300, 10)
    assert (np.diff(factors) >= 0).all()
    assert factors.max() == 1
    assert factors[0] > 0


@given(schedules, st.integers(1, 50), st.lists(st.floats(0, 50), min_size=1, max_size=8))
def test_a_factor_depends_on_its_position_alone(text, epochs, positions):
    schedule, at = parse_schedule(text), np.minimum(np.array(positions), epochs)
    alone = [schedule.factors(at[index : index + 1], epochs)[0] for index in range(len(at))]
    np.testing.assert_allclose(schedule.factors(at, epochs), alone, rtol=1e-12)


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_named_and_shown_how_to_mend(text):
    with pytest.raises(SettingsError, match=r"schedule.*(cosine|20%|from 0 to 1|twice|examples: )"):
        parse_schedule(text)


values = st.one_of(st.text(max_size=9), st.text(st.characters(categories=["Nd", "No"]), min_size=1, max_size=3))
templates = st.sampled_from(
    [
        "{}",
        "{}:{}",
        "step:{}",
        "step:{}epochs,factor={}",
        "linear:hold={}",
        "cosine:to={}",
        "cosine:warmup={}%",
        "one-cycle:rise={}{}",
    ]
)


@given(templates, values, values)
def test_any_text_gives_a_schedule_or_a_typed_error(template, one, other):
    with contextlib.suppress(SettingsError):
        schedule = parse_schedule(template.format(one, other))
        assert isinstance(schedule, RateSchedule)
        assert schedule.name
        assert np.isfinite(schedule.factors(np.arange(5.0), 5)).all()


def test_every_schedule_is_among_the_examples():
    assert [name for name in SCHEDULES if name not in EXAMPLES] == []
    for text in EXAMPLES.split(", "):
        assert parse_schedule(text)
