"""The choice of a learning rate."""

import pytest

from manyhands.core.errors import SettingsError
from manyhands.studies.base.tuning import FIRST_TUNING_SEED, best_rate, check_seeds, tried_on_validation


def test_the_best_mean_over_the_tuning_seeds():
    scores = {(0.1, 1000): 0.9, (0.1, 1001): 0.2, (0.5, 1000): 0.6, (0.5, 1001): 0.6}
    assert best_rate((0.5, 0.1), 1, lambda rate, seed: scores[rate, seed]) == 0.1
    assert best_rate((0.1, 0.5), 2, lambda rate, seed: scores[rate, seed]) == 0.5


def test_of_equals_the_smallest():
    assert best_rate((3.0, 1.0, 2.0), 1, lambda *_: 0.5) == 1.0


def test_seeds():
    check_seeds(1, FIRST_TUNING_SEED - 1, 1)
    for seeds, seed, tuning in ((0, 0, 1), (1, 0, 0), (1, FIRST_TUNING_SEED, 1)):
        with pytest.raises(SettingsError):
            check_seeds(seeds, seed, tuning)


def test_validation_rows_take_the_place_of_test_rows(digits):
    with pytest.raises(SettingsError, match="the data set has none"):
        tried_on_validation(digits)
