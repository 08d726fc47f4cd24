"""What a run is given: settings as text or values, targets within the range of the loss."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import DataError, OutOfMemoryError, SettingsError
from manyhands.teams import launch
from manyhands.training.given import check_range, check_targets
from manyhands.training.resolve import resolve
from manyhands.training.spec import RunSpec

INTEGERS = ("workers", "batch", "epochs", "seed", "blas_threads")
REALS = ("learning_rate", "l2", "momentum", "beta_1", "beta_2", "epsilon", "rho", "weight_decay", "dropout")
WORDS = ("activation", "optimizer", "loss", "dtype", "weight_init", "bias_init")


@pytest.fixture
def nothing_starts(monkeypatch):
    def fail(*_args, **_words):
        raise AssertionError("it has started")

    monkeypatch.setattr("manyhands.training.api.run", fail)


@pytest.mark.usefixtures("nothing_starts")
class TestTrain:
    @pytest.mark.parametrize("name", INTEGERS)
    @pytest.mark.parametrize("value", [True, 1e3, "0", b"3", float("nan"), float("inf"), 1j, [3], np.array(3)], ids=str)
    def test_whole_numbers(self, blobs, name, value):
        with pytest.raises(SettingsError, match="must be a whole number,"):
            manyhands.train(blobs, strategy="gradient", **{name: value})

    @pytest.mark.parametrize("name", ["workers", "batch", "epochs", "blas_threads"])
    @pytest.mark.parametrize("value", [0, -1, 2**63, 10**30])
    def test_whole_numbers_within_limits(self, blobs, name, value):
        with pytest.raises(SettingsError, match=r"must be at (least|most)|must lie between|is not possible"):
            manyhands.train(blobs, strategy="gradient", **{name: value})

    def test_epochs_whose_steps_cannot_be_counted(self, blobs):
        with pytest.raises(SettingsError, match="more steps than can be counted"):
            manyhands.train(blobs, batch=1, epochs=2**62)

    @pytest.mark.parametrize("name", REALS)
    @pytest.mark.parametrize("value", [True, "0.1", 1j, [0.1], np.array(0.1), b"1"], ids=str)
    def test_real_numbers(self, blobs, name, value):
        with pytest.raises(SettingsError, match=f"{name.replace('_', '[_ ]')} must be a number, not"):
            manyhands.train(blobs, **{name: value})

    @pytest.mark.parametrize("name", REALS)
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 10**400], ids=["nan", "inf", "-1", "10**400"])
    def test_real_numbers_within_limits(self, blobs, name, value):
        with pytest.raises(SettingsError):
            manyhands.train(blobs, **{name: value})

    @pytest.mark.parametrize("name", WORDS)
    @pytest.mark.parametrize("value", [1, True, b"relu", ["relu"]], ids=str)
    def test_words(self, blobs, name, value):
        with pytest.raises(SettingsError):
            manyhands.train(blobs, **{name: value})

    @pytest.mark.parametrize("name", ["strategy", "schedule", "stop", "partition", "team", "sharding", "learner"])
    @pytest.mark.parametrize("value", [1, True, b"x", ["gradient"]], ids=str)
    def test_choices(self, blobs, name, value):
        with pytest.raises(SettingsError):
            manyhands.train(blobs, **{name: value})

    @pytest.mark.parametrize("value", [3, True, "75", (75.0,), (True,), ("5",), ((3,),), {3}, None, np.array(5), b"ab"])
    def test_hidden_layers(self, blobs, value):
        with pytest.raises(SettingsError, match="hidden"):
            manyhands.train(blobs, hidden=value)

    @pytest.mark.parametrize("name", ["pin", "convergence"])
    @pytest.mark.parametrize("value", ["yes", None, 2])
    def test_true_and_false(self, blobs, name, value):
        with pytest.raises(SettingsError, match=f"{name} must be True or False"):
            manyhands.train(blobs, **{name: value})

    @pytest.mark.parametrize("name", ["train_size", "validation"])
    @pytest.mark.parametrize("value", [True, 1e3, [3], 2**63])
    def test_numbers_of_rows(self, name, value):
        with pytest.raises(SettingsError, match=r"must be (a whole number|at most)"):
            manyhands.train("digits", **{name: value})

    @pytest.mark.parametrize("hidden", [(10**9,), (10**12,), (10**5,) * 3, (2**63 - 1,)], ids=str)
    @pytest.mark.parametrize("team", ["threads", "mpi"])
    def test_networks_that_fit_into_no_memory(self, blobs, hidden, team):
        with pytest.raises(OutOfMemoryError, match=r"3 workers, each with a network of .* parameters"):
            manyhands.train(blobs, hidden=hidden, strategy="gradient", workers=3, team=team)

    def test_members_side_by_side_make_a_larger_network(self, blobs, monkeypatch):
        monkeypatch.setattr("manyhands.runtime.memory.memory_room", lambda: (100 << 20, "free"))
        words = {"network": manyhands.MLPSettings(hidden=(800, 800)), "workers": 4}
        resolve(RunSpec(strategy="one-shot", **words), blobs)
        with pytest.raises(OutOfMemoryError):
            resolve(RunSpec(strategy="one-shot:merge=ensemble", **words), blobs)


def test_a_crowd_is_told_of(blobs, monkeypatch, notices):
    monkeypatch.setattr("manyhands.runtime.affinity.usable_cores", lambda: 2)
    monkeypatch.setattr("manyhands.training.api.run", lambda *_args, **_words: SimpleNamespace(problem=None))
    manyhands.train(blobs, strategy="gradient", workers=8)
    assert not notices
    manyhands.train(blobs, strategy="gradient", workers=50)
    assert notices == ["50 workers have 2 usable cores here and take turns on them: this takes much longer than with 2"]


def test_threads_that_cannot_begin(monkeypatch):
    class Thread:
        def __init__(self, begins):
            self.begins = begins

        def start(self):
            if not self.begins:
                raise RuntimeError("can't start new thread")

    with pytest.raises(SettingsError, match=r"only 4 of 6 workers could begin.*use at most 2 workers"):
        launch.begin([Thread(number < 4) for number in range(6)])


def test_memory_that_runs_out_in_a_worker(blobs, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("manyhands.training.run._work", fail)
    with pytest.raises(OutOfMemoryError, match="the training has run out of memory"):
        manyhands.train(blobs, strategy="gradient", workers=2)


class TestTargets:
    @pytest.mark.parametrize(
        ("loss", "value"),
        [
            ("poisson", -1e-9),
            ("poisson", np.nan),
            ("poisson", np.inf),
            ("binary_cross_entropy", 1.5),
            ("binary_cross_entropy", -0.1),
            ("cross_entropy", 2.0),
            ("squared_error", np.nan),
            ("squared_error", np.inf),
        ],
    )
    def test_those_that_the_loss_is_not_defined_for(self, loss, value):
        targets = np.full((4, 2), 0.5)
        check_range(targets, loss)
        targets[2, 1] = value
        with pytest.raises(DataError, match=f"range of the loss {loss}.*row 3 has"):
            check_range(targets, loss)

    @pytest.mark.parametrize(("loss", "value"), [("poisson", 1e6), ("squared_error", -1e6), ("poisson", -0.0)])
    def test_those_that_it_is_defined_for(self, loss, value):
        check_range(np.full((4, 2), value), loss)

    @pytest.mark.parametrize("where", ["train", "validation"])
    def test_all_tables_are_looked_at(self, blobs, where):
        def table(value):
            return replace(blobs.train, targets=np.full((blobs.train.rows, 2), value, np.float32))

        dataset = replace(blobs, train=table(0.0), validation=table(0.0))
        check_targets(dataset, "poisson")
        with pytest.raises(DataError, match=rf"{'training' if where == 'train' else where} row 1 has -1\.0"):
            resolve(RunSpec(network=manyhands.MLPSettings(loss="poisson")), replace(dataset, **{where: table(-1.0)}))
