"""The tree against scikit-learn's, entry by entry, and against itself with other numbers of workers."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from manyhands.core.errors import DataError, SettingsError
from manyhands.learners.sums.trees.arrays import importances_of
from manyhands.learners.sums.trees.pruning import pruning_path
from manyhands.learners.sums.trees.tree import TreeLearner

EXACT = ("children_left", "children_right", "feature", "threshold", "n_node_samples")
ROUNDED = ("impurity", "weighted_n_node_samples", "value")

# Settings with which no two features are equally good in any node: scikit-learn chooses between those at random.
ON_DIGITS = [
    {"max_depth": 3},
    {"max_depth": 6, "min_impurity_decrease": 0.01},
    {"max_leaf_nodes": 12},
    {"ccp_alpha": 0.01},
]
ON_MNIST = [
    {"max_depth": 5},
    {"max_depth": 5, "criterion": "entropy"},
    {"max_depth": 5, "min_samples_leaf": 40, "min_samples_split": 500},
    {"max_leaf_nodes": 30},
    {"ccp_alpha": 0.003},
]


def assert_same_tree(ours, theirs):
    for name in EXACT:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    for name in ROUNDED:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-12, err_msg=name)
    assert (ours.node_count, ours.max_depth, ours.n_leaves) == (theirs.node_count, theirs.max_depth, theirs.n_leaves)


def cost_of(tree):
    """The impurity of all leaves together, by weight."""
    leaves = tree.children_left < 0
    return (tree.impurity * tree.weighted_n_node_samples)[leaves].sum()


@pytest.mark.parametrize("settings", ON_DIGITS, ids=str)
def test_digits_have_scikit_learns_tree(alone, grow, digits, settings):
    rows, labels = digits
    table = alone.samples(rows, labels)
    learner = grow(TreeLearner, table, 10, **settings)[0]
    theirs = DecisionTreeClassifier(random_state=0, **settings).fit(rows, labels)
    assert_same_tree(learner.tree, theirs.tree_)
    np.testing.assert_array_equal(learner.predict_proba(table), theirs.predict_proba(rows))
    np.testing.assert_array_equal(learner.apply(table)[:, 0], theirs.apply(rows))
    np.testing.assert_allclose(importances_of(learner.tree, 64), theirs.feature_importances_, rtol=1e-12)


@pytest.mark.parametrize("settings", ON_MNIST, ids=str)
def test_mnist_has_scikit_learns_tree(alone, grow, mnist, settings):
    rows, labels = mnist.train.features[:6000], mnist.train.labels[:6000]
    learner = grow(TreeLearner, alone.samples(rows, labels), 10, **settings)[0]
    assert_same_tree(learner.tree, DecisionTreeClassifier(random_state=0, **settings).fit(rows, labels).tree_)


def test_trees_with_equally_good_features_are_as_good(alone, grow, digits):
    rows, labels = digits
    tree = grow(TreeLearner, alone.samples(rows, labels), 10, min_samples_leaf=20)[0].tree
    theirs = DecisionTreeClassifier(random_state=0, min_samples_leaf=20).fit(rows, labels).tree_
    assert tree.node_count == theirs.node_count
    assert cost_of(tree) == pytest.approx(cost_of(theirs))


def test_the_pruning_path_is_scikit_learns(alone, grow, digits):
    rows, labels = digits
    tree = grow(TreeLearner, alone.samples(rows, labels), 10, max_depth=3)[0].tree
    theirs = DecisionTreeClassifier(random_state=0, max_depth=3).cost_complexity_pruning_path(rows, labels)
    alphas, impurities = pruning_path(tree)
    np.testing.assert_allclose(alphas, theirs.ccp_alphas, rtol=1e-12)
    np.testing.assert_allclose(impurities, theirs.impurities, rtol=1e-12)


def synthetic(seed, dtype=np.uint8):
    """Integers with random weights: no two splits are equally good.

    Sums of such weights are exact. Where they are not, scikit-learn, which subtracts them, splits pure nodes whose
    entropy it takes for 1e-15.
    """
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 200, (600, 7)).astype(dtype)
    labels = (rows[:, 0].astype(int) + rows[:, 3] + rng.integers(0, 150, 600)) // 150
    return rows, labels, rng.integers(100, 10_000, 600) / 2**13


@pytest.mark.parametrize("criterion", ["gini", "entropy", "log_loss"])
@pytest.mark.parametrize("seed", range(3))
def test_weights_and_criteria(alone, grow, criterion, seed):
    rows, labels, weights = synthetic(seed)
    settings = {"criterion": criterion, "max_depth": 5, "min_weight_leaf": 5.0}
    table = alone.samples(rows, labels, weights=weights)
    tree = grow(TreeLearner, table, int(labels.max()) + 1, **settings)[0].tree
    share = settings.pop("min_weight_leaf") / weights.sum()
    theirs = DecisionTreeClassifier(random_state=0, min_weight_fraction_leaf=share, **settings)
    assert_same_tree(tree, theirs.fit(rows, labels, weights).tree_)


def test_weights_are_repeated_rows(alone, grow, digits):
    rows, labels = digits
    counts = np.random.default_rng(3).integers(0, 4, len(rows))
    weighted = grow(TreeLearner, alone.samples(rows, labels, weights=counts.astype(np.float64)), 10, max_depth=8)[0]
    repeated = grow(TreeLearner, alone.samples(rows.repeat(counts, 0), labels.repeat(counts)), 10, max_depth=8)[0]
    for name in {*EXACT, *ROUNDED} - {"n_node_samples"}:
        np.testing.assert_array_equal(getattr(weighted.tree, name), getattr(repeated.tree, name), err_msg=name)
    assert weighted.tree.n_node_samples[0] == np.count_nonzero(counts)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_thresholds_are_those_of_inputs(alone, grow, dtype):
    rows, labels, weights = synthetic(7, dtype)
    scale, shift = np.linspace(0.01, 3, 7), np.linspace(-2, 2, 7)
    center = None if dtype == np.uint8 else np.full(7, 100.0)
    table = alone.samples(rows, labels, weights=weights, scale=scale, shift=shift, center=center)
    learner = grow(TreeLearner, table, int(labels.max()) + 1, max_depth=5)[0]
    theirs = DecisionTreeClassifier(random_state=0, max_depth=5).fit(table.inputs(), labels, weights)
    assert_same_tree(learner.tree, theirs.tree_)
    np.testing.assert_array_equal(learner.apply(table)[:, 0], theirs.apply(table.inputs()))
    assert not learner.binned.any()


def test_many_different_values_are_binned_and_cost_no_accuracy(alone, grow):
    differences = []
    for seed in range(10):
        rows, labels = make_classification(9000, 10, n_informative=6, n_classes=3, random_state=seed)
        rows = rows.astype(np.float32)
        learner = grow(TreeLearner, alone.samples(rows[:3000], labels[:3000]), 3, max_depth=8)[0]
        assert learner.binned.all()
        ours = learner.predict_proba(alone.samples(rows[3000:])).argmax(1) == labels[3000:]
        theirs = DecisionTreeClassifier(max_depth=8, random_state=0).fit(rows[:3000], labels[:3000])
        differences.append(ours.mean() - theirs.score(rows[3000:], labels[3000:]))
        # What was counted on the way is what predictions find: no threshold divides a bin.
        counted = np.bincount(learner.apply(alone.samples(rows[:3000]))[:, 0], minlength=learner.tree.node_count)
        leaves = learner.tree.children_left < 0
        np.testing.assert_array_equal(counted[leaves], learner.tree.n_node_samples[leaves])
    assert abs(np.mean(differences)) < 0.003, differences


@pytest.mark.parametrize("criterion", ["squared_error", "friedman_mse", "poisson"])
def test_regression(alone, grow, criterion):
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 90, (500, 5)).astype(np.float64) / 7
    targets = rows[:, 1] * 2 + np.sin(rows[:, 3]) + 1 + rng.random(500)
    weights = rng.random(500) + 0.2
    settings = {"max_depth": 5, "min_samples_leaf": 4}
    table = alone.samples(rows, targets=targets, weights=weights)
    learner = grow(TreeLearner, table, 1, criterion=criterion, **settings)[0]
    criterion = "squared_error" if criterion == "friedman_mse" else criterion  # the same, as in scikit-learn 1.9
    theirs = DecisionTreeRegressor(random_state=0, criterion=criterion, **settings).fit(rows, targets, weights)
    assert_same_tree(learner.tree, theirs.tree_)
    np.testing.assert_allclose(learner.predict_proba(table)[:, 0], theirs.predict(rows), rtol=1e-12)


CASES = [
    {},
    {"max_features": 5},
    {"max_features": 1, "splitter": "random"},
    {"criterion": "entropy", "max_leaf_nodes": 40},
    {"ccp_alpha": 0.002, "weights": True},
    {"regression": True, "max_depth": 7},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_bits_do_not_depend_on_the_workers(alone, grow, same_bits, digits, case):
    rows, labels = digits
    case = dict(case)
    weights = np.random.default_rng(1).random(len(rows)) if case.pop("weights", False) else None
    classes, targets = (1, np.log1p(rows.sum(1) + labels)) if case.pop("regression", False) else (10, None)
    table = alone.samples(rows, labels, targets=targets, weights=weights)
    one = grow(TreeLearner, table, classes, **case)[0]
    for workers in (2, 3, 4):
        for learner in grow(TreeLearner, table, classes, workers, **case):
            assert same_bits(one, learner)


def test_more_workers_than_features(alone, grow, same_bits):
    rows, labels, _ = synthetic(2)
    table = alone.samples(rows[:, :2], labels)
    assert same_bits(grow(TreeLearner, table, 4, max_features=1)[0], grow(TreeLearner, table, 4, 5, max_features=1)[4])


def test_features_are_drawn_evenly_and_constant_ones_passed_over(alone, grow):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 50, (40, 6)).astype(np.uint8)
    rows[:, [1, 4]] = 7
    table = alone.samples(rows, rng.integers(0, 2, 40))
    roots = [grow(TreeLearner, table, 2, seed=seed, max_features=1, max_depth=1)[0].tree.feature[0]
             for seed in range(400)]  # fmt: skip
    counts = np.bincount(roots, minlength=6)
    assert counts[[1, 4]].sum() == 0
    assert counts[[0, 2, 3, 5]].min() > 60


def test_random_thresholds_are_between_the_inputs(alone, grow):
    rows = np.array([[10], [20], [250]], np.uint8)
    table = alone.samples(rows, [0, 0, 1])
    found = [grow(TreeLearner, table, 2, seed=seed, splitter="random", max_depth=1)[0].tree for seed in range(200)]
    thresholds = np.array([tree.threshold[0] for tree in found])
    assert thresholds.min() >= 10
    assert thresholds.max() < 250
    assert 110 < thresholds.mean() < 150
    for tree in found:
        assert tree.n_node_samples[1] == (rows[:, 0] <= tree.threshold[0]).sum()


def test_pure_and_constant_data_are_one_leaf(alone, grow):
    rows = np.zeros((9, 3), np.uint8)
    for labels in (np.zeros(9), np.arange(9) % 2):
        table = alone.samples(rows, labels)
        learner = grow(TreeLearner, table, 2, 2)[1]
        assert learner.tree.node_count == 1
        assert learner.predict_proba(table)[0, 0] == (1 if not labels.any() else 5 / 9)


def test_what_cannot_be(alone, grow):
    rows = np.ones((4, 2))
    rows[2, 1] = np.nan
    with pytest.raises(DataError, match="row 3 has nan as feature 2"):
        grow(TreeLearner, alone.samples(rows, [0, 1, 0, 1]), 2)
    with pytest.raises(DataError, match="float32"):
        grow(TreeLearner, alone.samples(np.full((4, 2), 1e300), [0, 1, 0, 1]), 2)
    with pytest.raises(SettingsError, match="criterion 'poisson'"):
        grow(TreeLearner, alone.samples(np.ones((4, 2)), [0, 1, 0, 1]), 2, criterion="poisson")
    with pytest.raises(DataError, match="poisson"):
        grow(TreeLearner, alone.samples(np.ones((4, 2)), targets=[0, 1, -1, 1]), 1, criterion="poisson")
