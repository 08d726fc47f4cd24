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
    return re.search(r"^accuracy  (\d+\.\d\d) % of ([\d,]+) test samples$", text, re.MULTILINE).groups()


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
        assert call("train", "--data", data_folder / "mnist", "--train-size", 6000, *how, *files) == 0
        told = percent(capsys.readouterr().out)
        assert float(told[0]) > 90
        assert told[1] == "10,000"
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
            ("--json no/such/m.json", 1, "there is no folder no/such"),
            ("--out x --json x", 2, "same file"),
            ("--workers 2 --strategy sequential", 2, "one worker, not 2; choose another, such as --strategy auto"),
            ("--train-size 1438", 2, "digits has 1437 training rows"),
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


class TestConvergence:
    WORDS = ("train", "--data", "digits", "--hidden", "20", "--strategy", "periodic:1epoch", "--workers", 2)

    def test_without_it_nothing_is_measured(self, trained):
        _, out, report = trained
        assert (report["curve"], report["target"], report["target_s"]) == (None, None, None)
        assert "target" not in out

    def test_the_curve_is_in_the_file(self, tmp_path, capsys):
        path = tmp_path / "r.json"
        assert call(*self.WORDS, "--epochs", 5, "--convergence", "--json", path) == 0
        assert "target" not in capsys.readouterr().out
        report = json.loads(path.read_text())
        # 1,437 rows in batches of 200: 8 steps an epoch, and a round after each.
        assert [(point["step"], point["epoch"], point["round"]) for point in report["curve"]] == [
            (8 * epoch, epoch, epoch) for epoch in range(1, 6)
        ]
        assert report["curve"][-1]["accuracy"] == report["accuracy"]
        assert report["settings"]["convergence"] is True

    @pytest.mark.parametrize("target", [0.6, 1])
    def test_time_to_a_target(self, tmp_path, capsys, target):
        path = tmp_path / "r.json"
        assert call(*self.WORDS, "--epochs", 30, "--target", target, "--json", path, "--quiet") == 0
        out = capsys.readouterr().out
        report = json.loads(path.read_text())
        reached = [point["train_s"] for point in report["curve"] if point["accuracy"] >= target]
        assert bool(reached) == (target < 1)
        assert (report["target"], report["target_s"]) == (target, reached[0] if reached else None)
        when = f"reached after {reached[0]:.3f} s of training" if reached else "never reached"
        assert f"\ntarget    {100 * target:g} %: {when}\n" in out

    @pytest.mark.parametrize("target", ["0", "1.5", "93", "-1", "nan", "inf", "high"])
    def test_targets_that_are_none(self, capsys, target):
        with pytest.raises(SystemExit) as stopped:
            call(*self.WORDS, f"--target={target}")
        assert stopped.value.code == 2
        message = capsys.readouterr().err.splitlines()[0]
        assert f"'{target}' is not an accuracy above 0 and up to 1" in message
        assert ("write 93% or 0.93" in message) == (target == "93")

    @pytest.mark.parametrize(("more", "events"), [([], ["epoch"]), (["--log-rounds"], ["round", "epoch"])])
    def test_logs_of_a_run(self, tmp_path, capsys, more, events):
        files = ["--log", tmp_path / "log", "--tensorboard", tmp_path / "board"]
        assert call(*self.WORDS, "--epochs", 2, *files, *more) == 0
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [line["event"] for line in lines] == ["begin", *events * 2, "end"]
        assert percent(capsys.readouterr().out)[0] == f"{100 * lines[-1]['accuracy']:.2f}"
        assert [path.name for path in (tmp_path / "board").iterdir()] == ["000-periodic-1epoch-n2-seed0"]

    @pytest.mark.parametrize(
        ("arguments", "status", "words"),
        [
            ("--log no/such/log", 1, "there is no folder no/such"),
            ("--log x --json x", 2, "same file"),
            (
                "--log-rounds",
                2,
                "what goes into a log, and there is none: add --log or --tensorboard",
            ),
            ("--tensorboard /dev/null", 1, "cannot write into /dev/null"),
            ("--tensorboard /dev/null/below", 1, "cannot make the folder /dev/null/below"),
        ],
    )
    def test_logs_that_cannot_be_written(self, capsys, monkeypatch, tmp_path, arguments, status, words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("manyhands.training.run.run", lambda *_a, **_o: pytest.fail("training was started"))
        assert call(*self.WORDS, "--quiet", *arguments.split()) == status
        printed = capsys.readouterr()
        assert words in printed.err
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert list(tmp_path.iterdir()) == []


class TestAgainst:
    """McNemar's test of two models on the same rows."""

    @pytest.fixture(scope="class")
    @classmethod
    def models(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("models")
        for name, epochs in (("weak", 25), ("strong", 60)):
            words = ["--epochs", epochs, "--hidden", 20, "--out", folder / name, "--quiet"]
            assert call("train", "--data", "digits", *words) == 0
        return folder

    def test_the_numbers_are_those_of_the_predictions(self, models, tmp_path, capsys):
        from math import comb

        path = tmp_path / "e.json"
        assert (
            call("evaluate", models / "strong", "--against", models / "weak", "--data", "digits", "--json", path) == 0
        )
        examples = load_test(DataRequest("digits"))
        right, other = (
            manyhands.load_model(models / name).predict(examples.features) == examples.labels
            for name in ("strong", "weak")
        )
        first, second = int((right & ~other).sum()), int((~right & other).sum())
        # Exact, two-sided: twice the smaller tail of first + second throws of a coin.
        throws = first + second
        assert throws > 0
        p_value = min(1.0, 2 * sum(comb(throws, hits) for hits in range(min(first, second) + 1)) / 2**throws)
        record = json.loads(path.read_text())
        assert record["against"] == {
            "model": str(models / "weak"),
            "accuracy": float(other.mean()),
            "only_first": first,
            "only_second": second,
            "p_value": pytest.approx(p_value, rel=1e-9),
        }
        assert record["accuracy"] - record["against"]["accuracy"] == pytest.approx((first - second) / 360)
        out = capsys.readouterr().out
        assert f"only the first model is right on {first} samples, only the second on {second} " in " ".join(
            out.split()
        )
        assert f"McNemar p = {p_value:.3g}: the two models {'differ' if p_value < 0.05 else 'may be'}" in out

    def test_the_order_of_the_two_changes_only_the_sides(self, models, tmp_path, capsys):
        found = []
        for one, other in (("weak", "strong"), ("strong", "weak")):
            path = tmp_path / one
            call("evaluate", models / one, "--against", models / other, "--data", "digits", "--json", path)
            found.append(json.loads(path.read_text())["against"])
        assert (found[0]["only_first"], found[0]["only_second"]) == (found[1]["only_second"], found[1]["only_first"])
        assert found[0]["p_value"] == pytest.approx(found[1]["p_value"], rel=1e-12)
        capsys.readouterr()

    def test_a_model_is_as_good_as_itself(self, models, capsys):
        assert call("evaluate", models / "weak", "--against", models / "weak", "--data", "digits") == 0
        out = capsys.readouterr().out
        assert "only the first model is right on 0 samples, only the second on 0 " in " ".join(out.split())
        assert "McNemar p = 1: the two models may be equally good" in out

    def test_without_it_the_file_says_so(self, models, tmp_path, capsys):
        assert call("evaluate", models / "weak", "--data", "digits", "--json", tmp_path / "e") == 0
        assert json.loads((tmp_path / "e").read_text())["against"] is None
        assert "McNemar" not in capsys.readouterr().out

    def test_a_model_of_other_rows(self, models, animal_model, capsys):
        """The message is about the second model, and says so."""
        assert call("evaluate", models / "weak", "--against", animal_model, "--data", "digits") == 1
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert "takes 2 features per row, these have 64" in printed.err
        assert str(animal_model) in printed.err

    def test_a_model_of_other_classes(self, animals, animal_model, tmp_path, capsys):
        for part in ("train", "test"):
            text = (animals / f"{part}.csv").read_text().replace("cow", "hen")
            (tmp_path / f"{part}.csv").write_text(text)
        other = tmp_path / "hens"
        assert call("train", *csv_options(tmp_path), "--epochs", 2, "--batch", 20, "--out", other, "--quiet") == 0
        capsys.readouterr()
        rows = ["--test-csv", animals / "test.csv", "--label-column", "animal"]
        assert call("evaluate", animal_model, "--against", other, *rows) == 1
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert "'cow'" in printed.err
        assert str(other) in printed.err

    def test_no_model_at_all(self, models, tmp_path, capsys):
        assert call("evaluate", models / "weak", "--against", tmp_path / "missing", "--data", "digits") == 1
        printed = capsys.readouterr()
        assert printed.err == f"manyhands evaluate: {tmp_path / 'missing'}: there is no such file\n"
        assert printed.out == ""


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
        percent(done.stdout)  # what has been achieved is said all the same
        assert re.search(r"^time +\d", done.stdout, re.MULTILINE)
        assert "\nmodel " not in done.stdout
        assert [path.read_text() for path in tmp_path.iterdir()] == ([] if old is None else [old])

    def test_a_reader_that_goes_away_does_not_cost_the_model(self, animals, tmp_path):
        """As in `manyhands train --out m.safetensors | head -1`, or on a terminal that is gone."""
        words = ["train", *csv_options(animals), *SMALL, "--out", tmp_path / "m"]
        with subprocess.Popen(
            [sys.executable, "-m", "manyhands", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            running.stdout.close()
            assert running.stderr.read() == ""
        assert running.returncode == 1
        assert manyhands.load_model(tmp_path / "m").classes.tolist() == ["cat", "cow", "dog"]

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


@pytest.fixture(scope="module")
def turned(animals):
    """The test rows with their columns in another order, after row numbers as pandas writes them."""
    weight, height, animal = zip(*[line.split(",") for line in (animals / "test.csv").read_text().split()], strict=True)
    path = animals / "turned.csv"
    numbers = ["", *range(len(weight) - 1)]
    path.write_text("".join(f"{n},{h},{a},{w}\n" for n, w, h, a in zip(numbers, weight, height, animal, strict=True)))
    return path


class TestColumns:
    """Columns of CSV files are found by name, wherever they stand."""

    def test_evaluate_finds_them_and_the_label(self, animals, animal_model, turned, capsys, notices):
        assert call("evaluate", animal_model, "--test-csv", animals / "test.csv") == 0
        straight = percent(capsys.readouterr().out)
        assert call("evaluate", animal_model, "--test-csv", turned) == 0
        assert percent(capsys.readouterr().out) == straight
        assert "turned.csv: column 0 (without a name) only names the rows" in notices[0]

    def test_train_finds_them(self, animals, animal_model, turned, capsys):
        files = ["--train-csv", animals / "train.csv", "--label-column", "animal", "--hidden", "6", "--epochs", 9]
        assert call("train", *files, "--test-csv", animals / "test.csv") == 0
        straight = percent(capsys.readouterr().out)
        assert call("train", *files, "--test-csv", turned) == 0
        assert percent(capsys.readouterr().out) == straight

    def test_other_names_are_refused(self, animals, animal_model, capsys):
        other = animals / "other.csv"
        other.write_text((animals / "test.csv").read_text().replace("height", "length", 1))
        assert call("evaluate", animal_model, "--test-csv", other) == 1
        assert "missing: 'height'; unexpected: 'length'" in capsys.readouterr().err

    def test_a_file_without_names_is_taken_by_position_and_that_is_said(self, animals, animal_model, notices):
        bare = animals / "bare.csv"
        bare.write_text("".join((animals / "test.csv").read_text().splitlines(keepends=True)[1:]))
        assert call("evaluate", animal_model, "--test-csv", bare, "--label-column", "-1") == 0
        assert "columns are taken by position" in notices[0]

    def test_a_column_that_counts_the_rows_is_said(self, animals, notices):
        path = animals / "numbered.csv"
        path.write_text("animal,id,weight\n" + "".join(f"{'xy'[row % 2]},{row},{row % 7}\n" for row in range(9)))
        assert call("train", "--train-csv", path, "--test-csv", path, "--hidden", "2", "--epochs", 1) == 0
        assert "column 1 ('id') counts the rows" in notices[0]
