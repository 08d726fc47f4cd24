"""Strategies that follow each other: how long each lasts, and that nothing breaks where one hands over to the next."""

import itertools
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.core.strategy import Needs
from manyhands.estimators.workers import strategy_for
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies import parse_strategy
from manyhands.training import making as running
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec
from manyhands.training.stopping import Stop

# 103 rows in batches of 25 are 5 steps an epoch.
SMALL = {"network": MLPSettings(hidden=(12,), learning_rate=0.01), "batch": 25, "seed": 3}


def stages(text, epochs, workers=2, first_decay=None):
    found = parse_strategy(text).stages(epochs, first_decay)
    return [(stage.rule.name, stage.epochs, stage.rule.batch_factor(workers)) for stage in found]


def train(dataset, strategy, workers=2, epochs=6, **changes):
    return run(
        resolve(RunSpec(strategy=strategy, workers=workers, epochs=epochs, **{**SMALL, **changes}), dataset), dataset
    )


def bits(result):
    return result.model.learner.parameters.tobytes()


@pytest.fixture
def learners(monkeypatch):
    """Each worker's learner in the last run, by rank."""
    found, make = {}, running.make_learner

    def remember(*arguments, rank=0, **others):
        found[rank] = make(*arguments, rank=rank, **others)
        return found[rank]

    monkeypatch.setattr(running, "make_learner", remember)
    return found


def test_parts_of_a_run_are_whole_epochs():
    text = "gradient@20% then periodic:8@1.5epochs then one-shot"
    # 20 % of 10 epochs are 2, and 2 + 1.5 = 3.5 is nearest to 4.
    assert stages(text, 10) == [("gradient", 2, 1), ("periodic:8", 2, 1), ("one-shot", 6, 1)]
    # 20 % of 4 are 0.8, nearly 1; 0.8 + 1.5 = 2.3 is nearest to 2.
    assert stages(text, 4) == [("gradient", 1, 1), ("periodic:8", 1, 1), ("one-shot", 2, 1)]


def test_the_shortest_part_still_lasts_an_epoch():
    text = "gradient@1% then periodic:8@1% then one-shot"
    assert [epochs for _, epochs, _ in stages(text, 3)] == [1, 1, 1]
    assert [epochs for _, epochs, _ in stages(text, 100)] == [1, 1, 98]


@pytest.mark.parametrize(
    ("text", "epochs", "taken"),
    [
        ("gradient@20% then periodic:8", 1, "its first 1 part would take 1 epoch of 1"),
        ("gradient@100% then periodic:8", 7, "its first 1 part would take 7 epochs of 7"),
        ("gradient@3epochs then periodic:8", 3, "its first 1 part would take 3 epochs of 3"),
        ("gradient@1% then periodic:8@1% then one-shot", 2, "its first 2 parts would take 2 epochs of 2"),
        ("gradient@60% then periodic:8@60% then one-shot", 10, "its first 2 parts would take 12 epochs of 10"),
        ("gradient@50% then swap:75%", 2, "its first 1 part would take 1 epoch of 1"),
        ("post-local:16", 1, "its first 1 part would take 1 epoch of 1"),
        ("post-local:16,after=5epochs", 4, "its first 1 part would take 5 epochs of 4"),
        ("swap:75%", 1, "its first 1 part would take 1 epoch of 1"),
        ("swap:100%", 9, "its first 1 part would take 9 epochs of 9"),
    ],
)
def test_too_few_epochs_are_an_error_before_the_run(blobs, text, epochs, taken):
    with pytest.raises(SettingsError, match="shorten them, or train longer") as caught:
        resolve(RunSpec(strategy=text, workers=2, epochs=epochs, **SMALL), blobs)
    assert taken in str(caught.value)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["%", "epochs"])), min_size=1, max_size=4),
    st.integers(1, 100),
)
def test_parts_end_where_their_lengths_say(lengths, epochs):
    text = " then ".join([*(f"gradient@{amount}{unit}" for amount, unit in lengths), "gradient"])
    exact = [amount * epochs / 100 if unit == "%" else amount for amount, unit in lengths]
    try:
        found = [count for _, count, _ in stages(text, epochs)]
    except SettingsError:  # nothing would be left for the last, or parts of less than an epoch need a whole one each
        assert sum(max(each, 1) for each in exact) >= epochs - 0.5
        return
    assert sum(found) == epochs
    assert min(found) >= 1
    if min(exact) >= 1:  # rounding is not added up
        assert np.abs(np.cumsum(found)[:-1] - np.cumsum(exact)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("text", "first_decay", "gradients"),
    [
        ("post-local:16", None, 10),  # half of 20
        ("post-local:16", 6, 6),
        ("post-local:16", 1, 1),
        ("post-local:16,after=25%", None, 5),
        ("post-local:16,after=25%", 6, 5),
        ("post-local:16,after=7epochs", 6, 7),
    ],
)
def test_post_local_begins_where_the_rate_drops(text, first_decay, gradients):
    assert stages(text, 20, 4, first_decay) == [("gradient", gradients, 1), ("periodic:16", 20 - gradients, 1)]


def test_parts_keep_what_their_rounds_do():
    first, second = parse_strategy("post-local:2epochs,send=int8,state=mean").rules
    assert (first,) == parse_strategy("gradient").rules
    assert (second,) == parse_strategy("periodic:2epochs,send=int8,state=mean").rules
    assert parse_strategy("post-local").rules[1:] == parse_strategy("periodic:16").rules
    assert parse_strategy("swap:scale=linear,merge=mean").rules[1:] == parse_strategy("one-shot:merge=mean").rules


@pytest.mark.parametrize(
    ("schedule", "gradients"),
    [
        ("step:30%", 3),
        ("step:2epochs,factor=0.5", 2),
        ("cosine", 5),  # never drops at once: half of the epochs
        (None, 5),
        ("step:30epochs", 5),  # would drop later than the run ends, so it never does
    ],
)
def test_the_plan_tells_where_the_rate_drops(blobs, schedule, gradients):
    plan = resolve(RunSpec(strategy="post-local:16", workers=2, epochs=10, schedule=schedule, **SMALL), blobs)
    assert [stage.epochs for stage in plan.stages] == [gradients, 10 - gradients]
    rates = np.concatenate([plan.rates(stage) for stage in plan.stages])
    if gradients != 5:
        assert rates[5 * gradients - 1] > rates[5 * gradients]  # and there it is


def test_a_part_counts_the_drop_from_its_own_beginning():
    text = "gradient@2epochs then post-local:16@16epochs then one-shot"
    middle = {decay: stages(text, 20, 2, decay)[1:3] for decay in (None, 1, 5, 18, 19)}
    assert middle[5] == [("gradient", 3, 1), ("periodic:16", 13, 1)]
    # No drop while it lasts: half of its 16 epochs.
    for decay in (None, 1, 18, 19):
        assert middle[decay] == [("gradient", 8, 1), ("periodic:16", 8, 1)]


@pytest.mark.parametrize("scale", ["none", "linear", "sqrt"])
def test_swap_has_large_batches_first(scale):
    found = parse_strategy(f"swap:60%,scale={scale}").stages(10, 3)
    assert [(stage.epochs, stage.rule.batch_factor(4)) for stage in found] == [(6, 4), (4, 1)]
    rates = found[0].rule.rate_factors(np.array([99]), 4, 4.0, 10, 100)
    assert rates.tolist() == [{"none": 1, "linear": 4, "sqrt": 2}[scale]]


@pytest.mark.parametrize("strategy", ["minibatch@50% then one-shot", "gradient@50% then one-shot"])
def test_shares_are_fixed_if_all_parts_want_them_so(blobs, strategy):
    plan = resolve(RunSpec(strategy=strategy, workers=2, epochs=4, **SMALL), blobs)
    assert plan.sharding == ("global" if strategy.startswith("gradient") else "fixed")


def test_a_plan_counts_the_steps_of_all_stages(blobs):
    # 103 rows: in batches of 25 * 3, 2 steps an epoch; in batches of 25, 5. 4 epochs of the one and 2 of the other.
    plan = resolve(RunSpec(strategy="swap:67%", workers=3, epochs=6, **SMALL), blobs)
    assert [(stage.batch, stage.steps_per_epoch, stage.first_step, stage.first_epoch) for stage in plan.stages] == [
        (75, 2, 0, 0),
        (25, 5, 8, 4),
    ]
    result = run(plan, blobs)
    # A round in each of the 8 first steps, and one at the end.
    assert (plan.total_steps, result.steps, result.rounds, len(result.losses)) == (18, 18, 9, 6)


def test_rounds_are_counted_from_the_beginning_of_a_stage(blobs):
    # 2 epochs = 10 steps of gradients; then rounds after 4, 8, 12, 16 and, at the end, 20 steps.
    assert train(blobs, "gradient@2epochs then periodic:4").rounds == 10 + 5


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        ("periodic:1epoch", "periodic:1epoch@2epochs then periodic:1epoch"),
        ("periodic:1epoch", "periodic:1epoch@10% then periodic:1epoch@50% then periodic:1epoch"),
        ("periodic:5", "periodic:1epoch@50% then periodic:5"),
        ("gradient", "gradient@2epochs then gradient"),
        ("post-local:4,after=3epochs", "gradient@50% then periodic:4"),
        ("post-local:4", "gradient@50% then periodic:4"),
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_strategy_in_parts_is_the_strategy(blobs, whole, parts, workers):
    one, several = train(blobs, whole, workers), train(blobs, parts, workers)
    assert bits(one) == bits(several)
    assert one.losses == several.losses
    assert (one.rounds, one.steps, one.examples, one.bytes_sent) == (
        *(several.rounds, several.steps, several.examples),
        several.bytes_sent,
    )


@pytest.mark.parametrize(
    "strategy",
    [
        "gradient@50% then periodic:1epoch",
        "post-local:4",
        "swap:50%",
        "periodic:4@50% then periodic:1epoch,state=mean",
        # Adam's moments are each worker's own after local steps: the same gradient would move everyone differently.
        "periodic:4@50% then gradient",
        "minibatch@50% then gradient:send=int8",
        "slowmo:4,beta=0.5@50% then gradient",
        "easgd:4@50% then gradient",
        "hogwild@50% then gradient",
        "periodic:4@50% then swap:50%@40% then gradient",
    ],
)
@pytest.mark.parametrize("optimizer", [{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9}])
def test_all_workers_end_alike(blobs, learners, strategy, optimizer):
    settings = MLPSettings(hidden=(12,), learning_rate=0.01, **optimizer)
    train(blobs, strategy, workers=3, epochs=6, network=settings)
    assert len(learners) == 3
    apart = max(np.abs(learners[rank].parameters - learners[0].parameters).max() for rank in (1, 2))
    assert apart == 0


def test_own_starts_of_the_first_part_are_different_networks(blobs):
    # One step of SGD in an epoch of one batch, at a rate of 0: the only round gives the mean of the starts.
    settings = MLPSettings(hidden=(12,), optimizer="sgd", learning_rate=1e-30)
    chosen = {"batch": 103, "epochs": 2, "network": settings}
    same = train(blobs, "periodic:1epoch@50% then gradient", **chosen)
    own = train(blobs, "periodic:1epoch,starts=own@50% then gradient", **chosen)
    weights = [np.abs(result.model.learner.parameters).max() for result in (same, own)]
    assert bits(same) != bits(own)
    assert weights[1] < weights[0]  # the mean of two random numbers is smaller


def test_a_run_that_stops_early_ends_in_the_stage_it_is_in(blobs, learners):
    # Each strategy stops after the same few epochs, in its first stage, and the workers are alike then.
    settings = MLPSettings(hidden=(12,), learning_rate=0.01)
    for strategy in ("gradient@50% then periodic:1epoch", "periodic:7@50% then gradient", "hogwild@50% then gradient"):
        plan = resolve(
            RunSpec(strategy=strategy, workers=3, epochs=40, stop="loss:1e9,patience=1", network=settings, batch=25),
            blobs,
        )
        result = run(plan, blobs)
        assert len(result.losses) < 20
        assert {learner.parameters.tobytes() for learner in learners.values()} == {bits(result)}


class Talkative(Stop):
    """A stopping rule that never stops, and sums vectors as long as the parameters over the workers."""

    name = "talkative"

    def __init__(self):
        # All are kept: should anyone take them for parameters, then at least for memory that is still there.
        self.brought = []

    def after_epoch(self, run, epoch):
        mine = np.full_like(run.learner.parameters, run.team.rank)
        self.brought.append(mine)
        run.team.sum_(mine)
        return False


@pytest.mark.parametrize("strategy", ["periodic:1epoch", "gradient", "gradient@50% then periodic:3", "one-shot"])
def test_what_is_talked_about_between_epochs_disturbs_no_round(blobs, strategy):
    assert bits(train(blobs, strategy, stop=Talkative())) == bits(train(blobs, strategy))


PARTS = [
    *(
        "one-shot",
        "periodic:1epoch",
        "gradient",
        "minibatch:2epochs",
        "slowmo:5,beta=0.5",
        "diloco",
        "easgd",
        "hogwild",
    ),
    *("post-local:5,merge=soup", "swap:50%,merge=validation", "periodic:5,merge=fisher", "periodic:5,starts=own"),
    *("periodic:7,send=int8", "one-shot:merge=rebasin"),
]
PAIRS = list(itertools.product(PARTS, [part for part in PARTS if "starts=own" not in part]))
REFUSALS = {
    "rows as stored": lambda dataset, strategy: plan_of(dataset, strategy, shuffle=False),
    "no validation rows": lambda dataset, strategy: plan_of(replace(dataset, validation=None), strategy),
    "processes": lambda dataset, strategy: plan_of(dataset, strategy, team="mpi"),
    "measured on the way": lambda dataset, strategy: plan_of(dataset, strategy, convergence=True),
    "in a fit": lambda _, strategy: strategy_for(strategy, "threads"),
}


def plan_of(dataset, strategy, **changes):
    return resolve(RunSpec(strategy=strategy, workers=2, epochs=6, **{**SMALL, **changes}), dataset)


def is_refused(check, dataset, strategy):
    try:
        check(dataset, strategy)
    except SettingsError:
        return True
    return False


def test_a_composition_needs_what_its_parts_need():
    for first, second in PAIRS:
        parts = [parse_strategy(text).needs for text in (first, second)]
        found = parse_strategy(f"{first}@50% then {second}").needs
        for each in fields(Needs):
            together = {"passes": max, "fixed_shards": all}.get(each.name, any)
            assert getattr(found, each.name) == together(getattr(part, each.name) for part in parts), (first, second)
            assert type(getattr(found, each.name)) is type(each.default)


@pytest.mark.parametrize("check", REFUSALS.values(), ids=REFUSALS)
def test_what_is_refused_of_a_part_is_refused_of_the_composition(blobs, check):
    dataset = replace(blobs, validation=blobs.test)
    refused = {part: is_refused(check, dataset, part) for part in PARTS}
    assert set(refused.values()) == {False, True}
    for first, second in PAIRS:
        composed = f"{first}@50% then {second}"
        assert is_refused(check, dataset, composed) == (refused[first] or refused[second]), composed
