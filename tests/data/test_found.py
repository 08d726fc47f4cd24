"""One table for training and testing: how it is divided, and what cannot be."""

from pathlib import Path

import numpy as np
import pytest

from manyhands.core.errors import DataError, SettingsError
from manyhands.data.catalog import DataRequest, load, load_test, way_of_reading


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """100 rows of three unlike classes, each with a number of its own."""
    path = tmp_path / "table.csv"
    labels = ["a"] * 50 + ["b"] * 30 + ["c"] * 20
    path.write_text("x,y,label\n" + "".join(f"{row},{row % 7},{label}\n" for row, label in enumerate(labels)))
    return path


def rows_of(request: DataRequest) -> tuple[list[int], list[int]]:
    found = load(request)
    return [[int(row) for row in part.features[:, 0]] for part in (found.train, found.test)]


def test_a_fifth_is_for_testing_stratified_and_no_row_is_in_both_or_lost(table):
    found = load(DataRequest(csv=table, label_column="label", scale="none"))
    assert np.bincount(found.test.labels).tolist() == [10, 6, 4]
    train, test = rows_of(DataRequest(csv=table, label_column="label", scale="none"))
    assert sorted(train + test) == list(range(100))
    assert [found.train.labels[:40].tolist().count(each) for each in range(3)] == pytest.approx([20, 12, 8], abs=6)
    assert "20 % of the rows drawn for testing, seed=0" in found.note


@pytest.mark.parametrize(("size", "rows"), [(0.3, 30), (0.301, 31), (10, 10)])
def test_a_share_or_a_number_of_rows(table, size, rows):
    assert len(rows_of(DataRequest(csv=table, label_column=-1, test_size=size, scale="none"))[1]) == rows


def test_the_division_is_a_function_of_the_seed(table):
    def drawn(seed):
        return rows_of(DataRequest(csv=table, label_column=2, seed=seed, scale="none"))[1]

    assert drawn(1) == drawn(1) != drawn(2)


def test_evaluation_draws_the_same_rows_and_says_which(table, caplog):
    request = DataRequest(csv=table, label_column=2, seed=5, test_size=0.4, scale="none")
    examples = load_test(request)
    assert [int(row) for row in examples.features[:, 0]] == rows_of(request)[1]
    assert "those that seed=5 and test_size=0.4 draw" in caplog.text


def test_data_that_is_a_csv_file_is_read_as_one(table):
    one, other = (
        load(each) for each in (DataRequest(csv=table, label_column=2), DataRequest(str(table), label_column=2))
    )
    assert one.identity == other.identity
    assert way_of_reading(DataRequest(str(table))) == way_of_reading(DataRequest(csv=table)) == "csv"


def test_test_rows_of_its_own_are_not_divided():
    with pytest.raises(SettingsError, match=r"test_size=0\.2: digits has test rows of its own"):
        load(DataRequest("digits", test_size=0.2))


@pytest.mark.parametrize("size", [100, 1000])
def test_rows_must_be_left_for_training(table, size):
    with pytest.raises(
        SettingsError, match=f"test_size={size}: of the 100 rows of table.csv, 1 to 99 can be test rows"
    ):
        load(DataRequest(csv=table, label_column=2, test_size=size))


def test_a_class_of_one_row_is_named(table):
    table.write_text(table.read_text() + "1,2,rare\n")
    with pytest.raises(DataError, match="the class rare has one row only, and cannot be in both; remove such rows"):
        load(DataRequest(csv=table, label_column=2))


def test_a_forgotten_label_column_is_named_before_rare_classes_are_blamed(tmp_path):
    path = tmp_path / "flowers.csv"
    path.write_text("length,width,target\n" + "".join(f"{row / 10},{row % 9},{row % 3}\n" for row in range(60)))
    with pytest.raises(DataError, match=r"column 2 \('target'\) looks like the label: label_column='target'"):
        load(DataRequest(csv=path))


def test_all_rows_can_be_asked_for_by_name(table):
    found = load(DataRequest(csv=table, label_column=2, train_size=60))
    assert (found.train.rows, found.available) == (60, 80)
    assert "60 of 80 training (train_size='all' for all)" in found.text
    everything = load(DataRequest(csv=table, label_column=2, train_size="all"))
    assert (everything.train.rows, everything.available) == (80, None)
    assert everything.text == "table.csv: 80 training and 20 test samples, 2 features, 3 classes (a, b, c)"


def test_an_address_is_no_file():
    for request in ({"data": "https://example.org/a.csv"}, {"csv": "http://example.org/a"}, {"train_csv": "s3://a/b"}):
        with pytest.raises(SettingsError, match="is an address; download the file first"):
            DataRequest(**request)
