"""``manyhands study classifiers``: what it prints, writes and refuses."""

import pytest

from manyhands.cli import main, study_classifiers
from manyhands.reports.write import read_record
from manyhands.studies.classifiers import request as defaults

SMALL = "study classifiers --data digits --learners gaussian-nb,mlp --workers 1,2 --runs 2 --epochs 2"


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """The function that runs the program in an empty folder, and returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(command):
        try:
            status = main(command.split())
        except SystemExit as stopped:  # argparse leaves this way
            status = stopped.code
        return status, *capsys.readouterr()

    return run


def test_table_answer_and_files(call, tmp_path):
    """The report is made again from the file alone."""
    status, out, _ = call(f"{SMALL} --json f.json --report r --markdown t.md")
    assert status == 0
    text = " ".join(out.split())
    assert "gaussian-nb, mlp, inputs x / 16 plan in turns, 1, 2 workers (threads), 2 runs of each" in text
    assert "better suited for parallel execution than neural networks?" in text
    assert "with 2 workers (efficiency, and time per point of accuracy)" in text
    assert max(map(len, out.split("report    ")[0].splitlines())) <= 80
    files = {path.name for path in (tmp_path / "r").iterdir()}
    names = ("training_time", "speedup", "accuracy", "impact")
    assert {"report.html", "summary.csv", "runs.csv", "sklearn.csv", *(f"{name}.png" for name in names)} <= files
    assert not [name for name in files if "checkpoint" in name]
    assert (tmp_path / "t.md").read_text().startswith("| classifier | n |")
    assert read_record(tmp_path / "f.json")["schema"] == "manyhands.classifiers/1"
    assert main(["report", "f.json", "--report", "again", "--quiet"]) == 0
    for path in (tmp_path / "r").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--learners gausian-nb", "did you mean 'gaussian-nb'"),
        ("--runs 1", "give --runs 2 or more"),
        ("--max-depth 3", "--max-depth 3 is for tree, forest, and none of them is studied"),
        ("--reg-param 2", "--reg-param must be a number from 0 to 1"),
        ("--markdown f --json f", "two results cannot go to the same file"),
    ],
)
def test_refused_before_anything_runs(call, options, message):
    status, out, err = call(f"{SMALL} {options} --quiet")
    assert (status, out) == (2, "")
    assert message in " ".join(err.split())


def test_defaults_are_those_of_the_study():
    request = defaults.ClassifiersRequest()
    assert request.learners == study_classifiers.LEARNERS
    assert (request.workers, request.runs) == (study_classifiers.WORKERS, study_classifiers.RUNS)
    assert request.reg_params == study_classifiers.REG_PARAMS
