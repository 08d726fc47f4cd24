"""Labels that hardly are labels are said, with the column that looks like them; numbers compare as numbers."""

from pathlib import Path

import pytest

from manyhands.core.errors import DataError
from manyhands.data.catalog import DataRequest, load


def write(path: Path, header: str, rows: list[tuple[object, ...]]) -> Path:
    path.write_text((f"{header}\n" if header else "") + "".join(f"{','.join(map(str, row))}\n" for row in rows))
    return path


def said(tmp_path: Path, caplog: pytest.LogCaptureFixture, header: str, rows: list[tuple[object, ...]], **more) -> str:
    path = write(tmp_path / "some.csv", header, rows)
    caplog.clear()
    load(DataRequest(train_csv=path, test_csv=path, **more))
    return caplog.text


FLOWERS = [(row % 9 / 10 + 4, row * 7 % 11, row % 3) for row in range(60)]
PATIENTS = [(row % 17, row * 31 % 53, row % 2) for row in range(300)]


@pytest.mark.parametrize(("header", "name"), [("length,width,target", "('target')"), ("", "(from 0)")])
def test_labels_with_decimals_are_doubted(tmp_path, caplog, header, name):
    text = said(tmp_path, caplog, header, FLOWERS)
    assert "the labels have decimals (4.0, 4.1, " in text
    assert f"column 2 {name} looks like the label: label_column=" in text


def test_many_whole_classes_are_doubted_where_the_last_column_has_few_unless_somebody_asked(tmp_path, caplog):
    assert "17 classes (0, 1, " in (text := said(tmp_path, caplog, "", PATIENTS))
    assert "column 2 (from 0) looks like the label: label_column=2" in text
    assert said(tmp_path, caplog, "", PATIENTS, label_column=0) == ""
    assert said(tmp_path, caplog, "y,a,b", PATIENTS) == ""  # its name says what it is


def test_sound_labels_are_not_doubted(tmp_path, caplog):
    assert said(tmp_path, caplog, "length,width,target", FLOWERS, label_column="target") == ""
    assert said(tmp_path, caplog, "", [(row % 3, row / 7, row % 2) for row in range(10, 60)]) == ""


def test_an_unknown_label_of_a_doubtful_column_is_blamed_on_the_column(tmp_path):
    train = write(tmp_path / "train.csv", "length,width,target", FLOWERS)
    test = write(tmp_path / "test.csv", "length,width,target", [(9.5, 1, 0)])
    with pytest.raises(DataError, match=r"the class '9\.5', .* column 2 \('target'\) looks like the label"):
        load(DataRequest(train_csv=train, test_csv=test))


def test_one_class_only_names_the_column_that_looks_like_the_label(tmp_path):
    path = write(tmp_path / "some.csv", "a,b,label", [(7, row, row % 2) for row in range(20)])
    with pytest.raises(DataError, match=r"one class only \(7\).*column 2 \('label'\) looks like the label"):
        load(DataRequest(train_csv=path, test_csv=path))


@pytest.mark.parametrize(
    ("train", "test"), [("6.0000", "6"), ("6", " 6"), ("6", "6.0"), ("6.0", "006"), ("6e0", "6.00")]
)
def test_numbers_of_two_files_compare_as_numbers(tmp_path, train, test):
    paths = [
        write(tmp_path / name, "", [(label, 1, 2), (7, 3, 4)]) for name, label in (("a.csv", train), ("b.csv", test))
    ]
    found = load(DataRequest(train_csv=paths[0], test_csv=paths[1]))
    assert found.classes.tolist() == [6, 7]
    assert found.test.labels.tolist() == [0, 1]


def test_numbers_that_stay_two_classes_beside_words_are_said(tmp_path, caplog):
    text = said(tmp_path, caplog, "", [("6", 1), ("6.0", 2), ("six", 3)])
    assert "the labels '6' and '6.0' are the same number, but two classes" in text


@pytest.mark.parametrize(
    ("size", "advice"),
    [(None, "add training rows of this class, or remove them"), (2, "train with more rows (train_size")],
)
def test_advice_about_an_unknown_label_can_be_followed(tmp_path, size, advice):
    train = write(tmp_path / "train.csv", "", [(0, 1), (1, 2), (2, 3)][: 3 if size else 2])
    test = write(tmp_path / "test.csv", "", [(2, 1)])
    with pytest.raises(DataError) as caught:
        load(DataRequest(train_csv=train, test_csv=test, train_size=size))
    assert "the classes are 0, 1; " in str(caught.value)
    assert advice in str(caught.value)
