"""The forest: the same for any number of workers, and as good as scikit-learn's."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from manyhands.core.errors import SettingsError
from manyhands.core.learner import Share
from manyhands.core.samples import Control, Order
from manyhands.learners.sums.settings import SumsSettings
from manyhands.learners.sums.trees.arrays import forest_importances
from manyhands.learners.sums.trees.draws import bootstrap
from manyhands.learners.sums.trees.forest import ForestLearner


@pytest.mark.parametrize("settings", [{}, {"bootstrap": False, "splitter": "random"}, {"max_samples": 99}], ids=str)
def test_the_bits_do_not_depend_on_the_workers(alone, grow, same_bits, digits, settings):
    rows, labels = digits
    table = alone.samples(rows, labels, weights=1 + labels / 3)
    one = grow(ForestLearner, table, 10, n_estimators=5, **settings)[0]
    assert len(one.trees) == 5
    assert one.trees[0].node_count != one.trees[1].node_count
    for workers in (2, 3, 7):
        for learner in grow(ForestLearner, table, 10, workers, n_estimators=5, **settings):
            assert same_bits(one, learner)


def test_it_is_as_good_as_scikit_learns(alone, grow, digits):
    rows, labels = digits
    learns = np.random.default_rng(0).permutation(len(rows)) < 1200
    train, test = alone.samples(rows[learns], labels[learns]), alone.samples(rows[~learns])
    ours, theirs, oob = [], [], []
    for seed in range(5):
        learner = grow(ForestLearner, train, 10, 2, seed, n_estimators=40)[0]
        ours.append((learner.predict_proba(test).argmax(1) == labels[~learns]).mean())
        values, votes = learner.oob_values(train)
        assert (votes > 0).all()
        oob.append((values.argmax(1) == labels[learns]).mean())
        reference = RandomForestClassifier(40, random_state=seed).fit(rows[learns], labels[learns])
        theirs.append(reference.score(rows[~learns], labels[~learns]))
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.01
    assert abs(np.mean(oob) - np.mean(ours)) < 0.03
    importances = forest_importances(learner.trees, 64)
    assert importances.sum() == pytest.approx(1)
    assert np.corrcoef(importances, reference.feature_importances_)[0, 1] > 0.9


def test_predictions_are_the_mean_of_the_trees(alone, grow, digits):
    rows, labels = digits
    table = alone.samples(rows, labels)
    learner = grow(ForestLearner, table, 10, n_estimators=3)[0]
    leaves = learner.apply(table)
    mean = sum(tree.value[leaves[:, number], 0] for number, tree in enumerate(learner.trees)) / 3
    np.testing.assert_allclose(learner.predict_proba(table), mean, rtol=1e-15)


def test_rows_are_drawn_evenly_or_by_weight():
    counts = sum(bootstrap(3, tree, 10, 1000, None) for tree in range(10))
    assert counts.sum() == 10_000
    assert 850 < counts.min() <= counts.max() < 1150
    counts = bootstrap(3, 0, 4, 10_000, np.array([1.0, 0.0, 2.0, 1.0]))
    assert counts[1] == 0
    assert 4700 < counts[2] < 5300


def test_regression(alone, grow, digits):
    rows, _ = digits
    targets = rows[:, 20:40].sum(1).astype(np.float64)
    table = alone.samples(rows, targets=targets)
    learner = grow(ForestLearner, table, 1, 3, n_estimators=20, max_features=20)[2]
    values, votes = learner.oob_values(table)
    seen = votes > 0
    errors = values[seen, 0] / votes[seen] - targets[seen]
    assert 1 - (errors**2).mean() / targets.var() > 0.85


def test_a_stopped_run_returns_at_once(alone, digits):
    rows, labels = digits
    table = alone.samples(rows, labels)
    learner = ForestLearner(SumsSettings(n_estimators=10**6), 64, 10)
    order = Order(np.arange(len(rows), dtype=np.int32), np.array([0, len(rows)]), np.array([len(rows)], np.int32))
    control = Control(np.zeros(1, np.int64), np.zeros(1, np.int64))
    learner.begin(table, len(rows))
    for _ in range(2):
        into = {name: np.zeros(each.shape, each.dtype) for name, each in learner.asks().items()}
        learner.collect(table, Share(order, 0, 1), into, control)
        if "codes" in into:
            learner.conclude(into)
            control.stop[0] = 1
    assert not into["sizes"].any()


def test_settings_that_contradict(alone, digits):
    learner = ForestLearner(SumsSettings(bootstrap=False, max_samples=5), 64, 10)
    with pytest.raises(SettingsError, match="max_samples"):
        learner.begin(alone.samples(*digits), 1797)
