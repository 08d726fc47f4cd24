import importlib.util
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from manyhands.learners.sums.settings import SumsSettings


@pytest.fixture(scope="session")
def alone():
    """The module that trains without the training loop."""
    spec = importlib.util.spec_from_file_location("alone", Path(__file__).with_name("alone.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def digits():
    """scikit-learn's digits as bytes, and their labels."""
    found = load_digits()
    return found.data.astype(np.uint8), found.target


@pytest.fixture(scope="session")
def grow(alone):
    """Train a learner of a class with n workers; return all their learners."""

    def grown(kind, table, classes, workers=1, seed=0, **settings):
        def make(rank):
            return kind(SumsSettings(**settings), table.features.shape[1], classes, rank=rank, seed=seed)

        return alone.train(make, table, workers)

    return grown


@pytest.fixture(scope="session")
def same_bits():
    """Tell whether two learners have the same weights, bit for bit."""

    def same(one, other):
        first, second = one.weights(), other.weights()
        return list(first) == list(second) and all(
            first[name].dtype == second[name].dtype and np.array_equal(first[name], second[name]) for name in first
        )

    return same
