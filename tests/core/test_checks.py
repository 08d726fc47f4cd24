"""Numbers that users give: whole ones, real ones, True and False, and what is none of them."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from manyhands.core.checks import LARGEST, real, shortened, truth, whole
from manyhands.core.errors import SettingsError

NO_NUMBERS = [True, np.True_, "10", b"3", None, 1j, Decimal(3), [3], (3,), {}, np.array(3), np.array([3, 4])]


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_whole_numbers_become_pythons_own(value):
    assert (whole("it", value), type(whole("it", value))) == (3, int)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 10.0, np.float64(3), float("nan"), float("inf"), Fraction(3)])
def test_what_is_no_whole_number_is_named(value):
    with pytest.raises(SettingsError, match=r"^it must be a whole number, not "):
        whole("it", value)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "at least 1, not 0"), (-(10**30), "at least 1, not -1.000e"), (2**63, "at most 9223372036854775807, not 9.2")],
)
def test_whole_numbers_have_limits(value, said):
    with pytest.raises(SettingsError, match=f"^it must be {said}"):
        whole("it", value, least=1)
    assert whole("it", LARGEST) == LARGEST
    assert whole("it", 10**30, most=None) == 10**30


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), (np.float32(0.5), 0.5), (Fraction(1, 4), 0.25)])
def test_real_numbers_become_pythons_own(value, number):
    assert (real("it", value), type(real("it", value))) == (number, float)


@pytest.mark.parametrize(("value", "number"), [(10**400, float("inf")), (-(10**400), -float("inf"))])
def test_real_numbers_that_no_float_holds_are_infinite(value, number):
    assert real("it", value) == number


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_named(value):
    with pytest.raises(SettingsError, match=r"^it must be a number, not "):
        real("it", value)


@pytest.mark.parametrize(("value", "found"), [(True, True), (np.False_, False), (0, False), (1, True)])
def test_truth(value, found):
    assert truth("it", value) is found


@pytest.mark.parametrize("value", ["yes", None, 2, 2.5, np.array([0, 1]), [], float("nan")])
def test_what_is_neither_true_nor_false_is_named(value):
    with pytest.raises(SettingsError, match=r"^it must be True or False, not "):
        truth("it", value)


@pytest.mark.parametrize(
    ("value", "text"), [(75, "75"), (10**30, "1.000e+30"), (np.zeros((2, 2)), "array([[0., 0.], [0., 0.]])")]
)
def test_values_in_messages_take_one_line(value, text):
    assert shortened(value) == text


@pytest.mark.parametrize("value", [10**5000, "x" * 1000, list(range(1000))], ids=["number", "text", "list"])
def test_values_in_messages_are_short(value):
    assert len(shortened(value)) <= 80
