"""``manyhands predict``: labels for rows and pictures, which are what the model itself says of them."""

import csv
import logging

import numpy as np
import pytest

import manyhands
from manyhands.cli import main
from manyhands.data.catalog import DataRequest, load_test

Image = pytest.importorskip("PIL.Image")


def call(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def printed(monkeypatch, capsys):
    """Run the program; return its status, the lines of its output, and what it says beside."""

    def run(*arguments):
        monkeypatch.setattr(logging.getLogger("manyhands"), "handlers", [])  # that of an earlier test writes elsewhere
        monkeypatch.setattr(logging.getLogger("manyhands"), "level", logging.NOTSET)
        status = call("predict", *arguments)
        found = capsys.readouterr()
        return status, found.out.splitlines(), " ".join(found.err.split())

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def digits(folder):
    """A model of the digits, and its file."""
    path = folder / "digits"
    manyhands.train("digits", epochs=40, hidden=(20,), batch=50).save(path)
    return manyhands.load_model(path), path


@pytest.fixture(scope="module")
def animals(folder):
    """A model of two named columns whose label is in between, the file of the model and one of rows."""
    rng = np.random.default_rng(4)
    rows = [(rng.normal(5 * (i % 3)), ("cat", "co,w", "dog")[i % 3], rng.normal(-5 * (i % 3))) for i in range(60)]
    with open(folder / "animals.csv", "w", newline="") as file:
        csv.writer(file).writerows([("size", "animal", "tone"), *rows])
    files = ["--train-csv", folder / "animals.csv", "--test-csv", folder / "animals.csv", "--label-column", "animal"]
    assert call("train", *files, "--epochs", 200, "--batch", 10, "--hidden", 6, "--out", folder / "animals") == 0
    model = manyhands.load_model(folder / "animals")
    expected = model.predict(np.array([[size, tone] for size, _, tone in rows])).tolist()
    assert set(expected) == {"cat", "co,w", "dog"}
    return folder / "animals", rows, expected


def written(folder, columns, rows, header=True):
    place = {"size": 0, "animal": 1, "tone": 2}
    path = folder / f"{'-'.join(columns)}{'' if header else ' without header'}.csv"
    with open(path, "w", newline="") as file:
        lines = [[row[place[name]] for name in columns] for row in rows]
        csv.writer(file).writerows([columns, *lines] if header else lines)
    return path


class TestCSV:
    @pytest.mark.parametrize("columns", [("size", "tone"), ("tone", "size"), ("tone", "animal", "size")], ids=" ".join)
    def test_columns_are_found_by_their_names_and_labels_left_out(self, columns, animals, folder, printed):
        path, rows, expected = animals
        status, lines, told = printed(path, "--csv", written(folder, columns, rows))
        assert (status, lines) == (0, expected)
        assert ("column 1 ('animal') is taken for labels, and left out" in told) == ("animal" in columns)

    def test_without_header_by_position(self, animals, folder, printed):
        path, rows, expected = animals
        status, lines, told = printed(path, "--csv", written(folder, ("size", "tone"), rows, header=False))
        assert (status, lines) == (0, expected)
        assert "columns are taken by position" in told

    def test_out_has_labels_and_probabilities(self, animals, folder, printed):
        path, rows, expected = animals
        source, out = written(folder, ("size", "tone"), rows), folder / "labels.csv"
        assert printed(path, "--csv", source, "--out", out)[0] == 0
        with open(out, newline="") as file:
            assert list(csv.reader(file)) == [["label"], *([label] for label in expected)]
        assert printed(path, "--csv", source, "--out", out, "--proba", "--quiet") == (0, [], "")
        with open(out, newline="") as file:
            table = list(csv.DictReader(file))
        found = np.array([[float(row[label]) for label in ("cat", "co,w", "dog")] for row in table])
        exact = manyhands.load_model(path).predict_proba(np.array([[size, tone] for size, _, tone in rows]))
        np.testing.assert_allclose(found, exact, rtol=1e-5)
        assert [row["label"] for row in table] == expected

    def test_proba_is_printed_as_csv(self, animals, folder, printed):
        path, rows, _ = animals
        status, lines, _ = printed(path, "--csv", written(folder, ("size", "tone"), rows), "--proba")
        assert (status, lines[0], len(lines)) == (0, 'label,cat,"co,w",dog', 61)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("size\n1\n", "a row needs a label and at least one feature"),
            ("size,weight\n1,2\n", "missing: 'tone'; unexpected: 'weight'"),
            ("size,tone,age\n1,2,3\n", "unexpected: 'age'"),
            ("size,tone\n1,loud\n", "'tone', has 'loud' in row 1, which is not a number"),
            ("size,tone\n1,\n", "line 2: column 1 ('tone'): the cell is empty"),
            ("size,tone\n1,nan\n", "not finite"),
            ("1,2,3\n", "takes 2 features per row, and there are 3 columns; if one of them is the label, name it"),
            ("size,tone\n", "no row"),
        ],
    )
    def test_what_is_wrong_is_one_message(self, text, said, animals, folder, printed):
        (folder / "wrong.csv").write_text(text)
        status, lines, told = printed(animals[0], "--csv", folder / "wrong.csv")
        assert (status, lines) == (1, [])
        assert "wrong.csv" in told
        assert said in told

    def test_labels_of_training_files_without_names_stand_where_they_stood(self, folder, printed, capsys):
        rows = [(i % 2, 3 * (i % 2) + 0.5, i / 40) for i in range(40)]
        (folder / "plain.csv").write_text("".join(f"{a},{b},{c}\n" for a, b, c in rows))
        files = ["--train-csv", folder / "plain.csv", "--test-csv", folder / "plain.csv"]
        assert call("train", *files, "--epochs", 400, "--batch", 10, "--hidden", 4, "--out", folder / "plain") == 0
        capsys.readouterr()
        status, lines, told = printed(folder / "plain", "--csv", folder / "plain.csv")
        assert (status, lines) == (0, [str(a) for a, _, _ in rows])
        assert "column 0 (from 0) is taken for labels" in told


def pictures(folder, change, count=8, suffix="png"):
    """Save the first test images of the digits, changed; return their paths."""
    paths = []
    for row, image in enumerate(load_test(DataRequest("digits")).features[:count].reshape(-1, 8, 8)):
        paths.append(folder / f"{change.__name__}{row}.{suffix}")
        change(Image.fromarray((image * 15.9375).astype(np.uint8))).save(paths[-1])
    return paths


def as_is(picture):
    return picture


def large(picture):
    return picture.resize((64, 64), Image.Resampling.NEAREST)


def ink(picture):
    return Image.eval(large(picture), lambda value: 255 - value).convert("RGB")


def clear(picture):
    """Black ink on nothing."""
    black = Image.new("L", picture.size, 0)
    return Image.merge("RGBA", [black, black, black, picture])


def deep(picture):
    return Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)


def palette(picture):
    return picture.convert("P")


class TestImages:
    @pytest.mark.parametrize("change", [as_is, large, ink, clear, deep, palette])
    def test_every_form_of_a_picture_is_the_same_image(self, change, digits, folder, printed):
        model, path = digits
        expected = [str(label) for label in model.predict(load_test(DataRequest("digits")).features[:8])]
        status, lines, told = printed(path, "--images", *pictures(folder, change))
        assert (status, lines) == (0, expected)
        assert ("inverted, as they are dark on light" in told) == (change in (ink, clear))

    def test_pictures_of_another_shape_are_padded_and_that_is_said(self, digits, folder, printed):
        def wide(picture):
            whole = Image.new("L", (16, 8), 0)
            whole.paste(picture, (4, 0))
            return whole

        status, lines, told = printed(digits[1], "--images", *pictures(folder, wide, count=2))
        assert (status, len(lines)) == (0, 2)
        assert "their ground was continued to 8 x 8" in told

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda path: None, "there is no such file"),
            (lambda path: path.write_bytes(b""), "no picture, or a damaged or truncated one"),
            (lambda path: path.write_text("hello"), "no picture, or a damaged or truncated one"),
            (lambda path: path.write_bytes(path.with_name("as_is0.png").read_bytes()[:70]), "damaged or truncated"),
            (lambda path: path.mkdir(), "this is a folder"),
        ],
        ids=["missing", "empty", "text", "truncated", "folder"],
    )
    def test_what_is_no_picture_is_named(self, make, said, digits, folder, printed, tmp_path):
        good = pictures(tmp_path, as_is, count=1)
        make(tmp_path / "wrong.png")
        status, lines, told = printed(digits[1], "--images", *good, tmp_path / "wrong.png")
        assert (status, lines) == (1, [])
        assert "wrong.png: " in told
        assert said in told

    def test_a_model_of_rows_takes_none(self, animals, folder, printed):
        status, _, told = printed(animals[0], "--images", *pictures(folder, as_is, count=1))
        assert status == 2
        assert "takes rows of 2 features, not images" in told


class TestData:
    def test_test_samples_and_arrays(self, digits, tmp_path, printed):
        model, path = digits
        features = load_test(DataRequest("digits")).features
        expected = [str(label) for label in model.predict(features)]
        assert printed(path, "--data", "digits")[:2] == (0, expected)
        np.save(tmp_path / "rows.npy", features[:5])
        assert printed(path, "--data", tmp_path / "rows.npy") == (0, expected[:5], "")

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (np.zeros((2, 3)), "takes 64 features per row, and the array has the shape (2, 3)"),
            (np.array([{}], object), "without pickle"),
            (np.array([["a"] * 64]), "not an array of numbers"),
        ],
        ids=["features", "objects", "words"],
    )
    def test_other_arrays(self, array, said, digits, tmp_path, printed):
        np.save(tmp_path / "rows.npy", array)
        status, _, told = printed(digits[1], "--data", tmp_path / "rows.npy")
        assert status == 1
        assert said in told


def test_quiet_is_for_this_call_only(tmp_path, capsys):
    path = str(tmp_path / "model.safetensors")
    assert main(["train", "--data", "digits", "--epochs", "1", "--quiet", "--out", path]) == 0
    capsys.readouterr()
    for quiet, notes in ((["--quiet"], 0), ([], 1)):
        assert main(["predict", path, "--data", "digits", *quiet]) == 0
        assert capsys.readouterr().err.count("labels of the 360 test samples") == notes
