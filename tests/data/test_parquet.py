"""Parquet files: columns by name, and what is no number."""

import sys

import numpy as np
import pytest

from manyhands.core.errors import DataError, FormatError, SettingsError
from manyhands.data.catalog import DataRequest, load

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

COLUMNS = {"a": [float(row) for row in range(20)], "b": list(range(20)), "species": ["x", "y"] * 10}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.parquet"


def write(path, **columns):
    parquet.write_table(pyarrow.table(columns), path)
    return str(path)


@pytest.mark.parametrize("label_column", ["species", 2, "2", -1])
def test_a_table_is_divided_and_keeps_its_names(path, label_column):
    found = load(DataRequest(write(path, **COLUMNS), label_column=label_column, scale="none"))
    assert (found.train.rows, found.test.rows, found.classes.tolist()) == (16, 4, ["x", "y"])
    assert (found.feature_names, found.label_name) == (("a", "b"), "species")
    np.testing.assert_array_equal(found.train.features[:, 0] % 2, found.train.labels)


def test_an_index_of_pandas_is_left_out(path, caplog):
    found = load(DataRequest(write(path, **COLUMNS, __index_level_0__=list(range(20))), label_column="species"))
    assert found.feature_names == ("a", "b")
    assert "'__index_level_0__' only names the rows" in caplog.text


@pytest.mark.parametrize(
    ("columns", "label_column", "problem"),
    [
        (COLUMNS, None, r"column 2 \('species'\) has no numbers.*is column 2 \('species'\) the label\?"),
        (COLUMNS | {"city": ["r"] * 20}, "species", r"column 3 \('city'\) has no numbers, but string: encode words"),
        (COLUMNS | {"b": [None, *range(19)]}, "species", r"column 1 \('b'\): row 1 has no value \(1 such rows\)"),
        (COLUMNS | {"species": [None, *"xy" * 9, "x"]}, "species", r"column 2 \('species'\): row 1 has no label"),
        ({"species": ["x"]}, "species", "at least one feature"),
    ],
)
def test_what_is_no_number_is_named_with_its_column(path, columns, label_column, problem):
    with pytest.raises(DataError, match=problem):
        load(DataRequest(write(path, **columns), label_column=label_column))


@pytest.mark.parametrize("label_column", ["kind", 3, -4])
def test_an_unknown_column_is_a_settings_error(path, label_column):
    with pytest.raises(SettingsError, match=r"there is no column .*; the columns are a, b, species, numbered from 0"):
        load(DataRequest(write(path, **COLUMNS), label_column=label_column))


def test_a_damaged_file_is_a_format_error(path):
    write(path, **COLUMNS)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FormatError, match="no Parquet file, or a damaged one"):
        load(DataRequest(str(path)))


def test_a_missing_package_says_what_to_install(path, monkeypatch):
    write(path, **COLUMNS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError, match=r"pip install pyarrow"):
        load(DataRequest(str(path)))
