"""``manyhands evaluate --report``: what is printed, and how it fails."""

import json
import os
import re
import struct
import sys

import numpy as np
import pytest

from manyhands.cli import main

FILES = {"report.html", "evaluation.json", "classes.csv", "confusion.csv", "calibration.csv", "mistakes.csv"}


def call(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    assert call("train", "--data", "digits", "--hidden", 8, "--epochs", 20, "--out", path, "--quiet") == 0
    return path


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """CSV files of three measurements and a model of them."""
    folder = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(3)
    for part, rows in (("train", 120), ("test", 40)):
        lines = [
            ",".join([("cat", "cow", "dog")[row % 3], *(f"{x:.3f}" for x in rng.normal(row % 3 * 9, 3, 3))])
            for row in range(rows)
        ]
        (folder / f"{part}.csv").write_text("\n".join(lines) + "\n")
    files = ["--train-csv", folder / "train.csv", "--test-csv", folder / "test.csv"]
    assert call("train", *files, "--epochs", 5, "--out", folder / "m", "--quiet") == 0
    return folder


class TestPrinted:
    def test_it_says_what_the_model_gets_wrong(self, model, tmp_path, capsys):
        capsys.readouterr()
        assert call("evaluate", model, "--data", "digits", "--report", tmp_path / "r", "--json", tmp_path / "e") == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        assert re.search(r"^accuracy  \d\d\.\d\d % of 360 test samples\ncertainty ", printed.out, re.MULTILINE)
        assert re.search(r"^class  precision %  recall %   F1 %  samples$", printed.out, re.MULTILINE)
        assert re.search(r"^ +0 +1 +2 +3 +4 +5 +6 +7 +8 +9$", printed.out, re.MULTILINE)
        assert printed.out.endswith(f"\nreport    {tmp_path / 'r' / 'report.html'}\n")
        assert max(map(len, printed.out.splitlines()[1:-1])) <= 80
        assert {path.name for path in (tmp_path / "r").iterdir()} > FILES
        assert json.loads((tmp_path / "e").read_text()) == json.loads((tmp_path / "r" / "evaluation.json").read_text())

    def test_json_has_the_numbers_without_a_report(self, model, tmp_path, capsys):
        assert call("evaluate", model, "--data", "digits", "--json", tmp_path / "e") == 0
        assert "certainty" not in capsys.readouterr().out
        record = json.loads((tmp_path / "e").read_text())
        assert 0 < record["calibration_error"] < 1
        assert sum(map(sum, record["confusion"])) == sum(each["rows"] for each in record["classes"]) == 360
        assert record["environment"]["command"]
        assert record["against"] is None

    def test_quiet(self, model, tmp_path, capsys):
        assert call("evaluate", model, "--data", "digits", "--report", tmp_path, "--quiet") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["accuracy", "report"]

    def test_columns_of_the_terminal(self, model, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "30")
        assert call("evaluate", model, "--data", "digits", "--report", tmp_path) == 0
        assert "The matrix of 10 x 10 confusions is wider than 30 columns." in capsys.readouterr().out

    def test_words_and_rows_that_are_no_images(self, words, tmp_path, capsys):
        assert call("evaluate", words / "m", "--test-csv", words / "test.csv", "--report", tmp_path) == 0
        out = capsys.readouterr().out
        assert re.search(r"^cow +\d", out, re.MULTILINE)
        assert "note      rows and weights are not drawn: 3 values are no grey image" in out

    def test_rows_of_one_class(self, words, tmp_path, capsys):
        dogs = [line for line in (words / "test.csv").read_text().splitlines() if line.startswith("dog")]
        (tmp_path / "dogs.csv").write_text("\n".join(dogs) + "\n")
        assert call("evaluate", words / "m", "--test-csv", tmp_path / "dogs.csv", "--report", tmp_path / "r") == 0
        out = capsys.readouterr().out
        assert re.search(r"^cat +\S+ +- ", out, re.MULTILINE)
        assert "nan" not in out.lower()

    @pytest.mark.parametrize(
        ("prefix", "option", "turned"),
        [("emnist-letters-", [], True), ("emnist-letters-", ["--no-transpose"], False)],
    )
    def test_images_of_emnist_are_turned_upright(self, tmp_path, prefix, option, turned):
        rng = np.random.default_rng(8)
        for part in ("train", "test"):
            labels = np.arange(30, dtype=np.uint8) % 2
            images = (rng.integers(0, 150, (30, 6, 5)) + 90 * labels[:, None, None]).astype(np.uint8)
            for what, array in (("images-idx3", images), ("labels-idx1", labels)):
                header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
                (tmp_path / f"{prefix}{part}-{what}-ubyte").write_bytes(header + array.tobytes())
        model, report = tmp_path / "m", tmp_path / "r"
        assert call("train", "--data", tmp_path, "--epochs", 1, "--out", model, "--quiet") == 0
        assert call("evaluate", model, "--data", tmp_path, "--report", report, *option, "--quiet") == 0
        assert ("Drawn transposed" in (report / "report.html").read_text()) == turned


class TestRefused:
    def test_file_in_the_place_of_the_folder(self, model, tmp_path, capsys):
        (tmp_path / "file").write_text("mine")
        for place in (tmp_path / "file", tmp_path / "file" / "below"):
            assert call("evaluate", model, "--data", "digits", "--report", place) == 1
            printed = capsys.readouterr()
            assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert (tmp_path / "file").read_text() == "mine"

    def test_folder_that_may_not_be_written(self, model, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(os, "access", lambda *_: False)  # who runs the tests may be root
        assert call("evaluate", model, "--data", "digits", "--report", tmp_path) == 1
        printed = capsys.readouterr()
        assert "no permission" in printed.err
        assert printed.out == ""

    def test_matplotlib_is_missing(self, model, tmp_path, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert call("evaluate", model, "--data", "digits", "--report", tmp_path / "r") == 2
        assert "pip install matplotlib" in capsys.readouterr().err
        assert not (tmp_path / "r").exists()
        assert call("evaluate", model, "--data", "digits", "--json", tmp_path / "e") == 0

    def test_model_of_other_classes(self, words, tmp_path, capsys):
        (tmp_path / "new.csv").write_text("cat,1,2,3\nhen,4,5,6\n")
        report = ["--report", tmp_path / "r"]
        assert call("evaluate", words / "m", "--test-csv", tmp_path / "new.csv", *report) == 1
        printed = capsys.readouterr()
        assert "'hen'" in printed.err
        assert f"(model {words / 'm'})" in printed.err
        assert list((tmp_path / "r").iterdir()) == []

    def test_model_that_is_missing(self, tmp_path, capsys):
        assert call("evaluate", tmp_path / "none", "--data", "digits", "--report", tmp_path / "r") == 1
        assert "there is no such file" in capsys.readouterr().err
        assert not (tmp_path / "r").exists()
