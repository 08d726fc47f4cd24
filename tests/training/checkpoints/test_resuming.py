"""A run that goes on from a checkpoint ends as if nothing had happened, to the last bit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import manyhands
from manyhands import RunSpec
from manyhands.core.errors import SettingsError
from manyhands.training.checkpoints.folder import CheckpointFolder
from manyhands.training.checkpoints.identity import check_workers
from manyhands.training.model_file import CHECKPOINT, read_file, write_file

RUN = {"workers": 3, "epochs": 5, "hidden": (12,), "batch": 100}
EACH = {"checkpoint_cost": 1, "keep": 1000}
"""Write each one that is due."""
STRATEGIES = [
    "gradient", "gradient:send=int8", "periodic:1epoch", "periodic:4", "periodic:5,send=float16,merge=mean",
    "periodic:3,state=mean", "slowmo:6,beta=0.5", "diloco:7", "minibatch:2epochs", "post-local:5", "swap:40%",
    "gradient@40% then periodic:4", "periodic:4@60% then gradient", "one-shot", "one-shot:merge=ensemble",
]  # fmt: skip


def names_in(path):
    """The names of all files in a folder."""
    return sorted(each.name for each in path.iterdir())


def result_of(found):
    """Everything about a result but its times."""
    facts = (found.steps, found.rounds, found.bytes_sent, found.examples, found.losses)
    vectors = found.model.learner.parameters.tobytes(), found.model.learner.buffers.tobytes()
    return vectors, facts, [{**point, "train_s": 0} for point in found.curve]


@pytest.fixture
def resumed(tmp_path):
    """Train with checkpoints, then go on from some of them; yields the whole run's result and theirs."""

    def carry_out(data, changes=None, most=4, *, every, **run):
        whole = manyhands.train(data, **run)
        folder = tmp_path / "all"
        assert result_of(manyhands.train(data, **run, checkpoint=folder, every=every, **EACH)) == result_of(whole)
        paths = CheckpointFolder(folder).files()
        assert paths
        for path in paths[:: max(1, len(paths) // most)]:
            alone = tmp_path / path.stem
            alone.mkdir()
            shutil.copy(path, alone)
            yield whole, manyhands.train(data, **{**run, **(changes or {})}, resume=alone)

    return carry_out


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")
def test_every_strategy(digits, resumed, strategy):
    every = "7rounds" if strategy.startswith(("gradient", "post", "swap")) else "1epoch"
    for whole, found in resumed(digits, strategy=strategy, every=every, **RUN):
        assert result_of(found) == result_of(whole)
        assert [each["kind"] for each in found.incidents] == ["resumed"]


@pytest.mark.parametrize(
    "more",
    [
        {"strategy": "periodic:3", "dropout": 0.3},
        {"strategy": "gradient", "optimizer": "lamb"},
        {"strategy": "periodic:4", "convergence": True},
        {"strategy": "gradient", "stop": "loss:0.02,patience=1", "epochs": 40},
        {"strategy": "gradient", "stop": "unchanged:0.1", "epochs": 12},
        {"strategy": "periodic:1epoch", "partition": "dirichlet:0.5", "schedule": "cosine"},
        {"strategy": "sequential", "workers": 1, "every": "11rounds"},
    ],
    ids=lambda more: "-".join(str(value) for value in more.values()),
)
@pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")
def test_all_that_has_a_memory(digits, resumed, more):
    for whole, found in resumed(digits, **{"every": "3rounds", **RUN, **more}):
        assert result_of(found) == result_of(whole)


@pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")
def test_another_team(digits, resumed):
    for whole, found in resumed(digits, {"team": "mpi"}, most=1, strategy="periodic:4", every="5rounds", **RUN):
        assert result_of(found) == result_of(whole)


@pytest.mark.parametrize(
    "more", [{"augment": ("shift",)}, {"speculative": 0.3}, {"speculative": 1.0, "weight_prediction": True}]
)
@pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")
def test_networks_in_pytorch(mnist, resumed, more):
    pytest.importorskip("torch")
    small = mnist.head(400, 100) if hasattr(mnist, "head") else mnist
    run = {"workers": 2, "epochs": 3, "batch": 100, "learner": "cnn-small", "strategy": "gradient", "every": "3rounds"}
    for whole, found in resumed(small, most=2, **run, **more):
        assert result_of(found) == result_of(whole)


class TestOtherNumbersOfWorkers:
    @pytest.fixture
    def folder(self, digits, tmp_path):
        manyhands.train(digits, strategy="periodic:1epoch", checkpoint=tmp_path, every="2epochs", **RUN, **EACH)
        return tmp_path

    @pytest.mark.parametrize("workers", [1, 2, 4])
    def test_they_go_on_where_all_had_the_same(self, digits, folder, workers):
        found = manyhands.train(digits, strategy="periodic:1epoch", resume=folder, **{**RUN, "workers": workers})
        assert f"with {workers} worker" in found.incidents[0]["text"]
        assert "instead of 3, so not bit for bit" in found.incidents[0]["text"]
        assert (found.plan.workers, len(found.losses), found.incidents[0]["exact"]) == (workers, 5, False)
        assert found.accuracy > 0.3

    def test_between_two_rounds_they_cannot(self, digits, tmp_path):
        manyhands.train(digits, strategy="periodic:3epochs", checkpoint=tmp_path, every="4epochs", **RUN, **EACH)
        with pytest.raises(SettingsError, match=r"had different parameters .* so only as many can go on: workers=3"):
            manyhands.train(digits, strategy="periodic:3epochs", resume=tmp_path, **{**RUN, "workers": 2})

    def test_as_many_need_nothing(self, folder):
        assert check_workers(CheckpointFolder(folder).newest(), 3) is None


def test_a_target_needs_a_run_that_measures(tmp_path, capsys):
    from manyhands import cli

    folder = str(tmp_path / "run")
    words = ["train", "--data", "digits", "--epochs", "4", "--quiet"]
    assert cli.main([*words, "--checkpoint", folder, "--every", "1epochs", "--checkpoint-cost", "100%"]) == 0
    assert cli.main(["train", "--quiet", "--resume", folder, "--target", "10%"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--target has no effect: the run that is resumed was begun without --convergence" in said


class TestRefused:
    @pytest.fixture
    def folder(self, digits, tmp_path):
        manyhands.train(digits, strategy="periodic:1epoch", checkpoint=tmp_path, every="1epoch", **RUN, **EACH)
        return tmp_path

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"epochs": 6}, r"a run with epochs=5, not 6: leave epochs out"),
            ({"hidden": (13,)}, r"a run with hidden="),
            ({"learning_rate": 0.5}, r"learning_rate=0\.001, not 0\.5"),
            ({"seed": 1}, r"seed=0, not 1"),
            ({"strategy": "gradient"}, r"strategy=.*periodic:1epoch.*, not gradient"),
            ({"train_size": "all"}, r"a run with no train_size, not all: leave train_size out"),
            ({"convergence": True}, r"a run with no convergence, not convergence=True: leave"),
        ],
    )
    def test_other_settings(self, digits, folder, changes, words):
        with pytest.raises(SettingsError, match=words):
            manyhands.train(digits, **{"strategy": "periodic:1epoch", **RUN, **changes}, resume=folder)

    def test_other_data(self, digits, folder):
        features = digits.train.features.copy()
        features[3, 20] += 1
        from dataclasses import replace

        other = replace(digits, train=digits.train.with_arrays({"features": features}))
        with pytest.raises(SettingsError, match=r"a run on other data: checksum \d+ \(now \d+\)"):
            manyhands.train(other, resume=folder)

    def test_data_in_memory_must_be_given_again(self, folder, digits, tmp_path):
        given = digits.train.features[:300], digits.train.labels[:300]
        manyhands.train(given, epochs=3, checkpoint=tmp_path / "own", every="1epoch", **EACH)
        with pytest.raises(SettingsError, match="trained on data in memory: give the same again"):
            manyhands.train(resume=tmp_path / "own")
        assert manyhands.train(given, resume=tmp_path / "own").incidents

    def test_another_major_version(self, digits, folder):
        for path in CheckpointFolder(folder).files():
            texts, arrays = read_file(path, CHECKPOINT)
            texts.pop("sha256"), texts.pop("format")
            write_file(path, {**texts, "version": "7.1.0"}, arrays, CHECKPOINT)
        with pytest.raises(SettingsError, match=r"written by version 7\.1\.0, and this is version"):
            manyhands.train(digits, resume=folder)

    def test_a_folder_in_use(self, digits, folder):
        with pytest.raises(SettingsError, match="has 4 checkpoints of an earlier run"):
            manyhands.train(digits, strategy="periodic:1epoch", checkpoint=folder, **RUN)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"every": "5epochs"}, "every='5epochs'|every has no effect without checkpoint or resume"),
            ({"keep": 5}, "keep has no effect without"),
            ({"max_restarts": 1}, "max_restarts has no effect without on_loss='restart'"),
            ({"learner": "published", "checkpoint": "x"}, "trains in one call"),
            ({"every": "often"}, "is no time between two checkpoints"),
            ({"every": "1.5epochs"}, "whole numbers of epochs"),
            ({"checkpoint": 7}, "must name a folder"),
        ],
    )
    def test_settings_that_cannot_be(self, digits, settings, words):
        with pytest.raises(SettingsError, match=words):
            manyhands.train(digits, **settings)


def test_settings_and_data_are_those_of_the_checkpoint(tmp_path):
    run = {"strategy": "auto", "workers": 2, "epochs": 12, "hidden": (10,), "train_size": 500, "scale": "standard"}
    whole = manyhands.train("digits", **run, checkpoint=tmp_path, every="3epochs", **EACH)
    found = manyhands.train(resume=tmp_path)
    assert result_of(found) == result_of(whole)
    assert {**found.plan.to_json(), "reliability": 0, "chosen_by_auto": 0, "why": ""} == {
        **whole.plan.to_json(),
        "reliability": 0,
        "chosen_by_auto": 0,
        "why": "",
    }
    assert result_of(manyhands.train("digits", RunSpec(**run_spec(run)), resume=tmp_path)) == result_of(whole)


def run_spec(settings):
    """The settings of a run as fields of `RunSpec`, those of the network aside."""
    return {name: value for name, value in settings.items() if name != "hidden"}


def test_checkpoints_go_on_where_they_were(tmp_path, digits):
    run = {"strategy": "gradient", "checkpoint": tmp_path / "first", "every": "2epochs", **RUN, **EACH}
    manyhands.train(digits, **{**run, "keep": 1})
    (newest,) = names_in(tmp_path / "first")
    assert newest == "checkpoint-000000000060.safetensors"
    manyhands.train(digits, resume=tmp_path / "first", checkpoint=tmp_path / "second", every="1round", **EACH)
    names = names_in(tmp_path / "second")
    assert names[0] == "checkpoint-000000000061.safetensors"
    assert names_in(tmp_path / "first") == [newest]


def test_without_checkpoints_epochs_are_held_in_one_call(digits, monkeypatch):
    """None asked for, nothing paid: the loop takes as few calls as before."""
    from manyhands.training.stepping import Stepping

    calls, usual = [], Stepping._epochs_in_one_call
    monkeypatch.setattr(
        Stepping, "_epochs_in_one_call", lambda self, *given: (calls.append(given[1]), usual(self, *given))[1]
    )
    manyhands.train(digits, strategy="periodic:1epoch", **{**RUN, "epochs": 40})
    assert calls == [40] * 3


def test_what_is_written_says_what_it_is(digits, tmp_path):
    manyhands.train(digits, strategy="gradient", checkpoint=tmp_path, every="4epochs", **RUN, **EACH)
    (path,) = CheckpointFolder(tmp_path).files()
    texts, arrays = read_file(path, CHECKPOINT)
    identity, workers = json.loads(texts["identity"]), json.loads(texts["workers"])
    assert (identity["settings"]["strategy"], identity["workers"], identity["settings"]["hidden"]) == (
        "gradient",
        3,
        [12],
    )
    assert [(each["epoch"], each["step"]) for each in workers] == [(4, 0)] * 3
    assert {name for name in arrays if name.startswith("all ")} == {"all parameters", "all m", "all v"} or len(
        arrays
    ) > 3
    assert all(np.isfinite(array).all() for array in arrays.values())


@pytest.mark.slow
def test_all_processes_of_a_job_hear_that_there_is_nothing_to_go_on_from(tmp_path):
    job = [Path(sys.prefix, "bin", "mpiexec"), "-n", "2", "--host", "localhost:2", "--bind-to", "none"]
    program = [sys.executable, "-m", "manyhands", "train", "--team", "mpi", "--resume", str(tmp_path / "none")]
    environment = {**os.environ, "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,sm"}
    found = subprocess.run(
        [*job, "--allow-run-as-root", *program],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert found.returncode == 2
    assert "with checkpoints" in found.stderr
