"""``manyhands study levels``: what it prints, writes and refuses."""

import pytest

from manyhands.cli import main, study_levels
from manyhands.reports.write import read_record
from manyhands.studies.levels import request as defaults

SMALL = "study levels --data digits --hidden 16 --workers 1,2 --widths 8,16 --repeats 2 --steps 2 --batch 100"


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
    assert "plan 14 cases in turns, 2 repeats, global batch 100, threads" in text
    assert "one BLAS" in text or "BLAS/OpenMP threads pinned to 1 per worker" in text
    assert "At which level of parallelism should workers share a network?" in text
    assert "Of two equal hidden layers, with 2 workers, dividing the network takes less time" in text
    assert max(map(len, out.split("report    ")[0].splitlines())) <= 80
    files = {path.name for path in (tmp_path / "r").iterdir()}
    assert {"report.html", "summary.csv", "model.csv", "auto.csv", "runs.csv", "crossover.png", "levels.svg"} <= files
    assert not [name for name in files if "checkpoint" in name]
    assert (tmp_path / "t.md").read_text().startswith("16: 64-16-10:\n\n| level | n | step ms |")
    assert read_record(tmp_path / "f.json")["schema"] == "manyhands.levels/1"
    assert main(["report", "f.json", "--report", "again", "--quiet"]) == 0
    for path in (tmp_path / "r").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--workers 1", "at least one number above 1"),
        ("--levels node,exmplar", "unknown level 'exmplar'"),
        ("--hidden 1", "divides every layer by 2"),
        ("--steps 1", "--steps must be at least 2"),
        ("--widths 0", "--widths: '0' is not a whole number from 1 on"),
        ("--team torch", "use --team threads or --team mpi"),
        ("--markdown f --json f", "two results cannot go to the same file"),
    ],
)
def test_refused_before_anything_runs(call, options, message):
    status, out, err = call(f"{SMALL} {options} --quiet")
    assert (status, out) == (2, "")
    assert message in err


def test_defaults_are_those_of_the_study():
    request = defaults.LevelsRequest()
    assert request.networks == study_levels.NETWORKS
    assert request.levels == study_levels.LEVELS
    assert (request.widths, request.workers) == (study_levels.WIDTHS, study_levels.WORKERS)
    assert (request.repeats, request.steps) == (study_levels.REPEATS, study_levels.STEPS)
