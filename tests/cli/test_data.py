"""`manyhands data`, and the other commands on what it has made."""

import json
import re

import pytest

from manyhands.cli import main
from manyhands.data.parts import loading


def call(*arguments):
    """Run a command."""
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("set") / "digits-parts"
    assert call("data", "shard", "digits", path, "--parts", 5, "--quiet") == 0
    return path


def test_shard_and_show_say_the_same(folder, tmp_path, capsys):
    assert call("data", "shard", "digits", tmp_path / "parts", "--parts", 5) == 0
    said = capsys.readouterr().out
    assert re.search(r"samples +1,437 training samples of 1 x 8 x 8 in 5 parts of 287 to 288,[^,]* KB", said)
    assert re.search(r"360 test samples of 1 x 8 x 8 in 1 part of 360", said)
    assert call("data", "show", tmp_path / "parts") == 0
    assert capsys.readouterr().out == said
    assert max(map(len, said.splitlines())) <= 80 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["shard", "digits", "{there}"], 1, "there is something of this name"),
        (["shard", "digits", "{new}", "--parts", "5000"], 2, "1,?437 rows can be in 1 to 1,?437 parts"),
        (["shard", "no-such-set", "{new}"], 1, "no-such-set"),
        (["show", "{new}"], 1, "there is no such manifest"),
        (["shrad"], 2, "there is no action 'shrad'"),
    ],
)
def test_what_cannot_be_done_is_said(folder, tmp_path, capsys, arguments, status, words):
    names = {"there": folder, "new": tmp_path / "new"}
    with pytest.raises(SystemExit) if arguments == ["shrad"] else pytest.MonkeyPatch.context():
        assert call("data", *(each.format(**names) for each in arguments)) == status
    assert re.search(words, capsys.readouterr().err.replace("\n", " "))
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("compiled")
@pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")
def test_train_evaluate_and_compare_take_it(folder, tmp_path, capsys, monkeypatch):
    model, report = tmp_path / "m.safetensors", tmp_path / "r.json"
    words = ["--data", folder, "--hidden", 16, "--epochs", 8]
    assert call("train", *words, "--workers", 2, "--out", model, "--json", report) == 0
    said = capsys.readouterr().out
    assert "(5 parts from" in said
    accuracy = re.search(r"accuracy +(\S+) % of 360 test samples", said)[1]
    for more in ([], ["--data", folder], ["--data", folder, "--against", model]):
        assert call("evaluate", model, *more) == 0
        found = capsys.readouterr()
        assert f"{accuracy} % of 360 test samples" in found.out
        assert "changed" not in found.err
    record = json.loads(report.read_text())
    assert (record["settings"]["data"]["train_rows"], record["settings"]["sharding"]) == (1437, "fixed")
    kept = tmp_path / "c.checkpoint"
    compare = ["compare", *words, "--workers", "1,2", "--seeds", 1, "--strategy", "periodic:1epoch"]
    assert call(*compare, "--checkpoint", kept) == 0
    first = capsys.readouterr().out
    assert call(*compare, "--checkpoint", kept) == 0
    assert capsys.readouterr().out.splitlines()[-6:] == first.splitlines()[-6:]
    assert call("evaluate", model, "--report", tmp_path / "report") == 0


@pytest.mark.usefixtures("compiled")
def test_test_samples_that_stay_on_the_disk(folder, tmp_path, capsys, monkeypatch):
    from manyhands.cli import evaluate

    model = tmp_path / "m.safetensors"
    assert call("train", "--data", folder, "--hidden", 8, "--epochs", 20, "--out", model, "--quiet") == 0
    accuracy = re.search(r"accuracy +(\S+) %", capsys.readouterr().out)[1]
    monkeypatch.setattr(loading, "_TEST_BYTES", 1000)
    monkeypatch.setattr(evaluate, "_MOST_BYTES", 1000)
    assert call("evaluate", model) == 0
    assert f"{accuracy} % of 360 test samples" in capsys.readouterr().out
    assert call("evaluate", model, "--report", tmp_path / "report") == 2
    assert "--report shows samples" in capsys.readouterr().err
