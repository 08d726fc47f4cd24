"""Training is scikit-learn's, step by step: the same start, the same batches, the same numbers up to rounding."""

# ruff: noqa: N806 - X is scikit-learn's name

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning

import manyhands

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_DIGITS, Y_DIGITS = load_digits(return_X_y=True)
X_DIGITS = X_DIGITS[:410] / 16
Y_DIGITS = Y_DIGITS[:410]
X_LABELS, Y_LABELS = make_multilabel_classification(n_samples=123, random_state=0)
X_REAL, Y_REAL = make_regression(n_samples=150, n_features=12, n_targets=3, random_state=2)
Y_REAL = Y_REAL / 100

TASKS = {
    "many classes": ("MLPClassifier", X_DIGITS, np.array([f"digit {each}" for each in Y_DIGITS]), {}),
    "two classes": ("MLPClassifier", X_DIGITS, Y_DIGITS > 4, {}),
    "labels": ("MLPClassifier", X_LABELS, Y_LABELS, {}),
    "numbers": ("MLPRegressor", X_REAL, Y_REAL, {}),
    "a number": ("MLPRegressor", X_REAL, Y_REAL[:, 0], {}),
    "counts": ("MLPRegressor", X_DIGITS, Y_DIGITS % 3, {"loss": "poisson"}),
}
WORDS = {
    "adam": {"solver": "adam"},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.05},
    "momentum": {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False, "activation": "tanh"},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0, "activation": "logistic"},
    "invscaling": {"solver": "sgd", "learning_rate_init": 0.5, "learning_rate": "invscaling", "power_t": 0.3},
}


def pair(kind, n_workers=None, **words):
    """scikit-learn's estimator and ours with the same parameters."""
    shared = {"hidden_layer_sizes": (7, 5), "shuffle": False, "random_state": 1, "alpha": 0.1, "batch_size": 50}
    shared |= words
    theirs = getattr(neural_network, kind)(**shared)
    return theirs, getattr(manyhands, kind)(**shared, dtype="float64", n_workers=n_workers)


def assert_same(theirs, ours, exactly=1e-9):
    for name in ("coefs_", "intercepts_", "loss_curve_"):
        for one, other in zip(getattr(theirs, name), getattr(ours, name), strict=True):
            np.testing.assert_allclose(other, one, rtol=exactly, atol=exactly, err_msg=name)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(ours, name), name
    for name in ("loss_", "best_loss_", "validation_scores_", "best_validation_score_"):
        expected = getattr(theirs, name)
        assert getattr(ours, name) == (expected if expected is None else pytest.approx(expected, rel=1e-9)), name


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("words", WORDS)
def test_fit(task, words):
    kind, X, y, more = TASKS[task]
    theirs, ours = pair(kind, max_iter=6, **WORDS[words], **more)
    assert_same(theirs.fit(X, y), ours.fit(X, y))
    if kind == "MLPClassifier":
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-7)
    else:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-9)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n_workers", [1, 3])
def test_rows_with_weights(task, n_workers):
    """In one batch: of several, scikit-learn divides the penalty by each one's own sum of weights."""
    kind, X, y, more = TASKS[task]
    weights = np.random.default_rng(3).integers(0, 4, len(X)).astype(float)
    theirs, ours = pair(kind, n_workers, max_iter=6, **{**more, "batch_size": len(X)})
    assert_same(theirs.fit(X, y, weights), ours.fit(X, y, weights))


@pytest.mark.parametrize("n_workers", [1, 3])
def test_weights_without_a_penalty_in_many_batches(n_workers):
    weights = np.random.default_rng(3).random(len(X_DIGITS)) + 0.1
    theirs, ours = pair("MLPClassifier", n_workers, max_iter=6, alpha=0)
    assert_same(theirs.fit(X_DIGITS, Y_DIGITS, weights), ours.fit(X_DIGITS, Y_DIGITS, weights))


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("n_workers", [1, 2])
def test_partial_fit_and_warm_start(words, n_workers):
    theirs, ours = pair("MLPClassifier", n_workers, max_iter=3, warm_start=True, **WORDS[words])
    for both in (theirs, ours):
        both.fit(X_DIGITS, Y_DIGITS)
        both.partial_fit(X_DIGITS[:100], Y_DIGITS[:100])
        both.partial_fit(X_DIGITS[100:], Y_DIGITS[100:])
        both.fit(X_DIGITS, Y_DIGITS)
    assert_same(theirs, ours)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_an_adaptive_rate(n_workers):
    words = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.02, "max_iter": 400}
    theirs, ours = pair("MLPClassifier", n_workers, n_iter_no_change=2, **words)
    assert_same(theirs.fit(X_DIGITS, Y_DIGITS), ours.fit(X_DIGITS, Y_DIGITS))
    assert ours.n_iter_ < 400
    assert ours._optimizer.learning_rate == theirs._optimizer.learning_rate < 1e-6


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize(("tol", "patience"), [(0.01, 2), (0.05, 1), (1e9, np.inf), (1e9, 3)])
def test_the_end_comes_after_the_same_epoch(tol, patience, n_workers):
    theirs, ours = pair("MLPClassifier", n_workers, tol=tol, n_iter_no_change=patience, max_iter=60)
    assert_same(theirs.fit(X_DIGITS, Y_DIGITS), ours.fit(X_DIGITS, Y_DIGITS))
    assert ours._no_improvement_count == theirs._no_improvement_count


@pytest.mark.parametrize("last", [4, 5])
def test_patience_that_ends_with_the_last_epoch_is_no_reason_to_warn(last, recwarn):
    """With tol=1e9 every epoch but the first is a failure: the fifth is the fourth."""
    for each in pair("MLPClassifier", tol=1e9, n_iter_no_change=3, max_iter=last):
        recwarn.clear()
        each.fit(X_DIGITS, Y_DIGITS)
        assert [one.category for one in recwarn] == [ConvergenceWarning] * (last == 4)


@pytest.mark.parametrize("verbose", [True, 1])
@pytest.mark.parametrize("rate", ["constant", "adaptive"])
def test_what_is_told(rate, verbose, capsys):
    words = {"solver": "sgd", "learning_rate": rate, "tol": 1, "n_iter_no_change": 1, "max_iter": 40}
    told = []
    for each in pair("MLPClassifier", verbose=verbose, learning_rate_init=0.01, **words):
        each.fit(X_DIGITS, Y_DIGITS)
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert "Stopping." in told[0]
