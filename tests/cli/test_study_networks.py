"""``manyhands study networks`` on the command line: what it prints and writes, what it refuses."""

import contextlib
import io
import json
import re

import pytest

from manyhands.cli import main, study_networks
from manyhands.studies.networks import request as space

STUDY = ["study", "networks", "--data", "digits", "--hidden", "8", "--epochs", "3", "--strategy", "periodic:1epoch"]
TWO = ["--activation", "relu,tanh", "--workers", "1,2", "--seeds", "3"]


def call(*arguments):
    """Run the program in this process; return status, output and errors."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse leaves this way
            status = stopped.code
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    status, out, err = call(*STUDY, *TWO, "--json", folder / "f.json", "--report", folder / "report", "--explain")
    assert (status, err) == (0, "")
    return out, folder


class TestOutput:
    def test_tables_answer_and_files(self, reported):
        out, folder = reported
        assert "network   2 networks, inputs x / 16" in out
        plan = "all values with all others (activation, hidden); 20 runs of 3 epochs: 1, 2 workers, 3 seeds"
        assert plan in " ".join(out.split())
        assert re.search(r"^one worker +rate +s +\(95 %\) +dence % +error % +85/90/92 %$", out, re.MULTILINE)
        assert re.search(r"^periodic:1epoch vs one worker\n +n = 2$", out, re.MULTILINE)
        text = " ".join(out.split())
        assert "Which networks are good, and which keep their accuracy when several workers train them?" in text
        assert "is the best on the validation rows with one worker" in text
        assert "Nothing is chosen on test samples." in text
        beside = {path.name for path in (folder / "report").iterdir()}
        assert {"report.html", "results.json", "runs.csv", "networks.csv", "tried.csv", "curves.csv"} <= beside
        assert {"networks_all.png", "networks_all.svg", "learning_all.png", "networks_confidence.png"} <= beside
        assert not [name for name in beside if "checkpoint" in name]
        assert sorted(path.name for path in folder.iterdir()) == ["f.json", "report"]

    def test_it_fits_80_columns(self, reported):
        lines = reported[0].split("\n\n", 1)[1].split("report    ")[0].splitlines()
        assert max(map(len, lines)) <= 80

    def test_the_report_again(self, reported, tmp_path):
        _, folder = reported
        status, out, err = call("report", folder / "f.json", "--report", tmp_path / "again")
        assert (status, err) == (0, "")
        assert "question  Which networks are good" in out
        for path in (folder / "report").iterdir():
            assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()

    def test_quiet(self):
        status, out, err = call(*STUDY, "--learning-rate", "0.01", "--workers", "1", "--seeds", "1", "--quiet")
        assert (status, err) == (0, "")
        assert "machine" not in out
        assert "rate 0.01" in out

    @pytest.mark.slow  # a run for every value of every axis
    def test_one_at_a_time(self, tmp_path):
        axes = ["--one-at-a-time", "--activation", "relu,tanh", "--batch", "200,all", "--weight-init", "auto,ones"]
        axes += ["--bias-init", "zeros", "--learning-rate", "own", "--dropout", "0,0.5", "--loss", "cross_entropy"]
        axes += ["--optimizer", "adam,sgd", "--targets", "none", "--workers", "1", "--seeds", "1", "--l2", "0.01"]
        status, out, _ = call(*STUDY, *axes, "--json", tmp_path / "f")
        assert status == 0
        record = json.loads((tmp_path / "f").read_text())
        names = ["base", "tanh", "sgd", "batch all", "weights ones", "dropout 0.5"]
        assert [network["name"] for network in record["networks"]] == names
        assert {network["l2"] for network in record["networks"]} == {0.01}
        assert "weights ones: of 8 neurons, 1 differed at the end." in out
        assert "epochs to" not in out

    def test_the_lists_are_those_of_the_library(self):
        assert tuple(space.AXES) == study_networks.AXES
        assert (space.DEFAULT_WORKERS, space.DEFAULT_STRATEGIES) == (study_networks.WORKERS, study_networks.STRATEGIES)
        assert (space.DEFAULT_TARGETS, space.DEFAULT_LR_MULTIPLIERS) == (
            study_networks.TARGETS,
            study_networks.LR_MULTIPLIERS,
        )

    def test_help(self):
        status, out, _ = call("study", "networks", "--help")
        assert status == 0
        for option in (
            "--activation A,...",
            "--one-at-a-time",
            "--targets A,...",
            "--checkpoint FILE",
            "--report DIR",
            "--margin P",
        ):
            assert option in " ".join(out.split())
        assert "%%" not in out


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--activation", "relu,step"], "unknown activation 'step'"),
            (["--activation", "relu,"], "unknown activation ''"),
            (["--optimizer", "magic"], "unknown optimizer 'magic'"),
            (["--learning-rate", "fast"], "--learning-rate: 'fast' is not a positive number"),
            (["--learning-rate", "own,0"], "--learning-rate: '0' is not a positive number"),
            (["--batch", "200,0"], "--batch: '0' is not a whole number from 1 on"),
            (["--batch", "200,1"], "batch 1, periodic:1epoch n=2: "),
            (["--batch", "1199"], "batch 1199 hidden 8, one worker: the global batch must lie between 1 and the 1198"),
            (["--weight-init", "he"], "weight_init: unknown initialization 'he'"),
            (["--bias-init", "orthogonal"], "they cannot start orthogonal"),
            (["--loss", "hinge"], "unknown loss 'hinge'"),
            (["--dropout", "0,1"], "--dropout: '1' is not a number from 0 to below 1"),
            (["--hidden", "8,x"], "--hidden: 'x' is not a whole number from 1 on"),
            (["--workers", "0"], "--workers: '0' is not"),
            (["--strategy", "telepathy"], "unknown strategy 'telepathy'"),
            (["--strategy", "auto"], "auto chooses the learning rate itself"),
            (["--targets", "92"], "write 92% or 0.92"),
            (["--lr-multipliers", "0"], "--lr-multipliers: '0' is not a positive number"),
            (["--seeds", "0"], "--seeds: '0' is not"),
            (["--seed", "-1"], "seed must be at least 0"),
            (["--seed", "999"], "seeds from 1000 on"),
            (["--margin", "0"], "--margin: '0' is not a positive number"),
            (["--schedule", "sine"], "unknown schedule 'sine'"),
            (["--json", "f", "--checkpoint", "f"], "two results cannot go to the same file f"),
        ],
        ids=lambda each: " ".join(each) if isinstance(each, list) else "",
    )
    def test_before_anything_is_trained(self, tmp_path, monkeypatch, arguments, words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("manyhands.studies.networks.run.run", lambda *_: pytest.fail("training was started"))
        status, out, err = call(*STUDY, "--workers", "1,2", "--quiet", *arguments)
        assert (status, out) == (2, "")
        assert words in err
        assert list(tmp_path.iterdir()) == []

    def test_the_checkpoint_of_another_study(self, tmp_path):
        small = [*STUDY, "--workers", "1", "--seeds", "1", "--quiet", "--checkpoint", tmp_path / "j"]
        assert call(*small)[0] == 0
        before = (tmp_path / "j").read_bytes()
        status, out, err = call(*small, "--epochs", "4")
        assert (status, out) == (2, "")
        assert "(epochs: 3 there, 4 now); give another file" in err
        assert (tmp_path / "j").read_bytes() == before
