"""scikit-learn's own checks and tests of estimators, on ours."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from manyhands import MLPClassifier, MLPRegressor

UNEQUAL = "rows that stand twice are in other batches than rows that count twice, as with scikit-learn's own"
EXPECTED = {
    f"check_sample_weight_equivalence_on_{kind}_data": UNEQUAL for kind in ("dense", "sparse")
}  # theirs fail, too
PRIVATE = {"test_gradient"}
"""Tests of scikit-learn's internals."""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([MLPClassifier(), MLPRegressor()], expected_failed_checks=lambda estimator: EXPECTED)
def test_the_checks_for_estimators(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:.* workers cannot share batches:UserWarning")
@parametrize_with_checks(
    [MLPClassifier(n_workers=2), MLPRegressor(n_workers=2)], expected_failed_checks=lambda estimator: EXPECTED
)
def test_the_checks_with_two_workers(estimator, check):
    check(estimator)


def test_their_tests_of_their_own_estimators(tmp_path):
    here = str(Path(__file__).parent)
    command = ["-m", "pytest", "-p", "stand_in", "-p", "no:cacheprovider", "-q", "-rf", "--pyargs"]
    done = subprocess.run(
        [sys.executable, *command, "sklearn.neural_network.tests.test_mlp"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": here, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    failed = set(re.findall(r"^(?:FAILED|ERROR) \S*::(\w+)", done.stdout, re.MULTILINE))
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert failed == PRIVATE, done.stdout[-3000:]
    assert passed > 50
