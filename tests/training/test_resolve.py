"""Plans: stages, learning rates and counts by hand; a description gives the plan back; what cannot be is refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.core.samples import Samples
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.partitioning import Partition
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies import parse_strategy
from manyhands.training.plan import Plan
from manyhands.training.resolve import resolve
from manyhands.training.schedules import RateSchedule, parse_schedule
from manyhands.training.spec import RunSpec
from manyhands.training.stopping import LossStop, parse_stop

SGD = MLPSettings(hidden=(8,), optimizer="sgd", learning_rate=0.1)


def plan_for(dataset, strategy="periodic:1epoch", **changes):
    chosen = {"workers": 2, "network": SGD, "epochs": 10, "batch": 25, **changes}
    return resolve(RunSpec(strategy=strategy, **chosen), dataset)


def stages(plan):
    return [
        (stage.rule.name, stage.first_epoch, stage.epochs, stage.batch, stage.steps_per_epoch, stage.first_step)
        for stage in plan.stages
    ]


def rates(plan):
    return [plan.rates(stage) for stage in plan.stages]


@pytest.fixture(scope="module")
def watched(blobs):
    """The blobs, the last 13 of them for validation."""
    table = blobs.train
    first, last = (
        Samples(table.features[c], table.labels[c], table.scale, table.shift) for c in np.split(np.arange(103), [90])
    )
    return replace(blobs, train=first, validation=last)


# Stages. The blobs have 103 rows: batches of 25 are 5 steps an epoch (four, and a rest of 3), of 50 are 3.


def test_one_stage(blobs):
    plan = plan_for(blobs)
    assert stages(plan) == [("periodic:1epoch", 0, 10, 25, 5, 0)]
    assert (plan.steps_per_epoch, plan.total_steps) == (5, 50)
    assert plan.stages[0].steps == 50


@pytest.mark.parametrize(
    ("strategy", "epochs", "workers", "expected", "total"),
    [
        (  # 20 % of 10 epochs
            "gradient@20% then periodic:1epoch",
            10,
            2,
            [("gradient", 0, 2, 25, 5, 0), ("periodic:1epoch", 2, 8, 25, 5, 10)],
            50,
        ),
        (  # 25 % of 10 epochs, 2.5, is 2 whole ones; 2.5 and 3 is 5.5, and that is 6
            "gradient@25% then periodic:7@3epochs then one-shot",
            10,
            2,
            [("gradient", 0, 2, 25, 5, 0), ("periodic:7", 2, 4, 25, 5, 10), ("one-shot", 6, 4, 25, 5, 30)],
            50,
        ),
        (  # every part lasts one epoch at least
            "gradient@1% then periodic:7@1% then one-shot",
            3,
            2,
            [("gradient", 0, 1, 25, 5, 0), ("periodic:7", 1, 1, 25, 5, 5), ("one-shot", 2, 1, 25, 5, 10)],
            15,
        ),
        (  # twice the batch for 75 % of the epochs: 6 * 3 = 18 steps, and then 2 * 5
            "swap:75%",
            8,
            2,
            [("gradient:scale=sqrt,warmup=5%", 0, 6, 50, 3, 0), ("one-shot", 6, 2, 25, 5, 18)],
            28,
        ),
        (  # five times 25 are more than there are
            "gradient:scale=linear",
            4,
            5,
            [("gradient:scale=linear,warmup=5%", 0, 4, 103, 1, 0)],
            4,
        ),
        (  # stages of a part are stages of the whole
            "gradient@2epochs then swap:50%",
            10,
            2,
            [
                ("gradient", 0, 2, 25, 5, 0),
                ("gradient:scale=sqrt,warmup=5%", 2, 4, 50, 3, 10),
                ("one-shot", 6, 4, 25, 5, 22),
            ],
            42,
        ),
    ],
)
def test_stages_by_hand(blobs, strategy, epochs, workers, expected, total):
    plan = plan_for(blobs, strategy, epochs=epochs, workers=workers)
    assert stages(plan) == expected
    assert plan.total_steps == total
    assert [len(each) for each in rates(plan)] == [stage.steps for stage in plan.stages]
    assert plan.steps_per_epoch == expected[0][4]


@pytest.mark.parametrize(
    ("strategy", "schedule", "ends"),
    [
        ("post-local:16", "constant", [5, 5]),  # never drops: half of them each
        ("post-local:16", "cosine", [5, 5]),  # falls, but never at once
        ("post-local:16", "step:3epochs", [3, 7]),
        ("post-local:16", "step:30%", [3, 7]),
        ("post-local:16,after=2epochs", "step:3epochs", [2, 8]),
        # The drop after 6 epochs is 4 epochs into the second part; that after 1 is before it, and 8 are left.
        ("one-shot@2epochs then post-local:16", "step:6epochs", [2, 4, 4]),
        ("one-shot@2epochs then post-local:16", "step:1epoch", [2, 4, 4]),
    ],
)
def test_post_local_begins_where_the_rate_first_drops(blobs, strategy, schedule, ends):
    plan = plan_for(blobs, strategy, schedule=schedule)
    assert [stage.epochs for stage in plan.stages] == ends
    assert stages(plan)[-1][0] == "periodic:16"


def test_post_local_divides_a_run_that_ends_before_the_rate_drops(blobs):
    """Without such a drop, half of the epochs each."""
    assert [stage.epochs for stage in plan_for(blobs, "post-local:16", schedule="step:20epochs").stages] == [5, 5]


# Learning rates.


def test_the_rate_is_a_function_of_the_epoch_alone(blobs):
    # Half a cosine over 10 epochs: 0.1 * (1 + cos(pi e / 10)) / 2.
    expected = {e: 0.05 * (1 + math.cos(math.pi * e / 10)) for e in (0, 2, 5, 9)}
    for strategy, workers, batch in (("one-shot", 1, 25), ("gradient", 4, 25), ("periodic:7", 2, 13)):
        plan = plan_for(blobs, strategy, workers=workers, batch=batch, schedule="cosine")
        (found,) = rates(plan)
        steps = -(-103 // batch)
        assert len(found) == 10 * steps
        for epoch, rate in expected.items():
            assert found[epoch * steps] == pytest.approx(rate)


def test_rates_within_an_epoch_by_hand(blobs):
    # A warm-up of one epoch, which begins a hundredth in: 0.1 * (s / 5 + 0.01), then 0.1, and half of it from epoch 2.
    (found,) = rates(plan_for(blobs, epochs=3, schedule="step:2epochs,factor=0.5,warmup=1epoch"))
    expected = [0.001, 0.021, 0.041, 0.061, 0.081, *[0.1] * 5, *[0.05] * 5]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_schedule_goes_on_from_stage_to_stage(blobs):
    whole, parts = (
        np.concatenate(rates(plan_for(blobs, strategy, schedule="one-cycle")))
        for strategy in ("gradient", "gradient@3epochs then periodic:7@50% then one-shot")
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


def test_a_scaled_rate_warms_up_by_hand(blobs):
    # Three workers with 10 rows each: 4 steps of 30 rows, the last of 13. The warm-up takes the 4 steps of one epoch:
    # 1 + 2 * 1/4, 2/4, 3/4, 4/4.
    plan = plan_for(blobs, "gradient:scale=linear,warmup=1epoch", workers=3, batch=10, epochs=2)
    np.testing.assert_allclose(rates(plan)[0], 0.1 * np.array([1.5, 2, 2.5, 3, 3, 3, 3, 3]))
    # The square root of 4 is 2; times a schedule that drops after the first of 3 epochs of 3 steps (4 * 10 rows).
    plan = plan_for(
        blobs,
        "gradient:scale=sqrt,warmup=1epoch",
        workers=4,
        batch=10,
        epochs=3,
        schedule="step:1epoch,factor=0.5",
    )
    expected = [1 + 1 / 3, 1 + 2 / 3, 2, 1, 1, 1, 0.5, 0.5, 0.5]
    np.testing.assert_allclose(rates(plan)[0], 0.1 * np.array(expected))


def test_rates_of_swap_by_hand(blobs):
    # 6 epochs of 3 steps at sqrt(2) times the rate: the warm-up, 5 % of 18 steps, is over in the first step. Then the
    # 2 last epochs at the rate itself; the schedule drops in between, after 6 epochs.
    together, alone = rates(plan_for(blobs, "swap:75%", epochs=8, schedule="step:6epochs"))
    np.testing.assert_allclose(together, [0.1 * math.sqrt(2)] * 18)
    np.testing.assert_allclose(alone, [0.01] * 10)


@pytest.mark.parametrize(("scale", "factor"), [("sqrt", 0.5), ("linear", 0.25), ("none", 1)])
def test_steps_of_hogwild_are_shorter_the_more_workers_there_are(blobs, scale, factor):
    (found,) = rates(plan_for(blobs, f"hogwild:scale={scale}", workers=4))
    np.testing.assert_allclose(found, 0.1 * factor)


# Defaults.


def test_defaults(blobs, digits):
    plan = resolve(RunSpec(), digits)
    assert (plan.strategy.name, plan.workers, plan.team) == ("sequential", 1, "solo")
    assert (plan.batch, plan.epochs, plan.seed, plan.rows, plan.learner) == (200, 75, 0, digits.rows, "mlp")
    assert (plan.schedule, plan.stop, plan.partition, plan.sharding) == (RateSchedule(), None, Partition(), "global")
    assert (plan.convergence, plan.chosen_by_auto, plan.label) == (False, False, "sequential")
    assert resolve(RunSpec(strategy="one-shot"), blobs).sharding == "fixed"
    assert resolve(RunSpec(strategy="one-shot", sharding="global"), blobs).sharding == "global"
    assert resolve(RunSpec(strategy="gradient", partition="iid"), blobs).sharding == "fixed"
    assert resolve(RunSpec(strategy="gradient", partition="stored"), blobs).sharding == "fixed"
    assert resolve(RunSpec(strategy="gradient", team="mpi", workers=3), blobs).workers == 3


def test_values_may_be_given_instead_of_texts(blobs):
    texts = {"schedule": "cosine:warmup=5%", "stop": "loss:0.01,patience=3", "partition": "dirichlet:0.5"}
    values = {
        "schedule": parse_schedule(texts["schedule"]),
        "stop": LossStop(0.01, 3),
        "partition": Partition("dirichlet", 0.5),
    }
    assert plan_for(blobs, "periodic:7", **texts) == plan_for(blobs, parse_strategy("periodic:7"), **values)


def test_auto_says_so(blobs):
    plan = plan_for(blobs, "auto")
    assert plan.chosen_by_auto
    assert plan.label == "auto"
    assert "(chosen by auto)" in str(plan)
    assert not plan.strategy.needs.one_worker_only
    assert plan_for(blobs, "auto", workers=1).strategy.name == "sequential"


def test_without_a_strategy_several_workers_have_auto_and_one_is_sequential(blobs):
    alone, several = (resolve(RunSpec(workers=workers, batch=25), blobs) for workers in (None, 2))
    assert (alone.strategy.name, alone.workers, alone.chosen_by_auto) == ("sequential", 1, False)
    assert alone.network.learning_rate == MLPSettings().learning_rate
    assert several == resolve(RunSpec(workers=2, strategy="auto", batch=25), blobs)
    assert several.chosen_by_auto
    published = RunSpec(learner="published")
    even = replace(blobs, train=blobs.train.take(slice(100)))
    assert [resolve(replace(published, workers=n), even).strategy.name for n in (1, 2)] == ["sequential", "one-shot"]


def test_all_workers_are_the_usable_cores(blobs, monkeypatch):
    monkeypatch.setattr("manyhands.training.resolve.usable_cores", lambda: 3)
    plan = resolve(RunSpec(workers="all", batch=25), blobs)
    assert (plan.workers, plan.chosen_by_auto) == (3, True)
    with pytest.raises(SettingsError, match=r"workers must be a whole number, or 'all' .*, not 'most'"):
        RunSpec(workers="most")


def test_the_model_of_an_ensemble_is_wider(blobs):
    plan = plan_for(blobs, "one-shot:merge=ensemble", workers=3)
    assert plan.model_settings.hidden == (24,)
    assert plan_for(blobs, "one-shot:merge=ensemble", workers=1).model_settings == SGD
    assert plan_for(blobs, "one-shot").model_settings == SGD


def test_a_plan_says_what_it_will_do(blobs):
    plan = plan_for(blobs, "one-shot", schedule="cosine", stop="loss", partition="sorted", seed=7)
    assert str(plan) == (
        "one-shot, 2 workers (threads), hidden 8 relu, sgd 0.1 cosine, global batch 25, "
        "10 epochs at most (stop loss:0.0001,patience=10), fixed shards (sorted), seed 7"
    )
    assert ", 1 epoch, " in str(plan_for(blobs, "one-shot", epochs=1))


# Descriptions.

STRATEGIES = [
    "sequential",
    "one-shot",
    "one-shot:merge=ensemble",
    "one-shot:merge=rebasin,starts=own",
    "one-shot:merge=bootstrap",
    "periodic:1epoch",
    "periodic:50,send=int8,state=mean",
    "periodic:7,merge=soup",
    "gradient",
    "gradient:scale=linear,warmup=2.5epochs",
    "gradient:scale=sqrt,warmup=10%,send=bfloat16",
    "minibatch:3epochs",
    "post-local:16",
    "post-local:1epoch,after=25%,merge=fisher",
    "slowmo:1epoch,beta=0.5,alpha=0.9",
    "slowmo:7",
    "diloco:2epoch,rate=1,momentum=0.5",
    "swap:75%",
    "swap:5epochs,scale=linear,merge=mean",
    "easgd:10,strength=0.5",
    "hogwild",
    "hogwild:scale=none",
    "gradient@20% then periodic:1epoch,send=int8",
    "gradient:scale=linear,warmup=1epoch@1.5epochs then periodic:7@25% then one-shot:merge=fisher",
]
SCHEDULES = [
    None,
    "constant:warmup=1epoch",
    "step:3epochs",
    "step:12.5%,factor=0.5,warmup=5%",
    "cosine",
    "cosine:to=0.01,warmup=5%",
    "linear:hold=50%,warmup=1epoch",
    "one-cycle:rise=2epochs",
]
STOPS = [None, "loss", "loss:0.01,patience=3", "loss:0", "unchanged", "unchanged:1e-6"]
SHARES = [None, "stored", "iid", "sorted", "dirichlet:0.3", "dirichlet:1e-06"]


@settings(deadline=None, max_examples=150)
@given(
    *map(st.sampled_from, (STRATEGIES, SCHEDULES, STOPS, SHARES, ["threads", "mpi"], [None, "global", "fixed"])),
    st.integers(1, 5),
    st.integers(8, 20),
    st.integers(0, 2**70),
    st.booleans(),
    st.floats(1e-6, 1),
)
def test_a_description_gives_the_plan_back(
    watched, strategy, schedule, stop, shares, team, sharding, workers, epochs, seed, convergence, rate
):
    parsed = parse_strategy(strategy)
    plan = plan_for(
        watched,
        strategy,
        workers=1 if parsed.needs.one_worker_only else workers,
        team="threads" if parsed.needs.shared_memory else team,
        network=MLPSettings(hidden=(5, 3), activation="tanh", learning_rate=rate, dtype="float64"),
        epochs=epochs,
        sharding=None if shares else sharding,
        seed=seed,
        convergence=convergence and not parsed.needs.shared_memory,
        schedule=schedule,
        stop=stop,
        partition=shares,
    )
    record = json.loads(json.dumps(plan.describe()))
    again = Plan.from_json(record)
    assert again == plan
    assert again.describe() == plan.describe()
    assert str(again) == str(plan)
    assert stages(again) == stages(plan)
    assert [each.tobytes() for each in rates(again)] == [each.tobytes() for each in rates(plan)]
    assert record["stop"] == (None if stop is None else parse_stop(stop).name)


def test_a_description_has_all_that_a_plan_has(blobs):
    record = plan_for(blobs, "auto", schedule="cosine", stop="loss", partition="iid").describe()
    assert set(record) == set(Plan.__dataclass_fields__) | {"steps_per_epoch"}
    assert set(record["network"]) == set(MLPSettings.__dataclass_fields__)
    assert Plan.from_json(record).chosen_by_auto


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "step:3epochs,factor=0.33333333"},
        {"schedule": "cosine:warmup=33.3333333%"},
        {"schedule": "step:1234567epochs"},
        {"stop": "loss:0.00012345678"},
        {"partition": "dirichlet:0.12345678"},
        {"strategy": "slowmo:1epoch,beta=0.33333333"},
        {"strategy": "diloco:1epoch,rate=0.66666667"},
        {"strategy": "easgd:10,strength=0.12345678"},
        {"strategy": "gradient:scale=linear,warmup=33.3333333%"},
    ],
    ids=lambda changes: str(*changes.values()),
)
def test_a_description_keeps_every_digit(blobs, changes):
    """Processes are sent descriptions: with other numbers, they would train otherwise than threads."""
    plan = plan_for(blobs, **changes)
    assert Plan.from_json(plan.to_json()) == plan


# What cannot be.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "magic"}, "unknown strategy 'magic'"),
        ({"schedule": "magic"}, "unknown schedule 'magic'"),
        ({"schedule": "cosine:to=2"}, "from 0 to 1"),
        ({"stop": "magic"}, "unknown stop 'magic'"),
        ({"stop": "loss:-1"}, "from 0 on"),
        ({"partition": "magic"}, "unknown partition 'magic'"),
        ({"team": "solo"}, "'solo' of 2 workers"),
        ({"strategy": "sequential"}, "sequential strategy has one worker, not 2"),
        ({"batch": 104}, "between 1 and the 103"),
        ({"workers": 26}, "26 workers cannot share a global batch of 25"),
        ({"partition": "iid", "sharding": "global"}, "leave sharding='global' out"),
        ({"partition": "stored", "sharding": "global"}, "leave sharding='global' out"),
        ({"strategy": "hogwild", "team": "mpi"}, "hogwild needs workers that share memory"),
        ({"strategy": "easgd:10", "team": "mpi"}, "easgd:10 needs workers that share memory"),
        ({"strategy": "gradient@20% then easgd:10", "team": "mpi"}, "share memory"),
        ({"strategy": "one-shot:merge=soup"}, "evaluates on validation rows"),
        ({"strategy": "periodic:7,merge=validation"}, "evaluates on validation rows"),
        ({"strategy": "post-local:16,merge=soup"}, "evaluates on validation rows"),
        ({"strategy": "gradient@20% then periodic:7,merge=soup"}, "evaluates on validation rows"),
        # Two parts need two epochs, three need three, whatever their lengths.
        ({"strategy": "gradient@20% then periodic:7", "epochs": 1}, "would take 1 epoch of 1, and the last"),
        ({"strategy": "gradient@1% then one-shot@1% then periodic:7", "epochs": 2}, "2 parts would take 2 epochs of 2"),
        ({"strategy": "gradient@10epochs then periodic:7"}, "would take 10 epochs of 10"),
        ({"strategy": "gradient@60% then periodic:7@40% then one-shot"}, "would take 10 epochs of 10"),
        ({"strategy": "post-local:16", "epochs": 1}, "would take 1 epoch of 1"),
        ({"strategy": "post-local:16,after=100%"}, "would take 10 epochs of 10"),
        ({"strategy": "swap:75%", "epochs": 1}, "would take 1 epoch of 1"),
        ({"strategy": "swap:99%"}, "would take 10 epochs of 10"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(blobs, changes, message):
    with pytest.raises(SettingsError, match=message):
        plan_for(blobs, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "periodic:1epoch", "workers": 2}, "cannot follow periodic:1epoch"),
        ({"strategy": "one-shot:merge=mean"}, "cannot follow one-shot:merge=mean"),
        ({"sharding": "global"}, "fixed shards"),
        ({"batch": 25}, "has its own batch, 200"),
        ({"schedule": "cosine"}, "has its own schedule"),
        ({"schedule": "constant"}, "has its own schedule"),
        ({"stop": "loss"}, "has its own stop"),
        ({"partition": "iid"}, "has its own partition"),
        ({"seed": 2**32}, "seeds below 4294967296"),
        ({"workers": 2}, "103 training rows do not divide by 2 workers"),
        ({"strategy": "auto"}, "nothing to choose"),
    ],
    ids=str,
)
def test_the_published_learner_has_its_own_rules(blobs, changes, message):
    possible = {"strategy": "one-shot", "workers": 1, "learner": "published", "batch": None}
    assert plan_for(blobs, **possible).sharding == "fixed"
    assert plan_for(blobs, **{**possible, "seed": 2**32 - 1}).batch == 103
    with pytest.raises(SettingsError, match=message):
        plan_for(blobs, **{**possible, **changes})


def test_the_published_learner_has_its_batch_for_every_worker():
    rows = Examples(np.arange(1200, dtype=np.uint8)[:, None] % 7, np.arange(1200) % 2)
    dataset = make_dataset("many", rows, rows)
    for workers, batch in ((1, 200), (4, 800), (12, 1200)):  # 12 shares of 100: all their rows
        assert resolve(RunSpec(strategy="one-shot", workers=workers, learner="published"), dataset).batch == batch


def test_shares_need_all_rows_here(blobs):
    """A process that was sent its share cannot divide anew."""
    part = replace(blobs, all_rows=206)
    assert plan_for(part).rows == 206
    for shares in ("stored", "iid"):
        with pytest.raises(SettingsError, match="needs all training rows in every process"):
            plan_for(part, partition=shares)


def test_merges_that_look_at_validation_rows_are_possible_with_them(watched):
    assert plan_for(watched, "one-shot:merge=soup").strategy.needs.uses_validation
    assert plan_for(watched, "gradient@20% then periodic:7,merge=soup").rows == 90


def test_a_batch_that_cannot_grow_takes_no_larger_rate(blobs):
    # 103 rows: a batch of all of them stays what it is, one of 60 grows to 103, by 1.7166.
    for batch, growth in ((103, 1.0), (60, 103 / 60)):
        plan = plan_for(blobs, "gradient:scale=linear,warmup=0%", workers=4, batch=batch)
        assert plan.stages[0].batch == 103
        np.testing.assert_allclose(plan.rates(plan.stages[0]), growth * plan.network.learning_rate)


@pytest.mark.parametrize("strategy", ["easgd", "hogwild", "easgd@50% then gradient"])
def test_workers_that_are_never_alike_are_not_measured_on_the_way(blobs, strategy):
    with pytest.raises(SettingsError, match=r"convergence is not possible with .*same parameters at the end only"):
        plan_for(blobs, strategy, workers=2, convergence=True)
