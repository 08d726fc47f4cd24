"""What several workers share: validation rows with all that belongs to them, and weights of rows."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPRegressor as TheirRegressor

from manyhands import MLPClassifier, MLPRegressor
from manyhands.core.errors import DataError, SettingsError

X, Y = load_iris(return_X_y=True)
WEIGHTS = np.random.default_rng(0).random(len(X))
TASKS = {
    "numbers": (MLPRegressor, X[:, 0], None),
    "two classes": (MLPClassifier, Y > 0, None),
    "labels": (MLPClassifier, np.stack([Y > 0, Y > 1], axis=1), None),
    "weighted classes": (MLPClassifier, Y, WEIGHTS),
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("task", TASKS)
def test_validation_rows_are_divided_with_their_targets_and_weights(task):
    kind, target, weights = TASKS[task]
    one, two = (
        kind(
            hidden_layer_sizes=(8,), early_stopping=True, n_workers=n, random_state=0, max_iter=5, dtype="float64"
        ).fit(X, target, sample_weight=weights)
        for n in (1, 2)
    )
    assert len(two.validation_scores_) == 5
    np.testing.assert_allclose(two.validation_scores_, one.validation_scores_, rtol=1e-9)
    np.testing.assert_allclose(two.coefs_[0], one.coefs_[0], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("solver", ["adam", "lamb"])  # in the kernel's own rounds, and in messages
def test_a_batch_without_weight_moves_nothing_but_the_optimizer(solver):
    weights = np.zeros(len(X))
    weights[:10] = 1
    fitted = [
        MLPClassifier(
            (8,), solver=solver, batch_size=10, shuffle=False, n_workers=n, random_state=0, max_iter=3, dtype="float64"
        ).fit(X, Y, sample_weight=weights)
        for n in (1, 2)
    ]
    np.testing.assert_allclose(fitted[1].coefs_[0], fitted[0].coefs_[0], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("merge", ["fisher", "bootstrap", "soup", "ensemble"])
def test_merges_that_need_more_than_networks_are_refused(merge):
    with pytest.raises(SettingsError, match="merge"):
        MLPRegressor(n_workers=2, strategy=f"one-shot:merge={merge}").fit(X, X[:, 0])


def test_a_fit_that_was_refused_leaves_no_network():
    refused = MLPClassifier(n_workers=2, strategy="sequential")
    with pytest.raises(SettingsError):
        refused.fit(X, Y)
    with pytest.raises(NotFittedError):
        refused.predict(X)
    with pytest.raises(NotFittedError):
        refused.to_sklearn()


@pytest.mark.parametrize(
    ("weights", "message"), [(-np.ones(len(X)), "below 0"), (np.where(Y > 5, 1.0, -0.5), "below 0")]
)
def test_weights_that_cannot_be_are_refused(weights, message):
    with pytest.raises(DataError, match=message):
        MLPClassifier().fit(X, Y, sample_weight=weights)


def test_rows_seen_are_those_trained_on_as_theirs():
    words = {"early_stopping": True, "solver": "sgd", "learning_rate": "invscaling", "max_iter": 4, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs, ours = (
            kind(hidden_layer_sizes=(5,), **words).fit(X, X[:, 0]) for kind in (TheirRegressor, MLPRegressor)
        )
    assert ours.t_ == theirs.t_


def test_a_network_given_back_has_weights_of_its_own_to_go_back_to():
    back = (
        MLPRegressor(hidden_layer_sizes=(5,), early_stopping=True, max_iter=3, random_state=0)
        .fit(X, X[:, 0])
        .to_sklearn()
    )
    assert not any(np.shares_memory(*pair) for pair in zip(back.coefs_, back._best_coefs, strict=True))
