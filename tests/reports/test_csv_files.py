"""The CSV files hold the record's numbers, and read back the same."""

import csv

import pytest

from manyhands.reports.csv_files import csv_files
from manyhands.reports.schema import complete


def read(content):
    return list(csv.DictReader(content.decode().splitlines()))


@pytest.fixture(scope="module")
def files(records):
    return csv_files(complete(records.w1(curves=True)))


def test_names(files):
    assert sorted(files) == [
        "curves.csv",
        "published_runs.csv",
        "runs.csv",
        "sessions.csv",
        "summary.csv",
        "table1.csv",
        "table1_published.csv",
        "table2.csv",
        "table2_published.csv",
        "table3.csv",
        "table3_published.csv",
    ]


def test_runs_with_their_seconds(records, files):
    rows, runs = read(files["runs.csv"]), records.w1()["compare"]["runs"]
    assert len(rows) == len(runs)
    for row, run in zip(rows, runs, strict=True):
        assert float(row["accuracy"]) == run["accuracy"]
        assert float(row["seconds_train"]) == run["seconds"]["train"]
        assert (row["strategy"], int(row["workers"]), int(row["seed"])) == (
            run["strategy"],
            run["workers"],
            run["seed"],
        )


def test_summary_with_its_intervals(records, files):
    for row, expected in zip(read(files["summary.csv"]), records.compare()["summary"], strict=True):
        assert float(row["speedup"]) == expected["speedup"]
        ends = expected["delta_ci95"]
        assert [row["delta_ci95_low"], row["delta_ci95_high"]] == (["", ""] if ends is None else [str(e) for e in ends])
        assert row["verdict"] == (expected["verdict"] or "")


def test_curves_name_their_run(records, files):
    rows = read(files["curves.csv"])
    runs = records.compare(curves=True)["runs"]
    assert len(rows) == sum(len(run["curve"]) for run in runs)
    assert float(rows[0]["loss"]) == runs[0]["curve"][0]["loss"]
    assert (rows[-1]["strategy"], int(rows[-1]["workers"])) == (runs[-1]["strategy"], runs[-1]["workers"])


def test_tables(files):
    assert len(read(files["table1.csv"])) == len(read(files["table1_published.csv"])) == 25
    assert read(files["table2_published.csv"])[1] | {"impact": ""} == {
        "processes": "2",
        "time_s": "2.67",
        "accuracy_pct": "85.15",
        "impact": "",
    }


def test_layers_are_one_cell(records):
    found = csv_files(complete(records.sweep(hidden=(50, (128, 64)), epochs=(10,))))
    assert [row["hidden"] for row in read(found["table1.csv"])] == ["50", "128-64"]
    assert "table1_published.csv" not in found


def test_runs_of_the_published_experiment_alone(records):
    assert "runs.csv" in csv_files(complete(records.published()))


def test_what_is_empty_is_left_out(records):
    assert csv_files(complete(records.nothing_finished())) == {}
    assert "curves.csv" not in csv_files(complete(records.compare()))


def test_names_are_quoted(records):
    record = records.compare(seeds=1, strategies={'a,"b"\n': (0.1, 0.1)})
    found = csv_files(complete(record))["runs.csv"]
    assert next(csv.DictReader(found.decode().splitlines(keepends=True)[2:], ["strategy"]))["strategy"] == 'a,"b"\n'
