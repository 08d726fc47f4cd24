"""Gradients averaged inside every step: larger batches, the rates that go with them, and what stays sequential."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Control
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies import parse_strategy
from manyhands.strategies.compression import CODECS
from manyhands.strategies.gradient import Gradient
from manyhands.teams.launch import launch
from manyhands.training import making as running
from manyhands.training.clock import PhaseClock
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

DOUBLE = {"hidden": (12,), "optimizer": "sgd", "dtype": "float64"}


def factors(text, workers, steps_per_epoch, epochs):
    return (
        parse_strategy(text)
        .rules[0]
        .rate_factors(
            np.arange(steps_per_epoch * epochs), workers, float(workers), steps_per_epoch, steps_per_epoch * epochs
        )
    )


def test_unscaled_rates_are_the_schedules():
    assert factors("gradient", 4, 5, 3).tolist() == [1] * 15


def test_linear_scaling_by_hand():
    # 4 workers: the rate becomes 4 times as large. Half of 4 epochs of 5 steps are 10 steps, each a tenth of the way
    # from 1 to 4: 1.3, 1.6, ..., 3.7, 4.
    rising = [1.3, 1.6, 1.9, 2.2, 2.5, 2.8, 3.1, 3.4, 3.7, 4.0]
    np.testing.assert_allclose(factors("gradient:scale=linear,warmup=50%", 4, 5, 4), [*rising, *[4.0] * 10])


def test_square_root_scaling_by_hand():
    # 9 workers: 3 times. 1.5 epochs of 4 steps are 6 steps, each a sixth of the way from 1 to 3: thirds.
    rising = [4 / 3, 5 / 3, 2, 7 / 3, 8 / 3, 3]
    np.testing.assert_allclose(factors("gradient:scale=sqrt,warmup=1.5epochs", 9, 4, 3), [*rising, *[3.0] * 6])


def test_the_usual_warm_up_is_5_percent_of_the_run():
    # Of 40 epochs of 2 steps, 2 epochs are 4 steps, a quarter of the way from 1 to 2 each.
    np.testing.assert_allclose(factors("gradient:scale=linear", 2, 2, 40)[:6], [1.25, 1.5, 1.75, 2, 2, 2])


def test_without_a_warm_up_the_first_step_is_long_already():
    assert factors("gradient:scale=linear,warmup=0%", 3, 5, 2).tolist() == [3] * 10


def test_a_warm_up_longer_than_the_run_does_not_end():
    # 4 epochs of 5 steps would be 20 steps from 1 to 3; 10 of them make half of the way.
    found = factors("gradient:scale=linear,warmup=4epochs", 3, 5, 2)
    np.testing.assert_allclose(found[[0, -1]], [1.1, 2])


@settings(deadline=None)
@given(
    st.sampled_from(["linear", "sqrt"]),
    st.integers(1, 64),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 100),
)
def test_rates_rise_from_the_schedules_to_the_scale(scale, workers, steps_per_epoch, epochs, percent):
    found = factors(f"gradient:scale={scale},warmup={percent}%", workers, steps_per_epoch, epochs)
    top = workers if scale == "linear" else math.sqrt(workers)
    assert found.shape == (steps_per_epoch * epochs,)
    assert (np.diff(found) >= 0).all()
    assert found[0] >= 1
    assert found[-1] == pytest.approx(top)


def test_the_batch_grows_where_the_rate_does():
    for text in ("gradient", "gradient:send=int8", "gradient:scale=none"):
        assert parse_strategy(text).rules[0].batch_factor(6) == 1
    for text in ("gradient:scale=linear", "gradient:scale=sqrt,warmup=0%"):
        assert parse_strategy(text).rules[0].batch_factor(6) == 6


def test_a_scaled_plan_has_larger_batches_and_fewer_steps(blobs):
    # 103 rows: 5 batches of 25, or 3 of 50.
    settings = MLPSettings(learning_rate=0.5)
    plans = [
        resolve(RunSpec(strategy=text, workers=2, batch=25, epochs=4, network=settings), blobs)
        for text in ("gradient", "gradient:scale=linear,warmup=25%")
    ]
    assert [(plan.batch, plan.stages[0].batch, plan.steps_per_epoch, plan.total_steps) for plan in plans] == [
        (25, 25, 5, 20),
        (25, 50, 3, 12),
    ]
    assert set(plans[0].rates(plans[0].stages[0])) == {0.5}
    # A quarter of 4 epochs are 3 steps, a third of the way from 0.5 to 1 each.
    np.testing.assert_allclose(plans[1].rates(plans[1].stages[0]), [2 / 3, 5 / 6, *[1.0] * 10])
    assert [Plan.from_json(plan.to_json()) for plan in plans] == plans


def test_rates_follow_the_schedule_too(blobs):
    settings = MLPSettings(learning_rate=0.5)
    plan = resolve(
        RunSpec(
            strategy="gradient:scale=linear,warmup=0%",
            workers=2,
            batch=25,
            epochs=4,
            schedule="step:50%,factor=0.1",
            network=settings,
        ),
        blobs,
    )
    np.testing.assert_allclose(plan.rates(plan.stages[0]), [1.0] * 6 + [0.1] * 6)


def test_a_batch_is_at_most_all_rows(blobs):
    plan = resolve(RunSpec(strategy="gradient:scale=linear", workers=3, batch=60, epochs=2), blobs)
    assert (plan.stages[0].batch, plan.stages[0].steps_per_epoch) == (103, 1)


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("scale", ["linear", "sqrt"])
def test_a_scaled_run_is_the_sequential_one_with_such_a_batch_and_rate(blobs, workers, scale):
    times = workers if scale == "linear" else math.sqrt(workers)
    scaled = {"strategy": f"gradient:scale={scale},warmup=0%", "workers": workers, "batch": 25}
    sequential = {"strategy": "sequential", "batch": 25 * workers}
    found, reference = (
        run(
            resolve(RunSpec(network=MLPSettings(**DOUBLE, learning_rate=rate), epochs=4, seed=3, **chosen), blobs),
            blobs,
        )
        for chosen, rate in ((scaled, 0.02), (sequential, 0.02 * times))
    )
    assert found.steps == reference.steps == 4 * math.ceil(103 / (25 * workers))
    np.testing.assert_allclose(found.losses, reference.losses, rtol=1e-9)
    np.testing.assert_allclose(
        found.model.learner.parameters, reference.model.learner.parameters, rtol=1e-8, atol=1e-10
    )


def test_scaling_changes_nothing_for_one_worker(blobs):
    plans = [
        resolve(RunSpec(strategy=text, workers=1, batch=25, epochs=3, seed=3), blobs)
        for text in ("gradient", "gradient:scale=linear", "sequential")
    ]
    assert len({run(plan, blobs).model.learner.parameters.tobytes() for plan in plans}) == 1


@pytest.mark.parametrize("send", ["full", *CODECS])
def test_gradients_count_by_their_rows(send):
    # Worker 0's is the mean of 3 rows, worker 1's of 1: (3 * 1 + 1 * 5) / 4 = 2. Worker 2 has no rows.
    def work(team):
        gradient = np.full(40, [1, 5, 9][team.rank], np.float32)
        rule = Gradient(send=send)
        state = rule.begin_(team, SimpleNamespace(parameters=np.zeros(40, np.float32)))
        rule.merge_gradient_(team, gradient, [3, 1, 0][team.rank], state)
        return gradient

    stop = np.zeros(1, np.int64)
    for found in launch("threads", [PhaseClock() for _ in range(3)], [Control(stop, stop.copy())] * 3, work):
        np.testing.assert_allclose(found, 2, rtol=1e-6)


@pytest.mark.parametrize("codec", CODECS)
def test_compressed_gradients_keep_all_workers_alike(blobs, codec, monkeypatch):
    learners, make = {}, running.make_learner

    def remember(*arguments, rank=0, **others):
        learners[rank] = make(*arguments, rank=rank, **others)
        return learners[rank]

    monkeypatch.setattr(running, "make_learner", remember)
    # 103 rows in batches of 34 leave one row for the last: two of three workers have none then.
    chosen = {"workers": 3, "batch": 34, "epochs": 10, "seed": 3, "network": MLPSettings(hidden=(12,))}
    result = run(resolve(RunSpec(strategy=f"gradient:send={codec}", **chosen), blobs), blobs)
    assert {learner.parameters.tobytes() for learner in learners.values()} == {
        result.model.learner.parameters.tobytes()
    }
    assert result.rounds == result.steps == 40


@pytest.mark.parametrize("changes", [{"scale": "cubic"}, {"send": "float8"}])
def test_a_strategy_made_in_python_is_checked_too(changes):
    with pytest.raises(SettingsError, match=r"[cC]hoose one of"):
        Gradient(**changes)
