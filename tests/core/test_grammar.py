import contextlib
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.core.strategy import LocalRule, Needs
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
    # what a round does; what is the default is not said
    "periodic:50,merge=mean": "periodic:50,merge=mean",
    "periodic:50,merge=examples,send=full,state=keep,buffers=mean,starts=same": "periodic:50",
    "periodic:50, state = reset , send=int8": "periodic:50,send=int8,state=reset",
    "periodic:send=float16,every=2epochs": "periodic:2epoch,send=float16",
    "periodic:1epoch,merge=rebasin,starts=own,buffers=keep": "periodic:1epoch,merge=rebasin,buffers=keep,starts=own",
    "one-shot:merge=ensemble,starts=own": "one-shot:merge=ensemble,starts=own",
    "one-shot:merge=bootstrap": "one-shot:merge=bootstrap",
    "minibatch:3,state=mean": "minibatch:3epochs,state=mean",
    "minibatch:merge=soup": "minibatch:5epochs,merge=soup",
    # gradients in larger batches, or in fewer bytes
    "gradient:scale=linear": "gradient:scale=linear,warmup=5%",
    "gradient:warmup=3epochs,scale=sqrt": "gradient:scale=sqrt,warmup=3epochs",
    "gradient:scale=none": "gradient",
    "gradient:send=full": "gradient",
    "gradient:send=bfloat16": "gradient:send=bfloat16",
    "gradient:send=int8,scale=linear,warmup=0%": "gradient:scale=linear,warmup=0%,send=int8",
    # outer steps
    "slowmo": "slowmo:1epoch",
    "slowmo:16,beta=auto,alpha=1.0": "slowmo:16",
    "slowmo:every=16steps,alpha=.5,beta=0": "slowmo:16,beta=0,alpha=0.5",
    "slowmo:2epochs,send=int8,beta=5e-1": "slowmo:2epoch,beta=0.5,send=int8",
    "diloco": "diloco:1epoch",
    "diloco:500,rate=0.7,momentum=0.90": "diloco:500",
    "diloco:momentum=0,rate=1,merge=mean": "diloco:1epoch,rate=1,momentum=0,merge=mean",
    # stages
    "post-local": "post-local:16",
    "post-local:1epoch,after=25%,send=float16": "post-local:1epoch,after=25%,send=float16",
    "post-local:after=2epochs": "post-local:16,after=2epochs",
    "swap": "swap:75%",
    "swap:1epochs,scale=sqrt": "swap:1epoch",
    "swap:first=12.5%,scale=linear,merge=soup": "swap:12.5%,scale=linear,merge=soup",
    "gradient@20% then periodic:1epoch": "gradient@20% then periodic:1epoch",
    " gradient@ 2 epochs  then\tperiodic:every=8,send=int8 ": "gradient@2epochs then periodic:8,send=int8",
    "gradient@1.5epoch then periodic:8@30% then one-shot": "gradient@1.5epochs then periodic:8@30% then one-shot",
    "minibatch:starts=own@50% then swap": "minibatch:5epochs,starts=own@50% then swap:75%",
    "hogwild@10% then post-local@80% then easgd": "hogwild@10% then post-local:16@80% then easgd:10",
    # shared memory
    "easgd": "easgd:10",
    "easgd:1epoch,strength=0.9": "easgd:1epoch",
    "easgd:strength=.5": "easgd:10,strength=0.5",
    "hogwild": "hogwild",
    "hogwild:scale=sqrt": "hogwild",
    "hogwild:scale=none": "hogwild:scale=none",
}


PRECISE = [
    *("slowmo:1epoch,beta=0.1234567", "diloco:1epoch,rate=0.1234567", "diloco:1epoch,momentum=0.1234567"),
    *("easgd:10,strength=0.1234567", "swap:33.3333333%", "swap:1234567epochs"),
    *("gradient:scale=linear,warmup=0.1234567epochs", "gradient@0.1234567epochs then periodic:1epoch"),
]
"""Plans are sent to the processes of an MPI job by name: digits that the name loses would be lost there."""


def test_text_becomes_a_strategy_and_its_name_the_same_strategy():
    for text, name in WRITTEN.items():
        assert parse_strategy(text).name == name
    for text in (*WRITTEN, *PRECISE):
        assert parse_strategy(parse_strategy(text).name) == parse_strategy(text)


UNKNOWN = [
    *("", "averaging", "periodic", "periodic:", "periodic:0", "periodic:-1", "periodic:1.5"),
    *("periodic:often", "periodic:1epoch,2", "periodic:every=1,every=2", "periodic:every="),
    *("periodic:=3", "periodic:3,every=4", "periodic:unit=epoch", "one-shot:3"),
    *("one-shot:sharding=global", "gradient:1", "sequential:x=1", "minibatch:", "minibatch:0"),
    *("minibatch:0epochs", "minibatch:-5", "minibatch:2.5epochs", "minibatch:five"),
    *("minibatch:5steps", "minibatch:5,3", "minibatch:epochs=5,epochs=5", "minibatch:passes=5"),
    *("minibatch:sharding=global", "periodic:" + "9" * 5000, "minibatch:" + "9" * 5000),
]


def test_mistakes_are_named_with_examples():
    for text in UNKNOWN:
        with pytest.raises(SettingsError, match=r"examples: \w|periodic:|minibatch:|twice"):
            parse_strategy(text)


# What is wrong -> what the message says.
MISTAKEN = {
    "periodic:1epoch,merge=median": "merge=median; did you mean 'mean'? Choose one of examples, mean, validation, ",
    "periodic:1epoch,send=int4": "send=int4; did you mean 'int8'? Choose one of full, float16, bfloat16, int8",
    "periodic:1epoch,state=lose": "state=lose; choose one of keep, mean, reset",
    "periodic:1epoch,buffers=sum": "buffers=sum; choose one of mean, keep",
    "periodic:1epoch,starts=other": "starts=other; choose one of same, own",
    "periodic:1epoch,merge=mean,merge=soup": "'merge' is given twice",
    "periodic:send=int8": "its arguments are every, merge, send, state, buffers, starts",
    "periodic:1epoch,options=3": "there is no argument 'options'",
    "easgd:10,options=3": "its arguments are every, strength",
    "periodic:1epoch,merge=bootstrap": "goes with one-shot",
    "one-shot:merge=bootstrap,starts=own": "corrects trainings from one start",
    "minibatch:often": "whole number from 1 on, as in minibatch:5epochs",
    "periodic:1epoch,merge=ensemble": "goes with one-shot",
    "slowmo:1epoch,merge=ensemble": "goes with one-shot",
    "minibatch:5,merge=bootstrap": "goes with one-shot",
    "swap:75%,merge=ensemble": "no such merge",
    "swap:75%,starts=own": "no own starts",
    "post-local:16,merge=ensemble": "one-shot",
    "post-local:16,starts=own": "start",
    "gradient@10% then post-local:16,merge=bootstrap": "one-shot",
    "diloco:1epoch,starts=own": "start",
    "slowmo:1epoch,beta=0.5,starts=own": "start",
    "periodic:9,send=int8,merge=fisher": "only merge=examples or merge=mean",
    "one-shot:send=float16,starts=own": "from one start",
    "gradient:merge=mean": "its arguments are scale, warmup, send",
    "gradient:linear": "its arguments are scale, warmup, send",
    "gradient:scale=log": "scale=log; choose one of none, linear, sqrt",
    "gradient:send=int4": "send=int4; did you mean 'int8'? Choose one of full, float16",
    "gradient:warmup=5%": "goes with scale=linear or scale=sqrt",
    "gradient:scale=linear,warmup=5": "'5' is not a part of a run; write it as 20% or 15epochs",
    "gradient:scale=linear,warmup=101%": "'101%' is not a part of a run",
    "slowmo:1epoch,beta=1": "slowmo:beta=1: it must be a number from 0 to below 1",
    "slowmo:1epoch,beta=-0.1": "slowmo:beta=-0.1",
    "slowmo:1epoch,beta=nan": "slowmo:beta=nan",
    "slowmo:1epoch,alpha=inf": "slowmo:alpha=inf",
    "slowmo:0epochs": "slowmo:0epochs: the time between two rounds",
    "diloco:1epoch,momentum=1": "diloco:momentum=1",
    "diloco:1epoch,rate=fast": "diloco:rate=fast",
    "easgd:10,strength=2": "easgd:strength=2: it must be a number from 0 to below 2",
    "easgd:10,merge=mean": "its arguments are every, strength",
    "hogwild:scale=log": "hogwild:scale=log; choose one of none, linear, sqrt",
    "hogwild:starts=own": "its arguments are scale",
    "swap:75": "'75' is not a part of a run",
    "swap:75%,scale=log": "scale=log; choose one of none, linear, sqrt",
    "post-local:16,after=-5%": "'-5%' is not a part of a run",
    "gradient@20%": "after @ and a length comes 'then'",
    "gradient@20% then": "after @ and a length comes 'then'",
    "gradient then periodic:1epoch": "how long is 'gradient'? Write gradient@20% then ...",
    "gradient@20% then periodic:1epoch@80%": "the last part lasts to the end",
    "gradient@often then periodic:1epoch": "'often' is not a part of a run",
    "gradient@20steps then periodic:1epoch": "'20steps' is not a part of a run",
    "gradient@120% then periodic:1epoch": "'120%' is not a part of a run",
    "gradient@20% then averaging": "unknown strategy 'averaging'",
    "@20% then gradient": "unknown strategy ''",
    "gradient@20%@30% then gradient": "unknown strategy 'gradient@20%'",
    "sequential@20% then gradient": "sequential is for one worker",
    "gradient@20% then sequential": "sequential is for one worker",
    "gradient@20% then one-shot:merge=ensemble": "goes with one-shot alone",
    "one-shot:merge=bootstrap@20% then gradient": "goes with one-shot alone",
    "periodic:1epoch,sned=int8": "there is no argument 'sned'; did you mean 'send'?",
    "periodic": "a value is missing (its arguments are every, merge,",
    "Gradient": "unknown strategy 'Gradient'; did you mean 'gradient'?",
    "one_shot": "unknown strategy 'one_shot'; did you mean 'one-shot'?",
    "periodic=1epoch": "did you mean 'periodic'?",
    "gradient@20% then one-shot:starts=own": "only the first part can have starts=own",
}


def test_a_message_says_what_is_wrong():
    for text, said in MISTAKEN.items():
        with pytest.raises(SettingsError, match=re.escape(said)):
            parse_strategy(text)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_gives_a_strategy_or_a_typed_error(text):
    with contextlib.suppress(SettingsError):
        assert parse_strategy(text).name


ARGUMENTS = [
    *("", "1epoch", "16", "75%", "0", "5epochs", "every=3", "first=40%", "epochs=2", "options=1", "self=1", "cls=1"),
    *("scale=linear", "warmup=10%", "send=int8", "merge=fisher", "merge=ensemble", "starts=own", "state=mean"),
    *("beta=0.5", "alpha=0", "rate=1", "momentum=0", "strength=1.5", "after=1.5epochs", "=", "beta=nan", "send="),
]
PARTS = st.builds(
    lambda name, colon, arguments: f"{name}{colon}{','.join(arguments)}",
    st.sampled_from([*STRATEGIES, "averaging", ""]),
    st.sampled_from([":", ":", ":", "", "@"]),
    st.lists(st.sampled_from(ARGUMENTS), max_size=3),
)
TEXTS = st.builds(
    lambda first, last: "".join(f"{part}{length}{then}" for part, length, then in first) + last,
    st.lists(
        st.tuples(
            PARTS, st.sampled_from(["@20%", "@2epochs", "@", ""]), st.sampled_from([" then ", "then", "  then\n"])
        ),
        max_size=2,
    ),
    PARTS,
)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 30), st.integers(1, 9), st.none() | st.integers(1, 40))
def test_what_looks_like_a_strategy_has_stages_or_is_a_typed_error(text, epochs, workers, first_decay):
    with contextlib.suppress(SettingsError):
        strategy = parse_strategy(text)
        assert parse_strategy(strategy.name) == strategy
        stages = strategy.stages(epochs, first_decay)
        assert sum(stage.epochs for stage in stages) == epochs
        assert tuple(stage.rule for stage in stages) == strategy.rules
        assert all(stage.epochs >= 1 and stage.rule.batch_factor(workers) in (1, workers) for stage in stages)


@settings(deadline=None)
@given(st.sampled_from(sorted(set(WRITTEN.values()))), st.integers(1, 40), st.integers(1, 8))
def test_rounds_move_on_and_end_with_every_stage(name, steps_per_epoch, epochs):
    try:
        stages = parse_strategy(name).stages(epochs)
    except SettingsError:  # too few epochs for its stages
        assume(False)
    for stage in (stage for stage in stages if isinstance(stage.rule, LocalRule)):
        step, total = 0, steps_per_epoch * stage.epochs
        while step < total:
            following = stage.rule.next_round(step, steps_per_epoch, total)
            assert step < following <= total
            step = following
        assert step == total


def test_when_rounds_are_due():
    due = {
        "one-shot": 30,
        "periodic:1epoch": 10,
        "periodic:2epoch": 10,
        "periodic:4": 8,
        "minibatch:3epochs": 10,  # a mini-batch is used up after the steps of one epoch, whatever its passes
        "slowmo:1epoch": 10,
        "slowmo:3": 9,
        "diloco:4": 8,
        "easgd:9": 9,
        "hogwild": 30,
    }
    assert {name: parse_strategy(name).rules[0].next_round(7, 5, 30) for name in due} == due


NEEDS = {
    "sequential": {"one_worker_only": True},
    "one-shot": {"fixed_shards": True},
    "one-shot:merge=soup": {"fixed_shards": True, "uses_validation": True},
    "one-shot:merge=ensemble": {"fixed_shards": True, "builds_ensemble": True},
    "one-shot:merge=bootstrap": {"fixed_shards": True, "revisits_rows": True},
    "periodic:5": {},
    "periodic:5,send=int8": {},
    "periodic:5,merge=validation": {"uses_validation": True},
    "periodic:5,merge=fisher": {"revisits_rows": True},
    "periodic:5,starts=own": {"independent_init": True},
    "minibatch": {"fixed_shards": True, "passes": 5},
    "minibatch:7,merge=soup": {"fixed_shards": True, "passes": 7, "uses_validation": True},
    "gradient:send=int8": {"syncs_gradients": True},
    "slowmo": {},
    "slowmo:5,beta=0": {},
    "slowmo:5,beta=0.5": {"acts_on_single_worker": True},
    "slowmo:5,alpha=0.5": {"acts_on_single_worker": True},
    "diloco:merge=soup": {"acts_on_single_worker": True, "uses_validation": True},
    "easgd": {"shared_memory": True},
    "hogwild": {"shared_memory": True},
    "post-local:5,merge=soup": {"syncs_gradients": True, "uses_validation": True},
    "swap": {"syncs_gradients": True},
    "periodic:5,starts=own@50% then gradient": {"syncs_gradients": True, "independent_init": True},
    "minibatch:3@50% then minibatch:5@20% then one-shot": {"fixed_shards": True, "passes": 5},
}


def test_what_strategies_need():
    for name, needed in NEEDS.items():
        assert parse_strategy(name).needs == Needs(**needed), name


FUSABLE = [
    *("sequential", "one-shot", "periodic:5", "periodic:5,starts=own", "periodic:5,buffers=keep", "minibatch"),
    *("gradient", "gradient:scale=linear"),
]
NOT_FUSABLE = [
    *("periodic:5,send=int8", "periodic:5,merge=mean", "periodic:5,state=reset", "gradient:send=int8", "easgd"),
    *("slowmo", "diloco", "hogwild", "one-shot:merge=ensemble"),
]


def test_only_plain_means_are_fusable():
    for name in (*FUSABLE, *NOT_FUSABLE):
        assert parse_strategy(name).rules[0].fusable == (name in FUSABLE), name


def test_every_strategy_is_among_the_examples():
    assert [name for name in STRATEGIES if name not in EXAMPLES] == []
    for text in EXAMPLES.split(", "):
        assert parse_strategy(text).name == text
