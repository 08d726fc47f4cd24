"""Parts that others have made: all formats alike, and what is wrong with one is named before training."""

import gzip

import numpy as np
import pytest

from manyhands.core.errors import DataError, FormatError, SettingsError
from manyhands.data.catalog import DataRequest, load, parted_test
from manyhands.data.parts import scan as scanning
from tests.data.parts.conftest import write_part, write_parts

FORMS = ["npy", "idx", "csv", "parquet"]


def rows_of(dataset):
    """All rows of a data set, training and test, with their labels."""
    blocks = [(values, labels) for role in ("train", "test") for values, labels in dataset.stored_rows(role)]
    return [np.concatenate(each) for each in zip(*blocks, strict=True)]


@pytest.mark.parametrize("form", FORMS)
def test_rows_drawn_for_testing_and_the_others_are_all_rows(rows, tmp_path, form):
    x, y = rows
    found = load(DataRequest(str(write_parts(tmp_path / "set", form, x, y, 5)), seed=3))
    assert (found.rows, found.test_rows) == (960, 240)
    assert found.train.features.dtype == np.uint8
    features, labels = rows_of(found)
    assert sorted(map(tuple, np.column_stack([features, labels]).tolist())) == sorted(
        map(tuple, np.column_stack([x, y]).tolist())
    )
    assert found.scaling.name == "x / 255"


@pytest.mark.parametrize("form", FORMS)
def test_parts_that_say_what_they_are_for_are_not_divided(rows, tmp_path, form):
    x, y = rows
    folder = write_parts(tmp_path / "set", form, x[::2], y[::2], 3, "train")
    write_parts(folder, form, x[1::2], y[1::2], 2, "test")
    found = load(DataRequest(str(folder)))
    assert (found.rows, found.test_rows) == (600, 600)
    with pytest.raises(SettingsError, match="has test rows of its own"):
        load(DataRequest(str(folder), test_size=0.5))
    inside = tmp_path / "inside"
    inside.mkdir()
    for role, part in (("train", slice(0, None, 2)), ("test", slice(1, None, 2))):
        write_parts(inside / role, form, x[part], y[part], 2)
    other = load(DataRequest(str(inside)))
    assert (other.rows, other.test_rows) == (600, 600)
    assert (rows_of(other)[0] == rows_of(found)[0]).all()


def test_what_was_found_is_remembered_until_a_file_changes(rows, tmp_path, monkeypatch):
    x, y = rows
    folder = write_parts(tmp_path / "set", "csv", x, y, 3)
    first = load(DataRequest(str(folder)))
    monkeypatch.setattr(scanning, "_check_alike", lambda *_: pytest.fail("scanned again"))
    again = load(DataRequest(str(folder)))
    assert again.parts.to_json() == first.parts.to_json()
    monkeypatch.undo()
    write_part(folder, "csv", x[:500], y[:500], "part-001")
    assert load(DataRequest(str(folder))).rows + load(DataRequest(str(folder))).test_rows == 1300


@pytest.mark.parametrize("form", ["npy", "csv", "parquet"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x[:, 1:], y), "unlike part-000"),
        (lambda x, y: (x.astype(np.float64) * np.nan, y), "not a finite number|unlike|missing|no value|finite"),
        (lambda x, y: (x[:0], y[:0]), "no rows?|no examples|unlike|needs rows"),
    ],
    ids=["columns", "values", "empty"],
)
def test_a_part_unlike_the_others_is_named(rows, tmp_path, form, change, words):
    x, y = rows
    folder = write_parts(tmp_path / "set", form, x, y, 4)
    write_part(folder, form, *change(x[:50], y[:50]), "part-002")
    with pytest.raises(DataError, match=rf"part-002.*({words})"):
        load(DataRequest(str(folder)))


def test_names_of_columns_and_types_are_compared(rows, tmp_path):
    x, y = rows
    folder = write_parts(tmp_path / "named", "csv", x, y, 3)
    path = folder / "part-001.csv"
    path.write_text(path.read_text().replace("c3", "other", 1))
    with pytest.raises(DataError, match=r"part-001\.csv: .*its columns are others.*c3, other"):
        load(DataRequest(str(folder)))
    folder = write_parts(tmp_path / "typed", "npy", x, y, 3)
    write_part(folder, "npy", x.astype(np.float32), y, "part-001")
    with pytest.raises(DataError, match=r"part-001-features\.npy: .*its types are float32.*uint8"):
        load(DataRequest(str(folder)))


def test_a_class_that_no_training_row_has_is_named(rows, tmp_path):
    x, y = rows
    folder = write_parts(tmp_path / "set", "npy", x, y, 3, "train")
    write_part(folder, "npy", x[:9], np.full(9, 7), "test-000")
    with pytest.raises(DataError, match=r"test-000-labels\.npy.*'7'.*no training row has"):
        load(DataRequest(str(folder)))
    folder = write_parts(tmp_path / "one", "npy", x, 0 * y, 3)
    with pytest.raises(DataError, match="one class"):
        load(DataRequest(str(folder)))


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_part_is_named(rows, tmp_path, form):
    x, y = rows
    folder = write_parts(tmp_path / "set", form, x, y, 3)
    path = next(path for path in sorted(folder.iterdir()) if path.name.startswith("part-001"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 - 3])
    with pytest.raises(FormatError, match="part-001"):
        load(DataRequest(str(folder)))


def test_what_does_not_belong_together_is_said(rows, tmp_path):
    x, y = rows
    folder = write_parts(tmp_path / "set", "npy", x, y, 2)
    (folder / "part-001-labels.npy").unlink()
    with pytest.raises(DataError, match=r"there are no labels for part-001-features\.npy"):
        load(DataRequest(str(folder)))
    write_part(folder, "npy", x, y, "part-001")
    write_part(folder, "csv", x, y, "part-002")
    with pytest.raises(DataError, match=r"parts of several formats \(CSV, \.npy\)"):
        load(DataRequest(str(folder)))
    (folder / "part-002.csv").unlink()
    write_part(folder, "npy", x, y, "train-003")
    with pytest.raises(DataError, match="does not say whether it is for training or testing"):
        load(DataRequest(str(folder)))


def test_objects_and_columns_in_memory_order_are_refused(rows, tmp_path):
    x, y = rows
    folder = write_parts(tmp_path / "set", "npy", x, y, 2)
    np.save(folder / "part-001-features.npy", np.asfortranarray(x[600:]))
    with pytest.raises(FormatError, match=r"part-001-features\.npy: .*stored by columns"):
        load(DataRequest(str(folder)))
    np.save(folder / "part-001-features.npy", x[600:])
    np.save(folder / "part-001-labels.npy", np.array(["a"] * 600, object), allow_pickle=True)
    with pytest.raises(FormatError, match=r"part-001-labels\.npy: .*never loaded"):
        load(DataRequest(str(folder)))


def test_large_tables_and_packed_parts(rows, tmp_path, monkeypatch):
    """A file of more than a share of the free memory is a folder with one part; .gz has no blocks, so it is small."""
    from manyhands.data.parts import loading

    x, y = rows
    folder = write_parts(tmp_path / "set", "csv", x, y, 1)
    path = folder / "part-000.csv"
    assert load(DataRequest(str(path))).parts is None
    monkeypatch.setattr(loading, "memory_room", lambda: (40_000, "free"))
    found = load(DataRequest(str(path)))
    assert found.parts is not None
    assert found.rows == 960
    monkeypatch.undo()
    (folder / "part-001.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert load(DataRequest(str(folder))).rows == 1920


def test_words_are_classes_in_all_parts(rows, tmp_path):
    x, y = rows
    words = np.array(["zero", "one", "two", "three"])[y]
    found = load(DataRequest(str(write_parts(tmp_path / "set", "csv", x, words, 3))))
    assert found.classes.tolist() == ["one", "three", "two", "zero"]
    mixed = np.where(y == 3, "x", y.astype(str))
    found = load(DataRequest(str(write_parts(tmp_path / "mixed", "csv", x, mixed, 3))))
    assert found.classes.tolist() == ["0", "1", "2", "x"]


def test_test_rows_come_in_blocks_or_together(rows, tmp_path):
    x, y = rows
    request = DataRequest(str(write_parts(tmp_path / "set", "npy", x, y, 3)))
    found = parted_test(request, kept=True)
    assert sum(len(block) for block in found.blocks()) == found.rows == 240
    assert len(found.together()) == 240
