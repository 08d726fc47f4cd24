"""What commands do with results: whatever fails in writing, printing or drawing costs itself only."""

import json
import subprocess

import pytest

from manyhands.cli import main
from manyhands.cli.study_runner import in_order
from manyhands.core.errors import OutputError, SettingsError

COMPARE = "compare --data digits --hidden 4 --epochs 1 --seeds 1 --workers 1,2 --strategy gradient --quiet"
SWEEP = "sweep --data digits --hidden 4,5 --epochs 1 --runs 1 --quiet"
MINIBATCH = "study minibatch --data digits --hidden 4 --epochs 1 --splits 1 --workers 1,2 --quiet"
NETWORKS = "study networks --data digits --activation relu --hidden 4 --epochs 1 --seeds 1 --workers 1 --quiet"
NETWORKS += " --learning-rate own"
TABLE = {COMPARE: "sequential  1", SWEEP: "best: ", MINIBATCH: "sequential ", NETWORKS: "relu"}


def call(command, *more):
    return main([*command.split(), *map(str, more)])


def fail(*_):
    raise RuntimeError("no latex")


class TestInOrder:
    def test_all_steps_are_taken_and_all_failures_are_said(self):
        taken = []

        def step(number, error=None):
            def take():
                taken.append(number)
                if error is not None:
                    raise error

            return take

        steps = [step(0), step(1, OutputError("a")), step(2, BrokenPipeError()), step(3, SettingsError("b")), step(4)]
        with pytest.raises(OutputError, match=r"^a; b$"):
            in_order(*steps)
        assert taken == [0, 1, 2, 3, 4]
        with pytest.raises(SettingsError, match=r"^b$"):
            in_order(*steps[2:])
        with pytest.raises(BrokenPipeError):
            in_order(steps[0], steps[2])
        in_order(steps[0], steps[4])


@pytest.mark.parametrize(
    "command",
    [pytest.param(each, marks=pytest.mark.slow if each in (MINIBATCH, NETWORKS) else ()) for each in TABLE],
    ids=lambda command: " ".join(command.split()[:2]),
)
def test_a_study_outlives_its_figures(command, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("manyhands.reports.publishing.svg", fail)
    assert call(command, "--json", tmp_path / "r.json", "--report", tmp_path / "r") == 1
    printed = capsys.readouterr()
    assert TABLE[command] in printed.out
    assert printed.out.endswith(f"\nreport    {tmp_path / 'r' / 'report.html'}\n")
    assert f"figures are missing in {tmp_path / 'r' / 'report.html'}: " in printed.err
    assert "(RuntimeError: no latex); all else of the report is written\n" in printed.err
    assert "Traceback" not in printed.err
    assert (tmp_path / "r.json").read_bytes() == (tmp_path / "r" / "results.json").read_bytes()
    assert "Not drawn: " in (tmp_path / "r" / "report.html").read_text()
    monkeypatch.undo()
    assert call(f"report {tmp_path / 'r' / 'results.json'} --quiet") == 0
    assert "Not drawn: " not in (tmp_path / "r" / "report.html").read_text()


def test_numbers_are_written_and_printed_before_anything_is_drawn(tmp_path, capsys, monkeypatch):
    seen = []

    def draw(*_):
        seen.append((capsys.readouterr().out, json.loads((tmp_path / "r" / "results.json").read_text())["schema"]))
        raise KeyboardInterrupt

    pytest.importorskip("matplotlib")
    monkeypatch.setattr("manyhands.reports.publishing.svg", draw)
    assert call(COMPARE, "--report", tmp_path / "r") == 130
    assert "sequential  1" in seen[0][0]
    assert seen[0][1] == "manyhands.compare/1"
    assert "(interrupted)" in (tmp_path / "r" / "report.html").read_text()
    assert capsys.readouterr().err == "manyhands compare: interrupted\n"


def test_a_reader_who_went_away_costs_no_report(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    real = print

    def broken(*words, **how):
        if how.get("file") is None:
            raise BrokenPipeError
        real(*words, **how)

    monkeypatch.setattr("builtins.print", broken)
    monkeypatch.setattr("manyhands.cli.program.forget_output", lambda: None)
    assert call(COMPARE, "--report", tmp_path / "r", "--json", tmp_path / "j") == 1
    assert (tmp_path / "j").exists()
    assert (tmp_path / "r" / "report.html").exists()
    capsys.readouterr()


@pytest.mark.parametrize("command", [COMPARE, SWEEP], ids=["compare", "sweep"])
def test_a_full_disk_costs_the_files_only(command, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if subprocess.run(words, capture_output=True, timeout=20, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        (disk / "other").write_bytes(b"x" * 56 * 1024)
        assert call(command, "--json", disk / "r.json", "--report", disk / "r") == 1
        printed = capsys.readouterr()
        assert TABLE[command] in printed.out
        assert f"cannot write {disk}/r" in printed.err
        assert "No space left on device" in printed.err
        assert "Traceback" not in printed.err
    finally:
        subprocess.run(["umount", disk], timeout=20, check=True)
