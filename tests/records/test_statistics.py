"""Means, intervals, verdicts and tests, against numbers worked out by hand with a printed table of Student's t.

How often a verdict is wrong is counted in simulated studies.
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.core.errors import SettingsError
from manyhands.records.statistics import (
    Estimate,
    McNemar,
    Verdict,
    check_margin,
    coarse_margin,
    estimate,
    mcnemar,
    paired_difference,
    paired_ratio,
    ratio_interval,
    verdict,
)

quick = settings(deadline=None, max_examples=100)
differences = st.lists(st.floats(-3, 3).map(lambda x: round(x, 3)), min_size=2, max_size=12)
seconds = st.floats(0.1, 100).map(lambda x: round(x, 3))
pairs = st.lists(st.tuples(seconds, seconds), min_size=2, max_size=9)


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


class TestRatioInterval:
    def test_two_pairs_give_both_ratios(self):
        # Of the 4 equally likely draws from ratios 2 and 3, one is (2, 2) and one (3, 3): a quarter each, beyond 2.5 %.
        assert ratio_interval([4.0, 6.0], [2.0, 2.0]) == [2, 3]

    def test_five_pairs_leave_out_no_ratio(self):
        # The lowest is the median of a draw if it comes 3 times or more in 5: 1 - (0.8^5 + 5 * 0.2 * 0.8^4 +
        # 10 * 0.04 * 0.512) = 0.058, which is more than 2.5 %.
        assert ratio_interval([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5) == [1, 5]

    def test_nine_pairs_leave_out_the_outermost(self):
        # The lowest of nine must come 5 times or more: about 126 / 9^5 * (8/9)^4 = 0.0013; the two lowest together 5
        # times or more: P(Bin(9, 2/9) >= 5) = 0.0324, more than 2.5 %.
        assert ratio_interval([float(n) for n in range(1, 10)], [1.0] * 9) == [2, 8]

    def test_a_single_pair_has_none(self):
        assert ratio_interval([4.0], [2.0]) is None

    def test_equal_ratios_have_an_interval_of_no_width(self):
        assert ratio_interval([4.0, 8.0, 2.0], [2.0, 4.0, 1.0]) == [2, 2]

    @quick
    @given(pairs)
    def test_it_contains_the_median_and_is_no_wider_than_the_ratios(self, times):
        reference, values = zip(*times, strict=True)
        low, high = ratio_interval(reference, values, resamples=999)
        ratios = [other / value for other, value in times]
        assert min(ratios) <= low <= paired_ratio(reference, values) <= high <= max(ratios)

    @quick
    @given(pairs)
    def test_the_same_numbers_give_the_same_interval(self, times):
        reference, values = zip(*times, strict=True)
        assert ratio_interval(reference, values, resamples=999) == ratio_interval(reference, values, resamples=999)

    @quick
    @given(pairs, st.sampled_from([1e-3, 0.5, 60, 1000]))
    def test_the_unit_of_time_does_not_matter(self, times, unit):
        reference, values = zip(*times, strict=True)
        scaled = ratio_interval([unit * t for t in reference], [unit * t for t in values], resamples=999)
        assert scaled == pytest.approx(ratio_interval(reference, values, resamples=999))

    @pytest.mark.parametrize(("number", "chance"), [(5, 0.9375), (20, 0.95)])
    def test_it_covers_the_true_median(self, number, chance):
        # Of five pairs it is all of them, and misses if all five lie on one side: 2 / 2^5. True ratio 2, 5 % noise;
        # three standard errors: 3 sqrt(0.95 * 0.05 / 1000) = 0.02.
        noise = np.exp(np.random.default_rng(1).normal(0, 0.05, (1000, number)))
        found = [ratio_interval((2 * times).tolist(), [1.0] * number, resamples=499) for times in noise]
        assert sum(low <= 2 <= high for low, high in found) / 1000 == pytest.approx(chance, abs=0.021)

    def test_more_confidence_makes_it_wider(self):
        values = [float(n) for n in range(1, 22)]
        low, high = ratio_interval(values, [1.0] * 21, confidence=0.5)
        wide_low, wide_high = ratio_interval(values, [1.0] * 21)
        assert wide_low < low < high < wide_high

    def test_unpaired_values_are_an_error(self):
        with pytest.raises(ValueError, match="zip"):
            ratio_interval([1.0, 2.0], [1.0])


def studies(mean: float, spread: float = 0.15, seeds: int = 10, number: int = 1000) -> list[list[float]]:
    """Draw the paired differences of many studies."""
    return np.random.default_rng(20).normal(mean, spread, (number, seeds)).tolist()


def chances(mean: float, margin: float = 0.25, **drawn: Any) -> dict[str, float]:
    """How often each word is said if the true difference is ``mean`` points."""
    words = [verdict(differences, margin).word for differences in studies(mean, **drawn)]
    return {word: words.count(word) / len(words) for word in ("same", "lower", "higher", "undecided")}


class TestCalibration:
    """1,000 studies of 10 seeds; differences that scatter by 0.15 points, as those of MNIST do."""

    def test_no_difference_is_called_same_and_hardly_ever_anything_else(self):
        found = chances(0)
        assert found["lower"] + found["higher"] <= 0.05
        assert found["same"] >= 0.8

    @pytest.mark.parametrize(("mean", "word"), [(-1, "lower"), (1, "higher")])
    def test_a_whole_point_is_seen(self, mean, word):
        assert chances(mean)[word] >= 0.95

    @pytest.mark.parametrize("mean", [-0.25, 0.25])
    def test_a_difference_as_large_as_the_margin_is_hardly_ever_called_same(self, mean):
        assert chances(mean)["same"] <= 0.05

    @pytest.mark.parametrize(("mean", "wrong"), [(-0.25, "higher"), (0.25, "lower")])
    def test_the_wrong_side_is_never_named(self, mean, wrong):
        assert chances(mean)[wrong] == 0

    def test_without_a_difference_errors_come_as_often_as_announced(self):
        # The margin is too small to be reached: spread 1.5, five seeds. 2.5 % for each side, +- 3 standard errors.
        found = chances(0, spread=1.5, seeds=5, number=4000)
        assert found["lower"] == pytest.approx(0.025, abs=0.0075)
        assert found["higher"] == pytest.approx(0.025, abs=0.0075)
        assert found["same"] < 0.01

    def test_same_at_the_margin_comes_as_often_as_announced(self):
        # Many seeds and a clear spread: one of the two tests is decided, the other errs with 2.5 %.
        assert chances(0.25, seeds=40, number=4000)["same"] == pytest.approx(0.025, abs=0.0075)


class TestVerdict:
    def test_two_one_sided_tests_worked_out_by_hand(self):
        # Mean 0.1, s / sqrt(5) = 0.3162 / 2.236 = 0.14142, t(4) at 97.5 % = 2.776: interval 0.1 +- 0.3926.
        # The test against +0.5 has t = 0.4 / 0.14142 = 2.828 > 2.776: same. Against +0.49: 0.39 / 0.14142 = 2.758: not.
        differences = [-0.3, -0.1, 0.1, 0.3, 0.5]
        assert verdict(differences, 0.5).word == "same"
        assert verdict(differences, 0.49).word == "undecided"

    def test_clear_of_zero_it_is_lower_or_higher(self):
        # 0.4926 - 0.3926 > 0 and 0.39 - 0.3926 < 0, by the same spread
        spread = [-0.4, -0.2, 0.0, 0.2, 0.4]
        assert verdict([0.40 + d for d in spread], 0.5).word == "higher"
        assert verdict([0.39 + d for d in spread], 0.5).word == "undecided"
        assert verdict([-0.40 + d for d in spread], 0.5).word == "lower"

    def test_real_but_smaller_than_the_margin_is_the_same(self):
        # s = 0.01, interval -0.1 +- 0.025: on one side of zero, and within the margin.
        assert verdict([-0.09, -0.10, -0.11], 0.25).word == "same"

    def test_real_and_perhaps_larger_than_the_margin_is_not_the_same(self):
        # -0.24 +- 0.025 reaches over -0.25, and not to 0
        assert verdict([-0.23, -0.24, -0.25], 0.25).word == "lower"

    def test_an_interval_that_ends_at_the_margin_is_not_within_it(self):
        assert verdict([-0.25] * 3, 0.25).word == "lower"
        assert verdict([0.25] * 3, 0.25).word == "higher"

    def test_no_spread_decides(self):
        words = [verdict([difference] * 3, 0.25).word for difference in (-1.0, -0.24, 0.0, 0.24, 1.0)]
        assert words == ["lower", "same", "same", "same", "higher"]

    @pytest.mark.parametrize("difference", [-5.0, 0.0, 5.0])
    def test_one_seed_decides_nothing(self, difference):
        found = verdict([difference], 0.25)
        assert found == Verdict("undecided", 0.25, 2, too_few=True)
        assert str(found) == "undecided: three seeds at least are needed for a verdict"

    def test_two_equal_differences_decide_nothing(self):
        """Accuracies are counts: of 360 rows, two equal differences are common, and show no spread."""
        assert verdict([-0.28, -0.28], 0.25) == Verdict("undecided", 0.25, 1, too_few=True)

    @quick
    @given(differences, st.floats(0.01, 5), st.floats(0.01, 5))
    def test_a_wider_margin_never_unsettles(self, values, one, other):
        narrow, wide = (verdict(values, margin).word for margin in sorted([one, other]))
        assert narrow == wide or wide == "same"

    @quick
    @given(differences, st.floats(0.01, 5))
    def test_swapping_the_methods_swaps_lower_and_higher(self, values, margin):
        swapped = {"lower": "higher", "higher": "lower"}
        found, mirrored = verdict(values, margin), verdict([-value for value in values], margin)
        assert mirrored.word == swapped.get(found.word, found.word)
        assert mirrored.more_seeds == found.more_seeds

    @quick
    @given(differences, st.floats(0.01, 5))
    def test_it_says_what_the_printed_interval_shows(self, values, margin):
        low, high = estimate(values).interval
        word = verdict(values, margin).word
        if len(values) < 3:
            assert word == "undecided"
            return
        assert (word == "same") == (-margin < low and high < margin)
        assert (word == "undecided") == (word != "same" and low <= 0 <= high)

    @pytest.mark.parametrize("margin", [0, 0.0, -0.25, float("nan"), float("inf"), -float("inf")])
    def test_a_margin_that_cannot_be_is_a_settings_error(self, margin):
        for function in (check_margin, lambda m: verdict([0.0, 0.1], m), lambda m: verdict([0.0], m)):
            with pytest.raises(SettingsError, match="margin of equivalence must be a positive number"):
                function(margin)

    def test_no_differences_are_an_error(self):
        with pytest.raises(ValueError, match="no values"):
            verdict([], 0.25)

    def test_in_words(self):
        assert str(verdict([0.01, 0.0, 0.0], 0.25)) == "same accuracy"
        assert str(verdict([-1.0, -1.0, -1.0], 0.25)) == "lower"
        assert Verdict("undecided", 0.25, 2).advice("split") == "about 2 more splits would tell"
        assert str(Verdict("undecided", 0.25)) == "undecided: only more test samples would tell"
        assert str(Verdict("undecided", 0.25, 1)) == "undecided: about 1 more seed would tell"
        assert str(Verdict("undecided", 0.25, 7)) == "undecided: about 7 more seeds would tell"
        few = verdict([0.0, 0.3], 0.25)  # one more is the least, and no promise
        assert few.advice("split") == "three splits at least are needed for a verdict"

    def test_a_margin_finer_than_one_test_row_means_little(self):
        assert coarse_margin(0.25, 400) is None  # 1 of 400 is the margin itself
        text = coarse_margin(0.25, 48)  # 100 / 48 = 2.083
        assert text.startswith("one of 48 test samples is 2.08 points, more than the margin of 0.25, so that 'same'")
        assert "at least 400 samples" in text
        assert coarse_margin(0.25, 0) is None


class TestSplitsOfTheSameRows:
    """Nadeau & Bengio 2003: s sqrt(1/n + test/train) instead of s sqrt(1/n)."""

    def test_interval_by_hand(self):
        # s = 1, t(2) = 4.303, sqrt(1/3 + 2/3) = 1
        assert estimate([1.0, 2.0, 3.0], overlap=2 / 3).half_width == pytest.approx(4.303, abs=5e-4)

    def test_interval_covers_a_mean_over_splits_that_share_rows(self):
        # 100 rows, each with a difference of its own and mean 0; a split's value is the mean over 20 of them.
        rng, covered = np.random.default_rng(7), {0.0: 0, 0.25: 0}
        for _ in range(400):
            rows = rng.normal(0, 1, 100)
            values = [float(rng.permutation(rows)[:20].mean()) for _ in range(20)]
            for overlap in covered:
                covered[overlap] += abs(estimate(values, overlap=overlap).mean) <= (
                    estimate(values, overlap=overlap).half_width
                )
        assert covered[0.0] < 0.8 * 400  # as if splits were independent
        assert covered[0.25] >= 0.93 * 400

    def test_no_number_of_splits_decides_what_the_rows_do_not(self):
        # s = 0.2, so that half an interval stays above 1.96 * 0.2 * sqrt(2) = 0.55 however many there are
        assert verdict([-0.2, 0.0, 0.2], 0.25, overlap=2.0) == Verdict("undecided", 0.25, None)


class TestAdvice:
    def test_more_seeds_worked_out_by_hand(self):
        # Mean 0, s = sqrt(0.08 / 2) = 0.2. Needed: t(n - 1) * 0.2 / sqrt(n) < 0.25, so t < 1.25 sqrt(n):
        # n = 4: 3.182 > 2.5; n = 5: 2.776 < 2.795. Two more than three.
        assert verdict([-0.2, 0.0, 0.2], 0.25).more_seeds == 2

    def test_the_nearer_decision_counts(self):
        # Mean 1, s = 1: to show "higher" the half width must be below 1, n = 7: t(6) = 2.447 / 2.646 = 0.925 < 1
        # (n = 6: 2.571 / 2.449 = 1.05); to show "same" it would have to be below 0, which it never is.
        assert verdict([0.0, 1.0, 2.0], 0.25).more_seeds == 4

    def test_only_the_undecided_get_it(self):
        assert [verdict([d] * 3, 0.25).more_seeds for d in (-1.0, 0.0, 1.0)] == [None] * 3

    @quick
    @given(differences, st.floats(0.01, 5))
    def test_there_is_always_something_to_do(self, values, margin):
        found = verdict(values, margin)
        if found.word == "undecided" and found.more_seeds is None:  # not even a hundred thousand would do
            mean, spread = abs(np.mean(values)), np.std(values, ddof=1)
            assert 1.96 * spread / np.sqrt(100_000) > 0.98 * max(margin - mean, mean)
        elif found.word == "undecided":
            assert 1 <= found.more_seeds <= 101_000

    @pytest.mark.parametrize("mean", [0.0, -0.5])
    def test_who_follows_it_gets_an_answer_in_most_cases(self, mean):
        # Asked again as often as it is undecided, at most four times.
        rng = np.random.default_rng(3)
        open_before = open_after = 0
        for _ in range(300):
            values = rng.normal(mean, 0.4, 5).tolist()
            found = verdict(values, 0.25)
            open_before += found.word == "undecided"
            for _ in range(4):
                values += rng.normal(mean, 0.4, found.more_seeds or 0).tolist()
                found = verdict(values, 0.25)
            open_after += found.word == "undecided"
        assert open_before > 100  # else the test would say nothing
        assert open_after < 0.1 * open_before

    def test_about_half_are_answered_at_once(self):
        # It assumes that mean and spread stay as they are; they get better as often as worse.
        rng = np.random.default_rng(4)
        asked = [values for values in rng.normal(0, 0.25, (400, 6)).tolist() if verdict(values, 0.25).more_seeds]
        more = [[*values, *rng.normal(0, 0.25, verdict(values, 0.25).more_seeds)] for values in asked]
        answered = sum(verdict(values, 0.25).word != "undecided" for values in more)
        assert len(asked) > 100
        assert 0.4 < answered / len(asked) < 0.9


def models(only_first: int, only_second: int, both: int, neither: int) -> tuple[Any, Any]:
    """Two models by the number of rows that only one, both or neither gets right."""
    first = [True] * only_first + [False] * only_second + [True] * both + [False] * neither
    second = [False] * only_first + [True] * only_second + [True] * both + [False] * neither
    return np.array(first), np.array(second)


class TestMcNemar:
    def test_exact_probability_by_hand(self):
        # 6 rows on which they differ, 1 to 5: 2 * (C(6, 0) + C(6, 1)) / 2^6 = 2 * 7 / 64
        assert mcnemar(*models(1, 5, 90, 4)) == McNemar(1, 5, 0.21875)

    def test_a_textbook_table(self):
        # Fagerland, Lydersen & Laake (2013): 6 and 16 discordant pairs; exact P = 2 * 110056 / 2^22 = 0.0525
        found = mcnemar(*models(6, 16, 59, 16))
        assert found.p_value == pytest.approx(2 * 110056 / 2**22)

    @pytest.mark.parametrize(("first", "second"), [(0, 1), (3, 3), (0, 12), (40, 25), (250, 300)])
    def test_it_is_the_binomial_test_of_the_rows_that_differ(self, first, second):
        tail = sum(math.comb(first + second, k) for k in range(min(first, second) + 1))
        expected = min(1, 2 * tail / 2 ** (first + second))
        assert mcnemar(*models(first, second, 10, 10)).p_value == pytest.approx(expected)

    def test_rows_on_which_they_agree_say_nothing(self):
        assert mcnemar(*models(2, 9, 0, 0)) == mcnemar(*models(2, 9, 1000, 300))

    def test_swapping_the_models_swaps_the_counts(self):
        one, other = models(2, 9, 5, 5)
        assert mcnemar(other, one) == McNemar(9, 2, mcnemar(one, other).p_value)

    def test_equal_models_do_not_differ(self):
        assert mcnemar(*models(0, 0, 7, 3)) == McNemar(0, 0, 1.0)
        assert mcnemar(np.zeros(0, bool), np.zeros(0, bool)).p_value == 1

    def test_different_rows_are_an_error(self):
        with pytest.raises(ValueError, match=r"different rows: \(3,\) and \(2,\)"):
            mcnemar(np.ones(3, bool), np.ones(2, bool))
