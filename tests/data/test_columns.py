"""Columns are found by their names, and those that only number the rows are noticed."""

import types

import numpy as np
import pytest

from manyhands.core.errors import DataError
from manyhands.data.columns import counting_columns, names_of, reordered, row_names, say_positions

TABLE = np.arange(6).reshape(2, 3)


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["a", " b ", "c"], ("a", "b", "c")),
        ([3, 1, 2], ("3", "1", "2")),
        ([0, 1, 2], None),  # numbered by whoever made the table
        (["a", "b"], None),  # of something else
    ],
)
def test_names_of_a_table(columns, names):
    assert names_of(types.SimpleNamespace(columns=columns, shape=(2, 3), ndim=2)) == names


def test_an_array_has_no_names():
    assert names_of(TABLE) is None


@pytest.mark.parametrize(
    ("given", "wanted", "first"),
    [
        (("a", "b", "c"), ("a", "b", "c"), [0, 1, 2]),
        (("a", "b", "c"), ("c", "a", "b"), [2, 0, 1]),
        (("a", "b", "c"), None, [0, 1, 2]),
        (None, ("c", "a", "b"), [0, 1, 2]),
        (("a", "a", "c"), ("a", "a", "c"), [0, 1, 2]),
    ],
)
def test_columns_are_put_in_the_order_of_the_training_rows(given, wanted, first):
    found = reordered(TABLE, given, wanted)
    assert found[0].tolist() == first
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("given", "wanted", "message"),
    [
        (("a", "b", "x"), ("a", "b", "c"), "feature names should match .* missing: 'c'; unexpected: 'x'"),
        (("a", "b"), ("a", "b", "c"), "missing: 'c'"),
        (("a", "b", "c"), ("a", "b"), "unexpected: 'c'"),
        (("A", "b", "c"), ("a", "b", "c"), "missing: 'a'; unexpected: 'A'"),
        (("a", "a", "b"), ("a", "b", "b"), "missing: 'b'; unexpected: 'a'"),
        (("a", "b", "a"), ("a", "a", "b"), "several columns are named 'a'"),
        (tuple("ABCDEFGHIJ"), tuple("abcdefghij"), r"'h', \.\.\.; unexpected: 'A'"),
    ],
)
def test_other_columns_are_refused(given, wanted, message):
    with pytest.raises(DataError, match=message):
        reordered(np.zeros((1, len(given))), given, wanted)


@pytest.mark.parametrize(
    ("given", "wanted", "said"), [(None, ("a",), 1), (("a",), None, 1), (None, None, 0), (("a",), ("b",), 0)]
)
def test_names_on_one_side_only_are_said(notices, given, wanted, said):
    say_positions(given, wanted, "the test rows")
    assert [text.startswith("columns are taken by position") for text in notices] == [True] * said


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (["", "a"], 1),
        (["Unnamed: 0", "a"], 1),
        (["", "Unnamed: 0", "a"], 2),
        (["Unnamed: 0.1", "Unnamed: 0", "a"], 2),
        (["a", ""], 0),
        (["id", "a"], 0),
        (["Unnamed: 3", "a"], 0),
    ],
)
def test_columns_that_name_the_rows(names, count):
    assert row_names(names) == count


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_columns_that_count_the_rows(dtype):
    count = np.arange(40)
    shuffled = np.random.default_rng(0).permutation(count)
    table = np.stack(
        [count, count + 1, shuffled, count * 2, shuffled + 100, count // 2, np.where(count == 3, 4, count)], 1
    )
    assert counting_columns(table.astype(dtype), named=False) == [0, 1, 2, 4]
    assert counting_columns(table[:20].astype(dtype), named=False) == []
    assert counting_columns(table[:20].astype(dtype), named=True) == [0, 1]


def test_bytes_cannot_count_many_rows():
    assert counting_columns((np.arange(600) % 256).astype(np.uint8)[:, None], named=True) == []
