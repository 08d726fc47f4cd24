"""Scaling: numbers worked out by hand, and what standardizing means for any table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from manyhands.core.errors import DataError, SettingsError
from manyhands.data.scaling import SCALINGS, check_binarize, make_binary, make_scaling


def scaled(kind: str, features: np.ndarray) -> np.ndarray:
    return make_scaling(kind, features).inputs(features)


BYTES = np.array([[0, 8], [4, 16]], np.uint8)


@pytest.mark.parametrize(
    ("kind", "features", "result"),
    [
        ("none", BYTES, [[0, 8], [4, 16]]),
        ("255", BYTES, [[0, 8 / 255], [4 / 255, 16 / 255]]),
        ("auto", BYTES, [[0, 0.5], [0.25, 1]]),  # by the largest value of the whole table, 16
        ("standard", BYTES, [[-1, -1], [1, 1]]),  # means 2 and 12, deviations 2 and 4
        ("auto", BYTES.astype(np.float32), [[-1, -1], [1, 1]]),
        ("auto", np.zeros((2, 1), np.uint8), [[0], [0]]),
        ("standard", np.full((2, 1), 7, np.uint8), [[0], [0]]),
    ],
)
def test_values_worked_out_by_hand(kind, features, result):
    np.testing.assert_allclose(scaled(kind, features), result, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "dtype", "name"),
    [
        ("auto", np.uint8, "x / 16"),
        ("auto", np.float32, "standard"),
        ("255", np.uint8, "x / 255"),
        ("standard", np.uint8, "standard"),
        ("none", np.float32, "none"),
    ],
)
def test_the_name_says_what_was_done(kind, dtype, name):
    assert make_scaling(kind, BYTES.astype(dtype)).name == name


@pytest.mark.parametrize("kind", SCALINGS)
def test_scale_and_shift_are_doubles_per_feature(kind):
    scaling = make_scaling(kind, BYTES)
    for vector in (scaling.scale, scaling.shift):
        assert (vector.shape, vector.dtype) == ((2,), np.float64)


def test_an_unknown_scaling_is_a_settings_error_that_lists_the_known():
    with pytest.raises(SettingsError, match="'minmax'; choose one of auto, 255, standard, none"):
        make_scaling("minmax", BYTES)


@settings(deadline=None, max_examples=100)
@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 3)), elements=st.floats(-1e4, 1e4, width=16))
)
def test_standard_gives_mean_0_and_variance_1_or_0_where_nothing_varies(features):
    result = scaled("standard", features)
    constant = (features == features[0]).all(axis=0)
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(result.var(axis=0), np.where(constant, 0, 1), atol=1e-6)


@pytest.mark.parametrize("rows", [4096, 4097, 10_000])
def test_blocks_of_4096_rows_do_not_show(rows):
    features = np.random.default_rng(3).normal(50, 7, (rows, 2)).astype(np.float32)
    scaling = make_scaling("standard", features)
    wide = features.astype(np.float64)
    np.testing.assert_allclose(scaling.scale, 1 / wide.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.center, wide.mean(axis=0), rtol=1e-12)


def test_a_small_spread_far_from_zero_is_kept():
    # The squares of these values differ in the 13th digit: mean(x^2) - mean(x)^2 would lose it.
    features = np.array([[1e6], [1e6 + 1]], np.float64)
    np.testing.assert_allclose(scaled("standard", features), [[-1], [1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [10, 1000, 5000])
def test_a_constant_feature_becomes_0_however_many_rows_add_up_their_rounding(rows, dtype):
    # Otherwise 0.1 + 0.1 + ... is off by some 1e-14, and that is blown up to a variance of 1.
    assert make_scaling("standard", np.full((rows, 3), 0.1, dtype)).scale.tolist() == [0, 0, 0]


class TestBinary:
    @pytest.mark.parametrize(
        ("features", "threshold"),
        [
            (np.array([[0, 255]], np.uint8), 128),  # half of it is 127.5, and bytes from there on are those from 128 on
            (np.array([[0, 254]], np.uint8), 127),
            (np.array([[0, 16], [3, 4]], np.uint8), 8),
            (np.array([[0, 1]], np.uint8), 1),
            (np.array([[0, 255]], np.float32), 127.5),
            (np.array([[-3, 0.5]]), 0.25),
        ],
        ids=str,
    )
    def test_default_is_half_of_the_largest_value(self, features, threshold):
        scaling = make_binary("auto", features)
        assert scaling.threshold == threshold
        assert scaling.name == f"x >= {threshold:g}"

    @settings(deadline=None, max_examples=100)
    @given(
        arrays.arrays(np.uint8, (20, 3)) | arrays.arrays(np.float32, (20, 3), elements=st.floats(-300, 300, width=32)),
        st.floats(-300, 300),
    )
    def test_values_from_the_threshold_on_are_one(self, features, threshold):
        expected = np.array([[float(value >= np.float32(threshold)) for value in row] for row in features])
        if features.dtype == np.uint8:
            expected = np.array([[float(float(value) >= threshold) for value in row] for row in features])
        if len(np.unique(expected)) == 1:
            with pytest.raises(DataError, match=f"all inputs would be {int(expected[0, 0])}"):
                make_binary(threshold, features)
            return
        scaling = make_binary(threshold, features)
        result = scaling.binarized(features)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result * scaling.scale + scaling.shift, expected)

    def test_a_value_reaches_itself_in_any_dtype(self):
        """As a double, float32's 0.7 is smaller than 0.7."""
        for dtype in (np.float32, np.float64):
            features = np.array([[0.1, 0.7]], dtype)
            assert make_binary(0.7, features).binarized(features).tolist() == [[0, 1]]

    @pytest.mark.parametrize("kind", SCALINGS)
    def test_without_a_threshold_values_stay(self, kind):
        scaling = make_scaling(kind, BYTES)
        assert scaling.threshold is None
        assert scaling.binarized(BYTES) is BYTES

    @pytest.mark.parametrize(("threshold", "value"), [(17, 0), (1e300, 0), (0, 1), (-5, 1), (-1e300, 1)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
    def test_all_the_same_is_a_data_error(self, threshold, value, dtype):
        with pytest.raises(DataError, match=f"all inputs would be {value}: the training values go from 0 to 16"):
            make_binary(threshold, BYTES.astype(dtype))

    def test_nothing_but_zeros(self):
        with pytest.raises(DataError, match="all inputs would be 1"):
            make_binary("auto", np.zeros((2, 2), np.uint8))

    @pytest.mark.parametrize("threshold", [float("nan"), float("inf"), 10**400, "half", True, [1], np.nan])
    def test_no_threshold(self, threshold):
        with pytest.raises(SettingsError, match="finite number or 'auto'"):
            make_binary(threshold, BYTES)

    @pytest.mark.parametrize("threshold", [3, 3.5, np.float32(3), np.int64(3)])
    def test_numbers_of_any_kind(self, threshold):
        assert make_binary(threshold, BYTES).binarized(BYTES).tolist() == [[0, 1], [1, 1]]

    @pytest.mark.parametrize("scale", ["255", "standard"])
    def test_another_scaling_beside_it(self, scale):
        with pytest.raises(SettingsError, match=f"binarize and scale='{scale}' do not go together"):
            check_binarize("auto", scale)
        check_binarize(None, scale)

    @pytest.mark.parametrize("scale", ["auto", "none"])
    def test_scalings_that_change_nothing(self, scale):
        check_binarize(3.0, scale)


class TestFarFromZero:
    """What is standardized does not depend on where it lies, nor on its unit."""

    @settings(deadline=None, max_examples=100)
    @given(
        st.integers(2, 5000),
        st.sampled_from([0, 1, 1.7e9, -2.4e9, 2460000.5, 1e25, 1e300]),
        st.sampled_from([1e-3, 1, 1e6]),
    )
    def test_an_offset_changes_nothing_but_by_rounding(self, rows, offset, relative):
        z = np.random.default_rng(rows).normal(size=(rows, 2))
        unit = relative * 1e-6 * max(abs(offset), 1)  # at least 1e-9 of the offset: a double keeps six digits of z
        found = make_scaling("standard", offset + unit * z).inputs(offset + unit * z)
        expected = (z - z.mean(axis=0)) / z.std(axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    @pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
    def test_a_unit_changes_nothing(self, unit):
        z = np.random.default_rng(1).normal(size=(50, 2))
        found = make_scaling("standard", unit * z).inputs(unit * z)
        np.testing.assert_allclose(found, make_scaling("standard", z).inputs(z), atol=1e-12)

    @pytest.mark.parametrize("value", [1.7e9 + 0.3, 0.1, 1e25, 1e300, -1e308])
    @pytest.mark.parametrize("rows", [3, 10_001])
    def test_constants_become_0(self, value, rows):
        features = np.full((rows, 1), value)
        scaling = make_scaling("standard", features)
        assert not scaling.inputs(features).any()
        assert not scaling.inputs(np.array([[0.0], [value + 5]])).any()

    def test_bytes_are_scaled_without_a_center(self):
        scaling = make_scaling("standard", BYTES)
        assert scaling.center is None
        assert list(scaling.vectors()) == ["scale", "shift"]

    def test_bytes_to_be_scaled_with_a_center_become_floats(self):
        """Of a test file with whole numbers only, say."""
        scaling = make_scaling("standard", np.array([[0.5], [3.5]]))
        table = scaling.table(np.array([[2], [5]], np.uint8), np.zeros(2, np.int32))
        assert table.features.dtype == np.float32
        assert table.inputs().tolist() == [[0], [2]]
        assert table.take(slice(1, 2)).inputs().tolist() == [[2]]

    def test_the_largest_input(self):
        scaling = make_scaling("standard", np.array([[-1.0, 5], [1, 5]]))
        assert scaling.largest_input(np.array([[0, 1e9], [-30, 3], [7, 3]])) == 30
        assert scaling.largest_input(np.zeros((0, 2))) == 0
        assert make_scaling("standard", np.array([[1e-300], [2e-300]])).largest_input(np.array([[1e300]])) == np.inf
