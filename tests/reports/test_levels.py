"""The report of a study of the levels of parallelism: its answer, tables, figures and raw data, from any record."""

import copy
import csv
import json
import math

import pytest

from manyhands.core.errors import FormatError
from manyhands.reports import levels
from manyhands.reports.csv_files import csv_files
from manyhands.reports.figures.registry import make_figures
from manyhands.reports.headline import answer
from manyhands.reports.schema import complete
from manyhands.reports.tables.registry import make_tables
from manyhands.reports.write import write_report


@pytest.fixture(scope="module")
def record(records):
    return complete(records.levels())


class TestCrossover:
    def test_by_hand(self, record):
        """Node over exemplar is 2 at 256 and 1/2 at 1024: 1 is in the middle of their logarithms."""
        assert levels.crossover(record) == pytest.approx(512)
        assert "from a width of about 512 on" in levels.crossover_text(record)

    def test_by_the_model(self, record):
        assert levels.crossover(record, by_model=True) == pytest.approx(128)
        assert "(by the cost model from a width of about 128 on)" in levels.crossover_text(record)
        assert "model" not in levels.crossover_text({**record, "model": []})

    @pytest.mark.parametrize(
        ("times", "width", "words"),
        [
            (((64, 2.0, 1.0), (128, 4.0, 3.0)), 64, "at all widths from 64 on"),
            (((64, 1.0, 2.0), (128, 3.0, 4.0)), None, "at no width up to 128"),
            (((64, 2.0, 1.0), (128, 3.0, 4.0)), None, "at no width up to 128"),  # it does not pay for ever
            (((64, 2.0, 1.0), (128, 1.0, 2.0), (512, 2.0, 1.0)), 256, "from a width of about 256 on"),
        ],
    )
    def test_where_there_is_none_or_several(self, records, times, width, words):
        found = complete(records.levels(times))
        assert levels.crossover(found) == (width if width is None else pytest.approx(width))
        assert words in levels.crossover_text(found)

    def test_without_widths_nothing_is_said(self, records):
        assert levels.crossover_text(complete(records.levels(()))) == ""


class TestAnswer:
    def test_fastest_level_of_each_network(self, record):
        question, found = answer(record)
        assert question == "At which level of parallelism should workers share a network?"
        assert "narrow (75): exemplar, with 2 workers 1.67 times as fast as one (1.58 to 1.75), sends 0.25 MB" in found
        assert "in 2 exchanges a step; node takes 1.17 times as long, weight takes" in found
        assert "64-64: exemplar" in found

    def test_a_level_that_is_slower_than_one_worker_is_not_praised(self, record):
        rows = [{**row, "speedup": 0.5} for row in record["summary"]]
        assert (
            "narrow (75): no level is faster than one worker; the best, exemplar"
            in answer({**record, "summary": rows})[1]
        )

    def test_interrupted_or_nothing_finished(self, record):
        assert answer({**record, "interrupted": True})[1].endswith("only finished runs are counted.")
        empty = {**record, "summary": [], "runs": []}
        assert answer(empty)[1].startswith("No answer: no run was finished.")
        assert make_figures(empty) == make_tables(complete(empty)) == []

    def test_whether_auto_has_chosen_well(self, record):
        assert levels.chosen_well(record, (75,), 2) is True
        assert levels.chosen_well(record, (64, 64), 2) is False  # 3 ms against 1
        assert levels.chosen_well(record, (75,), 4) is None  # a grid that was not measured


def test_tables(record):
    narrow, wide, widths = make_tables(record)
    assert narrow.title == "Levels: narrow (75)"
    cells = {tuple(row[:2]): row for row in narrow.rows}
    assert len(cells) == 11
    assert cells["exemplar", "2"][narrow.columns.index("auto")] == "+"
    assert cells["node", "4*"][narrow.columns.index("memory, MB")] == "1.00"
    assert "* More workers than the 2 cores" in narrow.note
    assert [narrow.rows[place][0] for place in sorted(narrow.marked)] == ["exemplar", "exemplar"]
    assert {row[0]: row[wide.columns.index("auto")] for row in wide.rows}["node"] == "-"
    assert [row[0] for row in widths.rows] == ["64", "256", "1024"]
    assert "peak, MB" not in narrow.columns  # of threads there is none


def test_figures(record):
    pictures = {picture.name: picture for picture in make_figures(record)}
    assert list(pictures) == ["crossover", "levels"]
    (axes,) = pictures["crossover"].figure.axes
    assert axes.get_legend_handles_labels()[1] == ["one worker", "exemplar", "node", "pairs", "cost model"]
    assert any(math.isclose(line.get_xdata()[0], 512) for line in axes.lines if len(line.get_xdata()) == 2)
    assert "dividing the network is faster from 512 on" in [text.get_text() for text in axes.texts]
    panels = pictures["levels"].figure.axes
    assert [panel.get_title("left") for panel in panels] == ["narrow (75)", "64-64"]
    assert len(panels[0].patches) == 11
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["1", "2", "4*"]


def test_raw_data_and_page(records, record, tmp_path):
    files = {name: list(csv.DictReader(content.decode().splitlines())) for name, content in csv_files(record).items()}
    assert set(files) == {"runs.csv", "summary.csv", "cases.csv", "model.csv", "auto.csv"}
    assert (files["summary.csv"][0]["hidden"], files["summary.csv"][0]["level"]) == ("75", "one")
    assert len(files["runs.csv"]) == len(record["runs"])
    page = write_report(json.loads(json.dumps(records.levels())), tmp_path).read_text()
    for words in (
        "At which level of parallelism",
        '<figure id="crossover">',
        '<figure id="levels">',
        "<dt>exemplar</dt>",
    ):
        assert words in page
    assert "Amdahl" not in page


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("summary", 1, "step_ms"), -1, "must be a number from 0"),
        (("summary", 0, "exchanges"), None, "is missing"),
        (("settings", "widths", 0), 0, "must be a number from 1"),
        (("chosen", 0, "grid"), 3, "must be a text"),
    ],
)
def test_damage_is_named(records, where, value, message):
    record = copy.deepcopy(records.levels())
    *path, last = where
    place = record
    for step in path:
        place = place[step]
    place[last] = value
    with pytest.raises(FormatError, match=message):
        complete(record)
