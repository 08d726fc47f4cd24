"""scikit-learn's discriminant analysis with many workers: the same attributes, and the same bits for any number."""

# ruff: noqa: N806 - X is scikit-learn's name

import pickle

import numpy as np
import pytest
from scipy.linalg import LinAlgError
from sklearn import discriminant_analysis as theirs
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits, load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

import manyhands

NAMES = ("LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis")
LINEAR = ("coef_", "intercept_", "means_", "priors_", "xbar_", "explained_variance_ratio_", "covariance_")
crowded = pytest.mark.filterwarnings("ignore:.* workers on .* core:UserWarning", "ignore:.*cores:UserWarning")


def made(name, home=manyhands, **words):
    return getattr(home, name)(**words)


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"store_covariance": True, "n_components": 1},
        {"priors": [0.2, 0.3, 0.5], "store_covariance": True},
        {"solver": "lsqr", "shrinkage": "auto"},
        {"solver": "lsqr", "shrinkage": 0.4, "priors": [0.2, 0.3, 0.5]},
        {"solver": "eigen"},
        {"solver": "eigen", "covariance_estimator": LedoitWolf()},
    ],
)
def test_linear_attributes_are_theirs(words):
    X, y = load_iris(return_X_y=True)
    one = made(NAMES[0], n_workers=2, **words).fit(X, y)
    other = made(NAMES[0], theirs, **words).fit(X, y)
    for name in LINEAR:
        assert hasattr(one, name) == hasattr(other, name), name
        if hasattr(one, name):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-9, err_msg=name)
    if words.get("solver") != "lsqr":
        projected, expected = one.transform(X), other.transform(X)
        np.testing.assert_allclose(np.abs(projected), np.abs(expected), atol=1e-6)  # signs are not determined
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize(
    "words", [{}, {"reg_param": 0.3, "store_covariance": True}, {"solver": "eigen", "shrinkage": "auto"}]
)
def test_quadratic_attributes_are_theirs(words):
    X, y = load_iris(return_X_y=True)
    one = made(NAMES[1], n_workers=2, **words).fit(X, y)
    other = made(NAMES[1], theirs, **words).fit(X, y)
    for name in ("means_", "priors_", "scalings_", *(["covariance_"] if words.get("store_covariance") else [])):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(np.abs(one.rotations_), np.abs(other.rotations_), atol=1e-6)
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-9)


@crowded
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_images_are_classified_alike_with_any_number_of_workers(name, kind, mnist):
    X, y = load_digits(return_X_y=True)
    words = {"reg_param": 0.2} if name == NAMES[1] else {}
    expected = made(name, theirs, **words).fit(X, y).predict_proba(X)
    models = [made(name, n_workers=n, **words).fit(X.astype(kind), y) for n in (1, 2, 3, 4)]
    np.testing.assert_allclose(models[0].predict_proba(X), expected, atol=1e-3 if kind == np.float32 else 1e-6)
    bits = {
        pickle.dumps([getattr(each, name, None) for name in ("coef_", "scalings_", "rotations_")]) for each in models
    }
    assert len(bits) == 1
    if kind != np.uint8:
        return
    features, labels = mnist.train.features, mnist.train.labels
    words = {"solver": "eigen", "shrinkage": 0.1} if name == NAMES[1] else {}  # theirs refuse singular classes
    models = [made(name, home, **words).fit(features, labels) for home in (manyhands, theirs)]
    one, other = (each.predict_proba(mnist.test.features[:500].astype(float)) for each in models)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_cannot_be_inverted_is_said_in_their_words():
    X, y = load_iris(return_X_y=True)
    X[:, 1] = 1
    for home in (manyhands, theirs):
        with pytest.raises(LinAlgError, match=r"class 0 is not full rank. Increase the value of `reg_param`"):
            made(NAMES[1], home).fit(X, y)


@crowded
@pytest.mark.filterwarnings("ignore:.* workers cannot share:UserWarning")
@parametrize_with_checks([made(name, n_workers=n) for name in NAMES for n in (None, 2)])
def test_the_checks_for_estimators(estimator, check):
    check(estimator)
