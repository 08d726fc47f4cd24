"""scikit-learn's trees and forests with many workers: the same splits where these are unique, the same bits always."""

# ruff: noqa: N806 - X is scikit-learn's name

import numpy as np
import pytest
from scipy import sparse
from sklearn import ensemble, tree
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.utils.estimator_checks import parametrize_with_checks

import manyhands
from manyhands.core.errors import TrainingWarning

crowded = pytest.mark.filterwarnings("ignore:.* workers on .* core:UserWarning", "ignore:.*cores:UserWarning")
RNG = np.random.default_rng(0)
INTEGERS = RNG.permuted(np.tile(np.arange(200), (6, 2)), axis=1).T.astype(float)
"""Six features of 200 values in 400 rows."""
UNEQUAL = "with bootstrap, as scikit-learn's own"
EXPECTED = {f"check_sample_weight_equivalence_on_{kind}_data": UNEQUAL for kind in ("dense", "sparse")}


def splits(model):
    found = model.tree_
    return [found.children_left, found.children_right, found.feature, found.threshold]


def assert_same_tree(one, other):
    for mine, own in zip(splits(one), splits(other), strict=True):
        np.testing.assert_array_equal(mine, own)
    np.testing.assert_allclose(one.tree_.value, other.tree_.value, rtol=1e-12)
    np.testing.assert_allclose(one.tree_.impurity, other.tree_.impurity, atol=1e-12)
    np.testing.assert_allclose(one.feature_importances_, other.feature_importances_, rtol=1e-9)


@pytest.mark.parametrize(
    "words",
    [
        {"max_depth": 3},
        {"max_depth": 3, "class_weight": {0: 2.0, 1: 1.0, 2: 1.0}},
        {"criterion": "entropy", "min_samples_leaf": 0.05, "max_depth": 3},
        {"min_samples_split": 0.1, "min_weight_fraction_leaf": 0.02, "max_depth": 2},
        {"max_leaf_nodes": 7, "min_impurity_decrease": 0.001},
        {"ccp_alpha": 0.01},
    ],
)
def test_splits_that_are_unique_are_theirs(words):
    labels = (INTEGERS[:, 0] > 90).astype(int) + (INTEGERS[:, 1] + 0.3 * INTEGERS[:, 2] > 150)
    one = manyhands.DecisionTreeClassifier(n_workers=2, **words).fit(INTEGERS, labels)
    assert_same_tree(one, tree.DecisionTreeClassifier(random_state=0, **words).fit(INTEGERS, labels))


@pytest.mark.parametrize("criterion", ["squared_error", "poisson"])
def test_numbers_are_predicted_as_theirs(criterion):
    numbers = INTEGERS[:, 0] * 0.37 + np.sqrt(INTEGERS[:, 1]) + 0.1 * RNG.random(len(INTEGERS))
    words = {"criterion": criterion, "max_depth": 4}
    one = manyhands.DecisionTreeRegressor(n_workers=2, **words).fit(INTEGERS, numbers)
    assert_same_tree(one, tree.DecisionTreeRegressor(random_state=0, **words).fit(INTEGERS, numbers))


@crowded
@pytest.mark.parametrize("kind", ["DecisionTreeClassifier", "RandomForestClassifier"])
def test_any_number_of_workers_grows_the_same(kind):
    X, y = load_digits(return_X_y=True)
    words = {"n_estimators": 7} if "Forest" in kind else {"max_features": 0.3, "splitter": "random"}
    models = [getattr(manyhands, kind)(random_state=5, n_workers=n, **words).fit(X, y) for n in (1, 2, 3, 4)]
    for other in models[1:]:
        np.testing.assert_array_equal(other.predict_proba(X), models[0].predict_proba(X))
    again = getattr(manyhands, kind)(random_state=6, **words).fit(X, y)
    assert not np.array_equal(again.feature_importances_, models[0].feature_importances_)


def test_images_are_classified_as_well_as_by_theirs(mnist):
    X, y = mnist.train.features, mnist.train.labels
    test, labels = mnist.test.features, mnist.test.labels
    ours = manyhands.DecisionTreeClassifier(max_depth=12).fit(X, y).score(test, labels)
    others = [tree.DecisionTreeClassifier(max_depth=12, random_state=s).fit(X, y).score(test, labels) for s in range(5)]
    assert min(others) - 0.003 <= ours  # equally good features are theirs to draw


def test_many_values_are_binned_and_it_is_said():
    X, y = make_classification(2000, 12, n_informative=8, random_state=0)
    with pytest.warns(TrainingWarning, match="12 features have more than 256 different values"):
        model = manyhands.DecisionTreeClassifier(max_depth=8).fit(X[:1500], y[:1500])
    assert model.binned_features_.tolist() == list(range(12))
    other = tree.DecisionTreeClassifier(max_depth=8, random_state=0).fit(X[:1500], y[:1500])
    assert model.score(X[1500:], y[1500:]) >= other.score(X[1500:], y[1500:]) - 0.03


def test_bytes_booleans_and_sparse_rows_are_the_same_rows():
    X = RNG.integers(0, 3, (300, 9)).astype(np.uint8)
    y = X[:, :3].sum(axis=1) + RNG.integers(0, 2, 300)
    model = manyhands.DecisionTreeClassifier(random_state=0).fit(X, y)
    for rows in (X.astype(float), sparse.csr_matrix(X), sparse.csc_matrix(X * 1.0)):
        assert_same_tree(manyhands.DecisionTreeClassifier(random_state=0).fit(rows, y), model)
    one, other = (manyhands.DecisionTreeClassifier(random_state=0).fit(rows, y) for rows in (X > 1, (X > 1) * 1.0))
    assert_same_tree(one, other)


@pytest.mark.parametrize(
    ("words", "change"),
    [({"monotonic_cst": [1, 0, 0, 0, 0, 0]}, None), ({}, "outputs"), ({}, "missing")],
)
def test_what_ours_cannot_do_is_left_to_theirs_and_said(words, change):
    X, y = INTEGERS.copy(), (INTEGERS[:, 0] > 90).astype(int)
    if change == "outputs":
        y = np.stack([y, 1 - y], axis=1)
    if change == "missing":
        X[::7, 3] = np.nan
    with pytest.warns(TrainingWarning, match="scikit-learn grows these trees, with one worker"):
        one = manyhands.DecisionTreeClassifier(n_workers=2, random_state=0, **words).fit(X, y)
    other = tree.DecisionTreeClassifier(random_state=0, **words).fit(X, y)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    assert one.n_workers_ == 1


def test_forests_score_rows_that_trees_have_not_seen():
    X, y = load_digits(return_X_y=True)
    model = manyhands.RandomForestClassifier(40, oob_score=True, random_state=0, n_workers=2).fit(X, y)
    other = ensemble.RandomForestClassifier(40, oob_score=True, random_state=0).fit(X, y)
    assert model.oob_score_ == pytest.approx(other.oob_score_, abs=0.02)
    assert model.oob_decision_function_.shape == (len(X), 10)
    seen = model.estimators_samples_
    assert (len(seen), len(seen[0])) == (40, len(X))
    assert clone(model).get_params()["n_workers"] == 2
    warm = manyhands.RandomForestClassifier(3, warm_start=True, random_state=0).fit(X, y)
    assert len(warm.set_params(n_estimators=5).fit(X, y).estimators_) == 5


@crowded
@pytest.mark.filterwarnings("ignore:.* workers cannot share:UserWarning")
@pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")
@parametrize_with_checks(
    [
        *(manyhands.DecisionTreeClassifier(n_workers=n) for n in (None, 2)),
        *(manyhands.DecisionTreeRegressor(n_workers=n) for n in (None, 2)),
        *(manyhands.RandomForestClassifier(5, n_workers=n) for n in (None, 2)),
    ],
    expected_failed_checks=lambda estimator: EXPECTED if hasattr(estimator, "n_estimators") else {},
)
def test_the_checks_for_estimators(estimator, check):
    check(estimator)
