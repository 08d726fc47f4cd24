"""The laws of speedup: what follows them is recovered exactly, and what does not breaks nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.records.laws import Amdahl, Gustafson, Scalability, fit_amdahl, fit_gustafson, fit_scalability

quick = settings(deadline=None, max_examples=100)
fractions = st.floats(0, 1)
teams = st.lists(st.integers(2, 64), min_size=1, max_size=6)
several = st.lists(st.integers(2, 64), min_size=2, max_size=6, unique=True)
speedups = st.floats(0.01, 100)


class TestAmdahl:
    @quick
    @given(fractions, teams)
    def test_it_is_recovered(self, fraction, workers):
        law = Amdahl(fraction)
        assert fit_amdahl(workers, [law.speedup(n) for n in workers]).serial_fraction == pytest.approx(
            fraction, abs=1e-9
        )

    def test_one_point_by_hand(self):
        # 1 / 1.6 = 0.625 = f + (1 - f) / 2, so f = 0.25
        assert fit_amdahl([2], [1.6]).serial_fraction == pytest.approx(0.25)

    def test_two_points_by_hand(self):
        # In y = 1/S - 1/n = f (1 - 1/n): for n = 2, S = 2: y = 0, x = 1/2; for n = 4, S = 2: y = 1/4, x = 3/4.
        # f = (0 * 1/2 + 1/4 * 3/4) / (1/4 + 9/16) = 3/16 / (13/16) = 3/13
        assert fit_amdahl([2, 4], [2.0, 2.0]).serial_fraction == pytest.approx(3 / 13)

    def test_speedup_by_hand(self):
        assert Amdahl(0.25).speedup(4) == pytest.approx(1 / (0.25 + 0.75 / 4))
        assert Amdahl(0.0).speedup(6) == 6
        assert Amdahl(1.0).speedup(6) == 1

    @quick
    @given(st.floats(0.01, 1), st.integers(1, 10**6))
    def test_no_speedup_exceeds_its_limit(self, fraction, workers):
        assert 1 - 1e-9 <= Amdahl(fraction).speedup(workers) <= 1 / fraction + 1e-9

    def test_more_than_linear_is_no_serial_part(self):
        assert fit_amdahl([2, 4], [2.5, 5.5]).serial_fraction == 0

    def test_slower_than_alone_is_all_serial(self):
        assert fit_amdahl([2, 4], [0.9, 0.5]).serial_fraction == 1


class TestScalability:
    @quick
    @given(st.floats(0, 2), st.floats(0, 1), several)
    def test_it_is_recovered(self, contention, coherency, workers):
        law = Scalability(contention, coherency)
        found = fit_scalability(workers, [law.speedup(n) for n in workers])
        assert found.contention == pytest.approx(contention, abs=1e-6)
        assert found.coherency == pytest.approx(coherency, abs=1e-6)

    def test_two_points_by_hand(self):
        # n / S - 1 = s (n - 1) + k n (n - 1). n = 2, S = 1.6: 0.25 = s + 2k. n = 4, S = 2: 1 = 3s + 12k.
        # So 0.25 = 6k, k = 1/24 and s = 1/6; the best n is sqrt((5/6) * 24) = sqrt(20) = 4.47.
        found = fit_scalability([2, 4], [1.6, 2.0])
        assert (found.contention, found.coherency) == pytest.approx((1 / 6, 1 / 24))
        assert found.best_workers == pytest.approx(math.sqrt(20))
        # 4.472 / (1 + 3.472 / 6 + 4.472 * 3.472 / 24) = 4.472 / 2.2257
        assert found.peak_speedup == pytest.approx(2.009, abs=5e-4)

    def test_without_coherency_it_is_amdahl(self):
        for n in (1, 2, 5, 100):
            assert Scalability(0.2, 0.0).speedup(n) == pytest.approx(Amdahl(0.2).speedup(n))

    @quick
    @given(st.floats(0, 0.99), st.floats(0.0005, 0.9))
    def test_the_best_number_of_workers_is_the_one_of_the_largest_speedup(self, contention, coherency):
        law = Scalability(contention, coherency)
        grid = np.arange(1, 60, 0.01)
        best = grid[np.argmax([law.speedup(n) for n in grid])]
        assert law.best_workers == pytest.approx(best, abs=0.02)
        assert law.peak_speedup == pytest.approx(max(law.speedup(n) for n in grid), rel=1e-4)

    @pytest.mark.parametrize("contention", [1.0, 1.5])
    @pytest.mark.parametrize("coherency", [0.0, 0.01])
    def test_where_more_workers_never_help_one_is_best(self, contention, coherency):
        law = Scalability(contention, coherency)
        assert (law.best_workers, law.peak_speedup) == (1, 1)

    @pytest.mark.parametrize("contention", [0.0, 0.5])
    def test_what_never_falls_has_no_best(self, contention):
        law = Scalability(contention, 0.0)
        assert (law.best_workers, law.peak_speedup) == (None, None)

    @pytest.mark.parametrize("fraction", [0.05, 0.3])
    @pytest.mark.parametrize("workers", [(2, 4), (2, 4, 6), (2, 4, 8, 16)])
    def test_rounding_alone_is_no_coherency(self, fraction, workers):
        # Speedups by Amdahl's law never fall: a coherency of 1e-16 would have its best number at a hundred million.
        found = fit_scalability(workers, [Amdahl(fraction).speedup(n) for n in workers])
        assert found.best_workers is None

    def test_more_than_linear_costs_nothing(self):
        found = fit_scalability([2, 4, 6], [2.2, 4.9, 8.0])
        assert (found.contention, found.coherency, found.best_workers) == (0, 0, None)

    def test_it_is_never_negative(self):
        # Straight through both points k would be negative: n = 2: 1 = s + 2k, n = 4: 1.5 = 3s + 12k.
        found = fit_scalability([2, 4], [1.0, 1.6])
        assert found.coherency == 0
        assert found.contention == pytest.approx((1 * 1 + 1.5 * 3) / (1 + 9))  # least squares of s (n - 1) alone


class TestGustafson:
    @quick
    @given(fractions, teams)
    def test_it_is_recovered(self, fraction, workers):
        law = Gustafson(fraction)
        assert fit_gustafson(workers, [law.speedup(n) for n in workers]).serial_fraction == pytest.approx(
            fraction, abs=1e-9
        )

    def test_two_points_by_hand(self):
        # n - S = f (n - 1): 0.5 = f for n = 2, S = 1.5; 0.3 = 3f for n = 4, S = 3.7; f = (0.5 + 0.9) / (1 + 9)
        assert fit_gustafson([2, 4], [1.5, 3.7]).serial_fraction == pytest.approx(0.14)

    def test_speedup_by_hand(self):
        assert Gustafson(0.1).speedup(6) == pytest.approx(5.5)  # 6 - 0.1 * 5

    def test_it_stays_a_fraction(self):
        assert fit_gustafson([2, 4], [2.5, 5.0]).serial_fraction == 0
        assert fit_gustafson([2, 4], [0.5, 0.5]).serial_fraction == 1


FITS = [fit_amdahl, fit_scalability, fit_gustafson]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("workers", "measured"), [([], []), ([1], [1.0]), ([1, 1, 1], [1.0, 0.9, 1.1])])
def test_one_worker_alone_says_nothing(fit, workers, measured):
    assert fit(workers, measured) is None


@pytest.mark.parametrize("fit", FITS)
def test_points_with_one_worker_change_nothing(fit):
    assert fit([1, 2, 1, 4], [0.5, 1.7, 3.0, 2.4]) == fit([2, 4], [1.7, 2.4])


def test_two_unknowns_need_two_different_numbers_of_workers():
    assert fit_scalability([2], [1.8]) is None
    assert fit_scalability([2, 2, 2], [1.8, 1.9, 1.7]) is None


@pytest.mark.parametrize("fit", FITS)
def test_unpaired_values_are_an_error(fit):
    with pytest.raises(ValueError, match="zip"):
        fit([2, 4], [1.5])


@quick
@given(st.lists(st.tuples(st.integers(1, 200), speedups), min_size=1, max_size=8))
def test_whatever_was_measured_the_parameters_stay_in_their_ranges(points):
    workers, measured = zip(*points, strict=True)
    amdahl, gustafson = fit_amdahl(workers, measured), fit_gustafson(workers, measured)
    usl = fit_scalability(workers, measured)
    assert amdahl is None or 0 <= amdahl.serial_fraction <= 1
    assert gustafson is None or 0 <= gustafson.serial_fraction <= 1
    if usl is not None:
        assert usl.contention >= 0
        assert usl.coherency >= 0
        assert usl.best_workers is None or usl.best_workers >= 1


@quick
@given(several, st.data())
def test_no_other_fraction_is_nearer(workers, data):
    measured = [data.draw(st.floats(1, n)) for n in workers]
    amdahl, gustafson = fit_amdahl(workers, measured), fit_gustafson(workers, measured)

    def distance(law):
        reciprocal = isinstance(law, Amdahl)
        return sum(
            (1 / law.speedup(n) - 1 / s) ** 2 if reciprocal else (law.speedup(n) - s) ** 2
            for n, s in zip(workers, measured, strict=True)
        )

    for other in np.linspace(0, 1, 41):
        assert distance(amdahl) <= distance(Amdahl(other)) + 1e-12
        assert distance(gustafson) <= distance(Gustafson(other)) + 1e-9
