"""Sums whose bits do not depend on the order: any division among workers, and the right result."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.learners.sums import exact

NUMBERS = st.floats(-1e300, 1e300, allow_subnormal=True)


def total(units, numbers, cuts=()):
    """The sum that as many workers as there are pieces come to."""
    pieces = np.split(np.array(numbers), sorted(cuts))
    sums = []
    for piece in pieces:
        into = np.zeros((exact.LEVELS, 1))
        for number in piece:
            units.add(into, np.array([number]))
        sums.append(into)
    return float(exact.total(np.sum(sums, axis=0))[0])


@settings(max_examples=200, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=40), st.data())
def test_any_division_and_order_has_the_same_bits_and_is_right(numbers, data):
    largest = max(map(abs, numbers))
    units = exact.Units(largest, len(numbers))
    expected = total(units, numbers)
    cuts = data.draw(st.lists(st.integers(0, len(numbers)), max_size=4))
    assert total(units, data.draw(st.permutations(numbers)), cuts) == expected
    assert abs(expected - math.fsum(numbers)) <= math.ulp(math.fsum(numbers)) + math.ulp(largest) * 2.0**-30


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=30))
def test_whole_numbers_need_one_part(numbers):
    units = exact.Units(2.0**20, len(numbers))
    first, second = units.parts(np.array(numbers, float))
    assert not second.any()
    assert first.tolist() == numbers


def test_numbers_beyond_all_units_are_added_as_they_are():
    for bound in (1e308, np.inf):
        into = np.zeros((exact.LEVELS, 1))
        exact.Units(bound, 1000).add(into, np.array([1.5]))
        assert exact.total(into)[0] == 1.5
