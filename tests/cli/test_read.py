"""``manyhands read`` and ``manyhands reader``."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manyhands.cli import main
from manyhands.recognition.reader import own_file


@pytest.fixture
def seven(tmp_path) -> Path:
    """A photo of a 7."""
    page = np.full((300, 300), 235, np.uint8)
    page[80:92, 90:200] = 30
    for row in range(80, 240):
        left = 188 - (row - 80) // 2
        page[row, left : left + 14] = 30
    path = tmp_path / "seven.png"
    Image.fromarray(page).save(path)
    return path


def test_a_photo_becomes_a_text(seven, capsys):
    assert main(["read", str(seven)]) == 0
    assert capsys.readouterr().out == "7\n"


def test_everything_that_can_be_written(seven, tmp_path, capsys):
    record, drawn, steps = tmp_path / "page.json", tmp_path / "drawn.png", tmp_path / "steps"
    command = ["read", str(seven), "--json", str(record), "--annotated", str(drawn), "--steps", str(steps)]
    assert main(command) == 0
    (page,) = json.loads(record.read_text())["pictures"][0]["pages"]
    (word,) = page["lines"][0]["words"]
    (character,) = word["characters"]
    assert character["text"] == "7"
    assert character["candidates"][0]["probability"] > 0.5
    with Image.open(drawn) as picture:
        assert picture.size == tuple(page["size"])
    names = [path.name.split("-", 1)[1] for path in sorted(steps.iterdir())]
    assert names[:3] == ["grey.png", "even-light.png", "ink.png"]
    assert names[-1] == "network.png"
    assert capsys.readouterr().out == "7\n"


def test_a_folder_with_truth_is_scored(seven, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, truth in (("a", "7"), ("b", "# a comment\n1\n# of no interest\n5")):
        shutil.copy(seven, folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(truth)
    assert main(["read", str(folder), "--truth"]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 characters: rate 0.5000" in out
    assert "1 as 7 (1)" in out


def test_one_picture_of_several_that_is_damaged_is_no_end(seven, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(seven.read_bytes()[:80])
    assert main(["read", str(tmp_path / "broken.png"), str(seven)]) == 1
    out, err = capsys.readouterr()
    assert "7" in out
    assert "broken.png" in err
    assert main(["read", str(tmp_path / "broken.png")]) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--pattern=---"], "nothing to read"),
        (["--pattern", "ll"], "alphabet"),
        (["--reject", "2"], "probability"),
        (["--model", "no-such-file"], "no such file"),
        (["--words", "no-such-file"], "no-such-file"),
        (["--truth", "no-such-file"], "no-such-file"),
    ],
)
def test_what_cannot_be_is_one_message(seven, capsys, options, words):
    assert main(["read", str(seven), *options]) in (1, 2)
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_an_empty_folder_and_a_missing_file(tmp_path, capsys):
    assert main(["read", str(tmp_path)]) == 1
    assert "no pictures in this folder" in capsys.readouterr().err
    assert main(["read", str(tmp_path / "none.png")]) == 1
    assert "no such file" in capsys.readouterr().err


@pytest.mark.slow
def test_a_reader_is_trained_calibrated_and_found(seven, tmp_path, monkeypatch, capsys):
    if not os.environ.get("MANYHANDS_DATA"):
        pytest.skip("needs real data: set MANYHANDS_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["reader", "--epochs", "2", "--train-size", "12000"]) == 0
    assert "calibration" in capsys.readouterr().out
    assert own_file("digits").is_file()
    assert main(["read", str(seven)]) == 0
    assert capsys.readouterr().out == "7\n"
