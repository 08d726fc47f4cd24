"""Strategy `auto`: its rules by hand, what it leaves as it is, and that it always chooses something possible."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.callbacks import EventFunction
from manyhands.core.errors import SettingsError
from manyhands.core.events import RoundHeld
from manyhands.data.sampler import check_batch
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.studies.compare.results import run_record
from manyhands.studies.compare.run import compare
from manyhands.training.api import train
from manyhands.training.auto import Asked, choose
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.schedules import RateSchedule, parse_schedule
from manyhands.training.spec import RunSpec

NETWORK = MLPSettings(hidden=(75,))
LONG = {"rows": 6000, "epochs": 75}
"""30 batches of 200 an epoch: 2,250 steps."""
SHORT = {"rows": 6000, "epochs": 29}
"""870 steps."""
DIGITS = {"batch": 20, "epochs": 7, "hidden": (20,)}
"""72 batches of the 1,437 digits an epoch, 504 steps: a short run, but not of few steps."""


def chosen(workers, rows, epochs, *, hidden=(75,), batch=None):
    """Return the strategy's name and the learning rate."""
    strategy, resolved = choose(Asked(replace(NETWORK, hidden=hidden), batch), workers, rows, epochs)
    return strategy.name, resolved.settings.learning_rate


# The rules. A worker alone with 75 hidden neurons learns at 12 * 0.001 = 0.012; n workers in a long run at 0.012 /
# sqrt(n), in a short one at 0.012 / n^(1/4); four digits of it.


@pytest.mark.parametrize(("rows", "epochs"), [(6000, 75), (6000, 29), (6000, 1), (1, 1), (10**9, 10**6)])
def test_one_worker(rows, epochs):
    assert chosen(1, rows, epochs) == ("sequential", 0.012)


@pytest.mark.parametrize(
    ("workers", "rate"),
    [
        (2, 0.008485),  # / 1.41421
        (3, 0.006928),  # / 1.73205
        (4, 0.006),
        (8, 0.004243),  # / 2.82843
    ],
)
def test_up_to_8_workers_meet_once_an_epoch(workers, rate):
    assert chosen(workers, **LONG) == ("periodic:1epoch", rate)


@pytest.mark.parametrize(
    ("workers", "strategy", "rate"),
    [
        (2, "periodic:1epoch", 0.01009),  # / 1.18921
        (3, "diloco:1epoch,rate=1,momentum=0.18", 0.009118),  # 0.3 * 0.58496; / 1.31607
        (4, "diloco:1epoch,rate=1,momentum=0.3", 0.008485),  # / 1.41421
        (6, "diloco:1epoch,rate=1,momentum=0.48", 0.007667),  # 0.3 * 1.58496; / 1.56508
        (8, "diloco:1epoch,rate=1,momentum=0.6", 0.007135),  # / 1.68179
    ],
)
def test_in_a_short_run_they_learn_faster_and_step_beyond_their_mean(workers, strategy, rate):
    assert chosen(workers, **SHORT) == (strategy, rate)


def test_a_run_of_30_epochs_is_not_short():
    assert chosen(4, 6000, 29)[0].startswith("diloco")
    assert chosen(4, 6000, 30) == ("periodic:1epoch", 0.006)


@pytest.mark.parametrize("run", [LONG, SHORT])
def test_more_than_8_workers_average_gradients_at_the_rate_of_one(run):
    assert [chosen(workers, **run) for workers in (9, 16, 64)] == [("gradient", 0.012)] * 3


@pytest.mark.parametrize(
    ("rows", "batch", "enough"),
    [
        (6000, None, 17),  # 30 steps an epoch: 16 * 30 = 480, 17 * 30 = 510
        (1000, None, 100),  # 5: 99 * 5 = 495, 100 * 5 = 500
        (1001, None, 84),  # 6, the last of one row: 83 * 6 = 498
        (100, None, 500),  # 1
        (100, 50, 250),  # 2
    ],
)
def test_fewer_than_500_steps(rows, batch, enough):
    assert chosen(2, rows, enough - 1, batch=batch) == ("gradient", 0.012)
    assert chosen(2, rows, enough, batch=batch)[0] == "periodic:1epoch"


@pytest.mark.parametrize(
    ("workers", "batch", "alone"), [(4, 16, True), (4, 15, False), (5, 16, False), (2, 8, True), (2, 7, False)]
)
def test_nobody_learns_alone_from_fewer_than_4_rows_of_a_batch(workers, batch, alone):
    strategy, rate = chosen(workers, **LONG, batch=batch)
    assert strategy == ("periodic:1epoch" if alone else "gradient")
    assert (rate == 0.012) == (not alone)


@pytest.mark.parametrize(
    ("hidden", "rate"),
    [
        ((), 0.012),  # as 75
        ((12,), 0.03),  # sqrt(75 / 12) = 2.5
        ((300,), 0.006),  # sqrt(1 / 4)
        ((12, 300, 75), 0.006),  # the widest counts
        ((10800,), 0.001),  # sqrt(1 / 144) = 1 / 12
        ((50000,), 0.001),  # and never less
        ((512,), 0.004593),  # 0.012 * 0.382733
    ],
)
def test_the_wider_the_network_the_smaller_the_rate(hidden, rate):
    assert chosen(1, **LONG, hidden=hidden)[1] == rate
    assert chosen(4, **LONG, hidden=hidden)[1] == pytest.approx(rate / 2, rel=1e-3)


def test_batch_and_schedule_if_nobody_has_chosen():
    for rows, batch in ((6000, 200), (200, 200), (199, 199), (1, 1)):
        _, resolved = choose(Asked(NETWORK), 1, rows, 75)
        assert (resolved.batch, resolved.schedule) == (batch, parse_schedule("linear:hold=50%"))


def test_the_rate_is_held_for_half_of_the_run_and_falls_to_nothing(blobs):
    """103 rows in batches of 20 are 6 steps an epoch, 600 in all."""
    plan = resolve(RunSpec(strategy="auto", workers=2, network=NETWORK, batch=20, epochs=100), blobs)
    rates = plan.rates(plan.stages[0])
    np.testing.assert_array_equal(rates[:301], 0.008485)
    assert rates[450] == pytest.approx(0.008485 / 2)
    assert rates[599] == pytest.approx(0.008485 / 300)


# What a user has chosen stays.


@pytest.mark.parametrize("workers", [1, 2, 4, 9])
@pytest.mark.parametrize("epochs", [10, 20, 75])
def test_what_a_user_has_chosen_stays(workers, epochs):
    schedules = RateSchedule(), parse_schedule("cosine:warmup=5%")
    own = MLPSettings(hidden=(8,), learning_rate=0.002, l2=0.5, activation="tanh", dtype="float64", beta_1=0.8)
    for schedule in schedules:  # a constant rate is a choice, too
        asked = Asked(own, 50, schedule)
        strategy, resolved = choose(asked, workers, 6000, epochs)
        assert resolved == asked
        assert strategy.name == chosen(workers, 6000, epochs, batch=50)[0]


@pytest.mark.parametrize("workers", [1, 2, 9])
@pytest.mark.parametrize("rate", [0.001, 0.1])
def test_rates_of_sgd_stay(workers, rate):
    own = MLPSettings(hidden=(8,), optimizer="sgd", learning_rate=rate, momentum=0.5)
    assert choose(Asked(own), workers, **LONG)[1].settings == own


def test_of_the_network_nothing_changes_but_the_rate():
    own = MLPSettings(hidden=(300,), l2=0.5, activation="tanh", dtype="float64", beta_2=0.9)
    assert choose(Asked(own), 4, **LONG)[1].settings == replace(own, learning_rate=0.003)


def test_words_of_a_plan_stay(digits):
    words = {"batch": 50, "schedule": "step:10epochs,factor=0.5", "stop": "loss", "sharding": "fixed", "seed": 3}
    plan = resolve(
        RunSpec(strategy="auto", workers=2, network=MLPSettings(learning_rate=0.01), epochs=40, **words), digits
    )
    record = plan.describe()
    assert {name: record[name] for name in words} == {**words, "stop": "loss:0.0001,patience=10"}
    assert (record["strategy"], record["network"]["learning_rate"]) == ("periodic:1epoch", 0.01)


# Always something that can be.


def refusal(rows, batch, workers):
    """Return what `check_batch` has against it, if anything."""
    try:
        check_batch(rows, batch, workers)
    except SettingsError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def memory_for_all():
    """Let networks of every size fit, whatever this machine has free."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("manyhands.runtime.memory.memory_room", lambda: None)
        yield


@pytest.mark.usefixtures("memory_for_all")
@given(st.integers(1, 64), st.integers(1, 5000), st.integers(1, 200), st.data())
@settings(deadline=None, max_examples=150)
def test_what_is_chosen_can_be_carried_out(blobs, workers, rows, epochs, data):
    batch = data.draw(st.none() | st.integers(1, rows + 1), "batch")
    hidden = tuple(data.draw(st.lists(st.integers(1, 20000), max_size=2), "hidden"))
    words = {"strategy": "auto", "workers": workers, "epochs": epochs, "batch": batch}
    dataset, network = replace(blobs, all_rows=rows), MLPSettings(hidden=hidden)
    reason = refusal(rows, min(200, rows) if batch is None else batch, workers)
    if reason is not None:
        with pytest.raises(SettingsError) as refused:
            resolve(RunSpec(network=network, **words), dataset)
        assert str(refused.value) == reason
        return
    plan = resolve(RunSpec(network=network, **words), dataset)
    assert sum(stage.epochs for stage in plan.stages) == epochs
    assert (plan.workers, plan.chosen_by_auto) == (workers, True)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    alone = resolve(RunSpec(network=network, **{**words, "workers": 1}), dataset)
    # Nobody is told to learn faster than alone; up to 8 workers at a rate up to sqrt(8) times smaller.
    assert 0.35 < plan.network.learning_rate / alone.network.learning_rate <= 1
    assert alone.schedule == plan.schedule
    # Who shares a batch gets as much of it as anybody else, give or take a row.
    assert plan.batch == alone.batch or (batch is None and plan.batch in (rows, *range(0, 401, workers)))


@pytest.mark.parametrize(
    "words",
    [
        {"batch": 0, "workers": 2, "epochs": 100},
        {"batch": -1, "workers": 2, "epochs": 100},
        {"batch": 1438, "workers": 2, "epochs": 100},
        {"workers": 0, "epochs": 100},
        {"workers": -2, "epochs": 100},
        {"workers": 0, "epochs": 1},
        {"workers": 201, "epochs": 100},
        {"workers": 2, "epochs": 0},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_as_for_any_strategy(digits, words):
    with pytest.raises(SettingsError) as other:
        resolve(RunSpec(strategy="gradient", **words), digits)
    with pytest.raises(SettingsError) as refused:
        resolve(RunSpec(strategy="auto", **words), digits)
    assert str(refused.value) == str(other.value)


def test_the_learner_published_leaves_nothing_to_choose():
    with pytest.raises(SettingsError, match="published has its own rules: auto has nothing to choose for it"):
        train("digits", strategy="auto", workers=3, learner="published", epochs=1)
    with pytest.raises(SettingsError, match="auto has nothing to choose"):
        compare("digits", strategies=["auto"], workers=[1], learner="published", epochs=1)


# What is recorded.


@pytest.mark.parametrize(
    ("workers", "name"),
    [(1, "sequential"), (2, "periodic:1epoch"), (3, "diloco:1epoch,rate=1,momentum=0.18"), (6, "gradient")],
)
def test_a_plan_says_what_was_chosen_and_by_whom(digits, workers, name):
    # Batches of 20 are too small for 6 workers to learn alone.
    settings_ = MLPSettings(hidden=(75,))
    plan = resolve(RunSpec(strategy="auto", workers=workers, network=settings_, batch=20, epochs=7), digits)
    record = json.loads(json.dumps(plan.describe()))
    assert (record["strategy"], record["chosen_by_auto"], record["schedule"]) == (name, True, "linear:hold=50%")
    assert (plan.label, plan.strategy.name) == ("auto", name)
    assert str(plan).startswith(f"{name} (chosen by auto), {workers} worker")
    again = Plan.from_json(record)
    assert (again, again.label, again.describe()) == (plan, "auto", plan.describe())
    # The same plan, made by hand, differs in nothing but its label.
    network = replace(settings_, learning_rate=record["network"]["learning_rate"])
    schedule = record["schedule"]
    by_hand = resolve(
        RunSpec(strategy=name, workers=workers, network=network, batch=20, epochs=7, schedule=schedule), digits
    )
    assert by_hand == replace(plan, chosen_by_auto=False)
    assert by_hand.label == name


# Training.


@pytest.fixture(scope="module")
def trained():
    """What came of `auto` for 1, 2 and 3 workers."""
    return {workers: train("digits", strategy="auto", workers=workers, **DIGITS) for workers in (1, 2, 3)}


# 12 * sqrt(75 / 20) = 23.2379; n^(1/4) of 2 and 3: 1.18921 and 1.31607.
EXPECTED = {
    1: ("sequential", 0.02324, 0),
    2: ("periodic:1epoch", 0.01954, 7),
    3: ("diloco:1epoch,rate=1,momentum=0.18", 0.01766, 7),
}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_training_is_that_of_what_was_chosen(trained, workers):
    result = trained[workers]
    name, rate, rounds = EXPECTED[workers]
    words = {"strategy": name, "workers": workers, "learning_rate": rate, "schedule": "linear:hold=50%"}
    other = train("digits", **words, **DIGITS)
    assert (result.accuracy, result.losses) == (other.accuracy, other.losses)
    np.testing.assert_array_equal(result.model.learner.parameters, other.model.learner.parameters)
    assert (result.steps, result.rounds) == (504, rounds)
    assert result.accuracy > 0.9


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_record_has_its_label_and_what_it_stands_for(trained, workers):
    record = run_record(trained[workers])
    name, rate, _ = EXPECTED[workers]
    assert (record["strategy"], record["resolved"], record["learning_rate"]) == ("auto", name, rate)
    assert (record["batch"], record["schedule"], record["workers"]) == (20, "linear:hold=50%", workers)


def test_with_the_team_mpi(trained):
    """A job of processes is told what was chosen, and comes to the same as threads."""
    pytest.importorskip("mpi4py")
    held = []
    result = train(
        "digits", strategy="auto", workers=3, team="mpi", callbacks=[EventFunction(held.append, "round")], **DIGITS
    )
    assert (result.accuracy, result.losses) == (trained[3].accuracy, trained[3].losses)
    np.testing.assert_array_equal(result.model.learner.parameters, trained[3].model.learner.parameters)
    assert result.plan == replace(trained[3].plan, team="mpi")
    assert result.plan.label == "auto"
    assert sum(isinstance(event, RoundHeld) for event in held) == 7


def test_a_comparison_gives_everybody_what_auto_chooses_for_one_worker(digits):
    """But `auto` itself, which chooses for each number of workers."""
    found = compare(digits, strategies=["gradient", "auto"], workers=[1, 3], seeds=1, **DIGITS)
    told = [(run["strategy"], run["workers"], run["resolved"], run["learning_rate"]) for run in found.runs]
    assert told == [
        ("sequential", 1, "sequential", 0.02324),
        ("gradient", 1, "gradient", 0.02324),
        ("gradient", 3, "gradient", 0.02324),
        ("auto", 1, "sequential", 0.02324),
        ("auto", 3, "diloco:1epoch,rate=1,momentum=0.18", 0.01766),
    ]
    assert {run["schedule"] for run in found.runs} == {"linear:hold=50%"}
    assert found.runs[3]["accuracy"] == found.runs[0]["accuracy"]
    assert found.settings["network"] == asdict(MLPSettings(hidden=(20,), learning_rate=0.02324))
    assert [row.strategy for row in found.summary] == ["sequential", "gradient", "gradient", "auto", "auto"]


def test_without_auto_nothing_is_tuned(digits):
    found = compare(digits, strategies=["gradient"], workers=[2], seeds=1, **DIGITS)
    assert {(run["learning_rate"], run["schedule"]) for run in found.runs} == {(0.001, "constant")}


@pytest.mark.parametrize(("workers", "batch"), [(1, 200), (8, 200), (16, 200), (24, 200), (32, 192), (64, 192)])
def test_many_workers_share_a_batch_about_equally(workers, batch):
    # 16 workers have up to 13 of 200 rows, 4 % too many; 24 up to 9, 8 %; 32 up to 7, 12 %: then a multiple of n.
    assert choose(Asked(NETWORK), workers, **LONG)[1].batch == batch


def test_shares_that_are_not_alike_are_no_place_for_local_steps(digits):
    assert choose(Asked(NETWORK), 4, **LONG, alike=False)[0].name == "gradient"
    assert choose(Asked(NETWORK), 1, **LONG, alike=False)[0].name == "sequential"
    for shares, strategy in (("sorted", "gradient"), ("dirichlet:0.1", "gradient"), ("iid", "periodic:1epoch")):
        assert resolve(RunSpec(strategy="auto", workers=2, partition=shares), digits).strategy.name == strategy


def test_a_rate_that_is_good_because_it_falls_is_for_its_own_schedule():
    _, resolved = choose(Asked(NETWORK, schedule=RateSchedule()), 4, **LONG)
    assert resolved.settings.learning_rate == NETWORK.learning_rate
    assert resolved.schedule == RateSchedule()
