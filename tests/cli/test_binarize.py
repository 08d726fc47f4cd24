"""``--binarize`` from the command line: said, saved, and done again at prediction."""

import json
import re

import pytest
from safetensors import safe_open

from manyhands.cli import main

COMMANDS = {
    "train": "train --epochs 2",
    "compare": "compare --strategy gradient --workers 2 --seeds 1 --epochs 2",
    "sweep": "sweep --hidden 4 --epochs 2 --runs 1",
    "exemplar": "study exemplar --hidden 4 --epochs 2 --runs 1 --workers 1,2 --strategy gradient --seeds 1",
    "minibatch": "study minibatch --workers 1,2 --splits 2 --epochs 2",
}


def call(*arguments):
    return main([str(argument) for argument in arguments])


def accuracy(text):
    return re.search(r"^accuracy  (\S+) % of", text, re.MULTILINE)[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_trains_says_it(name, capsys):
    assert call(*COMMANDS[name].split(), "--data", "digits", "--binarize") == 0
    assert re.search(r"inputs\s+x\s+>=\s+8\b", capsys.readouterr().out)


@pytest.mark.parametrize("team", ["threads", pytest.param("mpi", marks=pytest.mark.slow)])
def test_model_file_does_it_again(team, tmp_path, capsys):
    if team == "mpi":
        pytest.importorskip("mpi4py")
    parallel = ["--team", team, "--workers", 2, "--strategy", "periodic:1epoch"]
    files = ["--out", tmp_path / "m", "--json", tmp_path / "j"]
    assert call("train", "--data", "digits", "--binarize", "5.5", *parallel, "--epochs", 9, *files) == 0
    told = capsys.readouterr().out
    assert "inputs x >= 5.5" in told
    assert json.loads((tmp_path / "j").read_text())["settings"]["data"]["scaling"] == "x >= 5.5"
    with safe_open(tmp_path / "m", framework="numpy") as file:
        assert file.metadata()["threshold"] == "5.5"
    assert call("evaluate", tmp_path / "m", "--data", "digits") == 0
    assert accuracy(capsys.readouterr().out) == accuracy(told)


def test_without_it_the_file_says_nothing_of_it(tmp_path):
    assert call("train", "--data", "digits", "--epochs", 1, "--out", tmp_path / "m", "--quiet") == 0
    with safe_open(tmp_path / "m", framework="numpy") as file:
        assert "threshold" not in file.metadata()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "half", "1e999", ""])
def test_thresholds_that_are_no_numbers(value, capsys):
    with pytest.raises(SystemExit) as stopped:
        call("train", "--data", "digits", f"--binarize={value}")
    assert stopped.value.code == 2
    assert f"{value!r} is not a finite number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("train --binarize --scale standard", 2, "--binarize and --scale standard do not go together"),
        ("train --binarize 17", 1, "with the threshold 17 all inputs would be 0"),
        ("train --binarize -3", 1, "with the threshold -3 all inputs would be 1"),
        ("sweep --binarize --as-published", 2, "--binarize and --as-published do not go together"),
        ("study exemplar --binarize --as-published", 2, "--binarize and --as-published do not go together"),
        ("compare --binarize --as-published", 2, "--binarize and --as-published do not go together"),
    ],
)
def test_what_cannot_work(arguments, status, words, capsys):
    if "compare" in arguments or "study" in arguments:
        pytest.importorskip("mpi4py")
    assert call(*arguments.split(), "--data", "digits") == status
    printed = capsys.readouterr()
    assert words in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
