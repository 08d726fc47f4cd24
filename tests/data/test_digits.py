import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from manyhands.core.errors import MissingDataError
from manyhands.data.digits import _split, read_digits


def test_the_digits_are_scikit_learns_split_as_it_splits_them():
    features, labels = load_digits(return_X_y=True)
    wanted = train_test_split(features, labels, test_size=0.2, stratify=labels, random_state=0)
    train, test = read_digits()
    for found, expected in zip((train.flat(), test.flat(), train.labels, test.labels), wanted, strict=True):
        assert np.array_equal(found, expected)
    assert train.features.dtype == np.uint8


@pytest.mark.parametrize("seed", range(5))
def test_splits_with_ties_are_scikit_learns(seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(7), 11))  # ties in every class
    wanted = train_test_split(np.arange(77), test_size=16, stratify=labels, random_state=seed)
    for found, expected in zip(_split(labels, 16, seed), wanted, strict=True):
        assert np.array_equal(found, expected)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match="install scikit-learn"):
        read_digits()
