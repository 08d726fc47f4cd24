"""Data sets: labels become numbers, bytes stay bytes, and what cannot be learned is refused before training."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import DataError, SettingsError
from manyhands.data.dataset import Examples, make_dataset
from manyhands.data.labels import encode
from manyhands.data.precision import say_once


def examples(labels: list, columns: int = 2, dtype: type = np.uint8, source: str | None = None) -> Examples:
    features = np.arange(len(labels) * columns).reshape(len(labels), columns).astype(dtype)
    return Examples(features, np.array(labels), None if source is None else Path(source))


TRAIN = examples([3, 1, 3, 7])
TEST = examples([7, 3])


def test_integer_labels_become_class_numbers_in_sorted_order():
    data = make_dataset("d", TRAIN, TEST)
    assert data.classes.tolist() == [1, 3, 7]
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([1, 0, 1, 2], [2, 1])
    assert data.train.labels.dtype == data.test.labels.dtype == np.int32


def test_words_become_class_numbers_in_sorted_order():
    data = make_dataset("d", examples(["b", "a", "cc"]), examples(["cc", "b"]))
    assert data.classes.tolist() == ["a", "b", "cc"]
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([1, 0, 2], [2, 1])


@settings(deadline=None, max_examples=50)
@given(st.one_of(st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.text("abc0189é", min_size=1))))
def test_encode_finds_every_label_again(labels):
    array = np.array(labels, dtype=None if labels else np.int64)
    classes = np.unique(np.append(array, array.dtype.type(0)))
    assert classes[encode(array, classes)].tolist() == labels


def test_encode_compares_numbers_with_words_as_words():
    # A model trained on 2, 10 and x has words as classes; a test file with digits alone has numbers.
    assert encode(np.array([10, 2]), np.array(["10", "2", "x"])).tolist() == [0, 1]
    assert encode(np.array(["10", "2"]), np.array([2, 10])).tolist() == [1, 0]


def test_a_class_training_never_saw_is_named_with_its_row():
    with pytest.raises(
        DataError, match=r"test row 2 has the class '9', which no training row has \(2 such rows\)"
    ) as caught:
        make_dataset("d", TRAIN, examples([7, 9, 9], source="t.csv"))
    assert caught.value.path == Path("t.csv")


def test_a_class_lost_by_taking_fewer_rows_is_refused_with_the_remedy():
    with pytest.raises(DataError, match=r"class '7'.*train_size"):
        make_dataset("d", TRAIN, TEST, train_size=3)


def test_one_class_only_cannot_be_learned():
    with pytest.raises(DataError, match=r"2 training rows have one class only \(5\)"):
        make_dataset("d", examples([5, 5]), examples([5]))


def test_the_first_rows_are_used():
    data = make_dataset("d", TRAIN, examples([3]), train_size=2)
    np.testing.assert_array_equal(data.train.features, TRAIN.features[:2])
    assert data.train.labels.tolist() == [1, 0]


@pytest.mark.parametrize("rows", [0, -1, 5])
def test_more_rows_than_there_are_is_a_settings_error(rows):
    with pytest.raises(SettingsError, match=f"train_size={rows}: d has 4 training rows; ask for 1 to 4"):
        make_dataset("d", TRAIN, TEST, train_size=rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_feature_that_is_not_finite_is_named(part, bad):
    parts = {"train": examples([1, 2], dtype=np.float32), "test": examples([1, 2], dtype=np.float32, source="t.csv")}
    parts[part].features[1, 0] = bad
    with pytest.raises(DataError, match=f"row 2, feature 1 is {bad}, not a finite number"):
        make_dataset("d", **parts)


def test_rows_that_are_not_used_need_not_be_finite():
    train = examples([1, 2, 1], dtype=np.float32)
    train.features[2, 0] = np.nan
    assert make_dataset("d", train, examples([1], dtype=np.float32), train_size=2).train.rows == 2


def test_training_and_test_need_the_same_number_of_features():
    with pytest.raises(DataError, match=r"t\.csv: the training rows have 2 features, the test rows 3"):
        make_dataset("d", TRAIN, examples([7], columns=3, source="t.csv"))


@pytest.mark.parametrize("labels", [np.array([1]), np.array([[1], [2]]), np.array(1)], ids=["few", "square", "scalar"])
def test_every_row_needs_one_label(labels):
    with pytest.raises(DataError, match=r"there are 2 rows of features, but labels of shape|labels need one dimension"):
        Examples(np.zeros((2, 3), np.uint8), labels)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (2,)])
def test_no_examples_or_no_features_are_refused(shape):
    with pytest.raises(DataError, match="there are no examples"):
        Examples(np.zeros(shape, np.uint8), np.zeros(shape[0], np.int64))


def test_bytes_are_neither_converted_nor_copied():
    images = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)
    train = Examples(images, np.array([0, 1, 0, 1]))
    data = make_dataset("d", train, train, train_size=3)
    assert data.train.features.dtype == np.uint8
    assert data.train.features.shape == (3, 6)
    assert np.shares_memory(data.train.features, images)
    assert np.shares_memory(data.test.features, images)


@pytest.mark.parametrize(
    ("stored", "used"),
    [
        (np.uint8, np.uint8),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int8, np.float32),
        (np.int32, np.float32),
        (np.float16, np.float32),
    ],
)
def test_features_are_kept_or_become_float32(stored, used):
    flat = examples([1, 2], dtype=stored).flat()
    assert flat.dtype == used
    assert flat.tolist() == [[0, 1], [2, 3]]


def test_flat_features_are_contiguous():
    images = np.zeros((2, 3, 8), np.uint8)[:, :, ::2]
    assert Examples(images, np.array([0, 1])).flat().flags.c_contiguous


def test_the_scaling_comes_from_the_training_rows_that_are_used():
    # The largest byte of rows 1 and 2 is 3, of all training rows 7, of the test 100.
    test = Examples(np.array([[100, 0]], np.uint8), np.array([3]))
    data = make_dataset("d", TRAIN, test, train_size=2)
    assert data.scaling.name == "x / 3"
    for table in (data.train, data.test):
        np.testing.assert_allclose(table.scale, 1 / 3)
        np.testing.assert_array_equal(table.shift, 0)


def test_an_unknown_scaling_is_a_settings_error():
    with pytest.raises(SettingsError, match="unknown scaling 'much'"):
        make_dataset("d", TRAIN, TEST, scale="much")


def test_describe_gives_the_facts():
    assert make_dataset("d", TRAIN, TEST, note="made here").describe() == {
        "name": "d",
        "train_rows": 4,
        "test_rows": 2,
        "features": 2,
        "classes": 3,
        "scaling": "x / 7",
        "note": "made here",
    }


def test_most_rows_with_a_class_of_their_own_are_said(notices):
    rows = examples(list(range(20)))
    make_dataset("d", rows, rows)
    assert [text[:30] for text in notices] == ["20 classes for 20 training row"]


def test_a_dataset_made_by_hand_has_classes_that_can_be_saved():
    data = make_dataset("d", TRAIN, TEST)
    with pytest.raises(DataError, match="bytes"):
        dataclasses.replace(data, classes=np.array([b"a", b"b", b"c"]))


def test_values_too_large_to_be_standardized_are_refused():
    train = Examples(np.array([[1.0, -1e160], [2.0, 3.0]]), np.array([0, 1]))
    with pytest.raises(DataError, match="feature 2 has values beyond 1e\\+150, too large to be standardized"):
        make_dataset("d", train, train)
    make_dataset("d", train, train, scale="none")


class TestPrecision:
    NUMBERS = 1_700_000_000 + 300 * np.random.default_rng(2).integers(-3, 4, (40, 2))
    LABELS = np.arange(40) % 2

    @pytest.mark.parametrize("dtype", [np.float64, ">f8", np.int32, np.uint32, np.int64, ">i8", np.longdouble])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_any_dtype_and_order_give_the_inputs_of_doubles(self, dtype, order):
        given = Examples(np.array(self.NUMBERS, dtype, order=order), self.LABELS)
        found, wanted = (
            make_dataset("d", each, each) for each in (given, Examples(self.NUMBERS.astype(float), self.LABELS))
        )
        np.testing.assert_array_equal(found.train.inputs(), wanted.train.inputs())
        assert found.train.inputs().std(axis=0) == pytest.approx(1)

    def test_lists_are_arrays(self):
        lists = Examples(self.NUMBERS.tolist(), self.LABELS.tolist())
        data = make_dataset("d", lists, lists)
        assert data.train.inputs().std(axis=0) == pytest.approx(1)
        with pytest.raises(DataError, match="have different lengths"):
            Examples([[1, 2], [3]], [0, 1])

    @pytest.mark.parametrize("other", [np.uint8, np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("first", [np.float32, np.float64])
    def test_training_and_test_rows_have_one_dtype(self, first, other):
        """So that one kernel serves both."""
        train, test = (Examples(np.array([[1], [0.5], [3]]).astype(dtype), [0, 1, 0]) for dtype in (first, other))
        data = make_dataset("d", train, test)
        assert (
            data.train.features.dtype == data.test.features.dtype == max(np.dtype(first), np.result_type(other, "f4"))
        )
        assert data.test.inputs()[[0, 2]].tolist() == data.train.inputs()[[0, 2]].tolist()

    def test_doubles_are_not_copied(self):
        features = self.NUMBERS.astype(float)
        given = Examples(features, self.LABELS)
        assert np.shares_memory(make_dataset("d", given, given).train.features, features)

    def test_what_was_rounded_before_is_said(self, caplog):
        say_once.cache_clear()
        rounded = Examples((1.7e9 + 30 * np.random.default_rng(2).normal(size=(40, 2))).astype(np.float32), self.LABELS)
        make_dataset("d", rounded, rounded)
        (record,) = caplog.records
        assert "features 1, 2 differ by little more than float32 numbers do" in record.getMessage()

    def test_whole_numbers_that_doubles_cannot_tell_apart_are_refused(self):
        close = Examples(10**18 + np.arange(40).reshape(40, 1), self.LABELS)
        with pytest.raises(DataError, match="feature 1 has numbers near 1e\\+18"):
            make_dataset("d", close, close)
