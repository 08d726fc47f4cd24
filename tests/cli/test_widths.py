"""No line of a printed table is longer than the terminal is wide, and what is left out there comes with --wide."""

import re

import pytest

from manyhands.cli import main

SHORT = "--data digits --hidden 12 --epochs 1"
COMMANDS = {
    "compare": f"compare {SHORT} --epochs 4 --seeds 2 --workers 1,2 --strategy one-shot "
    "--strategy gradient@50%,then,periodic:50",
    "compare --target": f"compare {SHORT} --seeds 1 --workers 1,2,4 --convergence --target 0.2",
    "sweep": "sweep --data digits --hidden 50,100 --epochs 25,50 --runs 1",
    "exemplar": "study exemplar --data digits --hidden 4,128-64 --epochs 2 --runs 2 --workers 1,2 --seeds 2",
    "minibatch": f"study minibatch {SHORT} --splits 6 --workers 1,2",
    "networks": "study networks --data digits --activation relu,identity --hidden 12,128-64-32-16 --learning-rate own "
    "--epochs 1 --seeds 2 --workers 1,2,4",
    "strategies": f"study strategies {SHORT} --seeds 2 --rates 0.004 --workers 2 --strategy one-shot "
    "--strategy periodic:50,send=int8,state=mean --strategy diloco:1epoch",
    "classifiers": "study classifiers --data digits --learners gaussian-nb,mlp --epochs 1 --runs 2 --workers 1,2,4",
    "doctor": "doctor",
}  # fmt: skip
PATH_OR_COMMAND = re.compile(r"^( {8}| *\d+\. |[a-z]+ +|)\S*[/~=]\S*|manyhands \S+ --|pip install|export |gunzip ")


@pytest.fixture
def printed(monkeypatch, capsys, tmp_path):
    def call(columns, command):
        monkeypatch.setenv("COLUMNS", str(columns))
        words = [word.replace(",then,", " then ") for word in command.split()]
        assert main(words) == 0
        return capsys.readouterr().out

    return call


def too_long(text, columns):
    return [line for line in text.splitlines() if len(line) > columns and not PATH_OR_COMMAND.search(line)]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_it_fits(printed, name, columns):
    text = printed(columns, COMMANDS[name])
    assert too_long(text, columns) == []
    if name != "doctor":
        assert any(re.fullmatch("-+", line) for line in text.splitlines())
        assert "\x1b" not in text  # nobody's terminal


@pytest.mark.parametrize("columns", [80, 120])
def test_speculation_fits(printed, columns, monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    source = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    (tmp_path / "net.py").write_text(source)
    command = "study speculative --data digits --module net.py:net --epochs 1 --seeds 2 --speculative 0,1"
    text = printed(columns, command)
    assert too_long(text, columns) == []
    assert "vs sequential" in text
    wide = printed(columns, f"{command} --wide")
    assert too_long(wide, columns) == []
    assert "ideal" in wide


def test_a_narrow_table_leaves_columns_out_and_a_wide_one_has_all(printed):
    narrow, wide = (printed(80, f"{COMMANDS['compare']}{more}") for more in ("", " --wide"))
    assert "impact" not in narrow.split("\n\n")[1]
    assert "impact" in wide.split("Medians")[0]
    assert len(re.findall(r"^one-shot +1 ", narrow, re.MULTILINE)) == 0
    assert len(re.findall(r"^one-shot +1 ", wide, re.MULTILINE)) >= 2  # in every block of columns
    assert too_long(wide, 80) == []
    assert "impact" in printed(120, f"compare {SHORT} --seeds 2 --workers 2 --strategy one-shot").split("\n\n")[1]


def test_the_legend_has_four_lines_and_the_rest_if_asked_for(printed):
    short, whole = (printed(80, f"{COMMANDS['compare']}{more}") for more in ("", " --explain"))
    legend = next(block for block in short.split("\n\n") if "More: --explain" in block)
    assert len(legend.splitlines()) <= 4
    assert "Reading is in neither" not in " ".join(short.split())
    assert "Reading is in neither" in " ".join(whole.split())


def test_colours_where_they_are_forced_and_never_in_json(printed, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;33mundecided\x1b[0m" in printed(80, COMMANDS["compare"])
    assert "\x1b" not in printed(80, f"{COMMANDS['compare']} --json -")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed(80, COMMANDS["compare"])
