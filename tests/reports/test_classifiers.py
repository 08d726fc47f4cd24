"""The report of a study of classifiers: its answer, tables, figures and raw data, from any record."""

import copy
import csv
import json

import pytest

from manyhands.core.errors import FormatError
from manyhands.reports import classifiers
from manyhands.reports.csv_files import csv_files
from manyhands.reports.figures.registry import make_figures
from manyhands.reports.headline import answer
from manyhands.reports.schema import complete
from manyhands.reports.tables.registry import make_tables
from manyhands.reports.write import write_report


@pytest.fixture(scope="module")
def record(records):
    return complete(records.classifiers())


class TestAnswer:
    def test_by_hand(self, record):
        """With two workers: intervals of gaussian-nb and lda lie above the network's, that of tree is the network's."""
        question, found = answer(record)
        assert question.startswith("Are Naive Bayes, decision trees, and linear and quadratic discriminant analysis")
        assert found.startswith(
            "Some are: with 2 workers (efficiency, and time per point of accuracy), gaussian-nb (0.90, 0.0093 ms) and "
            "lda (0.80, 0.092 ms) are better suited than the neural network (0.60, 90.6 ms): higher in efficiency, and "
            "have to the bit the model of one worker; undecided: tree (0.60, 1.1 ms); less efficient: forest (0.50, "
        )
        assert "The least time per point has gaussian-nb (60.00 % in 0.00056 s), the highest accuracy mlp (92" in found
        assert "Of 3 runs each" in found
        assert "4 workers are more than the 2 cores, and count for nothing here." in found

    @pytest.mark.parametrize(
        ("efficiencies", "word"),
        [
            ({"lda": 0.9, "tree": 0.8, "mlp": 0.5}, "Yes: "),
            ({"lda": 0.9, "tree": 0.4, "mlp": 0.5}, "Some are: "),
            ({"lda": 0.51, "mlp": 0.5}, "Undecided: "),
            ({"lda": 0.4, "mlp": 0.5}, "No: "),
            ({"lda": 0.4}, "No answer without the neural network (mlp); with 2 workers, the efficiency is: lda 0.40."),
            ({"mlp": 0.4}, "No answer: no classifier but the neural network was studied."),
        ],
    )
    def test_words_follow_the_numbers(self, records, efficiencies, word):
        assert answer(records.classifiers(efficiencies))[1].startswith(word)

    def test_another_model_is_never_better(self, records):
        found = records.classifiers({"lda": 0.9, "mlp": 0.5})
        for row in found["summary"]:
            row["same_model"] = False
        assert "not the model of one worker: lda (0.90" in answer(found)[1]

    def test_wide_intervals_leave_it_open(self, records):
        assert "Undecided" in answer(records.classifiers({"lda": 0.9, "mlp": 0.5}, spread=0.5))[1]

    def test_without_cores_for_several_workers(self, records):
        assert answer(records.classifiers(workers=(1, 4)))[1].startswith("No answer: no run with several workers that")

    def test_interrupted_or_nothing_finished(self, record):
        assert answer({**record, "interrupted": True})[1].endswith("only finished runs are counted.")
        empty = {**record, "summary": [], "runs": [], "theirs": []}
        assert answer(empty)[1].startswith("No answer: no run was finished.")
        assert make_figures(empty) == make_tables(complete(empty)) == []


def test_tables(record):
    ours, theirs = make_tables(record)
    cells = {tuple(row[:2]): dict(zip(ours.columns, row, strict=True)) for row in ours.rows}
    assert len(cells) == 15
    assert cells["gaussian-nb", "2"]["vs n = 1"] == "same model"
    assert cells["mlp", "2"]["vs n = 1"] == "same"
    assert (cells["gaussian-nb", "1"]["vs scikit-learn"], cells["lda", "1"]["vs scikit-learn"]) == (
        "same answers",
        "same",
    )
    assert cells["gaussian-nb", "2"]["speedup"] == "1.80\n1.71 to 1.89"
    assert [ours.rows[place][:2] for place in ours.marked] == [("gaussian-nb", "2")]
    assert "* More workers than the 2 cores" in ours.note
    assert [row[0] for row in theirs.rows] == ["gaussian-nb", "lda", "tree", "forest", "mlp"]
    assert theirs.rows[0][theirs.columns.index("difference, points")] == "+0.10\n+0.05 to +0.15"


def test_the_choice_of_qda_is_told(record):
    tried = [{"parameter": "shrinkage", "value": value, "accuracy": 8 * value} for value in (0.01, 0.1)]
    assert "qda: shrinkage 0.1, chosen from 0.01 and 0.1" in make_tables({**record, "tried": tried})[0].note


def test_figures(record):
    pictures = {picture.name: picture for picture in make_figures(record)}
    assert list(pictures) == ["training_time", "speedup", "accuracy", "impact"]
    for name, panels in (("training_time", 2), ("speedup", 1), ("accuracy", 1), ("impact", 2)):
        axes = pictures[name].figure.axes
        assert len(axes) == panels
        names = [text for text in axes[0].get_legend_handles_labels()[1] if text != "ideal"]
        assert names == classifiers.learners(record)
        assert [label.get_text() for label in axes[0].get_xticklabels()] == ["1", "2", "4*"]
    assert "gaussian-nb with 2 workers reached 1.80 of the ideal 2" in pictures["speedup"].caption
    assert "to the bit the same model at every n: gaussian-nb, lda, tree, forest" in pictures["accuracy"].caption


def test_raw_data_and_page(records, record, tmp_path):
    files = {name: list(csv.DictReader(content.decode().splitlines())) for name, content in csv_files(record).items()}
    assert set(files) == {"runs.csv", "summary.csv", "sklearn.csv", "sklearn_runs.csv"}
    assert (files["summary.csv"][1]["learner"], files["summary.csv"][1]["speedup_ci95_low"]) == ("gaussian-nb", "1.71")
    assert len(files["runs.csv"]) == len(record["runs"])
    page = write_report(json.loads(json.dumps(records.classifiers())), tmp_path).read_text()
    for words in ("better suited for parallel execution", '<figure id="impact">', "<dt>same model</dt>"):
        assert words in page
    assert "Amdahl" not in page


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("summary", 1, "train_s"), -1, "must be a number from 0"),
        (("summary", 0, "learner"), None, "is missing"),
        (("summary", 1, "sklearn_verdict"), "good", "must be one of"),
        (("theirs", 0, "fit_s"), "x", "must be a number"),
    ],
)
def test_damage_is_named(records, where, value, message):
    record = copy.deepcopy(records.classifiers())
    *path, last = where
    place = record
    for step in path:
        place = place[step]
    place[last] = value
    with pytest.raises(FormatError, match=message):
        complete(record)
