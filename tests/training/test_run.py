"""Runs as a whole: clocks, events, and runs that go wrong."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

import manyhands
from manyhands.core.callbacks import EventFunction
from manyhands.core.errors import DataError, DivergedError, SettingsError
from manyhands.core.events import EpochEnded, Measured, RoundHeld
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.filestate import FileState
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.training.clock import PHASES, PhaseClock, slowest
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec


def plan_for(dataset, **changes):
    chosen = {"network": MLPSettings(hidden=(8,)), "epochs": 3, "batch": 20, **changes}
    return resolve(RunSpec(**chosen), dataset)


def test_the_slowest_worker_counts_and_total_adds_up():
    clocks = [PhaseClock(), PhaseClock()]
    clocks[0].seconds.update(read=2.0, compute=1.0, communicate=0.5, distribute=0.25)
    clocks[1].seconds.update(compute=0.75, communicate=0.75)
    clocks[0].train, clocks[1].train = 1.5, 1.625
    seconds = slowest([clock.report() for clock in clocks])
    assert seconds["compute"] == 1.0
    assert seconds["communicate"] == 0.75
    assert seconds["train"] == 1.625
    assert seconds["total"] == 2.0 + 0.25 + 1.625


def test_a_phase_is_measured_where_it_happens():
    clock = PhaseClock()
    with clock.phase("merge"):
        time.sleep(0.02)
    assert 0.02 <= clock.seconds["merge"] < 0.2
    assert sum(clock.seconds.values()) == clock.seconds["merge"]


@pytest.mark.parametrize(("strategy", "workers"), [("sequential", 1), ("periodic:1epoch", 2), ("gradient", 3)])
def test_phases_of_a_run(digits, strategy, workers):
    result = run(plan_for(digits, strategy=strategy, workers=workers, epochs=10), digits)
    assert set(result.seconds) == {*PHASES, "train", "total"}
    assert all(value >= 0 for value in result.seconds.values())
    assert result.seconds["compute"] <= result.seconds["train"]
    assert result.seconds["communicate"] <= result.seconds["train"]
    assert (result.seconds["communicate"] > 0) == (workers > 1)
    assert result.seconds["total"] == pytest.approx(
        result.seconds["read"] + result.seconds["distribute"] + result.seconds["train"]
    )
    assert result.seconds["read"] == digits.seconds


def test_compiling_is_over_before_the_clock_starts(blobs):
    # float64 with logistic units is compiled by no other test of this file; were it compiled inside, train would be s.
    settings = MLPSettings(hidden=(8,), activation="logistic", dtype="float64", optimizer="sgd")
    result = run(resolve(RunSpec(network=settings, strategy="gradient", workers=2, epochs=1), blobs), blobs)
    assert result.seconds["train"] < 0.5


def test_callbacks_receive_epochs_and_rounds(blobs):
    heard, lock = [], threading.Lock()

    def callback(event):
        with lock:
            heard.append(event)

    result = run(
        plan_for(blobs, strategy="periodic:1epoch", workers=2), blobs, callbacks=[EventFunction(callback, "round")]
    )
    epochs = [event for event in heard if isinstance(event, EpochEnded) and event.rank == 1]
    rounds = [event for event in heard if isinstance(event, RoundHeld) and event.rank == 0]
    assert [event.epoch for event in epochs] == [1, 2, 3]
    assert [(event.number, event.step) for event in rounds] == [(1, 6), (2, 12), (3, 18)]
    assert result.losses[0] == pytest.approx(np.mean([e.loss for e in heard if isinstance(e, EpochEnded)][:2]), rel=0.2)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mapped_file_that_is_changed_during_training_is_a_data_error(blobs, tmp_path, workers):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(b"values")
    dataset = replace(blobs, files=(replace(FileState.of(path), mapped=True),))

    def callback(_event):
        path.write_bytes(b"other values")

    plan = plan_for(dataset, strategy="periodic:1epoch" if workers > 1 else "sequential", workers=workers)
    run(plan, dataset)
    with pytest.raises(DataError, match="train-images-idx3-ubyte: the file was changed while it was used"):
        run(plan, dataset, callbacks=[callback])


def test_progress_is_told_to_the_caller(digits, monkeypatch):
    monkeypatch.setattr("manyhands.teams.launch._TICK_SECONDS", 0.005)
    told = []
    run(plan_for(digits, epochs=60), digits, progress=told.append)
    assert told == sorted(told)
    assert told[-1] > 0


@pytest.mark.parametrize(("strategy", "workers"), [("sequential", 1), ("one-shot", 3), ("gradient", 2)])
def test_divergence_names_the_step_and_ends_all_workers(digits, strategy, workers):
    settings = MLPSettings(hidden=(8,), optimizer="sgd", learning_rate=1e20)
    with pytest.raises(DivergedError, match=r"step \d+ on worker \d") as caught:
        run(plan_for(digits, strategy=strategy, workers=workers, network=settings), digits)
    assert 1 <= caught.value.step <= 10
    assert not any(thread.name.startswith("manyhands-worker") for thread in threading.enumerate())


def test_parameters_that_overflow_in_the_very_last_step_are_found(blobs):
    # One step only: its loss is still finite, what it leaves behind is not.
    settings = MLPSettings(hidden=(), optimizer="sgd", learning_rate=1e39)
    with pytest.raises(DivergedError):
        run(plan_for(blobs, network=settings, epochs=1, batch=103), blobs)


def test_an_error_of_a_callback_ends_the_run(blobs):
    def callback(event):
        raise ZeroDivisionError("callback")

    with pytest.raises(ZeroDivisionError, match="callback"):
        run(plan_for(blobs, strategy="periodic:1epoch", workers=2), blobs, callbacks=[callback])


def test_an_error_of_a_callback_at_a_measurement_ends_the_run(blobs):
    """All others wait for rank 0 then."""

    def callback(event):
        if isinstance(event, Measured):
            raise ZeroDivisionError("callback")

    with pytest.raises(ZeroDivisionError, match="callback"):
        run(plan_for(blobs, strategy="periodic:1epoch", workers=3, convergence=True), blobs, callbacks=[callback])
    assert not any(thread.name.startswith("manyhands-worker") for thread in threading.enumerate())


def test_convergence_from_python():
    result = manyhands.train("digits", strategy="periodic:1epoch", workers=2, epochs=20, convergence=True)
    assert [point["epoch"] for point in result.curve] == list(range(1, 21))
    assert result.seconds_to(result.accuracy) <= result.curve[-1]["train_s"] <= result.seconds["train"]
    assert manyhands.train("digits", epochs=1).curve == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "sequential", "workers": 2},
        {"strategy": "gradient", "workers": 0},
        {"strategy": "gradient", "workers": 21},
        {"epochs": 0},
        {"batch": 0},
        {"batch": 104},
        {"seed": -1},
        {"sharding": "local"},
        {"team": "mesh", "strategy": "gradient"},
        {"strategy": "magic"},
    ],
    ids=str,
)
def test_impossible_plans_are_refused_before_training(blobs, wrong):
    with pytest.raises(SettingsError):
        plan_for(blobs, **wrong)


def test_the_default_batch_is_200_or_all_rows(blobs, digits):
    assert resolve(RunSpec(), blobs).batch == 103
    assert resolve(RunSpec(), digits).batch == 200


def test_a_plan_says_what_it_will_do(blobs):
    text = str(plan_for(blobs, strategy="periodic:1epoch", workers=2, seed=4))
    for part in ("periodic:1epoch", "2 workers", "threads", "global batch 20", "3 epochs", "seed 4", "adam 0.001"):
        assert part in text


def test_train_from_python():
    result = manyhands.train("digits", strategy="periodic:1epoch", workers=2, epochs=60, hidden=(30,), seed=1)
    assert result.accuracy > 0.9
    assert result.plan.network.hidden == (30,)
    assert result.model.predict(np.zeros((2, 8, 8))).shape == (2,)


def test_train_on_ones_own_arrays():
    rng = np.random.default_rng(0)
    labels = np.array(["cat", "dog"] * 50)
    features = rng.normal(size=(100, 3)) + 3 * (labels == "dog")[:, None]
    dataset = make_dataset("pets", Examples(features, labels), Examples(features[:20], labels[:20]))
    result = manyhands.train(dataset, epochs=30, batch=10, learning_rate=0.01)
    assert result.accuracy > 0.9
    assert set(result.model.predict(features[:4])) == {"cat", "dog"}


def test_unknown_settings_of_the_network_are_refused():
    with pytest.raises(TypeError, match="widht"):
        manyhands.train("digits", widht=3)
