"""Learners that are made of sums in all commands: what is printed, written and refused."""

import json

import pytest

from manyhands.cli import main
from manyhands.reports.write import read_record


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """The function that runs the program in an empty folder, and returns status, output and errors in one line each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(command):
        try:
            status = main(command.split())
        except SystemExit as stopped:  # argparse leaves this way
            status = stopped.code
        out, err = capsys.readouterr()
        return status, " ".join(out.split()), " ".join(err.split())

    return run


def test_train_evaluate_predict_and_export(call, tmp_path):
    status, out, _ = call(
        "train --learner gaussian-nb --data digits --workers 2 --var-smoothing 0.01 --out m --json t.json"
    )
    assert status == 0
    assert "plan sums, 2 workers (threads), gaussian-nb, var_smoothing 0.01, seed 0 accuracy" in out
    assert "work 1 pass over 736 samples per worker, 1 round, 10.3 KB sent" in out
    assert "adam" not in out
    assert "epoch" not in out
    record = json.loads((tmp_path / "t.json").read_text())
    assert record["losses"] == []
    assert record["settings"]["sums"] == {"var_smoothing": 0.01, "priors": None}
    accuracy = f"accuracy {100 * record['accuracy']:.2f} % of 360 test samples"
    assert accuracy in out
    assert accuracy in call("evaluate m")[1]
    assert len(call("predict m --data digits")[1].split()) == 360
    status, out, err = call("export m m.onnx")
    assert (status, out) == (2, "")
    assert "a model of the learner gaussian-nb cannot be exported to ONNX" in err


def test_compare(call, tmp_path):
    """Default strategies are not those of networks; nothing needs a loss; the record makes a report."""
    status, out, _ = call("compare --learner gaussian-nb --data digits --workers 1,2 --seeds 3 --report r --wide")
    assert status == 0
    assert "learner gaussian-nb, inputs x / 16 plan sums over the samples, and no epochs, 9 runs" in out
    assert "sequential 1 " in out
    assert "sums 2 " in out
    record = read_record(tmp_path / "r" / "results.json")
    assert {run["strategy"] for run in record["runs"]} == {"sequential", "sums"}
    assert {row["verdict"] for row in record["summary"] if row["workers"] == 2} == {"same"}
    assert {name: record["runs"][0][name] for name in ("loss", "learning_rate", "batch", "schedule")} == dict.fromkeys(
        ("loss", "learning_rate", "batch", "schedule")
    )
    assert record["settings"]["architecture"] == "gaussian-nb"


def test_compare_goes_on_from_a_checkpoint(call):
    command = "compare --learner gaussian-nb --data digits --workers 2 --seeds 2 --checkpoint c"
    assert call(command)[0] == 0
    assert "Resumed from a checkpoint" in call(command.replace("--seeds 2", "--seeds 3"))[1]


def test_sweep(call, tmp_path):
    status, out, _ = call("sweep --learner gaussian-nb --data digits --runs 2 --report r")
    assert status == 0
    assert "learner gaussian-nb, inputs x / 16 plan 2 sessions machine" in out
    assert "classifier time s validation % test % impact" in out
    assert "epoch" not in out
    record = read_record(tmp_path / "r" / "results.json")
    assert [(row["hidden"], row["epochs"]) for row in record["table"]] == [([], 0)]
    page = (tmp_path / "r" / "report.html").read_text()
    assert "gaussian-nb: the largest impact factor" in page
    assert "0 epochs" not in page


@pytest.mark.parametrize(
    "command",
    [
        "sweep --epochs 5",
        "sweep --hidden 5",
        *(f"study {name}" for name in ("exemplar", "networks", "minibatch", "strategies")),
    ],
)
def test_studies_of_networks_say_which_to_take(call, command):
    status, out, err = call(f"{command} --learner gaussian-nb --data digits --quiet")
    assert (status, out) == (2, "")
    assert "compare numbers of workers with manyhands compare, and classifiers with manyhands study classifiers" in err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "compare --strategy gradient",
            "is made of sums over the samples, so it cannot follow gradient; leave --strategy out",
        ),
        ("compare --batch 10", "has no batch: leave --batch out"),
        ("train --epochs 3", "has no epochs: leave --epochs out"),
        ("train --learning-rate 0.1", "--learning-rate 0.1 is for networks, not for gaussian-nb"),
        ("train --max-depth 3", "--max-depth 3 is for tree, forest, not for gaussian-nb"),
        ("sweep --as-published", "the paper has no such networks"),
    ],
)
def test_refused_before_anything_runs(call, command, message):
    status, out, err = call(f"{command} --learner gaussian-nb --data digits --quiet")
    assert (status, out) == (2, "")
    assert message in err


def test_the_short_help_leaves_them_out(call):
    for command in ("train", "compare"):
        assert "--var-smoothing" not in call(f"{command} --help")[1]
        assert "--var-smoothing" in call(f"{command} --help-all")[1]
