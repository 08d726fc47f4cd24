"""Header lines: the names of the columns, and columns that only name the rows."""

import numpy as np
import pytest

from manyhands.core.errors import FormatError, SettingsError
from manyhands.data.csv.header import find_layout
from manyhands.data.csv.reader import join_parts, read_csv


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.csv"


@pytest.mark.parametrize(
    ("header", "label_column", "features", "label"),
    [
        ("label,a,b", 0, ("a", "b"), "label"),
        ("a, label ,b", "label", ("a", "b"), "label"),
        ("\ufeffa;b;label", -1, ("a", "b"), "label"),
        ("label,0,1", 0, ("0", "1"), "label"),
        ('"a, or b","label",c', 1, ("a, or b", "c"), "label"),
        (",label,a", "label", ("a",), "label"),
    ],
)
def test_names_of_features_and_label(path, header, label_column, features, label):
    row = "1;2;3" if ";" in header else "1,2,3"
    found = find_layout(write(path, header, row), label_column)
    assert (found.features, found.label) == (features, label)


def test_without_a_header_there_are_no_names(path):
    assert find_layout(write(path, "1,2,3", "4,5,6")).features is None


INDEXED = {
    "pandas": (",label,a,b", "{n},{c},{n}.5,7"),
    "saved twice": (",Unnamed: 0,label,a,b", "{n},{n},{c},{n}.5,7"),
    "read and saved": ("Unnamed: 0,label,a,b", "{n},{c},{n}.5,7"),
    "R": ('"","label","a","b"', '"row {n}",{c},{n}.5,7'),
    "shuffled and large": (",label,a,b", "9{n}00,{c},{n}.5,7"),
    "numbered columns": (",label,0,1", "{n},{c},{n}.5,7"),
}


@pytest.mark.parametrize("name", INDEXED)
@pytest.mark.parametrize("parts", [1, 3])
def test_a_column_that_names_the_rows_is_no_feature(path, name, parts):
    header, row = INDEXED[name]
    write(path, header, *[row.format(n=n, c="xyz"[n % 3]) for n in range(9)])
    column = "label" if "Unnamed" in header else 1
    found = [read_csv(path, column, part, parts) for part in range(parts)]
    features, labels = join_parts(*zip(*found, strict=True))
    assert features.tolist() == [[n + 0.5, 7] for n in range(9)]
    assert labels.tolist() == [*"xyz"] * 3
    assert features.flags.c_contiguous


def test_bytes_beside_large_row_numbers_stay_bytes(path):
    features, _ = read_csv(write(path, ",label,a", *[f"{n},{n % 2},{n % 7}" for n in range(300)]), "label")
    assert features.dtype == np.uint8


@pytest.mark.parametrize("header", [",label,a", "Unnamed: 0,label,a", ",label,0"])
def test_row_numbers_are_no_labels(path, header):
    with pytest.raises(SettingsError, match=r"column 0 only names the rows .* \(label_column\): label"):
        read_csv(write(path, header, "0,1,2", "1,2,3"))


def test_who_names_the_column_gets_it(path):
    _, labels = read_csv(write(path, "Unnamed: 0,a,b", "0,1,2", "1,2,3"), "Unnamed: 0")
    assert labels.tolist() == [0, 1]


def test_nothing_but_row_numbers_and_labels_is_refused(path):
    with pytest.raises(FormatError, match="at least one feature"):
        read_csv(write(path, ",label", "0,1"), "label")


def test_two_label_columns_of_one_name_are_refused(path):
    with pytest.raises(SettingsError, match="several columns are named 'label'; give the label's number"):
        read_csv(write(path, "label,a,label", "1,2,3"), "label")
