"""``sweep`` and every study with a network of PyTorch: it is called by its name, and what it has not is refused."""

import json
import re

import pytest

pytest.importorskip("torch")

from manyhands.cli import main
from manyhands.core.errors import SettingsError
from manyhands.studies.strategies.request import StrategiesRequest
from manyhands.studies.sweep.run import sweep
from manyhands.training.spec import RunSpec

NAME = "resnet-small"
DATA = ["--data", "digits", "--learner", NAME, "--epochs", "1"]
NO_LAYERS = re.compile(r"hidden|neuron|\brelu\b|64-75")


def call(*arguments):
    return main([str(argument) for argument in arguments])


def output_of(capsys, *arguments):
    """Run the program; return its output, which names the network and no hidden layer."""
    assert call(*arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert NAME in printed.out
    assert not NO_LAYERS.search(printed.out.replace("784-75-10", ""))
    return " ".join(printed.out.split())


def page_of(folder):
    """Return the visible text of a report, which names the network and no hidden layer."""
    page = (folder / "report.html").read_text()
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<(style|svg|script).*?</\1>", "", page, flags=re.DOTALL))
    assert f"rows); {NAME}; " in text
    assert not NO_LAYERS.search(text)
    return text


class TestSweep:
    def test_goes_over_epochs_and_names_the_network(self, capsys, tmp_path):
        folder = tmp_path / "report"
        out = output_of(capsys, "sweep", *DATA[:-1], "1,2", "--runs", 1, "--workers", 2, "--report", folder)
        assert re.search(
            rf"network {NAME}, adam 0.001, (b?float\d\d) on cpu, inputs x / 16 plan batch 200, 1,2 epochs", out
        )
        assert f"network epochs time s validation % test % impact {'-' * 5}" in out
        assert f"best: {NAME}, " in out
        assert f"Which classifier has the best trade-off? {NAME}, " in out
        assert f"({NAME}, 1 epoch)" in page_of(folder)
        record = json.loads((folder / "results.json").read_text())
        assert record["settings"]["architecture"] == record["settings"]["learner"] == NAME
        assert {"hidden", "activation", "loss", "l2"}.isdisjoint(record["settings"]["network"])
        for name in ("table1", "sessions"):
            first, *rows = (folder / f"{name}.csv").read_text().splitlines()
            assert first.startswith("network,epochs,")
            assert [row.split(",")[0] for row in rows] == [NAME, NAME]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--hidden", 5], f"--hidden is a setting of the learner mlp; the learner {NAME} has its own layers"),
            (["--activation", "tanh"], "--activation tanh is a setting of the learner mlp"),
            (["--as-published"], f"--learner {NAME}: the paper has no such networks"),
        ],
    )
    @pytest.mark.parametrize("command", [["sweep"], ["study", "exemplar"]])
    def test_refuses_what_is_of_perceptrons(self, command, options, message, capsys):
        assert call(*command, *DATA, *options) == 2
        assert message in capsys.readouterr().err

    def test_from_python(self):
        with pytest.raises(SettingsError, match=r"hidden is a setting of the learner mlp.*over its epochs only"):
            sweep("digits", hidden=(4,), learner=NAME)
        found = sweep("digits", epochs=(1,), runs=1, learner=NAME, clip=1.0)
        assert found.reason.startswith(f"{NAME}, 1 epoch: ")
        assert found.settings["torch"]["clip"] == 1.0


class TestStudies:
    def test_exemplar(self, capsys, tmp_path):
        study = ["study", "exemplar", *DATA, "--runs", 1, "--workers", 2, "--seeds", 1, "--strategy", "periodic:1epoch"]
        out = output_of(capsys, *study, "--report", tmp_path)
        assert "Table I: epochs network epochs time s" in out
        assert "compare only if that is what was run here" in out
        page_of(tmp_path)

    def test_networks(self, capsys, tmp_path):
        axes = ["--optimizer", "adam,muon", "--learning-rate", "own", "--workers", "1,2", "--seeds", 1]
        out = output_of(
            capsys, "study", "networks", *DATA, *axes, "--strategy", "periodic:1epoch", "--report", tmp_path
        )
        assert f"network {NAME}: 2 networks" in out
        assert f"360 test samples, {NAME}, 1 epoch, 1 seed." in out
        page_of(tmp_path)
        assert "none" not in (tmp_path / "networks.csv").read_text()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--hidden", 5], f"--hidden is an axis of the learner mlp; the learner {NAME} has its own, and its axes"),
            (["--dropout", 0.5], "its axes are --optimizer, --learning-rate, --batch"),
            (["--optimizer", "adam,lamb"], "lamb, one worker: --optimizer lamb is none of those for PyTorch modules"),
            (["--batch", 1], "the module computes statistics over a batch (BatchNorm)"),
        ],
    )
    def test_networks_refuses_what_they_have_not(self, options, message, capsys):
        assert call("study", "networks", *DATA, *options) == 2
        assert message in capsys.readouterr().err

    def test_the_default_networks(self, capsys, monkeypatch):
        """The default plan consists of what the network can do, in three axes."""
        from manyhands.studies.networks import run as module

        monkeypatch.setattr(module, "run", lambda *_: pytest.fail("end of the introduction"))
        with pytest.raises(pytest.fail.Exception, match="end of the introduction"):
            call("study", "networks", *DATA)
        out = " ".join(capsys.readouterr().out.split())
        assert f"network {NAME}: 15 networks" in out
        assert "one axis at a time (optimizer, learning rate, batch)" in out

    def test_strategies(self, capsys):
        study = ["study", "strategies", *DATA, "--rates", 0.001, "--workers", 2, "--seeds", 1]
        assert f"360 test samples; {NAME}, adam" in output_of(capsys, *study, "--strategy", "one-shot")

    @pytest.mark.parametrize("command", [["compare"], ["study", "strategies"]])
    def test_a_merge_for_layers_is_refused_before_training(self, command, capsys):
        assert call(*command, *DATA, "--strategy", "one-shot:merge=rebasin", "--quiet") == 2
        assert "brings the hidden units of dense layers into one order (rebasin)" in capsys.readouterr().err

    def test_strategies_leaves_out_the_merge_for_layers(self):
        compared = StrategiesRequest(spec=RunSpec(learner=NAME)).compared
        assert not [each for each in compared if "rebasin" in each]
        assert {*StrategiesRequest().compared} - {*compared} == {
            "one-shot:merge=rebasin",
            "one-shot:starts=own,merge=rebasin",
        }


def test_a_checkpoint_is_of_one_network(capsys, tmp_path):
    study = ["study", "strategies", "--epochs", 1, "--rates", 0.001, "--workers", 2, "--seeds", 1, "--data", "digits"]
    study += ["--strategy", "one-shot", "--quiet", "--checkpoint", tmp_path / "checkpoint", "--learner", NAME]
    assert call(*study) == 0
    assert call(*study, "--augment", "shift") == 2
    assert "checkpoint" in capsys.readouterr().err
