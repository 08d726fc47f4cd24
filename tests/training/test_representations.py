"""What a program or a notebook shows of results: a line or a small table, never the data."""

import re

import numpy as np
import pytest

import manyhands
from manyhands.data.dataset import Examples

X = np.random.default_rng(0).normal(size=(90, 4))
Y = np.array(["low", "mid", "high"])[np.digitize(X[:, 0], [-0.4, 0.4])]
X[:, 1] = 123.45678  # what no representation may show


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    quick = {"epochs": 3, "hidden": (4,), "batch": 20}
    result = manyhands.train((X, Y), convergence=True, **quick)
    result.save(tmp_path_factory.mktemp("model") / "m")
    compared = manyhands.compare((X, Y), strategies=["periodic:1epoch"], workers=(1, 2), seeds=3, target=0.5, **quick)
    return {
        "result": result,
        "model": result.model,
        "loaded": manyhands.load_model(tmp_path_factory.getbasetemp() / "model0" / "m"),
        "dataset": manyhands.make_dataset("mine", Examples(X, Y), Examples(X, Y)),
        "examples": Examples(X, Y),
        "comparison": compared,
        "sweep": manyhands.sweep((X, Y), hidden=(4,), epochs=(2,), runs=2),
    }


LINES = {
    "result": r"^TrainingResult\(accuracy \d+\.\d\d %, time [\d.]+ s, strategy sequential, 1 worker, model mlp 4-4-3",
    "model": r"^TrainedModel\(mlp 4-4-3 relu, trained on arrays, classes high, low, mid\)$",
    "loaded": r"^TrainedModel\(mlp 4-4-3 relu, trained on arrays, classes high, low, mid\)$",
    "dataset": r"^Dataset\(mine: 90 training and 90 test rows of 4 features, classes high, low, mid, inputs",
    "examples": r"^Examples\(90 rows of 4 features, classes high, low, mid\)$",
    "comparison": r"^Comparison\(9 runs on arrays; ",
    "sweep": r"^Sweep\(2 sessions on arrays; best: 4 hidden, 2 epochs",
}


@pytest.mark.parametrize("name", LINES)
def test_one_line_without_data(name, results):
    text = repr(results[name])
    assert re.search(LINES[name], text), text
    assert len(text) < 300
    assert "\n" not in text
    assert "123.4" not in text


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("result", ["<table>", "<svg", "epoch", "seconds of training"]),
        ("model", ["<table>", "mlp 4-4-3 relu"]),
        ("dataset", ["<table>", "standard"]),
        ("comparison", ["<table>", "periodic:1epoch", "<svg", "seconds of training"]),
        ("sweep", ["<table>", "Table I"]),
    ],
)
def test_html_of_notebooks(name, contents, results):
    page = results[name]._repr_html_()
    assert [text for text in contents if text not in page] == []
    assert "123.4" not in page


def test_an_empty_study_can_be_shown(results):
    comparison = manyhands.Comparison(results["comparison"].environment, results["comparison"].settings)
    comparison.interrupted = True
    assert repr(comparison) == "Comparison(0 runs on arrays, interrupted)"
    assert "no run was finished" in comparison._repr_html_()


def test_score_is_the_accuracy_on_rows(results):
    for model in (results["model"], results["loaded"]):
        assert model.score(X.tolist(), Y.tolist()) == np.mean(model.predict(X) == Y) == model.accuracy(Examples(X, Y))
    with pytest.raises(manyhands.ManyhandsError, match="'huge', which no training row has"):
        results["loaded"].score(X[:1], ["huge"])


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([1, 2, 3, 4], r"of the shape \(4,\); give rows"),
        (None, "are a NoneType; give rows"),
        ("a", "are a str; give rows"),
    ],
)
def test_what_is_no_table_is_not_predicted(features, said, results):
    with pytest.raises(manyhands.ManyhandsError, match=said):
        results["model"].predict(features)
