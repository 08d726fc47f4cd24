"""``manyhands train`` and ``manyhands evaluate``: the model in the file is the model that was trained."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import manyhands
from manyhands.cli import main
from manyhands.data.catalog import DataRequest, load_test

SMALL = ["--hidden", "8", "--epochs", "4"]
LIMITED = (
    "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700)); "
    "runpy.run_module('manyhands', run_name='__main__', alter_sys=True)"
)
"""Starts the program where no file can become larger than 700 bytes, which looks to it like a full disk."""


def call(*arguments):
    return main([str(argument) for argument in arguments])


def process(*command):
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=100, check=False
    )


def percent(text):
    return re.search(r"^accuracy  (\d+\.\d\d) % of (\d+) test rows$", text, re.MULTILINE).groups()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of the digits and its report, from a real process."""
    folder = tmp_path_factory.mktemp("trained")
    files = ["--out", folder / "m.safetensors", "--json", folder / "m.json"]
    done = process("-m", "manyhands", "train", "--data", "digits", *SMALL, *files)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout, json.loads((folder / "m.json").read_text())


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """CSV files with words for labels, in the last of three columns."""
    folder = tmp_path_factory.mktemp("animals")
    rng = np.random.default_rng(3)
    for part, rows in (("train", 120), ("test", 40)):
        lines = ["weight,height,animal"]
        for row in range(rows):
            kind, centre = (("cat", 4), ("dog", 300), ("cow", 600))[row % 3]
            weight, height = rng.normal(centre, 9, 2)
            lines.append(f"{weight:.3f},{height:.3f},{kind}")
        (folder / f"{part}.csv").write_text("\n".join(lines) + "\n")
    return folder


def csv_options(folder):
    return ["--train-csv", folder / "train.csv", "--test-csv", folder / "test.csv", "--label-column", "animal"]


@pytest.fixture(scope="module")
def animal_model(animals):
    path = animals / "animals.safetensors"
    assert call("train", *csv_options(animals), "--hidden", "6", "--epochs", 90, "--batch", 20, "--out", path) == 0
    return path


class TestRoundTrip:
    def test_evaluate_says_what_train_said(self, trained, tmp_path, capsys):
        folder, out, report = trained
        path = tmp_path / "e.json"
        assert call("evaluate", folder / "m.safetensors", "--data", "digits", "--json", path) == 0
        printed = capsys.readouterr()
        assert percent(printed.out) == percent(out)
        assert printed.err == ""
        assert json.loads(path.read_text())["accuracy"] == report["accuracy"]

    def test_python_loads_the_same_model(self, trained):
        folder, _, report = trained
        model = manyhands.load_model(folder / "m.safetensors")
        assert model.accuracy(load_test(DataRequest("digits"))) == report["accuracy"]

    def test_python_trains_the_same_model(self, trained):
        folder, _, report = trained
        result = manyhands.train("digits", hidden=(8,), epochs=4)
        assert (result.accuracy, result.losses) == (report["accuracy"], report["losses"])
        loaded = manyhands.load_model(folder / "m.safetensors")
        for name, block in result.model.learner.weights().items():
            np.testing.assert_array_equal(loaded.learner.weights()[name], block, err_msg=name)

    def test_report_has_the_run(self, trained):
        _, out, report = trained
        assert report["schema"] == "manyhands.train/1"
        assert percent(out) == (f"{100 * report['accuracy']:.2f}", "360")
        assert (report["steps"], report["examples"], report["rounds"]) == (32, 4 * 1437, 0)
        assert len(report["losses"]) == 4
        assert len(report["seconds"]) == 9
        assert report["settings"]["data"]["test_rows"] == 360
        assert "train --data digits --hidden 8" in report["environment"]["command"]

    def test_reading_does_not_count_imports(self, trained):
        """The digits are read in some 30 ms; importing scikit-learn for it takes over a second, once."""
        assert trained[2]["seconds"]["read"] < 0.4

    def test_parallel_run_on_real_handwriting(self, data_folder, tmp_path, capsys):
        files = ["--out", tmp_path / "m", "--json", tmp_path / "m.json"]
        how = ["--strategy", "periodic:1epoch", "--workers", 2, "--epochs", 5]
        assert call("train", "--data", data_folder / "mnist", "--train", 6000, *how, *files) == 0
        told = percent(capsys.readouterr().out)
        assert float(told[0]) > 90
        assert told[1] == "10000"
        assert call("evaluate", tmp_path / "m", "--data", "mnist") == 0
        assert percent(capsys.readouterr().out) == told

    def test_quiet_prints_results_only(self, capsys):
        assert call("train", "--data", "digits", *SMALL, "--quiet") == 0
        printed = capsys.readouterr()
        assert "plan" not in printed.out
        assert percent(printed.out)[1] == "360"
        assert printed.err == ""


class TestWords:
    def test_labels_may_be_words(self, animal_model, animals, capsys):
        assert call("evaluate", animal_model, "--test-csv", animals / "test.csv", "--label-column", "animal") == 0
        share, rows = percent(capsys.readouterr().out)
        assert (float(share) > 90, rows) == (True, "40")

    def test_predictions_are_words(self, animal_model):
        model = manyhands.load_model(animal_model)
        assert model.predict(np.array([[4, 4], [300, 300], [600, 600]])).tolist() == ["cat", "dog", "cow"]

    def test_class_that_the_model_does_not_know(self, animal_model, tmp_path, capsys):
        (tmp_path / "new.csv").write_text("weight,height,animal\n4,4,cat\n2,2,hen\n")
        status = call("evaluate", animal_model, "--test-csv", tmp_path / "new.csv", "--label-column", "animal")
        assert status == 1
        assert "'hen'" in capsys.readouterr().err

    def test_data_and_csv_contradict_each_other(self, animal_model, animals, capsys):
        """As for train, which refuses them; one of the two would be ignored in silence."""
        rows = ["--test-csv", animals / "test.csv", "--label-column", "animal"]
        assert call("evaluate", animal_model, "--data", "digits", *rows) == 2
        assert "--data" in capsys.readouterr().err


class TestEvaluateRefuses:
    def test_data_of_another_width(self, animal_model, capsys):
        assert call("evaluate", animal_model, "--data", "digits") == 1
        assert "takes 2 features per row, these have 64" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["missing", "folder", "text"])
    def test_what_is_no_model(self, tmp_path, capsys, name):
        (tmp_path / "folder").mkdir()
        (tmp_path / "text").write_text("not a model")
        assert call("evaluate", tmp_path / name, "--data", "digits") == 1
        printed = capsys.readouterr()
        assert printed.err.startswith(f"manyhands evaluate: {tmp_path / name}: ")
        assert printed.err.count("\n") == 1
        assert printed.out == ""


class TestTrainRefuses:
    @pytest.fixture
    def no_training(self, monkeypatch):
        monkeypatch.setattr("manyhands.training.run.run", lambda *_a, **_o: pytest.fail("training was started"))

    @pytest.mark.usefixtures("no_training")
    @pytest.mark.parametrize(
        ("arguments", "status", "words"),
        [
            ("--out no/such/m.safetensors", 1, "there is no folder no/such"),
            ("--out .", 1, "it is a folder"),
            ("--json no/such/m.json", 1, "there is no folder no/such"),
            ("--out x --json x", 2, "same file"),
            ("--workers 2", 2, "sequential strategy has one worker, not 2"),
            ("--workers 201 --strategy gradient", 2, "201 workers cannot share"),
            ("--strategy telepathy", 2, "unknown strategy"),
            ("--train 1438", 2, "digits has 1437 training rows"),
        ],
    )
    def test_what_cannot_work_before_training(self, capsys, arguments, status, words):
        assert call("train", "--data", "digits", *SMALL, *arguments.split()) == status
        printed = capsys.readouterr()
        assert words in printed.err
        assert printed.err.count("\n") == 1
        assert printed.out == ""

    def test_training_that_diverges_writes_nothing(self, tmp_path, capsys):
        status = call("train", "--data", "digits", *SMALL, "--learning-rate", "1e30", "--out", tmp_path / "m")
        assert status == 1
        assert re.search(r"manyhands train: the loss became (nan|inf) at step \d+", capsys.readouterr().err)
        assert list(tmp_path.iterdir()) == []


class TestFiles:
    @pytest.mark.parametrize(("option", "old"), [("--out", None), ("--json", "what was there")])
    def test_full_disk_leaves_what_was_there(self, animals, animal_model, tmp_path, option, old):
        # animal_model has compiled everything, so that no cache needs writing now.
        del animal_model
        target = tmp_path / "result"
        if old is not None:
            target.write_text(old)
        done = process("-c", LIMITED, "train", *csv_options(animals), *SMALL, option, target)
        assert done.returncode == 1
        assert done.stderr == f"manyhands train: cannot write {target}: File too large\n"
        assert [path.read_text() for path in tmp_path.iterdir()] == ([] if old is None else [old])

    def test_model_replaces_an_older_one(self, animals, animal_model, tmp_path):
        target = tmp_path / "m"
        target.write_text("older")
        assert call("train", *csv_options(animals), *SMALL, "--out", target) == 0
        assert manyhands.load_model(target).classes.tolist() == manyhands.load_model(animal_model).classes.tolist()
        assert list(tmp_path.iterdir()) == [target]

    def test_link_stays_a_link(self, animals, tmp_path):
        """To a file elsewhere, or to a device such as /dev/null, which a rename would replace by a file."""
        link = tmp_path / "report.json"
        link.symlink_to(os.devnull)
        call("train", *csv_options(animals), *SMALL, "--json", link)
        assert link.is_symlink()
