"""The report of a study of speculative back-propagation: its answer, tables, figures and raw data, from any record."""

import copy
import csv
import json

import pytest

from manyhands.core.errors import FormatError
from manyhands.reports.csv_files import csv_files
from manyhands.reports.figures.registry import make_figures
from manyhands.reports.headline import answer
from manyhands.reports.schema import complete
from manyhands.reports.tables.registry import make_tables
from manyhands.reports.write import write_report


@pytest.fixture(scope="module")
def record(records):
    return complete(records.speculative())


@pytest.fixture(scope="module")
def pictures(record):
    return {picture.name: picture for picture in make_figures(record)}


def changed(record, part, case, **values):
    """Return a record in which something of a case's row or runs is different."""
    return {**record, part: [{**each, **values} if each["case"] == case else each for each in record[part]]}


def texts(picture):
    return [text.get_text() for axes in picture.figure.axes for text in axes.texts]


class TestAnswer:
    def test_the_fastest_lanes_that_keep_the_accuracy(self, record):
        question, found = answer(record)
        assert question == "Do lanes and speculation shorten training, keeping the same accuracy?"
        assert found.startswith("Yes: use T=1, 2 lanes. It trained in ")
        assert " than the sequential run and kept its accuracy (" in found
        assert "Three seeds; within 0.25 points counts as the same. Lanes that never wait would save 40.0 %." in found
        assert "40.0 %. T=1, 2 plain lanes trained" in found
        assert found.endswith("% more time with the same accuracy.")

    def test_no(self, records):
        assert answer(records.speculative(lost=2))[1].startswith(
            "No: what was faster lost accuracy. The fastest, T=1, 2 lanes, "
        )

    def test_nothing_was_faster(self, record):
        slow = {"speedup": 0.8, "speedup_ci95": [0.7, 0.9], "reduction_pct": -25.0, "reduction_ci95": [-43.0, -11.0]}
        rows = [{**row, **slow} if "lanes" in row["case"] else row for row in record["summary"]]
        found = answer({**record, "summary": rows})[1]
        assert found.startswith(
            "No: nothing was faster than the sequential run. The fastest, T=0, 2 lanes, trained in "
        )
        assert "25.0 % more time (11.0 to 43.0)" in found

    def test_undecided(self, record):
        rows = [
            {**row, "verdict": "undecided", "more_seeds": 4} if row["verdict"] else row for row in record["summary"]
        ]
        found = answer({**record, "summary": rows})[1]
        assert found.startswith("Undecided: T=1, 2 lanes")
        assert " About 4 more seeds would tell. " in found

    def test_interrupted_or_nothing_finished(self, record):
        assert answer({**record, "interrupted": True})[1].endswith("Interrupted: only finished runs are counted.")
        empty = {**record, "summary": [], "runs": [], "diverged": []}
        assert answer(empty)[1] == "No answer: no run was finished."
        assert make_figures(empty) == make_tables(complete(empty)) == []


class TestTables:
    def test_cases_and_what_diverged(self, record):
        cases, diverged = make_tables(record)
        assert [row[0] for row in cases.rows] == [case["name"] for case in record["cases"]]
        assert cases.marked == {1, 2, 3, 4, 5}
        assert diverged.rows == [("autograd", "7", "12")]

    def test_one_lane_saves_nothing(self, record):
        table = make_tables(record)[0]
        cells = {row[0]: row[table.columns.index("saved, %")] for row in table.rows}
        assert (cells["sequential"], cells["T=1, 2 lanes"], cells["autograd"]) == ("", "40.0", "")

    def test_crowded_lanes_are_starred(self, record):
        table = make_tables(changed(record, "summary", "T=1, 2 lanes", oversubscribed=True))[0]
        assert "T=1, 2 lanes*" in [row[0] for row in table.rows]
        assert "* More lanes or workers than the 2 cores" in table.note
        assert 3 not in table.marked


class TestFigures:
    def test_all(self, pictures):
        assert list(pictures) == ["accuracy_over_time", "lanes_of_a_step", "hit_rates"]

    def test_accuracy_has_a_curve_of_each_kind(self, pictures):
        (axes,) = pictures["accuracy_over_time"].figure.axes
        names = ["sequential", "T=1, 2 plain lanes", "T=1, 2 lanes", "T=1, 2 lanes, predicted", "2 workers"]
        assert axes.get_legend_handles_labels()[1] == names
        assert "sequential ended at 97." in pictures["accuracy_over_time"].caption

    def test_of_one_epoch_there_are_points(self, records):
        (axes,) = make_figures(records.speculative(epochs=1))[0].figure.axes
        marks = [
            line for line in axes.lines if line.get_marker() in ("X", "o", "s", "^", "D") and len(line.get_xdata())
        ]
        assert len(marks) == 5

    def test_plain_lanes_stand_above_balanced_ones(self, pictures):
        panels = pictures["lanes_of_a_step"].figure.axes
        assert [axes.get_title("left") for axes in panels] == ["T=1, 2 plain lanes: 3.00 ms", "T=1, 2 lanes: 3.00 ms"]
        assert [[text.get_text() for text in axes.get_yticklabels()] for axes in panels] == [["lane 1", "lane 2"]] * 2
        assert {"0 Conv2d", "2 Linear"} == set(texts(pictures["lanes_of_a_step"]))
        balanced = [(bar.get_x(), round(bar.get_y() + bar.get_height() / 2)) for bar in panels[1].patches]
        assert sorted(balanced) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]

    def test_layers_without_room_are_not_named(self, records):
        record = records.speculative()
        for run in record["runs"]:
            if run["speculation"]:
                run["speculation"]["timeline"][0]["end"] = 1.0
        assert set(texts(make_figures(record)[1])) == {"0 Conv2d"}

    def test_hit_rates_of_what_speculates(self, pictures):
        (axes,) = pictures["hit_rates"].figure.axes
        assert axes.get_legend_handles_labels()[1] == ["T=0.1", "T=1"]
        assert "in the last epoch 9.4 % with T=0.1 and 93.8 % with T=1" in pictures["hit_rates"].caption

    def test_what_was_not_measured_is_not_drawn(self, records):
        record = records.speculative()
        record["runs"] = [{**run, "speculation": None, "curve": None} for run in record["runs"]]
        assert make_figures(record) == []


class TestRawData:
    def test_csv_files(self, record):
        files = {
            name: list(csv.DictReader(content.decode().splitlines())) for name, content in csv_files(record).items()
        }
        assert set(files) == {"runs.csv", "summary.csv", "curves.csv", "hit_rates.csv", "timelines.csv"}
        assert len(files["runs.csv"]) == 3 * len(record["cases"])
        assert files["summary.csv"][2]["threshold"] == "0.1"
        assert (files["summary.csv"][-1]["kind"], files["summary.csv"][-1]["hit_rate"]) == ("ordinary", "")
        rates = [
            row["hit_rate"] for row in files["hit_rates.csv"] if (row["case"], row["seed"]) == ("T=1, 2 lanes", "0")
        ]
        assert rates == ["0.5", "0.75", "0.875", "0.9375"]
        assert float(files["runs.csv"][0]["seconds_train"]) == record["runs"][0]["seconds"]["train"]
        assert files["timelines.csv"][0]["layer"] == "0 Conv2d"

    def test_page(self, records, tmp_path):
        page = write_report(json.loads(json.dumps(records.speculative())), tmp_path).read_text()
        assert "Do lanes and speculation shorten training" in page
        for name in ("accuracy_over_time", "lanes_of_a_step", "hit_rates"):
            assert f'<figure id="{name}">' in page
        assert "<dt>lane</dt>" in page
        assert "Amdahl" not in page


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("summary", 1, "case"), "T=7", "summary[1]: there is no case 'T=7'"),
        (("runs", 0, "case"), "nobody", "runs[0]: there is no case 'nobody'"),
        (("diverged", 0, "case"), "x", "diverged[0]: there is no case"),
        (("summary", 1, "verdict"), None, "summary[1] has no verdict"),
        (("summary", 1, "reduction_pct"), 200, "must be a number"),
        (("cases", 0, "kind"), "other", "must be one of sequential, balanced"),
        (("runs", 0, "speculation", "hit_rate"), 1.5, "must be a number from 0 to 1"),
        (("runs", 0, "speculation", "timeline", 0, "lane"), "a", "must be a number"),
    ],
)
def test_damage_is_named(records, where, value, message):
    record = copy.deepcopy(records.speculative())
    *path, last = where
    place = record
    for step in path:
        place = place[step]
    place[last] = value
    with pytest.raises(FormatError) as caught:
        complete(record)
    assert message in str(caught.value)
