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
DIFFERENT = {"test_class_weights", "test_huge_allocations"}
"""Tests of trees that ours are no part of: that a tree for several outputs, which is scikit-learn's, takes the same of
equally good features as one for a single output; and that memory for 2**63 leaves is asked for at once."""


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


THEIRS = {
    "sklearn.neural_network.tests.test_mlp": ("stand_in", PRIVATE, 50),
    "sklearn.tests.test_naive_bayes": ("sums_stand_in", set(), 80),
    "sklearn.tests.test_discriminant_analysis": ("sums_stand_in", set(), 55),
    "sklearn.tree.tests.test_tree": ("sums_stand_in", DIFFERENT, 200),
}
"""Modules of scikit-learn's own tests: the plugin, what fails, and how many pass at least."""


@pytest.mark.parametrize(
    "module", [pytest.param(each, marks=[] if "mlp" in each else pytest.mark.slow, id=each) for each in THEIRS]
)
def test_their_tests_of_their_own_estimators(tmp_path, module):
    plugin, known, least = THEIRS[module]
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    command = ["-m", "pytest", "-p", plugin, "-p", "no:cacheprovider", "-q", "-rf", "--pyargs"]
    quiet = ["-W", "ignore::manyhands.core.errors.TrainingWarning"]  # of features with many values
    done = subprocess.run(
        [sys.executable, *command, *quiet, module],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    failed = set(re.findall(r"^(?:FAILED|ERROR) \S*::(\w+)", done.stdout, re.MULTILINE))
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert failed == known, done.stdout[-3000:]
    assert passed > least
