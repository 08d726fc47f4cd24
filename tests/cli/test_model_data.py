"""``manyhands evaluate MODEL`` without data: the model knows the test samples of its training, and sees changes."""

import json
import logging
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, save

import manyhands
from manyhands.cli import main

SMALL = ["--hidden", "4", "--epochs", "6", "--batch", "10"]


def call(*arguments):
    return main([str(argument) for argument in arguments])


def accuracy_in(out):
    return re.search(r"^accuracy +(.*)$", out, re.MULTILINE)[1]


def write_rows(path, rows, seed):
    rng = np.random.default_rng(seed)
    lines = [
        f"{rng.normal(4 * (row % 2)):.3f};{('no', 'yes')[row % 2]};{rng.normal(-row % 2):.3f}" for row in range(rows)
    ]
    path.write_text("\n".join(["length;ripe;width", *lines]) + "\n")


@pytest.fixture
def ripe(tmp_path, capsys):
    """A model of CSV files, whose label is in the second column; the accuracy that was printed for it."""
    write_rows(tmp_path / "train.csv", 60, 1)
    write_rows(tmp_path / "test.csv", 25, 2)
    files = ["--train-csv", tmp_path / "train.csv", "--test-csv", tmp_path / "test.csv", "--label-column", "ripe"]
    assert call("train", *files, *SMALL, "--out", tmp_path / "ripe") == 0
    return tmp_path / "ripe", accuracy_in(capsys.readouterr().out)


def test_files_label_column_and_place_are_found_from_anywhere(ripe, tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    model, accuracy = ripe
    assert call("evaluate", model) == 0
    printed = capsys.readouterr()
    assert accuracy_in(printed.out) == accuracy
    assert re.search(r"^data +.*test\.csv", printed.out, re.MULTILINE)
    assert printed.err == ""


@pytest.mark.parametrize("scaled", [["--binarize", "8"], ["--scale", "none"]], ids=" ".join)
def test_named_data_set_is_found(scaled, tmp_path, capsys):
    """Not MNIST, as whatever the model was: settings that only training needs are the model's own by then."""
    assert call("train", "--data", "digits", *SMALL, *scaled, "--seed", 3, "--out", tmp_path / "m") == 0
    accuracy = accuracy_in(capsys.readouterr().out)
    assert call("evaluate", tmp_path / "m") == 0
    assert accuracy_in(capsys.readouterr().out) == accuracy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-3], "there are 22 test samples now, and there were 25 then"),
        (lambda lines: [lines[0], "77;no;5", *lines[2:]], "other values now than then"),
        (lambda lines: [lines[0], lines[1].replace("no", "yes"), *lines[2:]], "other values now than then"),
    ],
    ids=["rows", "a value", "a label"],
)
def test_changes_are_said(ripe, tmp_path, monkeypatch, capsys, change, said):
    monkeypatch.setattr(logging.getLogger("manyhands"), "handlers", [])  # that of an earlier test writes elsewhere
    path = tmp_path / "test.csv"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    assert call("evaluate", ripe[0]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "test.csv was changed since the model was trained: " in told
    assert said in told


def test_files_that_are_gone(ripe, tmp_path, capsys):
    (tmp_path / "test.csv").unlink()
    assert call("evaluate", ripe[0]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "the test samples of the model's training are not there" in told
    assert "test.csv" in told
    assert "--test-csv" in told


def test_arrays_cannot_be_found_again(tmp_path, capsys):
    features = np.arange(40.0).reshape(20, 2)
    manyhands.train((features, np.arange(20) % 2), epochs=1, hidden=(2,)).save(tmp_path / "m")
    assert call("evaluate", tmp_path / "m") == 2
    assert "was trained with arrays in memory; give test samples" in " ".join(capsys.readouterr().err.split())


def rewritten(path, changes):
    """Write a model file with other texts and without a checksum, as earlier versions did."""
    with safe_open(path, framework="numpy") as file:
        texts = {name: text for name, text in file.metadata().items() if name not in ("sha256", "origin")} | changes
    other = path.parent / "rewritten"
    other.write_bytes(save(load(path.read_bytes()), metadata=texts))
    return other


class TestEarlierFiles:
    def test_known_name_is_taken(self, tmp_path, capsys):
        assert call("train", "--data", "digits", *SMALL, "--out", tmp_path / "m") == 0
        accuracy = accuracy_in(capsys.readouterr().out)
        assert call("evaluate", rewritten(tmp_path / "m", {})) == 0
        assert accuracy_in(capsys.readouterr().out) == accuracy

    def test_other_name_is_not_mnist(self, ripe, capsys):
        assert call("evaluate", rewritten(ripe[0], {})) == 2
        assert "does not say where its data came from" in " ".join(capsys.readouterr().err.split())


GOOD = {"request": {"data": "digits"}, "test_rows": 3, "checksum": 7, "pixels": None}
PIXELS = {"low": 0, "high": 1, "light": False, "transposed": False}


@pytest.mark.parametrize(
    "origin",
    [
        [],
        {},
        {**GOOD, "more": 1},
        {**GOOD, "request": ["digits"]},
        {**GOOD, "request": {"joiner": "x"}},
        {**GOOD, "request": {"data": None}},
        {**GOOD, "request": {"data": {"a": 1}}},
        {**GOOD, "request": {"labels": "coarser"}},
        {**GOOD, "request": {"shape": [1, -2, 3]}},
        {**GOOD, "test_rows": True},
        {**GOOD, "checksum": -1},
        {**GOOD, "pixels": {}},
        {**GOOD, "pixels": {**PIXELS, "light": 1}},
        {**GOOD, "pixels": {**PIXELS, "high": 0}},
        {**GOOD, "pixels": {**PIXELS, "high": float("nan")}},
    ],
    ids=str,
)
def test_damaged_origins_are_refused(origin, ripe):
    manyhands.load_model(rewritten(ripe[0], {"origin": json.dumps({**GOOD, "pixels": PIXELS})}))
    with pytest.raises(manyhands.ManyhandsError, match="rewritten: "):
        manyhands.load_model(rewritten(ripe[0], {"origin": json.dumps(origin)}))
