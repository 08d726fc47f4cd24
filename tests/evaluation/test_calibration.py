"""Confidence and calibration error: numbers worked out by hand, the definition row by row, and scikit-learn's curve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from manyhands.core.errors import DataError, SettingsError
from manyhands.evaluation.calibration import calibration_error, confidence, reliability

# Four rows, two classes. Predicted with 0.9 (right), 0.8 (wrong), 0.8 (right), 0.6 (right).
SURE = np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.4, 0.6]])
TRUTH = np.array([0, 0, 0, 1])


def random_case(seed, rows=300, classes=4, dtype=np.float32):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.4), rows).astype(dtype)
    return probabilities, rng.integers(0, classes, rows)


def by_definition(probabilities, labels, bins):
    """Equation 3 of Guo et al. 2017, with the bins (m - 1) / M < p <= m / M of theirs."""
    total = 0.0
    for low, high in zip(np.arange(bins) / bins, np.arange(1, bins + 1) / bins, strict=True):
        inside = [row for row in range(len(labels)) if low < float(probabilities[row].max()) <= high]
        if inside:
            right = np.mean([probabilities[row].argmax() == labels[row] for row in inside])
            sure = np.mean([float(probabilities[row].max()) for row in inside])
            total += len(inside) / len(labels) * abs(right - sure)
    return total


class TestByHand:
    def test_confidence(self):
        assert confidence(SURE) == pytest.approx((0.9 + 0.8 + 0.8 + 0.6) / 4)

    def test_one_bin_compares_the_means(self):
        assert calibration_error(SURE, TRUTH, bins=1) == pytest.approx(0.775 - 0.75)

    def test_five_bins(self):
        # (0.4, 0.6]: 1 right at 0.6. (0.6, 0.8]: 1 of 2 right at 0.8. (0.8, 1]: 1 right at 0.9.
        assert calibration_error(SURE, TRUTH, bins=5) == pytest.approx((0.4 + 2 * 0.3 + 0.1) / 4)
        assert [each.rows for each in reliability(SURE, TRUTH, bins=5)] == [0, 0, 1, 2, 1]

    def test_empty_bins_have_no_values(self):
        first = reliability(SURE, TRUTH)[0]
        assert (first.rows, first.confidence, first.accuracy) == (0, None, None)

    @pytest.mark.parametrize("right", [True, False])
    def test_sure_of_everything(self, right):
        probabilities, labels = np.eye(3), np.arange(3) if right else (np.arange(3) + 1) % 3
        assert calibration_error(probabilities, labels) == (0 if right else 1)
        assert confidence(probabilities) == 1

    def test_one_class_only(self):
        assert calibration_error(np.ones((5, 1)), np.zeros(5, int)) == 0


class TestAgainstOthers:
    @settings(deadline=None, max_examples=30)
    @given(st.integers(0, 1000), st.sampled_from([1, 2, 10, 15]), st.sampled_from([np.float32, np.float64]))
    def test_definition(self, seed, bins, dtype):
        probabilities, labels = random_case(seed, dtype=dtype)
        assert calibration_error(probabilities, labels, bins) == pytest.approx(
            by_definition(probabilities, labels, bins), abs=1e-9
        )

    @pytest.mark.parametrize("bins", [5, 15])
    def test_scikit_learn_has_the_same_bins(self, bins):
        probabilities, labels = random_case(7, rows=2000)
        sure = probabilities.max(axis=1).astype(np.float64)
        right, mean = calibration_curve(probabilities.argmax(axis=1) == labels, sure, n_bins=bins)
        filled = [each for each in reliability(probabilities, labels, bins) if each.rows]
        np.testing.assert_allclose([each.accuracy for each in filled], right)
        np.testing.assert_allclose([each.confidence for each in filled], mean)
        assert sum(each.rows for each in filled) == 2000


class TestRefusals:
    @pytest.mark.parametrize(
        "probabilities",
        [
            np.zeros((0, 3)),
            np.zeros((3, 0)),
            np.full(3, 0.5),
            np.ones((2, 2), int),
            np.array([[np.nan, 0.5]]),
            np.array([[1.1, 0.2]]),
            np.array([[-0.1, 0.2]]),
            np.array([[np.inf, 0]]),
        ],
        ids=str,
    )
    def test_no_probabilities(self, probabilities):
        with pytest.raises(DataError, match="probabilities"):
            confidence(probabilities)
        with pytest.raises(DataError, match="probabilities"):
            calibration_error(probabilities, np.zeros(len(probabilities), int))

    @pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros((4, 1), int), np.zeros(4), np.array(list("abab"))])
    def test_labels_of_another_shape_or_kind(self, labels):
        with pytest.raises(DataError, match="one class number for each row"):
            calibration_error(SURE, labels)

    @pytest.mark.parametrize("label", [-1, 2])
    def test_labels_that_are_no_class(self, label):
        with pytest.raises(DataError, match="class numbers go from 0 to 1"):
            calibration_error(SURE, np.array([0, 0, 1, label]))

    @pytest.mark.parametrize("bins", [0, -3, 2.5, "15", None])
    def test_bins(self, bins):
        with pytest.raises(SettingsError, match="number of bins"):
            calibration_error(SURE, TRUTH, bins)

    def test_a_softmax_may_round_beyond_one(self):
        assert confidence(np.array([[1.0000001, 0]], np.float32)) == 1
