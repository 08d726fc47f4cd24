"""Grids in runs: threads are processes to the bit, strategies average the groups, files hold whole networks."""

import numpy as np
import pytest

import manyhands
from manyhands.core.callbacks import EventFunction
from manyhands.core.errors import SettingsError
from manyhands.core.events import EpochEnded
from manyhands.core.grid import LEVELS
from manyhands.training.loading import load_model
from manyhands.training.resolve import resolve
from manyhands.training.run import Runner, run
from manyhands.training.spec import RunSpec

NETWORK_ALONE = {"hidden": (18, 11), "epochs": 4, "batch": 25}
NETWORK = {**NETWORK_ALONE, "seed": 3}


def spec(**settings):
    return RunSpec().changed(**{**NETWORK, **settings})


def trained(dataset, **settings):
    return run(resolve(spec(**settings), dataset), dataset)


def bits(result):
    return result.model.learner.parameters.tobytes(), result.losses


@pytest.fixture(scope="module")
def runner(blobs):
    with Runner(blobs) as runner:
        yield runner


@pytest.mark.parametrize("level", LEVELS)
def test_one_group_is_sequential(blobs, level):
    whole = trained(blobs)
    divided = trained(blobs, grid=f"{level}=2")
    np.testing.assert_allclose(divided.losses, whole.losses, atol=1e-5)
    np.testing.assert_allclose(divided.model.learner.parameters, whole.model.learner.parameters, atol=1e-3)
    assert divided.plan.workers == 2
    assert divided.rounds == 0
    assert divided.bytes_sent > 0
    assert divided.examples == whole.examples


@pytest.mark.parametrize(
    ("grid", "settings"),
    [
        ("node=2", {}),
        ("weight=3", {"optimizer": "lamb", "activation": "gelu", "dropout": 0.2}),
        ("pairs=4", {"dtype": "float64", "activation": "elu"}),
        ("data=2,node=2", {"strategy": "gradient"}),
        ("data=2,pairs=2", {"strategy": "periodic:7", "convergence": True}),
        ("data=2,weight=2", {"strategy": "slowmo:1epoch", "stop": "loss:0.0001,patience=2"}),
    ],
)
def test_threads_are_processes_to_the_bit(blobs, runner, grid, settings):
    threads = trained(blobs, grid=grid, **settings)
    processes = runner.run(resolve(spec(grid=grid, team="mpi", **settings), blobs))
    again = trained(blobs, grid=grid, **settings)
    assert bits(threads) == bits(processes) == bits(again)
    assert threads.bytes_sent == processes.bytes_sent
    assert threads.accuracy == processes.accuracy
    assert [point["accuracy"] for point in threads.curve] == [point["accuracy"] for point in processes.curve]


@pytest.mark.parametrize(
    "strategy",
    [
        "gradient",
        "periodic:1epoch",
        "diloco:1epoch",
        "periodic:7,send=int8",
        "one-shot:merge=fisher",
        "one-shot:merge=rebasin,starts=own",
        "one-shot:merge=ensemble",
        "swap:50%",
    ],
)
def test_groups_average_like_workers(blobs, strategy):
    settings = {"strategy": strategy, "dtype": "float64", "activation": "elu"}  # the kernel variant of other tests
    whole = trained(blobs, workers=2, **settings)
    divided = trained(blobs, grid="data=2,node=2", **settings)
    np.testing.assert_allclose(divided.losses, whole.losses, rtol=1e-6)
    tolerance = 1e-2 if "int8" in strategy else 1e-6
    np.testing.assert_allclose(divided.model.learner.parameters, whole.model.learner.parameters, atol=tolerance)


def test_a_checkpoint_goes_on_with_another_grid(digits, tmp_path):
    settings = {**NETWORK, "train_size": 500, "epochs": 6}
    whole = manyhands.train(digits, **settings)
    ended = []

    def end(event):
        if isinstance(event, EpochEnded) and event.epoch == 3:
            ended.append(event.rank)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manyhands.train(
            digits, **settings, grid="node=2", checkpoint=tmp_path, every="1epoch", checkpoint_cost=1,
            callbacks=[EventFunction(end, "epoch")],
        )  # fmt: skip
    assert ended == [0]  # a group has one voice
    for again in ({}, {"grid": "pairs=3"}, {"workers": 1}):
        found = manyhands.train(digits, resume=tmp_path, **again)
        np.testing.assert_allclose(found.losses, whole.losses, atol=1e-5)
        assert found.plan.grid.parts == {"": 2, "grid": 3, "workers": 1}["".join(again)]


def test_a_model_file_holds_the_whole_network(digits, tmp_path):
    result = manyhands.train(digits, **NETWORK, grid="weight=2")
    result.model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.learner.parameters.tobytes() == result.model.learner.parameters.tobytes()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"grid": "node=2", "learner": "published"}, "divides the learner mlp"),
        ({"grid": "node=2", "team": "torch"}, "threads or MPI"),
        ({"grid": "node=2", "hidden": ()}, "has none"),
        ({"grid": "node=4", "hidden": (3,)}, "one has 3 neurons"),
        ({"grid": "node=2", "workers": 3}, "multiply"),
        ({"grid": "data=2,node=2", "strategy": "hogwild"}, "share one whole vector"),
        ({"grid": "data=2,node=2", "strategy": "gradient:send=int8"}, "compresses"),
        ({"grid": "node=2", "on_loss": "continue"}, "lost with it"),
        ({"grid": "data=2,node=2", "strategy": "sequential"}, "one worker, not 2"),
    ],
)
def test_what_cannot_be_divided_is_refused(blobs, settings, words):
    with pytest.raises(SettingsError, match=words):
        resolve(spec(**settings), blobs)


def test_a_comparison_divides_where_there_are_workers(blobs):
    found = manyhands.compare(blobs, strategies=("gradient",), workers=(1, 2), seeds=1, grid="node=2", **NETWORK_ALONE)
    plans = {(run["strategy"], run["workers"]): run for run in found.runs}
    assert set(plans) == {("sequential", 1), ("gradient", 1), ("gradient", 2)}
    assert plans["gradient", 1]["bytes_sent"] == 0 < plans["gradient", 2]["bytes_sent"]
