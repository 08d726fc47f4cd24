"""The first commands that a newcomer types, right ones and wrong ones: each ends right, or with one clear message."""

import shlex
import textwrap

import numpy as np
import pytest
from PIL import Image

from manyhands.cli import main

RIGHT = [
    ("", "usage: manyhands COMMAND ..."),
    ("--help", "examples:"),
    ("--version", "manyhands "),
    ("train --help", "--help-all"),
    ("train --help-all", "--beta-1 B"),
    ("study", "usage: manyhands study STUDY ..."),
    ("doctor --quick", "cores"),
    ("train --data digits --epochs 2", "plan      sequential, 1 worker"),
    ("train --data digits --workers 2 --epochs 2", "(chosen by auto), 2 workers (threads)"),
    ("train --data digits -n all --epochs 2 --lr 0.01 --batch-size 50 -q -o {new}/m.safetensors", "model     "),
    ("train --data digits --hidden 16-8 --epochs 2 --target 90%", "hidden 16-8 relu"),
    ("train --data digits --epochs 3 --stop accuracy:95%", "stop accuracy:95%"),
    ("train --data digits --workers 2 --strategy gradient --epochs 2 --json {new}/run.json", "plan      gradient, 2"),
    ("train --train-csv {here}/iris.csv --test-csv {here}/iris.csv --label-column species --epochs 2", "of 60 test"),
    ("train --train-csv {here}/iris.csv --test-csv {here}/iris.csv --label-column -1 --epochs 2", "of 60 test"),
    ("evaluate {here}/model.safetensors --data digits", "of 360 test samples"),
    ("evaluate {here}/model.safetensors --data digits --json {new}/evaluation.json", "of 360 test samples"),
    ("compare --data digits --workers 1,2 --epochs 2 --seeds 1 -q --strategy gradient --target 50%", "gradient"),
    ("sweep --data digits --hidden 8,16-8 --epochs 2 --runs 1 --workers all --min-accuracy 5% -q", "16-8"),
    ("train --csv {here}/iris.csv --label-column species --epochs 9 -o {new}/iris.safetensors", "3 classes (setosa,"),
    ("train --csv {here}/iris.csv --label-column species --test-size 20 --epochs 2", "40 training and 20 test samples"),
    ("train --data {here}/iris.csv --label-column species --train-size all --epochs 2", "20 % of the rows drawn"),
    ("train --csv {here}/pipes.csv --epochs 2", "divided by pipe"),
    ("train --csv {here}/spaces.csv --epochs 2 --delimiter whitespace", "divided by white space"),
    ("train --data {here}/rows.npz --epochs 2", "60 training and 12 test samples"),
    ("train --data digits --train-size 500 --epochs 2", "500 of 1,437 training (--train-size all for all)"),
    ("train --data digits --optimizer sgd --lr 10 --epochs 5", "the model has learned nothing"),
    ("train --data digits --epochs 2 --json -", '"schema": "manyhands.train/1"'),
    ("evaluate {here}/model.safetensors", "data digits, the test samples of the model's training"),
    ("predict {here}/model.safetensors --data digits --out {new}/labels.csv", "360 labels in"),
]
"""Commands that end with status 0, and what they print; ``{here}`` has files, ``{new}`` is an empty folder."""

WRONG = [
    ("trian --data digits", 2, "did you mean 'train'?"),
    ("--data digits", 2, "a command comes first"),
    ("train digits", 2, "each value follows its option, such as --data digits"),
    ("train --dat digits", 2, "did you mean --data?"),
    ("train --data minst", 1, "did you mean 'mnist'?"),
    ("train --data {here}/nowhere", 1, "there is no data set, folder or file"),
    ("train --data digits --worker 2", 2, "did you mean --workers?"),
    ("train --data digits --workers", 2, "--workers needs a value"),
    ("train --data digits --workers two", 2, "is not a whole number from 1 on, nor all"),
    ("train --data digits --workers 500", 2, "500 workers cannot share a global batch"),
    ("train --data digits --workers 2 --strategy sequential", 2, "--strategy auto"),
    ("train --data digits --workers 2 --strategy gradiant", 2, "did you mean 'gradient'?"),
    ("train --data digits --workers 2 --strategy periodic", 2, "a value is missing"),
    ("train --data digits --hidden 128,64", 2, "write 128-64 for one network"),
    ("train --data digits --epochs many", 2, "is not a whole number from 1 on"),
    ("train --data digits --optimizer adamm", 2, "did you mean 'adam'?"),
    ("train --data digits --activation sigmoid", 2, "did you mean 'logistic'?"),
    ("train --data digits --lr fast", 2, "--learning-rate: 'fast' is not a number"),
    ("train --data digits --target 95", 2, "write 95% or 0.95"),
    ("train --data digits --stop accuracy:95", 2, "write 95% or 0.95"),
    ("train --data digits --out {here}/no/such/m.safetensors", 1, "there is no folder"),
    ("train --train-csv {here}/iris.csv", 2, "--train-csv and --test-csv go together"),
    ("train --train-csv {here}/irsi.csv --test-csv {here}/iris.csv", 1, "irsi.csv"),
    ("train --train-csv {here}/iris.csv --test-csv {here}/iris.csv --label-column specis", 2, "mean 'species'?"),
    ("train --train-csv {here}/text.csv --test-csv {here}/text.csv", 1, "text.csv"),
    ("compare --data digits --workers 1,two", 2, "is not a whole number from 1 on"),
    ("compare --data digits --strategy telepathy", 2, "unknown strategy 'telepathy'; examples: sequential"),
    ("sweep --data digits --min-accuracy 90", 2, "write 90% or 0.9"),
    ("study netwoks", 2, "did you mean 'networks'?"),
    ("evaluate", 2, "MODEL is missing: file written by manyhands train --out"),
    ("evaluate {here}/iris.csv --data digits", 1, "iris.csv"),
    ("evaluate {here}/nowhere.safetensors --data digits", 1, "nowhere.safetensors"),
    ("export {here}/model.safetensors", 2, "ONNX is missing"),
    ("report {here}/iris.csv", 1, "iris.csv"),
    ("train --csv {here}/iris.csv", 1, "is column 2 ('species') the label? --label-column species"),
    ("train --csv {here}/prices.csv --label-column price", 1, "to predict numbers, take manyhands.MLPRegressor"),
    ("train --csv {here}/iris.csv --label-column 3", 2, "numbered from 0 to 2"),
    ("train --csv {here}/iris.csv --label-column species --test-size 60", 2, "1 to 59 can be test rows"),
    ("train --csv {here}/iris.csv --test-csv {here}/iris.csv", 2, "give either --data, or --csv"),
    ("train --csv {here}/iris.csv --delimiter ::", 2, "--delimiter"),
    ("train --data digits --test-size 0.2", 2, "digits has test rows of its own"),
    ("train --data digits --train-size 9999", 2, "digits has 1437 training rows"),
    ("train --csv {here}/holes.csv", 1, "line 4: column 1 ('a'): the cell is empty; encode words"),
    ("train --csv {here}/nan.csv", 1, "line 4: column 1 ('a')"),
    ("train --csv {here}/empty.csv", 1, "empty.csv"),
    ("train --csv {here}/header.csv", 1, "header.csv"),
    ("train --csv {here}/short.csv", 1, "short.csv, line 4"),
    ("train --csv {here}/latin.csv", 1, "latin.csv"),
    ("train --csv {here}/utf16.csv", 1, "utf16.csv"),
    ("train --csv {here}/single.csv", 1, "single.csv"),
    ("train --csv {here}", 1, "folder"),
    ("train --data https://example.org/digits.csv", 2, "download the file first"),
    ("train --data {here}/model.safetensors", 1, "nothing reads a file with the suffix '.safetensors'"),
    ("train --data {here}/rows.npy", 1, "rows.npy"),
    ("train --data {here}/torn.npz", 1, "torn.npz"),
    ("train --data {here}/pickle.npz", 1, "pickle.npz"),
    ("train --data {here}/things.pkl", 1, "pickles are never loaded"),
    ("train --data {here}/pictures", 1, "b/2.png"),
    ("train --train-csv {here}/iris.csv --test-csv {here}/other.csv --label-column species", 1, "missing: 'width'"),
    ("evaluate {here}/model.safetensors --data {here}/rows.npz", 1, "takes 64 features"),
    ("predict {here}/model.safetensors", 2, "--csv"),
    ("predict {here}/model.safetensors --csv {here}/iris.csv", 1, "iris.csv"),
    ("predict {here}/model.safetensors --images {here}/pictures/b/2.png", 1, "2.png"),
    ("predict {here}/model.safetensors --images {here}/nowhere.png", 1, "there is no such file"),
]
"""Commands, the status that they end with, and what their message says."""

_MOST_LINES, _COLUMNS = 4, 80


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with what a newcomer has: two CSV files, and a model that was trained on digits."""
    folder = tmp_path_factory.mktemp("newcomer")
    rows = [
        f"{row % 3 + row / 100},{row % 3 * 2},{['setosa', 'versicolor', 'virginica'][row % 3]}" for row in range(60)
    ]
    (folder / "iris.csv").write_text("\n".join(["length,width,species", *rows]) + "\n")
    (folder / "text.csv").write_text("label,a,b\n" + "0,1,hello\n1,2,world\n" * 5)
    plain = "label,a,b\n" + "0,1,2\n1,2,3\n" * 10
    (folder / "pipes.csv").write_text(plain.replace(",", "|"))
    (folder / "spaces.csv").write_text(plain.replace(",", "   "))
    (folder / "other.csv").write_text("length,species\n1.5,setosa\n")
    make_wrong_tables(folder, plain)
    make_wrong_files(folder)
    assert main(["train", "--data", "digits", "--epochs", "2", "-q", "-o", str(folder / "model.safetensors")]) == 0
    return folder


def make_wrong_tables(folder, plain):
    lines = plain.splitlines()
    for name, row in {"holes": "0,,2", "nan": "0,nan,2", "short": "0,1"}.items():
        (folder / f"{name}.csv").write_text("\n".join([*lines[:3], row, *lines[4:]]) + "\n")
    (folder / "empty.csv").write_bytes(b"")
    (folder / "prices.csv").write_text("area,price\n" + "".join(f"{3 * row},{row * 1.07}\n" for row in range(50)))
    (folder / "header.csv").write_text("label,a,b\n")
    (folder / "latin.csv").write_bytes(plain.replace("label", "größe").encode("latin-1"))
    (folder / "utf16.csv").write_bytes(plain.encode("utf-16"))
    (folder / "single.csv").write_text(plain.replace("\n1,", "\n0,"))


def make_wrong_files(folder):
    rows, labels = np.arange(288.0).reshape(72, 4), np.arange(72) % 3
    np.savez(folder / "rows.npz", x_train=rows[:60], y_train=labels[:60], x_test=rows[60:], y_test=labels[60:])
    np.save(folder / "rows.npy", rows)
    (folder / "torn.npz").write_bytes((folder / "rows.npz").read_bytes()[:900])
    np.savez(folder / "pickle.npz", X=np.array([{}, None], dtype=object), y=[0, 1])
    (folder / "things.pkl").write_bytes(b"\x80\x04.")
    for number, name in enumerate(("a/1.png", "a/3.png", "b/1.png", "b/2.png")):
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 40 * number, np.uint8)).save(path)
    whole = (folder / "pictures" / "b" / "2.png").read_bytes()
    (folder / "pictures" / "b" / "2.png").write_bytes(whole[: len(whole) // 2])


def call(line, capsys, **places):
    """Run a command; return its status and what it has printed."""
    capsys.readouterr()
    try:
        status = main([word.format(**places) for word in shlex.split(line)])
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def test_there_are_forty_of_them():
    assert len(RIGHT) + len(WRONG) >= 40


@pytest.mark.parametrize(("line", "words"), RIGHT, ids=[line for line, _ in RIGHT])
def test_right_ones_end_right(here, tmp_path, monkeypatch, capsys, line, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(line, capsys, here=here, new=tmp_path)
    assert (status, "Traceback" in err) == (0, False)
    assert " ".join(words.split()) in " ".join(out.split())


@pytest.mark.parametrize(("line", "status", "words"), WRONG, ids=[line for line, _, _ in WRONG])
def test_wrong_ones_end_with_one_clear_message(here, tmp_path, monkeypatch, capsys, line, status, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("manyhands.training.run.run", lambda *_a, **_o: pytest.fail("training was started"))
    found, out, err = call(line, capsys, here=here, new=tmp_path)
    assert (found, out) == (status, "")
    message, *where_help_is = err.splitlines()
    assert message.startswith("manyhands")
    assert words in message
    assert where_help_is == [] or where_help_is[0].endswith(" --help shows how it is used")
    plain = err.replace(str(here), "folder")
    broken = [part for each in plain.splitlines() for part in textwrap.wrap(each, _COLUMNS, break_long_words=False)]
    assert len(broken) <= _MOST_LINES, plain
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
