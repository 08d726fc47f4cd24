"""Means, intervals and paired comparisons, against numbers worked out by hand with a printed table of Student's t."""

import math

import numpy as np
import pytest

from manyhands.studies.statistics import Estimate, estimate, paired_difference, paired_ratio


def test_interval_of_two_values():
    # s = sqrt(2), so s / sqrt(2) = 1; t(1) = 12.706
    found = estimate([0.0, 2.0])
    assert found.mean == 1
    assert found.interval == pytest.approx([1 - 12.706, 1 + 12.706], abs=5e-4)


def test_interval_of_three_values():
    # s = 1, t(2) = 4.303: 4.303 / sqrt(3) = 2.484
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.half_width == pytest.approx(2.484, abs=5e-4)


def test_interval_of_five_seeds():
    # squares of deviations 0.16 + 0.04 + 0 + 0.04 + 0.16 = 0.40, s = sqrt(0.40 / 4) = 0.3162,
    # t(4) = 2.776: 2.776 * 0.3162 / sqrt(5) = 0.3926
    found = estimate([93.1, 93.3, 93.5, 93.7, 93.9])
    assert found.mean == pytest.approx(93.5)
    assert found.half_width == pytest.approx(0.3926, abs=5e-5)


def test_other_confidence_takes_other_quantile():
    # 90 %, two-sided: t(2) at 0.95 = 2.920: 2.920 / sqrt(3) = 1.686
    assert estimate([1.0, 2.0, 3.0], confidence=0.9).half_width == pytest.approx(1.686, abs=5e-4)


def test_interval_covers_the_true_mean_as_often_as_it_says():
    samples = np.random.default_rng(0).normal(7, 3, (2000, 5))
    covered = sum(found.low <= 7 <= found.high for found in map(estimate, samples.tolist()))
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)  # three standard errors: 3 sqrt(0.95 * 0.05 / 2000)


def test_single_value_has_no_interval():
    found = estimate([93.5])
    assert found == Estimate(93.5, None, None)
    assert found.interval is None
    assert found.half_width is None


def test_equal_values_have_an_interval_of_no_width():
    assert estimate([0.5, 0.5, 0.5]).interval == [0.5, 0.5]


def test_mean_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_difference_is_taken_pair_by_pair():
    # differences 1, 2, 3, as in the second test; the pairs themselves are far apart
    found = paired_difference([11.0, 52.0, 93.0], [10.0, 50.0, 90.0])
    assert found.mean == 2
    assert found.half_width == pytest.approx(2.484, abs=5e-4)


def test_what_both_have_in_common_leaves_the_interval():
    found = paired_difference([91.0, 94.0, 97.0], [90.0, 93.0, 96.0])
    assert found.interval == pytest.approx([1, 1])


def test_difference_of_one_pair_has_no_interval():
    assert paired_difference([93.0], [93.5]) == Estimate(-0.5, None, None)


def test_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians():
    # ratios 4, 1, 4; the medians alone would say 10 / 3
    assert paired_ratio([8.0, 10.0, 12.0], [2.0, 10.0, 3.0]) == 4


def test_ratio_of_an_even_number_of_pairs():
    assert paired_ratio([4.0, 6.0], [2.0, 2.0]) == 2.5


@pytest.mark.parametrize("function", [paired_difference, paired_ratio])
def test_unpaired_values_are_an_error(function):
    with pytest.raises(ValueError, match="zip"):
        function([1.0, 2.0], [1.0])


def test_interval_is_symmetric():
    found = estimate([1.0, 4.0, 4.5, 9.0])
    assert math.isclose(found.mean - found.low, found.high - found.mean)
