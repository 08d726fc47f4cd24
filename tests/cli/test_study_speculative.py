"""``manyhands study speculative``, and ``compare`` with several thresholds: what they print, write and refuse."""

import json
import re

import pytest

pytest.importorskip("torch")

from manyhands.cli import main, study_speculative
from manyhands.reports.write import read_record
from manyhands.studies.speculative import request as defaults

MODULE = """
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """The function that runs the program on digits with a small network, and returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODULE)
    data = "--data digits --module net.py:network --epochs 1 --seeds 1"

    def run(command):
        try:
            status = main([*command.split(), *data.split()])
        except SystemExit as stopped:  # argparse leaves this way
            status = stopped.code
        return status, *capsys.readouterr()

    return run


def test_table_answer_and_files(call, tmp_path):
    """The report is made again from the file alone."""
    study = "study speculative --speculative 0,0.25,1 --strategy gradient --batch 50"
    status, out, err = call(f"{study} --json f.json --report r --markdown t.md")
    assert (status, err) == (0, "")
    text = " ".join(out.split())
    assert "network net.py:network, adam 0.001, float32 on cpu" in text
    assert "plan 8 cases in turns, 8 runs, global batch 50, 1 epoch" in text
    assert re.search(r"^T=1, 2 lanes, predicted +\d", out, re.MULTILINE)
    assert "Do lanes and speculation shorten training, keeping the same accuracy?" in text
    assert max(map(len, out.split("\n\n", 1)[1].split("report    ")[0].splitlines())) <= 80
    assert (tmp_path / "t.md").read_text().startswith("| case | train s |")
    files = {path.name for path in (tmp_path / "r").iterdir()}
    assert {"report.html", "summary.csv", "hit_rates.csv", "timelines.csv", "curves.csv", "runs.csv"} <= files
    assert {"accuracy_over_time.png", "lanes_of_a_step.svg", "hit_rates.png"} <= files
    assert not [name for name in files if "checkpoint" in name]
    assert main(["report", "f.json", "--report", "again", "--quiet"]) == 0
    for path in (tmp_path / "r").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_compare_hands_several_thresholds_over(call, tmp_path):
    status, _, err = call("compare --speculative 0,1 --strategy gradient --workers 3 --lanes 3 --quiet --json f.json")
    assert (status, err) == (0, "")
    record = read_record(tmp_path / "f.json")
    assert record["schema"] == "manyhands.speculative/1"
    names = [case["name"] for case in record["cases"]]
    assert names[1:3] == ["T=0, 3 lanes", "T=1, 3 lanes"]
    assert names[-2:] == ["3 workers", "autograd"]


def test_one_threshold_is_a_setting_of_a_comparison(call, tmp_path):
    assert call("compare --speculative 1 --strategy gradient --workers 1 --quiet --json f.json")[0] == 0
    record = json.loads((tmp_path / "f.json").read_text())
    assert record["schema"] == "manyhands.compare/1"
    assert record["settings"]["torch"]["speculative"] == 1.0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("compare --speculative 0,1 --target 0.9", "--target and --speculative 0,1 do not go together"),
        ("compare --speculative 0,1 --scaled", "--scaled and --speculative 0,1 do not go together"),
        ("compare --speculative 0,1 --workers 2,3", "give one --workers"),
        ("compare --speculative 0,1 --strategy gradient --strategy one-shot", "give one --strategy"),
        ("compare --speculative 0,1 --lane-plan plain", "leave --lane-plan plain out"),
        ("compare --speculative 0,x", "--speculative: 'x' is not a number"),
        ("study speculative --speculative 0,2", "each from 0 to 1"),
        ("study speculative --lanes 1", "--lanes must be at least 2, not 1"),
        ("study speculative --learner cnn-fast", "--module"),
        ("study speculative --markdown f --json f", "two results cannot go to the same file"),
    ],
)
def test_refused_before_training(call, command, message):
    status, out, err = call(f"{command} --quiet")
    assert (status, out) == (2, "")
    assert message in err


def test_defaults_are_those_of_the_study():
    request = defaults.SpeculativeRequest()
    assert request.thresholds == study_speculative.THRESHOLDS
    assert request.lanes == study_speculative.LANES
    shared = (request.spec.learner, request.strategy, request.workers)
    assert shared == (study_speculative.LEARNER, study_speculative.STRATEGY, study_speculative.WORKERS)
