"""The report of a model: what lies in the folder, what the pictures are made of, and how it fails."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import DrawingError, OutputError
from manyhands.data.catalog import DataRequest, load_test
from manyhands.data.dataset import Examples, make_dataset
from manyhands.evaluation.diagnostics import diagnose
from manyhands.reports.figures import model as figures
from manyhands.reports.model_page import left_out, write_diagnosis

ALWAYS = {
    *("report.html", "evaluation.json", "classes.csv", "confusion.csv", "calibration.csv", "mistakes.csv"),
    *("confusion.png", "confusion.svg", "calibration.png", "calibration.svg"),
}
IMAGES = {"mistakes.png", "mistakes.svg", "weights.png", "weights.svg"}


@pytest.fixture(scope="module")
def model():
    return manyhands.train("digits", hidden=(8,), epochs=30).model


@pytest.fixture(scope="module")
def examples():
    return load_test(DataRequest("digits"))


@pytest.fixture(scope="module")
def page(model, examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("diagnosis") / "made" / "here"
    return write_diagnosis(diagnose(model, examples), model, examples, folder)


@pytest.fixture(scope="module")
def flowers():
    """A model of four numbers and words that HTML and figures must not take for their own."""
    rng = np.random.default_rng(2)
    names = np.array(["<b>&", "$x_1$", 'a "b", c'])

    def rows(count):
        labels = np.arange(count) % 3
        return Examples(rng.normal(labels[:, None] * 2.0, 1, (count, 4)), names[labels])

    test = rows(40)
    return manyhands.train(make_dataset("flowers", rows(90), test), hidden=(), epochs=20, batch=10).model, test


def names_in(folder):
    return {path.name for path in Path(folder).iterdir()}


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


class TestFolder:
    def test_files(self, page):
        assert names_in(page.parent) == ALWAYS | IMAGES
        for path in page.parent.iterdir():
            assert path.stat().st_size > 100
            assert path.suffix != ".png" or path.read_bytes().startswith(b"\x89PNG")

    def test_csv_files_have_the_numbers(self, page, model, examples):
        found = diagnose(model, examples)
        classes = rows_of(page.parent / "classes.csv")
        assert classes[0] == ["class", "precision", "recall", "f1", "rows", "predicted"]
        assert [float(row[2]) for row in classes[1:]] == [each.recall for each in found.classes]
        matrix = rows_of(page.parent / "confusion.csv")
        assert [[int(cell) for cell in row[1:]] for row in matrix[1:]] == found.confusion.tolist()
        mistakes = rows_of(page.parent / "mistakes.csv")[1:]
        assert [int(row[0]) - 1 for row in mistakes] == found.mistakes.tolist()
        assert all(int(truth) == examples.labels[int(row) - 1] != int(guess) for row, truth, guess, _ in mistakes)
        assert sum(int(row[2]) for row in rows_of(page.parent / "calibration.csv")[1:]) == 360

    def test_record(self, page, model, examples):
        record = json.loads((page.parent / "evaluation.json").read_text())
        assert (record["schema"], record["model"]) == ("manyhands.evaluate/1", "digits")
        assert record["accuracy"] == model.accuracy(examples)

    def test_same_diagnosis_gives_the_same_pictures(self, page, model, examples, tmp_path):
        again = write_diagnosis(diagnose(model, examples), model, examples, tmp_path)
        for name in ALWAYS | IMAGES:
            if Path(name).suffix in (".png", ".svg", ".csv"):
                assert (again.parent / name).read_bytes() == (page.parent / name).read_bytes(), name

    @pytest.mark.usefixtures("unrendered")
    def test_an_older_report_is_replaced(self, page, model, flowers, tmp_path):
        """Pictures of an older model would be taken for this one's; other files stay."""
        for path in page.parent.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "mine.txt").write_text("mine")
        write_diagnosis(diagnose(*flowers), *flowers, tmp_path)
        assert names_in(tmp_path) == ALWAYS | {"mine.txt"}
        assert "flowers" in (tmp_path / "report.html").read_text()


class TestPage:
    def test_figures_and_links(self, page):
        text = page.read_text()
        assert text.count("<figure ") == text.count("<img ") == 4
        assert set(re.findall(r'href="([^#"][^"]*)"', text)) == names_in(page.parent) - {"report.html"}

    @pytest.mark.usefixtures("unrendered")
    def test_names_are_text(self, flowers, tmp_path):
        text = write_diagnosis(diagnose(*flowers), *flowers, tmp_path).read_text()
        assert "&lt;b&gt;&amp;" in text
        assert "<b>&" not in text

    @pytest.mark.usefixtures("unrendered")
    def test_undefined_is_a_dash(self, model, examples, tmp_path):
        kept = examples.labels == 4
        fours = Examples(examples.features[kept], examples.labels[kept])
        folder = write_diagnosis(diagnose(model, fours), model, fours, tmp_path).parent
        assert "<td>-</td>" in (folder / "report.html").read_text()
        assert "nan" not in (folder / "classes.csv").read_text().lower()
        assert "NaN" not in (folder / "evaluation.json").read_text()
        assert rows_of(folder / "classes.csv")[1][2] == ""


class TestPictures:
    @pytest.mark.usefixtures("unrendered")
    def test_rows_that_are_no_images_are_not_drawn(self, flowers, tmp_path):
        page = write_diagnosis(diagnose(*flowers), *flowers, tmp_path)
        assert names_in(tmp_path) == ALWAYS
        assert "Rows and weights are not drawn: 4 values are no grey image" in page.read_text()

    @pytest.mark.usefixtures("unrendered")
    def test_everything_right(self, model, examples, tmp_path):
        right = model.correct(examples)
        good = Examples(examples.features[right], examples.labels[right])
        found = diagnose(model, good)
        page = write_diagnosis(found, model, good, tmp_path)
        assert names_in(tmp_path) == ALWAYS | {"weights.png", "weights.svg"}
        assert left_out(found, good) == "no row is classified wrongly, so none is drawn"
        assert "No row is classified wrongly" in page.read_text()

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ((28, 28), (28, 28)),
            ((5, 9), (5, 9)),
            ((784,), (28, 28)),
            ((64,), (8, 8)),
            ((25,), (5, 5)),
            ((16,), None),
            ((4,), None),
            ((65,), None),
            ((32, 32, 3), None),
        ],
    )
    def test_what_is_an_image(self, shape, expected):
        assert figures.image_shape(Examples(np.zeros((2, *shape)), np.zeros(2, int))) == expected

    @pytest.mark.parametrize("transpose", [False, True])
    def test_images_are_drawn_as_stored_or_turned(self, model, examples, transpose):
        found = diagnose(model, examples)
        figure = figures.mistakes_figure(found, examples, (8, 8), transpose=transpose).figure
        drawn = figure.axes[0].images
        assert len(drawn) == min(len(found.mistakes), figures.MOST_MISTAKES)
        for row, image in zip(found.mistakes, drawn, strict=False):
            stored = examples.features[row].reshape(8, 8)
            np.testing.assert_array_equal(image.get_array(), stored.T if transpose else stored)
            left, right, bottom, top = image.get_extent()
            assert left < right
            assert bottom > top  # the first line is at the top: upright on a sheet whose y goes down

    def test_bright_ink_becomes_dark(self, model, examples):
        for features, colours in ((examples.features, "gray_r"), (16 - examples.features, "gray")):
            some = Examples(features, examples.labels)
            figure = figures.mistakes_figure(diagnose(model, some), some, (8, 8), transpose=False).figure
            assert figure.axes[0].images[0].get_cmap().name == colours

    def test_weights_are_centred_at_zero(self, model):
        drawn = figures.weights_figure(model, (8, 8), transpose=False).figure.axes[0].images
        weights = model.learner.weights()["weights.0"]
        assert len(drawn) == 8
        for neuron, image in enumerate(drawn):
            np.testing.assert_array_equal(image.get_array().ravel(), weights[:, neuron])
            assert image.norm.vmin == -image.norm.vmax < 0
            assert image.get_cmap().name == "RdBu_r"

    def test_a_hundred_neurons_at_most(self):
        wide = manyhands.train("digits", hidden=(120,), epochs=1).model
        picture = figures.weights_figure(wide, (8, 8), transpose=False)
        assert len(picture.figure.axes[0].images) == 100
        assert "first 100 of 120 neurons" in picture.caption

    def test_weights_that_are_all_zero(self):
        still = manyhands.train("digits", hidden=(), epochs=1, weight_init="zeros", learning_rate=1e-30).model
        still.learner.parameters[:] = 0
        drawn = figures.weights_figure(still, (8, 8), transpose=False).figure.axes[0].images
        assert (len(drawn), drawn[0].norm.vmax) == (10, 1)

    @pytest.mark.parametrize("count", [2, 26, 47, 130])
    def test_confusions_of_any_number_of_classes(self, count):
        found = _guessed(count)
        figure = figures.confusion_figure(found).figure
        (axes,) = figure.axes
        assert len(axes.texts) == (np.count_nonzero(found.confusion) if count <= 30 else 0)
        assert len(axes.get_xticks()) == min(count, -(-count // -(-count // 60)))
        assert max(figure.get_size_inches()) < 11

    @pytest.mark.parametrize(
        ("name", "turned"),
        [
            ("letters-test-labels-idx1-ubyte.gz", True),
            ("emnist-balanced-test-labels-idx1-ubyte", True),
            ("EMNIST-letters.csv", True),
            ("t10k-labels-idx1-ubyte.gz", False),
            (None, False),
        ],
    )
    def test_files_of_emnist_lie_on_their_side(self, name, turned):
        source = None if name is None else Path("folder") / name
        assert Examples(np.zeros((1, 28, 28)), np.zeros(1, int), source).is_transposed == turned


def _guessed(count):
    class Guesser:
        classes = np.arange(count)

        def predict_proba(self, features):
            rng = np.random.default_rng(0)
            return rng.dirichlet(np.ones(count), len(features)).astype(np.float32)

    return diagnose(Guesser(), Examples(np.zeros((200, 1)), np.arange(200) % count))


class TestRefusals:
    def test_a_file_is_no_folder(self, model, examples, tmp_path):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(OutputError, match="it is a file; give a folder"):
            write_diagnosis(diagnose(model, examples), model, examples, tmp_path / "file")
        assert (tmp_path / "file").read_text() == "mine"

    def test_folder_that_may_not_be_written(self, model, examples, tmp_path):
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("root may write anywhere")
        with pytest.raises(OutputError):
            write_diagnosis(diagnose(model, examples), model, examples, folder)

    def test_matplotlib_is_missing(self, model, examples, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(DrawingError, match=r"pip install matplotlib"):
            write_diagnosis(diagnose(model, examples), model, examples, tmp_path / "report")
        assert {path.name for path in (tmp_path / "report").iterdir()} == {
            name for name in ALWAYS if not name.endswith(("png", "svg"))
        }
        assert "Not drawn: confusion, calibration, mistakes, weights (" in (tmp_path / "report/report.html").read_text()

    @pytest.mark.usefixtures("unrendered")
    def test_labels_are_no_formulas_to_a_spreadsheet(self, tmp_path):
        labels = np.array(['=HYPERLINK("http://x")', "@sum", "-1", "<b>"])[np.arange(40) % 4]
        found = Examples(np.eye(4)[np.arange(40) % 4], labels)
        model = manyhands.train(make_dataset("d", found, found), hidden=(4,), epochs=1).model
        page = write_diagnosis(diagnose(model, found), model, found, tmp_path)
        with (tmp_path / "confusion.csv").open(newline="") as file:
            first = next(csv.reader(file))
        assert sorted(first) == ['\'=HYPERLINK("http://x")', "'@sum", "-1", "<b>", "true class"]
        text = page.read_text()
        assert "&lt;b&gt;" in text
        assert text.count("<b>") == text.count("<figcaption><b>Figure ") > 0

    def test_matplotlib_is_imported_only_to_draw(self):
        code = (
            "import sys, manyhands.evaluation.diagnostics, manyhands.reports.model_page\n"
            "sys.exit('matplotlib' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
