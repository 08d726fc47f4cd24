"""Which dtype keeps numbers apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from manyhands.core.errors import DataError
from manyhands.data.precision import check_whole, coarse, narrowed, numbered, storable

NUMBERS = [0, 1, 2, 250]
LARGE = [0, 1, 2**24 + 1, 1_700_000_030]


@pytest.mark.parametrize(
    ("dtype", "numbers", "stored"),
    [
        (np.uint8, NUMBERS, np.uint8),
        (bool, [0, 1], np.float32),
        (np.int8, [-5, 5], np.float32),
        (np.uint16, [0, 65535], np.float32),
        (np.float16, [0.5, -3], np.float32),
        (np.float32, [0.1, 3], np.float32),
        (">f4", [0.1, 3], np.float32),
        (np.float32, [0, 1e-40], np.float64),
        *[(dtype, NUMBERS, np.float32) for dtype in (np.int32, np.uint32, np.int64, np.uint64, ">i8")],
        *[(dtype, LARGE, np.float64) for dtype in (np.int32, np.uint32, np.int64, np.uint64, ">i8")],
        *[(dtype, NUMBERS, np.float64) for dtype in (np.float64, ">f8", np.longdouble)],
    ],
    ids=str,
)
def test_a_table_keeps_all_numbers(dtype, numbers, stored):
    values = np.array(numbers, dtype)[:, None]
    found = storable(values)
    assert found.dtype == stored
    assert found.dtype.isnative
    assert found.tolist() == values.tolist()
    assert values.dtype not in (np.uint8, np.float64) or found is values


@settings(deadline=None, max_examples=100)
@given(arrays.arrays(np.float64, (3, 2), elements=st.floats(allow_nan=False) | st.floats(width=32, allow_nan=False)))
def test_doubles_become_single_only_if_none_changes(table):
    found = narrowed(table)
    np.testing.assert_array_equal(found, table)
    normal = (np.abs(table) >= np.finfo(np.float32).tiny) | (table == 0)
    with np.errstate(all="ignore"):
        exact = table.astype(np.float32) == table
    assert (found.dtype == np.float32) == bool((exact & normal).all())


@settings(deadline=None, max_examples=100)
@given(st.integers(-20, 20), st.sampled_from([1.0, -1.0, 1e30, 1e-30, 1.7e9]), st.integers(2, 50))
def test_coarse_are_steps_of_more_than_a_hundredth_of_the_deviation(power, offset, rows):
    values = offset * (1 + 2.0**power * np.random.default_rng(rows).normal(size=(rows, 1)))
    largest = np.abs(values).max()
    for dtype in (np.float32, np.float64):
        expected = np.spacing(largest.astype(dtype)) > 0.01 * values.std()
        assert coarse(values, dtype).tolist() == [expected]
        assert coarse(np.repeat(values[:1], 3, axis=0), dtype).tolist() == [False]


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        (1.7e9 + 30 * np.arange(100), True),
        (1.7e9 + 3e6 * np.arange(100), False),
        (1e39 * np.arange(100), True),  # beyond its range
        (1e-40 * np.arange(100), True),  # below its normal range
        (1e308 * np.linspace(-1, 1, 100), True),
        (np.full(100, 1.7e9), False),
    ],
    ids=range(6),
)
def test_coarse_in_single_precision(values, lost):
    assert coarse(values[:, None], np.float32).tolist() == [lost]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, ">i8", np.longdouble])
def test_whole_numbers_beyond_doubles_are_refused_if_they_are_close(dtype):
    start = np.array([1_700_000_000_000_000_000], dtype)
    close, wide = (start + (step * np.arange(50)).astype(dtype) for step in (30, 10**9))
    columns = np.stack([wide, close, np.repeat(start, 50)], axis=1)
    assert columns.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
    check_whole(columns[:, ::2])
    with pytest.raises(DataError, match=r"feature 2 has numbers near 1.7e\+18 that double precision cannot tell apart"):
        check_whole(columns)


def test_the_whole_range_of_integers_is_wide():
    check_whole(np.array([[-(2**63)], [2**63 - 1], [0]]))
    check_whole(np.array([[0], [2**64 - 1]], np.uint64))


def test_a_few_features_are_named_and_the_rest_counted():
    assert numbered("feature", np.array([False, True])) == "feature 2"
    assert numbered("column", np.ones(7, bool)) == "columns 1, 2, 3, 4, 5 and 2 more"
