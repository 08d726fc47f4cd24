"""A diagnosis: scikit-learn's metrics for the same rows, and dashes where a number is undefined."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

import manyhands
from manyhands.core.errors import DataError
from manyhands.data.catalog import DataRequest, load_test
from manyhands.data.dataset import Examples
from manyhands.evaluation.diagnostics import diagnose, evaluation
from manyhands.evaluation.text import classes_text, confusion_text, diagnosis_text, frequent_text, name_text


@pytest.fixture(scope="module")
def model():
    """A model that is wrong often enough."""
    return manyhands.train("digits", hidden=(8,), epochs=30).model


@pytest.fixture(scope="module")
def examples():
    return load_test(DataRequest("digits"))


@pytest.fixture(scope="module")
def found(model, examples):
    return diagnose(model, examples)


def only(examples, *classes):
    """The rows of some classes."""
    kept = np.isin(examples.labels, classes)
    return Examples(examples.features[kept], examples.labels[kept])


class Guesser:
    """Stands for a model: says what it is told to."""

    def __init__(self, classes, guesses):
        self.classes = np.array(classes)
        self.guesses = np.searchsorted(self.classes, guesses)

    def predict_proba(self, features):
        probabilities = np.full((len(features), len(self.classes)), 0.1 / max(len(self.classes) - 1, 1), np.float32)
        probabilities[np.arange(len(features)), self.guesses] = 0.9
        return probabilities


def guessed(truth, guesses, classes=None):
    classes = sorted(set(truth) | set(guesses)) if classes is None else classes
    return diagnose(Guesser(classes, guesses), Examples(np.zeros((len(truth), 2)), np.array(truth)))


class TestNumbers:
    def test_metrics_are_those_of_scikit_learn(self, model, examples, found):
        guesses = model.predict(examples.features)
        ours = [[each.precision, each.recall, each.f1, each.rows] for each in found.classes]
        theirs = precision_recall_fscore_support(examples.labels, guesses, zero_division=np.nan)
        np.testing.assert_allclose(np.array(ours, float).T, theirs)
        np.testing.assert_array_equal(found.confusion, confusion_matrix(examples.labels, guesses))
        macro = precision_recall_fscore_support(examples.labels, guesses, average="macro", zero_division=np.nan)
        np.testing.assert_allclose(list(found.means.values()), macro[:3])

    def test_accuracy_and_loss(self, model, examples, found):
        probabilities = model.predict_proba(examples.features)
        assert found.accuracy == model.accuracy(examples)
        assert found.loss == pytest.approx(log_loss(examples.labels, probabilities), rel=1e-5)
        np.testing.assert_array_equal(found.correct, model.correct(examples))

    def test_mistakes_are_the_wrong_rows_the_surest_first(self, found):
        assert sorted(found.mistakes) == np.flatnonzero(~found.correct).tolist()
        assert len(found.mistakes) > 10
        assert (np.diff(found.probability[found.mistakes]) <= 0).all()

    def test_confusions(self, found):
        listed = found.confusions()
        assert sum(each.rows for each in listed) == len(found.mistakes)
        assert [each.rows for each in listed] == sorted((each.rows for each in listed), reverse=True)
        assert found.confusions(3) == listed[:3]
        first = listed[0]
        assert first.rows == found.confusion[first.truth, first.predicted]
        assert first.share == first.rows / found.classes[first.truth].rows

    def test_numbers_worked_out_by_hand(self):
        # a: 3 rows, 2 right; one taken for b. b: 1 row, right.
        found = guessed(["a", "a", "a", "b"], ["a", "a", "b", "b"])
        a, b = found.classes
        assert (a.precision, a.recall, a.f1) == (1, 2 / 3, 0.8)
        assert (b.precision, b.recall, b.f1) == (0.5, 1, 2 / 3)
        assert found.confusion.tolist() == [[2, 1], [0, 1]]
        assert found.confidence == pytest.approx(0.9)
        assert found.calibration_error == pytest.approx(0.15)

    def test_record_is_plain_data(self, found):
        record = json.loads(json.dumps(evaluation(found, "m", None)))
        assert (record["schema"], record["model"], record["test_rows"]) == ("manyhands.evaluate/1", "m", 360)
        assert np.sum(record["confusion"]) == 360
        assert record["classes"][3]["label"] == 3
        assert len(record["calibration"]) == 15


class TestUndefined:
    @pytest.mark.parametrize("classes", [(4,), (0, 1, 7)])
    def test_rows_that_lack_classes(self, model, examples, classes):
        some = only(examples, *classes)
        found = diagnose(model, some)
        theirs = precision_recall_fscore_support(
            some.labels, model.predict(some.features), labels=np.arange(10), zero_division=np.nan
        )
        ours = [[each.precision, each.recall, each.f1] for each in found.classes]
        np.testing.assert_allclose(np.array(ours, float).T, theirs[:3])  # None becomes NaN
        assert all(each.recall is None for each in found.classes if each.label not in classes)
        text = diagnosis_text(found)
        assert "nan" not in text.lower()
        assert " - " in text
        assert "NaN" not in json.dumps(found.record())

    def test_a_class_that_nothing_was_taken_for(self):
        first, second, third = guessed(["a", "b"], ["a", "a"], ["a", "b", "c"]).classes
        assert (first.precision, second.precision, second.recall, second.f1) == (0.5, None, 0, 0)
        assert (third.precision, third.recall, third.f1) == (None, None, None)

    def test_a_single_row(self, model, examples):
        found = diagnose(model, Examples(examples.features[:1], examples.labels[:1]))
        assert found.confusion.sum() == 1
        assert diagnosis_text(found)

    def test_a_single_class(self):
        found = guessed([5, 5], [5, 5])
        assert (found.accuracy, found.means["f1"], found.confusions()) == (1, 1, [])
        assert "No sample is taken for another class." in frequent_text(found)

    def test_everything_right(self):
        found = guessed([1, 2], [1, 2])
        assert (len(found.mistakes), found.confusions()) == (0, [])


class TestRefusals:
    def test_class_that_the_model_does_not_know(self, model, examples):
        with pytest.raises(DataError, match="'11', which no training row has"):
            diagnose(model, Examples(examples.features[:2], np.array([3, 11])))

    def test_other_features(self, model):
        with pytest.raises(DataError, match="takes 64 features per row, these have 9"):
            diagnose(model, Examples(np.zeros((2, 3, 3)), np.array([3, 4])))


def many(count, rows=2000):
    rng = np.random.default_rng(4)
    truth = rng.integers(0, count, rows)
    guesses = np.where(rng.random(rows) < 0.3, rng.integers(0, count, rows), truth)
    return guessed([f"k{each:03}" for each in truth], [f"k{each:03}" for each in guesses])


class TestText:
    @pytest.mark.parametrize("width", [80, 120])
    @pytest.mark.parametrize("count", [2, 10, 13, 26, 47])
    def test_no_line_is_wider_than_the_terminal(self, count, width, monkeypatch):
        monkeypatch.setenv("COLUMNS", str(width))
        text = diagnosis_text(many(count))
        assert max(map(len, text.splitlines())) <= width
        assert text.count("\n") < 110

    def test_matrix_where_there_is_room(self):
        found = guessed(["a", "a", "b"], ["a", "b", "b"])
        assert [line.split() for line in confusion_text(found).splitlines()[1:]] == [
            ["a", "b"],
            ["-" * 7],
            ["a", "1", "1"],
            ["b", ".", "1"],
        ]

    def test_most_frequent_confusions_where_there_is_none(self):
        found = many(47)
        lines = confusion_text(found).splitlines()
        assert lines[0] == "The matrix of 47 x 47 confusions is wider than 80 columns."
        first = found.confusions(1)[0]
        assert lines[4].split() == [first.truth, first.predicted, str(first.rows), f"{100 * first.share:.1f}"]
        assert len(lines) == 4 + 30

    def test_of_very_many_classes_the_worst_are_shown(self):
        found = many(200)
        lines = classes_text(found).splitlines()
        assert lines[0] == "the 60 worst of 200 classes"
        shown = [float(line.split()[3]) for line in lines[3:-2]]
        assert (len(shown), shown) == (60, sorted(shown))

    def test_names_are_printable_and_short(self):
        assert name_text("a\x1b[2Jb\nc") == "a?[2Jb?c"
        assert name_text("x" * 50) == "x" * 17 + "..."
        assert name_text(7) == "7"

    def test_certainty(self):
        assert "overconfident by 15.00 points" in diagnosis_text(guessed(["a"] * 3 + ["b"], ["a", "a", "b", "b"]))
        assert "underconfident by 10.00 points" in diagnosis_text(guessed(["a", "b"], ["a", "b"]))
