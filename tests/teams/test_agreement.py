"""What processes say when they do not agree; that they do it in time, `test_ranks` in other rooms and below show."""

import numpy as np
import pytest

from manyhands.core.errors import DataError, SettingsError
from manyhands.strategies import parse_strategy
from manyhands.teams.agreement import as_text, describe, difference, is_shared, together


def bring(*everyone):
    return difference([{"settings": settings, "data": data} for settings, data in everyone], "give the same")


def test_there_is_no_error_where_all_bring_the_same():
    assert bring(({"epochs": "3"}, {"rows": "5"}), ({"epochs": "3"}, {"rows": "5"})) is None


def test_settings_are_named_with_their_ranks():
    error = bring(({"epochs": "3"}, {}), ({"epochs": "4"}, {}), ({"epochs": "3"}, {}), ({"epochs": "5"}, {}))
    assert isinstance(error, SettingsError)
    assert str(error) == (
        "ranks differ: epochs is 3 on ranks 0 and 2, 4 on rank 1 and 5 on rank 3; call it with the same arguments in "
        "every process"
    )


def test_of_two_ranks_it_says_just_that():
    assert "epochs is 3 on rank 0 and 4 on rank 1;" in str(bring(({"epochs": "3"}, {}), ({"epochs": "4"}, {})))


def test_checksums_are_named_only_if_nothing_else_differs():
    both = bring(({}, {"rows": "5", "the checksum of X": "a"}), ({}, {"rows": "6", "the checksum of X": "b"}))
    assert isinstance(both, DataError)
    assert str(both) == "ranks differ: rows is 5 on rank 0 and 6 on rank 1; give the same"
    one = bring(({}, {"rows": "5", "the checksum of X": "a"}), ({}, {"rows": "5", "the checksum of X": "b"}))
    assert "the checksum of X is a on rank 0 and b on rank 1" in str(one)


def test_different_calls_have_nothing_else_to_compare():
    error = bring(({"the call": "fit", "epochs": "3"}, {}), ({"the call": "train"}, {}))
    assert str(error).startswith("ranks differ: the call is fit on rank 0 and train on rank 1; ")


def test_what_is_not_there_is_said_and_no_more_than_three():
    error = bring((dict.fromkeys("abcde", "1"), {}), (dict.fromkeys("bcde", "2"), {}))
    assert "a is 1 on rank 0 and not there on rank 1; b is 1 " in str(error)
    assert "c is 1 on rank 0 and 2 on rank 1; and 2 more; " in str(error)
    assert "d is" not in str(error)


def test_long_values_that_begin_alike_do_not_look_alike():
    error = str(bring(({"classes": "x" * 500}, {}), ({"classes": "x" * 501}, {})))
    one, other = (text.split(" on rank")[0].rpartition("checksum ")[2] for text in error.split(" and x"))
    assert one != other
    assert len(error) < 400


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (3, 3.0),
        (np.int64(3), 3),
        (np.float64(0.1), 0.1),
        ([4, 5], (np.int64(4), 5.0)),
        (np.bool_(True), True),
        (np.array(7), 7),
    ],
)
def test_equal_values_have_the_same_text(one, other):
    assert as_text(one) == as_text(other)


def test_others_do_not():
    values = [3, 0.1, 0.1 + 1e-16, "3 ", None, True, 1, "auto", (3,), (3, 4), np.inf, 2**70, 2**70 + 1]
    assert len({as_text(value) for value in values}) == len(values)
    assert as_text(parse_strategy("periodic:2epoch")) == "periodic:2epoch"


def fail_alone(team):
    with together(team) as step:
        assert not step.joint
        step.bring(lambda: 1 / 0)  # nobody asks for it
        raise KeyError("x")


@pytest.mark.parametrize("team", ["threads", "mpi", "solo"])
def test_alone_a_block_is_just_a_block(team):
    with pytest.raises(KeyError) as caught:
        fail_alone(team)
    assert not is_shared(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt(), "was interrupted"),
        (ValueError("too long"), "failed: too long"),
        (ZeroDivisionError("by zero"), "failed: ZeroDivisionError: by zero"),
        (KeyError("x"), "failed: KeyError: 'x'"),
        (AssertionError(), "failed: AssertionError"),
        (SystemExit(3), "failed: SystemExit: 3"),
    ],
)
def test_an_error_is_told_as_a_half_sentence(error, words):
    assert describe(error) == words
