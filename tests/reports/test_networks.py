"""The report of a study of networks: its answer, tables, figures and raw data, from any record."""

import copy
import csv
import re

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
    return complete(records.networks())


@pytest.fixture(scope="module")
def pictures(record):
    return {picture.name: picture for picture in make_figures(record)}


def read(content):
    return list(csv.DictReader(content.decode().splitlines()))


class TestAnswer:
    def test_the_best_and_what_becomes_of_all(self, record):
        question, found = answer(record)
        assert question.startswith("Which networks are good, and which keep their accuracy")
        assert found.startswith("Of 4 networks, base is the best on the validation rows with one worker: 93.")
        assert re.search(r"periodic:1epoch n=2: (the same accuracy|lower) for", found)
        assert re.search(r"one-shot n=4: lower for 4 \(.*weights ones -\d\.\d\d.*\) of 4 networks\.$", found)

    def test_without_validation_rows_there_is_no_best(self, record):
        assert "best on" not in answer({**record, "best": None})[1]

    def test_interrupted(self, record):
        assert answer({**record, "interrupted": True})[1].endswith("Interrupted: only finished runs are counted.")

    def test_nothing_finished(self, record):
        empty = {**record, "summary": [], "runs": [], "best": None, "interrupted": True}
        assert answer(empty)[1] == "No answer: no run was finished."
        assert make_figures(empty) == []


class TestTables:
    def test_one_for_each_axis_with_the_base_and_one_of_what_diverged(self, record):
        tables = {table.title: table for table in make_tables(record)}
        assert list(tables) == ["Activation", "Start of the weights", "Runs that diverged"]
        names = [row[0] for row in tables["Start of the weights"].rows]
        assert names == ["base"] * 3 + ["weights ones"] * 3
        assert tables["Runs that diverged"].rows == [["weights ones", "one-shot, 2 workers", "1", "2"]]
        assert tables["Activation"].marked == {0}

    def test_every_row_fills_its_table(self, record):
        for table in make_tables(record):
            assert {len(row) for row in table.rows} == {len(table.columns)}

    def test_neurons_that_differ_are_shown_where_not_all_do(self, record):
        table = make_tables(record)[1]
        place = table.columns.index("neurons that differ")
        assert [row[place] for row in table.rows] == [""] * 3 + ["1 of 75"] * 3
        assert "neurons that differ" not in make_tables(record)[0].columns

    def test_crossed_axes_have_one_table(self, records):
        titles = [table.title for table in make_tables(complete(records.networks(in_turn=False)))]
        assert titles == ["Networks", "Runs that diverged"]

    def test_without_targets_there_are_no_columns_for_them(self, records, record):
        assert "epochs to 92 %" in make_tables(record)[0].columns
        assert not [
            name
            for name in make_tables(complete(records.networks(targets=())))[0].columns
            if name.startswith("epochs to ")
        ]

    def test_a_target_that_was_never_reached(self, record):
        table = make_tables(record)[1]
        place = table.columns.index("epochs to 92 %")
        assert [row[place] for row in table.rows][3:] == ["never"] * 3


class TestFigures:
    def test_names(self, pictures):
        assert list(pictures) == [
            *("networks_activation", "learning_activation", "networks_weight_init", "learning_weight_init"),
            *("networks_confidence", "networks_tradeoff"),
        ]

    def test_captions_have_the_finding(self, record, pictures):
        caption = pictures["networks_weight_init"].caption
        assert re.search(
            r"With one worker the accuracies are from 2\d\.\d\d % \(weights ones\) to 93\.\d\d % \(base\)", caption
        )
        assert "averaging cost most in" in caption
        assert "Hollow points have more workers than the 2 cores" in caption
        assert "Below the axis: weights ones." in pictures["learning_weight_init"].caption
        assert re.search(r"92 % came first after \S+ epochs", pictures["learning_activation"].caption)
        assert (
            "4 of 4 networks" in pictures["networks_confidence"].caption
            or "surer" in pictures["networks_confidence"].caption
        )
        assert "Below the axis: 1 network." in pictures["networks_tradeoff"].caption

    def test_what_is_far_away_is_named_at_the_edge(self, record, pictures):
        axes = pictures["networks_weight_init"].figure.axes[0]
        low, _ = axes.get_xlim()
        assert low > 80
        shown = {text.get_text() for text in axes.texts}
        first = next(row for row in record["summary"] if row["network"] == 3)
        assert shown == {f"{100 * first['accuracy_mean']:.3g}"}

    def test_the_margin_is_drawn(self, records):
        for margin in (0.25, 1.0):
            pictures = make_figures(records.networks(margin=margin))
            (band,) = pictures[0].figure.axes[1].patches
            assert (band.get_x(), band.get_width()) == (-margin, 2 * margin)

    def test_without_curves_there_are_no_curves(self, records):
        names = [picture.name for picture in make_figures(records.networks(targets=()))]
        assert not [name for name in names if name.startswith("learning")]

    def test_one_network_with_one_worker(self, records):
        record = records.networks()
        record["summary"] = [row for row in record["summary"] if (row["network"], row["workers"]) == (0, 1)]
        record["runs"] = [run for run in record["runs"] if (run["network"], run["workers"]) == (0, 1)]
        assert [picture.name for picture in make_figures(record)] == [
            *("networks_all", "learning_all", "networks_confidence", "networks_tradeoff"),
        ]

    def test_many_networks_have_several_figures(self, records):
        record = records.networks(in_turn=False)
        record["networks"] = [{**record["networks"][0], "name": f"n{number}"} for number in range(30)]
        first = [row for row in record["summary"] if row["network"] == 0]
        record["summary"] = [{**row, "network": number} for number in range(30) for row in first]
        names = [picture.name for picture in make_figures(record)]
        assert names[:3] == ["networks_all_1", "networks_all_2", "learning_all"]


class TestRaw:
    def test_files(self, record):
        files = csv_files(record)
        assert sorted(files) == ["curves.csv", "networks.csv", "runs.csv", "tried.csv"]
        rows, runs = read(files["runs.csv"]), record["runs"]
        assert [(row["name"], float(row["accuracy"]), row["distinct_neurons"]) for row in rows] == [
            (record["networks"][run["network"]]["name"], run["accuracy"], str(run["distinct_neurons"][0]))
            for run in runs
        ]
        for row, expected in zip(read(files["networks.csv"]), record["summary"], strict=True):
            assert float(row["confidence_mean"]) == expected["confidence_mean"]
            assert row["verdict"] == (expected["verdict"] or "")
            epochs = expected["reached"][1]["epochs"]
            assert row["epochs_to_92"] == ("" if epochs is None else str(epochs))
        assert {row["name"] for row in read(files["curves.csv"])} == {each["name"] for each in record["networks"]}


class TestPage:
    @pytest.mark.slow
    def test_a_folder_twice_the_same(self, records, tmp_path):
        pages = [write_report(records.networks(), tmp_path / name) for name in ("a", "b")]
        text = pages[0].read_text()
        for words in ("Start of the weights", "calibration error", "neurons that differ", "manyhands study w2"):
            assert words in text
        assert "Amdahl" not in text
        for path in pages[0].parent.iterdir():
            assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes()

    @pytest.mark.usefixtures("unrendered")
    def test_names_are_text(self, records, tmp_path):
        record = records.networks()
        record["networks"][1]["name"] = "<script>alert(1)</script>"
        assert "<script" not in write_report(record, tmp_path / "r").read_text()


class TestDamaged:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda r: r.pop("networks"), "networks is missing"),
            (lambda r: r["networks"][0].pop("name"), "networks[0].name is missing"),
            (lambda r: r["summary"][0].pop("confidence_mean"), "summary[0].confidence_mean is missing"),
            (lambda r: r["summary"][0].update(network=4), "summary: there is no network 4"),
            (lambda r: r["runs"][0].pop("network"), "runs: there is no network None"),
            (lambda r: r["diverged"][0].update(network="x"), "diverged: there is no network 'x'"),
            (lambda r: r.update(best=-1), "best must be a number from 0"),
            (lambda r: r["settings"].update(targets=[-1]), "settings.targets[0] must be a number from 0"),
            (lambda r: r["summary"][0].update(reached=[{}]), "summary[0].reached[0].target is missing"),
        ],
    )
    def test_what_is_wrong_is_said(self, records, change, words):
        record = copy.deepcopy(records.networks())
        change(record)
        with pytest.raises(FormatError, match=re.escape(words)):
            complete(record)

    @pytest.mark.usefixtures("unrendered")
    def test_the_least_there_can_be(self, records, tmp_path):
        """Only what is required."""
        record = records.networks()
        needed = ("network", "strategy", "workers", "accuracy_mean", "train_s", "speedup", "confidence_mean")
        needed += ("calibration_error_mean",)
        record["summary"] = [{name: row[name] for name in needed} for row in record["summary"]]
        record["networks"] = [{"name": network["name"]} for network in record["networks"]]
        record["runs"] = [{name: run[name] for name in ("network", "strategy", "workers")} for run in record["runs"]]
        for name in ("settings", "environment", "tried", "diverged", "best", "interrupted"):
            del record[name]
        text = write_report(record, tmp_path / "r").read_text()
        assert "None" not in re.sub(r"<style>.*</style>", "", text, flags=re.DOTALL)
