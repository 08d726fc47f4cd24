import contextlib
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
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


@pytest.mark.parametrize(("text", "name"), WRITTEN.items())
def test_text_becomes_a_strategy(text, name):
    assert parse_strategy(text).name == name


@pytest.mark.parametrize("name", sorted(set(WRITTEN.values())))
def test_canonical_names_parse_to_equal_strategies(name):
    assert parse_strategy(parse_strategy(name).name) == parse_strategy(name)


@pytest.mark.parametrize(
    "text",
    [
        "slowmo:1epoch,beta=0.1234567",
        "diloco:1epoch,rate=0.1234567",
        "diloco:1epoch,momentum=0.1234567",
        "easgd:10,strength=0.1234567",
        "swap:33.3333333%",
        "swap:1234567epochs",
        "gradient:scale=linear,warmup=0.1234567epochs",
        "gradient@0.1234567epochs then periodic:1epoch",
    ],
)
def test_canonical_names_keep_every_digit(text):
    # Plans travel to the processes of an MPI job by name: what the name loses, they do not know.
    assert parse_strategy(parse_strategy(text).name) == parse_strategy(text)


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


# What is wrong -> what the message says.
MISTAKEN = {
    "periodic:1epoch,merge=median": "merge=median: choose one of examples, mean, validation, fisher, soup",
    "periodic:1epoch,send=int4": "send=int4: choose one of full, float16, bfloat16, int8",
    "periodic:1epoch,state=lose": "state=lose: choose one of keep, mean, reset",
    "periodic:1epoch,buffers=sum": "buffers=sum: choose one of mean, keep",
    "periodic:1epoch,starts=other": "starts=other: choose one of same, own",
    "periodic:1epoch,merge=mean,merge=soup": "'merge' is given twice",
    "periodic:send=int8": "its arguments are every, merge, send, state, buffers, starts",
    "periodic:1epoch,options=3": "there is no argument 'options'",
    "easgd:10,options=3": "its arguments are every, strength",
    "periodic:1epoch,merge=bootstrap": "goes with one-shot",
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
    "gradient:scale=log": "scale=log: choose one of none, linear, sqrt",
    "gradient:send=int4": "send=int4: choose one of full, float16",
    "gradient:warmup=5%": "goes with scale=linear or scale=sqrt",
    "gradient:scale=linear,warmup=5": "'5' is no part of a run; write it as 20% or 15epochs",
    "gradient:scale=linear,warmup=101%": "'101%' is no part of a run",
    "slowmo:1epoch,beta=1": "slowmo:beta=1: it must be a number from 0 to below 1",
    "slowmo:1epoch,beta=-0.1": "slowmo:beta=-0.1",
    "slowmo:1epoch,beta=nan": "slowmo:beta=nan",
    "slowmo:1epoch,alpha=inf": "slowmo:alpha=inf",
    "slowmo:0epochs": "slowmo:0epochs: the time between rounds",
    "diloco:1epoch,momentum=1": "diloco:momentum=1",
    "diloco:1epoch,rate=fast": "diloco:rate=fast",
    "easgd:10,strength=2": "easgd:strength=2: it must be a number from 0 to below 2",
    "easgd:10,merge=mean": "its arguments are every, strength",
    "hogwild:scale=log": "hogwild:scale=log: choose one of none, linear, sqrt",
    "hogwild:starts=own": "its arguments are scale",
    "swap:75": "'75' is no part of a run",
    "swap:75%,scale=log": "scale=log: choose one of none, linear, sqrt",
    "post-local:16,after=-5%": "'-5%' is no part of a run",
    "gradient@20%": "after @ and a length comes 'then'",
    "gradient@20% then": "after @ and a length comes 'then'",
    "gradient then periodic:1epoch": "how long is 'gradient'? Write gradient@20% then ...",
    "gradient@20% then periodic:1epoch@80%": "the last part lasts to the end",
    "gradient@often then periodic:1epoch": "'often' is no part of a run",
    "gradient@20steps then periodic:1epoch": "'20steps' is no part of a run",
    "gradient@120% then periodic:1epoch": "'120%' is no part of a run",
    "gradient@20% then averaging": "unknown strategy 'averaging'",
    "@20% then gradient": "unknown strategy ''",
    "gradient@20%@30% then gradient": "unknown strategy 'gradient@20%'",
    "sequential@20% then gradient": "sequential is for one worker",
    "gradient@20% then sequential": "sequential is for one worker",
    "gradient@20% then one-shot:merge=ensemble": "goes with one-shot alone",
    "one-shot:merge=bootstrap@20% then gradient": "goes with one-shot alone",
    "gradient@20% then one-shot:starts=own": "only the first part can have starts=own",
}


@pytest.mark.parametrize(("text", "said"), MISTAKEN.items())
def test_a_message_says_what_is_wrong(text, said):
    with pytest.raises(SettingsError) as caught:
        parse_strategy(text)
    assert said in str(caught.value)


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
        stages = strategy.stages(epochs, workers, first_decay)
        assert sum(stage.epochs for stage in stages) == epochs
        assert all(stage.epochs >= 1 and stage.batch_factor in (1, workers) for stage in stages)


@settings(deadline=None)
@given(st.sampled_from(sorted(set(WRITTEN.values()))), st.integers(1, 40), st.integers(1, 8))
def test_rounds_move_on_and_end_with_every_stage(name, steps_per_epoch, epochs):
    try:
        stages = parse_strategy(name).stages(epochs, 2, None)
    except SettingsError:  # too few epochs for its stages
        assume(False)
    for stage in stages:
        step, total = 0, steps_per_epoch * stage.epochs
        while step < total:
            following = stage.strategy.next_round(step, steps_per_epoch, total)
            assert step < following <= total
            step = following
        assert step == total


def test_when_rounds_are_due():
    names = ("one-shot", "periodic:1epoch", "periodic:2epoch", "periodic:4", "gradient", "minibatch:3epochs")
    names += ("slowmo:1epoch", "slowmo:3", "diloco:4", "easgd:9", "hogwild")
    due = {name: parse_strategy(name).next_round(7, 5, 30) for name in names}
    assert due == {
        "one-shot": 30,
        "periodic:1epoch": 10,
        "periodic:2epoch": 10,
        "periodic:4": 8,
        "gradient": 30,
        "minibatch:3epochs": 10,  # a mini-batch is used up after the steps of one epoch, however often it is taken
        "slowmo:1epoch": 10,
        "slowmo:3": 9,
        "diloco:4": 8,
        "easgd:9": 9,
        "hogwild": 30,
    }


def test_only_minibatch_goes_through_its_rows_more_than_once():
    passes = {name: parse_strategy(name).passes for name in {"minibatch:7", "minibatch", *WRITTEN.values()}}
    assert (passes.pop("minibatch:7"), passes.pop("minibatch")) == (7, 5)
    assert (passes.pop("minibatch:5epochs"), passes.pop("minibatch:3epochs")) == (5, 3)
    assert (passes.pop("minibatch:7epochs"), passes.pop("minibatch:2epochs")) == (7, 2)
    assert (passes.pop("minibatch:3epochs,state=mean"), passes.pop("minibatch:5epochs,merge=soup")) == (3, 5)
    assert {count for name, count in passes.items() if "minibatch" not in name} == {1}


# Which of these names have which property; all others have not.
NAMES = [
    *("sequential", "one-shot", "periodic:5", "minibatch", "gradient", "gradient:scale=linear", "gradient:send=int8"),
    *("periodic:5,send=int8", "periodic:5,merge=mean", "periodic:5,state=reset", "periodic:5,merge=validation"),
    *("one-shot:merge=ensemble", "one-shot:merge=soup", "periodic:5,starts=own", "slowmo", "slowmo:5,beta=0"),
    *("slowmo:5,beta=0.5", "slowmo:5,alpha=0.5", "diloco", "easgd", "hogwild", "post-local", "swap"),
    *("post-local:5,merge=soup", "swap:50%,merge=validation", "gradient@50% then periodic:5,merge=soup"),
    *("periodic:5,starts=own@50% then gradient", "hogwild@50% then gradient"),
    *("one-shot:merge=bootstrap", "periodic:5,merge=fisher", "post-local:5,merge=fisher"),
]
PROPERTIES = {
    "talks_inside_steps": {name for name in NAMES if re.search("gradient|post-local|swap", name)},
    "plain": {
        *(
            "sequential",
            "one-shot",
            "periodic:5",
            "minibatch",
            "gradient",
            "gradient:scale=linear",
            "post-local",
            "swap",
        ),
        *("periodic:5,starts=own", "periodic:5,starts=own@50% then gradient"),
    },
    "revisits_rows": {"one-shot:merge=bootstrap", "periodic:5,merge=fisher", "post-local:5,merge=fisher"},
    "alone": {"slowmo:5,beta=0.5", "slowmo:5,alpha=0.5", "diloco"},
    "shared_memory": {"easgd", "hogwild", "hogwild@50% then gradient"},
    "validates": {
        *("periodic:5,merge=validation", "one-shot:merge=soup", "post-local:5,merge=soup"),
        *("swap:50%,merge=validation", "gradient@50% then periodic:5,merge=soup"),
    },
    "side_by_side": {"one-shot:merge=ensemble"},
    "own_starts": {"periodic:5,starts=own", "periodic:5,starts=own@50% then gradient"},
    "parallel": set(NAMES) - {"sequential"},
}


@pytest.mark.parametrize("property_", PROPERTIES)
def test_what_a_strategy_says_of_itself(property_):
    assert {name for name in NAMES if getattr(parse_strategy(name), property_)} == PROPERTIES[property_]


def test_fixed_shares_are_the_default_of_those_whose_papers_have_them():
    fixed = {name for name in NAMES if parse_strategy(name).sharding == "fixed"}
    assert fixed == {
        "one-shot",
        "minibatch",
        "one-shot:merge=ensemble",
        "one-shot:merge=soup",
        "one-shot:merge=bootstrap",
    }


def test_every_strategy_is_among_the_examples():
    assert [name for name in STRATEGIES if name not in EXAMPLES] == []
    for text in EXAMPLES.split(", "):
        assert parse_strategy(text).name == text
