"""What is said on the way and at the end: curve, early stop, written files, a busy machine, JSON on the output."""

import json

import pytest

from manyhands.cli import main
from manyhands.records.seal import unsealed

TRAIN = ["train", "--data", "digits", "--hidden", "12"]
COMPARE = ["compare", "--data", "digits", "--hidden", "12", "--epochs", "3", "--seeds", "1", "--workers", "2"]


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        assert main([str(word) for word in words]) == 0
        return capsys.readouterr()

    return run


def test_too_high_a_rate_is_said(call):
    printed = " ".join(call(*TRAIN, "--optimizer", "sgd", "--learning-rate", 10, "--epochs", 5).out.split())
    assert "warning the model has learned nothing" in printed
    assert "try --learning-rate 1" in printed
    assert "warning" not in call(*TRAIN, "--epochs", 40).out


def test_a_stop_says_when_and_why(call):
    early = " ".join(call(*TRAIN, "--epochs", 60, "--stop", "loss:0.5,patience=2").out.split())
    assert "stop after epoch " in early
    assert "of 60: the training loss had not fallen by 0.5 or more for more than 2 epochs" in early
    assert "stop not before all 2 epochs" in " ".join(call(*TRAIN, "--epochs", 2, "--stop", "loss").out.split())
    accurate = call(*TRAIN, "--epochs", 60, "--stop", "accuracy:50%").out
    assert "50 % of the validation samples or more were recognized" in " ".join(accurate.split())


def test_convergence_prints_a_small_curve(call):
    text = call(*TRAIN, "--epochs", 30, "--convergence").out
    lines = text[text.index("epoch  train s") :].splitlines()
    assert len(lines) == 2 + 10
    assert max(map(len, lines)) <= 80
    assert lines[2].split()[0] == "1"
    assert lines[-1].split()[0] == "30"
    assert lines[-1].endswith("#" * 30)
    assert "epoch  train s" not in call(*TRAIN, "--epochs", 3).out


@pytest.mark.parametrize("command", [[*TRAIN, "--epochs", "2"], COMPARE], ids=["train", "compare"])
def test_json_on_the_standard_output_is_all_there_is(call, command):
    printed = call(*command, "--json", "-")
    record = json.loads(printed.out)
    assert record["schema"].startswith("manyhands.")
    assert unsealed(record)
    assert "digits: 1,437 training" in printed.err


def test_files_that_were_written_are_named(call, tmp_path):
    out = call(*COMPARE, "--json", "c.json", "--log", "l.jsonl", "--checkpoint", "c.checkpoint").out
    assert out.endswith("json      c.json\nlog       l.jsonl\nruns      c.checkpoint\n")
    out = call(*TRAIN, "--epochs", 2, "--json", "t.json", "--out", "m.safetensors").out
    assert out.endswith("model     m.safetensors\njson      t.json\n")
    assert {path.name for path in tmp_path.iterdir()} >= {"c.json", "l.jsonl", "t.json", "m.safetensors"}


def test_other_work_is_said_before(call, monkeypatch, caplog):
    monkeypatch.setattr("os.getloadavg", lambda: (50.0, 50.0, 50.0))
    assert "busy" not in call(*COMPARE).err + caplog.text  # nothing else runs just now
    monkeypatch.setattr("manyhands.runtime.hardware._others_running", lambda _root: 7)
    assert "other work keeps this machine busy (load 50.00 on" in call(*COMPARE).err + caplog.text


def test_answers_are_not_given_for_trainings_that_came_to_nothing(call):
    out = " ".join(call(*COMPARE, "--optimizer", "sgd", "--learning-rate", 10).out.split())
    assert "Warning: sequential n=1, 1 of 1 run: the model has learned nothing" in out
    assert "No answer: the sequential run itself has come to nothing." in out
