"""Specs: every setting survives JSON and the command line; what a run needs is known before there are data."""

import argparse
import inspect
import json
import os
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manyhands
from manyhands.cli.options import add_settings, option, spec_of
from manyhands.core.choices import AUGMENTATIONS
from manyhands.core.errors import SettingsError
from manyhands.core.settings import setting_fields
from manyhands.core.shapes import ImageShape
from manyhands.data.partitioning import Partition
from manyhands.learners.mlp.initialization import INITIALIZATIONS
from manyhands.learners.mlp.settings import DEFAULTS, MLPSettings
from manyhands.strategies import parse_strategy
from manyhands.studies.compare.run import compare
from manyhands.studies.sweep.run import sweep
from manyhands.training import reliability
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

TEXTS = {
    "every": ["30s", "5epochs", "1round", "100rounds", "0.5s"],
    "strategy": ["auto", "sequential", "periodic:50,send=int8", "gradient@20% then one-shot:merge=fisher"],
    "schedule": ["cosine:warmup=5%", "step:30epochs,factor=0.1"],
    "stop": ["loss:0.0001,patience=10", "accuracy:98.2%"],
    "partition": ["stored", "dirichlet:0.3"],
    "grid": ["node=2", "data=3,pairs=2"],
    "weight_init": ["uniform:0.05", "zeros"],
    "bias_init": ["constant:0.01", "ones"],
    "module": ["models.py:make"],
}
NUMBERS = {
    "train_size": st.integers(1, 2**40),
    "binarize": st.floats(allow_nan=False, allow_infinity=False) | st.just("auto"),
    "validation": st.integers(1, 2**40) | st.just("auto"),
    "hidden": st.lists(st.integers(1, 5000), max_size=4).map(tuple),
    "shape": st.tuples(*[st.integers(1, 2**20)] * 3).map(lambda sizes: ImageShape(*sizes)),
    "hang_timeout": st.floats(1e-3, 1e9),
    "learning_rate": st.floats(1e-9, 1e9),
    "l2": st.floats(0, 1),
    "clip": st.floats(1e-9, 1e9),
    "checkpoint_cost": st.floats(1e-6, 1),
    **dict.fromkeys(("checkpoint", "resume"), st.sampled_from(["run", "some where/run"])),
    "var_smoothing": st.floats(0, 1),
    "alpha": st.floats(1e-9, 1e9),
    "shrinkage": st.floats(0, 1) | st.just("auto"),
    "reg_param": st.floats(0, 1),
    "max_features": st.sampled_from(["all", "sqrt", "log2", 7, 0.5]),
    "speculative": st.floats(0, 1),
    "lanes": st.integers(1, 64),
    "micro_batches": st.integers(1, 64),
    "speculation_warmup": st.floats(0, 1e9),
    "augment": st.lists(st.sampled_from(AUGMENTATIONS), max_size=3).map(tuple),
    "epsilon": st.floats(1e-30, 1),
    "weight_decay": st.floats(0, 1),
    **dict.fromkeys(("momentum", "beta_1", "beta_2", "rho", "dropout"), st.floats(0, 0.99)),
}


def values_of(field, known):
    """What a setting may be; one that is new needs no line here if it is a choice, a switch or a count."""
    if known.choices:
        return st.sampled_from(known.choices)
    if field.name in TEXTS:
        return st.sampled_from(TEXTS[field.name])
    return NUMBERS.get(field.name, st.booleans() if isinstance(field.default, bool) else st.integers(1, 2**30))


@st.composite
def chosen(draw):
    """Some settings, by name."""
    # What has no group is for programs only.
    known = {each.name: values_of(each, known) for each, known in setting_fields(RunSpec) if known.group}
    found = {name: draw(known[name]) for name in draw(st.sets(st.sampled_from(sorted(known)), max_size=12))}
    module = {"torch": "models.py:make"}.get(found.get("learner", "mlp" if "module" not in found else "torch"))
    found = {name: value for name, value in found.items() if name != "module"} | ({"module": module} if module else {})
    return found | {"blas_threads": 1} if found.get("pin") else found


def parsed(arguments):
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return spec_of(parser.parse_args(arguments))


@settings(deadline=None, max_examples=200)
@given(chosen())
def test_every_setting_survives_json_and_the_command_line(chosen):
    spec = RunSpec().changed(**chosen)
    assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    words = [f"{option(name)}={option(name, value).partition(' ')[2]}".rstrip("=") for name, value in chosen.items()]
    words = [word.replace("'", "") for name, word in zip(chosen, words, strict=True) if chosen[name] is not False]
    assert parsed(words) == spec


def test_objects_are_written_as_the_texts_that_name_them():
    spec = RunSpec(strategy=parse_strategy("periodic:7"), partition=Partition("dirichlet", 0.5))
    assert (spec.to_json()["strategy"], spec.to_json()["partition"]) == ("periodic:7", "dirichlet:0.5")
    assert RunSpec.from_json(spec.to_json()).parsed == spec.parsed


def test_texts_are_read_once(monkeypatch):
    spec, read = RunSpec(strategy="periodic:7"), []
    monkeypatch.setattr("manyhands.strategies.parse_strategy", lambda text: read.append(text) or parse_strategy(text))
    assert spec.needs.validation is False
    assert spec.parsed.strategy is spec.parsed.strategy
    assert read == ["periodic:7"]


def test_another_optimizer_has_its_own_defaults():
    spec = RunSpec().changed(optimizer="adamw")
    assert (spec.network.learning_rate, spec.network.weight_decay) == (0.001, DEFAULTS["adamw"].weight_decay)
    assert RunSpec().changed(learning_rate=0.5).changed(optimizer="sgd").network.learning_rate == 0.5


# The faces that are made of it.


@pytest.mark.parametrize(
    ("function", "without"), [(manyhands.train, {"strategy"}), (compare, {"strategy", *reliability.NAMES})]
)
def test_signatures_have_every_setting(function, without):
    names = inspect.signature(function).parameters
    assert {each.name for each, _ in setting_fields(RunSpec)} - set(names) <= without
    assert {each.name for each in fields(MLPSettings)} <= set(names)


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (manyhands.train, {"calbacks": []}, r"train\(\) has no parameter 'calbacks'; did you mean 'callbacks'\?"),
        (manyhands.train, {"epoch": 5}, "no parameter 'epoch'; did you mean 'epochs'"),
        (compare, {"seed_s": 3}, "did you mean 'seeds'"),
        (sweep, {"hiden": ()}, "did you mean 'hidden'"),
        (RunSpec().changed, {"activatoin": "tanh"}, "did you mean 'activation'"),
    ],
)
def test_a_mistyped_keyword_is_named_with_the_nearest(function, given, message):
    with pytest.raises(TypeError, match=message):
        function(**given)


def test_the_help_names_every_start():
    text = next(known.help for each, known in setting_fields(RunSpec) if each.name == "weight_init")
    assert [name for name in INITIALIZATIONS if name not in text] == []


# What a run needs.


@pytest.mark.parametrize(
    ("chosen", "fixed"),
    [
        ({"strategy": "one-shot"}, True),
        ({"strategy": "minibatch"}, True),
        ({"strategy": "one-shot", "sharding": "global"}, False),
        ({"strategy": "periodic:7"}, False),
        ({"strategy": "periodic:7", "sharding": "fixed"}, True),
        ({"strategy": "gradient@20% then one-shot"}, False),
        ({"strategy": "one-shot@20% then minibatch"}, True),
        ({"strategy": "sequential", "learner": "published"}, True),
        ({"strategy": "auto"}, False),
        ({"strategy": "one-shot", "partition": "sorted"}, False),  # a worker that divides anew needs all rows
    ],
    ids=str,
)
def test_fixed_shards(chosen, fixed):
    assert RunSpec(**chosen).needs.fixed_shards is fixed


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        ({"strategy": "one-shot"}, None),
        ({"strategy": "one-shot", "validation": 50}, 50),
        ({"strategy": "one-shot:merge=soup"}, "auto"),
        ({"strategy": "one-shot:merge=soup", "validation": 50}, 50),
        ({"strategy": "auto"}, None),
        ({"strategy": "auto", "stop": "accuracy:90%"}, "auto"),
        ({"strategy": parse_strategy("gradient@20% then periodic:7,merge=soup")}, "auto"),
    ],
    ids=str,
)
def test_validation_rows_are_loaded_for_those_that_need_them(chosen, rows):
    assert RunSpec(**chosen).request("digits").validation == rows


# What cannot be, whatever the data are.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"sharding": "local"}, "unknown sharding 'local'; did you mean 'global'. Choose one of global, fixed"),
        ({"learner": "woods"}, "unknown learner 'woods'"),
        ({"team": "magic"}, "unknown team 'magic'; choose one of threads, mpi"),
        ({"convergence": "yes"}, "convergence must be True or False"),
        ({"blas_threads": 0}, "blas_threads must be at least 1"),
        ({"first_epoch": -1}, "first_epoch must be at least 0"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        RunSpec(**changes)


def test_a_job_has_the_hang_timeout_of_its_plan(monkeypatch, blobs):
    """Also where processes have been given another one."""
    seen = []

    class Job:
        def __init__(self, *_given, **_named):
            seen.append(os.environ["MANYHANDS_HANG_TIMEOUT"])

        def __enter__(self):
            raise KeyError

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("manyhands.training.jobs.client.Job", Job)
    plan = resolve(RunSpec(strategy="gradient", workers=2, team="mpi", hang_timeout=7), blobs)
    for before in (None, "30"):
        monkeypatch.delenv("MANYHANDS_HANG_TIMEOUT", raising=False)
        if before is not None:
            monkeypatch.setenv("MANYHANDS_HANG_TIMEOUT", before)
        with pytest.raises(KeyError):
            run(plan, blobs)
        assert os.environ.get("MANYHANDS_HANG_TIMEOUT") == before
    assert seen == ["7.0", "7.0"]


def test_settings_of_sums_that_programs_make_survive_json():
    sums = {"priors": (0.5, 0.5), "class_covariances": True, "max_leaf_nodes": 9, "splitter": "random", "tol": 0.5}
    spec = RunSpec().changed(**sums)
    assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
