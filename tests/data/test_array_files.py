"""NumPy's archives: the known names, images with channels last, and what is never loaded."""

import numpy as np
import pytest

from manyhands.core.errors import DataError, FormatError, MissingDataError
from manyhands.data.catalog import DataRequest, load

X, Y = np.arange(80, dtype=np.uint8).reshape(20, 4), np.arange(20) % 2
PARTS = ("x_train", "y_train", "x_test", "y_test")


def test_training_and_test_arrays_as_keras_names_them(tmp_path):
    np.savez(tmp_path / "a.npz", **dict(zip(PARTS, (X[:15], Y[:15], X[15:], Y[15:]), strict=True)))
    found = load(DataRequest(str(tmp_path / "a.npz"), scale="none"))
    assert (found.name, found.train.rows, found.test.rows) == ("a.npz", 15, 5)
    np.testing.assert_array_equal(found.test.features, X[15:])
    assert found.test.labels.tolist() == Y[15:].tolist()


@pytest.mark.parametrize("names", [("X", "y"), ("features", "labels"), ("data", "target"), ("images", "labels")])
def test_one_table_is_divided(tmp_path, names):
    np.savez_compressed(tmp_path / "a.npz", **dict(zip(names, (X, Y[:, None]), strict=True)))
    found = load(DataRequest(str(tmp_path / "a.npz")))
    assert (found.train.rows, found.test.rows) == (16, 4)


def test_channels_come_first(tmp_path):
    images = np.arange(20 * 5 * 4 * 3).reshape(20, 5, 4, 3).astype(np.uint8)
    np.savez(tmp_path / "a.npz", X=images, y=Y)
    found = load(DataRequest(str(tmp_path / "a.npz"), scale="none", test_size=2))
    assert found.train.sample_shape == (3, 5, 4)
    red = found.train.features[found.train.features[:, 0].argmin(), :4]  # the rows are in another order
    assert red.tolist() in images[:, 0, :, 0].tolist()


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"a": X, "b": Y}, "the file has the arrays a, b; expected are x_train, y_train, x_test, y_test"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "expected are"),
        ({"X": X, "y": np.array(["a", None] * 10, object)}, "Python objects, which are never loaded"),
        ({"X": X.astype(str), "y": Y}, "the array X has the dtype <U3; features are numbers"),
        ({"X": Y, "y": Y}, "the array X has one dimension"),
        ({"X": X, "y": Y[:7]}, "20 rows of features, but labels of shape"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, arrays, problem):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=problem) as caught:
        load(DataRequest(str(path)))
    assert caught.value.path == path


def test_damaged_files_are_format_errors(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=X, y=Y)
    content = path.read_bytes()
    for wrong in (b"", b"hello", content[: len(content) // 2], content[:60] + b"\xff" * 40 + content[100:]):
        path.write_bytes(wrong)
        with pytest.raises(FormatError, match="damaged"):
            load(DataRequest(str(path)))


def test_one_array_alone_says_how_to_save_two(tmp_path):
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(DataError, match=r"numpy\.savez\('data\.npz', X=features, y=labels\)"):
        load(DataRequest(str(tmp_path / "a.npy")))


@pytest.mark.parametrize(("name", "problem"), [("a.pkl", "pickles are never loaded"), ("a.data", "csv='")])
def test_other_suffixes_say_what_is_read(tmp_path, name, problem):
    (tmp_path / name).write_text("1,2\n")
    with pytest.raises(DataError, match=problem):
        load(DataRequest(str(tmp_path / name)))


def test_a_file_that_is_not_there_is_missing(tmp_path):
    for name in ("a.npz", "a.parquet", "a"):
        with pytest.raises(MissingDataError, match="there is no"):
            load(DataRequest(str(tmp_path / name)))
