"""A plugin for pytest: scikit-learn's own tests get our estimators where they import theirs."""

import numpy as np
from sklearn import neural_network

from manyhands import estimators  # has to know theirs before they are replaced

neural_network.MLPClassifier = estimators.MLPClassifier
neural_network.MLPRegressor = estimators.MLPRegressor


def pytest_runtest_setup():
    """Let every test draw the same numbers every time, also where it does not ask for that."""
    np.random.seed(0)  # noqa: NPY002 - what scikit-learn draws from
