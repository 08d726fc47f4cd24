"""scikit-learn's Naive Bayes estimators with many workers: the same probabilities, and the same bits for any number."""

# ruff: noqa: N803, N806 - X is scikit-learn's name

import pickle

import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy import sparse
from sklearn import naive_bayes
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

import manyhands
from manyhands.core.errors import SettingsError
from manyhands.estimators import sums_fitting

NAMES = ("BernoulliNB", "CategoricalNB", "GaussianNB", "MultinomialNB")
FITTED = (
    "theta_", "var_", "epsilon_", "class_prior_", "class_count_", "class_log_prior_", "feature_count_",
    "feature_log_prob_", "category_count_", "n_categories_",
)  # fmt: skip
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 2000)
COUNTS = RNG.poisson(2.0 + LABELS[:, None], (2000, 9))
WEIGHTS = RNG.exponential(size=2000)
SPARSE = sparse.csr_matrix(COUNTS * (RNG.random(COUNTS.shape) < 0.2) * 0.1)
SETS = {
    "bytes": (COUNTS.astype(np.uint8), LABELS, None),
    "float32": (COUNTS.astype(np.float32), LABELS, None),
    "float64": (COUNTS * 1.0, LABELS, None),
    "whole numbers": (COUNTS, LABELS, WEIGHTS),
    "truth values": (COUNTS > 2, LABELS, None),
    "far from zero": (RNG.normal(size=(2000, 5)) + 0.4 * LABELS[:, None] + 1e6, LABELS, WEIGHTS),
    "text": (COUNTS * 0.3, np.array(["ant", "bee", "cat"])[LABELS], WEIGHTS),
    "sparse": (SPARSE, LABELS, None),
    "weighted sparse": (SPARSE, LABELS, WEIGHTS),
}
UNSUITABLE = {("CategoricalNB", name) for name in ("far from zero", "sparse", "weighted sparse")} | {
    ("GaussianNB", name) for name in ("sparse", "weighted sparse")
}
CASES = [(kind, name) for kind in NAMES for name in SETS if (kind, name) not in UNSUITABLE]
WORKERS = {"n_workers": 2, "team": "threads"}
crowded = pytest.mark.filterwarnings("ignore:.* workers on .* core:UserWarning", "ignore:.*cores:UserWarning")


def ours(kind, **words):
    return getattr(manyhands, kind)(**words)


def theirs(kind, **words):
    return getattr(naive_bayes, kind)(**words)


def bits(estimator):
    """All that a fit has found."""
    found = []
    for name in FITTED:
        each = getattr(estimator, name, [])
        found += [np.asarray(array).tobytes() for array in (each if isinstance(each, list) else [each])]
    return b"".join(found)


def check_same(kind, X, y, weights=None, **words):
    """Our probabilities are theirs."""
    expected = theirs(kind, **words).fit(X, y, weights).predict_proba(X)
    found = ours(kind, n_workers=2, **words).fit(X, y, weights).predict_proba(X)
    tolerance = 1e-6 if X.dtype != np.float32 else 1e-3  # their sums of float32 numbers are float32
    np.testing.assert_allclose(found, expected, atol=tolerance)


@crowded
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_probabilities_are_theirs_and_the_bits_those_of_one_worker(kind, name):
    X, y, weights = SETS[name]
    check_same(kind, X, y, weights)
    found = [ours(kind, n_workers=n).fit(X, y, weights) for n in (1, 2, 3, 4)]
    assert [each.n_workers_ for each in found] == [1, 2, 3, 4]
    assert len({bits(each) for each in found}) == 1


@pytest.mark.parametrize("kind", NAMES)
def test_images(kind, mnist):
    X, y = load_digits(return_X_y=True)
    check_same(kind, X, y)
    check_same(kind, mnist.train.features, mnist.train.labels)


@crowded
@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_more_rows_are_added_as_theirs_are(kind, weighted):
    one, other = ours(kind, n_workers=3), theirs(kind)
    for part in np.array_split(np.arange(len(LABELS)), 3):
        given = COUNTS[part], LABELS[part]
        words = {"classes": [0, 1, 2, 7], "sample_weight": WEIGHTS[part] if weighted else None}
        one.partial_fit(*given, **words)
        other.partial_fit(*given, **words)
    np.testing.assert_allclose(one.class_count_, other.class_count_)
    with np.errstate(all="ignore"):  # a class without rows
        np.testing.assert_allclose(one.predict_proba(COUNTS), other.predict_proba(COUNTS), atol=1e-9)


@pytest.mark.parametrize("binarize", [None, 0.1, np.float64(0.1), 2, 300])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64])
def test_thresholds_are_compared_as_theirs(binarize, dtype):
    X = (COUNTS * (0.1 if np.dtype(dtype).kind == "f" else 1)).astype(dtype)
    X = np.minimum(X, 1) if binarize is None else X
    one, other = (make("BernoulliNB", binarize=binarize).fit(X, LABELS) for make in (ours, theirs))
    np.testing.assert_allclose(one.feature_count_, other.feature_count_, rtol=1e-12 if binarize is None else 0)


def test_variances_do_not_cancel_where_theirs_do():
    X, y = np.array([[0.0], [1.0]] * 50) + 1e15, np.array([0, 0, 1, 1] * 25)
    found = manyhands.GaussianNB(n_workers=2).fit(X, y)
    assert found.var_[:, 0] - found.epsilon_ == pytest.approx([0.25, 0.25], rel=1e-6)


@pytest.mark.parametrize("kind", NAMES)
def test_it_is_cloned_pickled_and_stays_what_it_was(kind):
    model = ours(kind, n_workers=2).fit(COUNTS, LABELS)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(COUNTS), model.predict_proba(COUNTS))
    assert clone(model).get_params() == model.get_params() == {**theirs(kind).get_params(), **WORKERS}


def test_more_workers_than_rows_are_a_warning():
    with pytest.warns(UserWarning, match="5 workers cannot share 2 rows: 2 train"):
        assert ours("MultinomialNB", n_workers=5).fit(COUNTS[:2], LABELS[:2]).n_workers_ == 2
    with pytest.warns(UserWarning, match="5 workers cannot share 2 rows: 2 train"):
        assert ours("BernoulliNB", n_workers=5).fit(SPARSE[:2], LABELS[:2]).n_workers_ == 2


def test_workers_that_there_cannot_be_are_refused():
    with pytest.raises(ValueError, match="n_workers"):
        ours("GaussianNB", n_workers=0).fit(COUNTS, LABELS)
    with pytest.raises(SettingsError, match="mpiexec -n 2"):
        ours("GaussianNB", n_workers=2, team="mpi").fit(COUNTS, LABELS)


def test_inside_joblib_it_has_the_threads_that_joblib_gives():
    def fit(n):
        return ours("MultinomialNB", n_workers=n).fit(COUNTS, LABELS).n_workers_

    assert Parallel(n_jobs=2, backend="threading")(delayed(fit)(n) for n in (2, 2)) == [1, 1]


def test_rows_may_have_targets_instead_of_classes():
    targets = np.linspace(-5, 5, len(COUNTS))[:, None]
    found = sums_fitting.trained(ours("GaussianNB", n_workers=2), "gaussian-nb", COUNTS, targets, classes=0)
    np.testing.assert_allclose(found.moments.means[0], COUNTS.mean(axis=0))


def test_rows_stay_where_they_are(monkeypatch):
    given = []
    run = sums_fitting.run
    monkeypatch.setattr(sums_fitting, "run", lambda plan, data: given.append(data.train.features) or run(plan, data))
    for dtype in (np.uint8, np.float32, np.float64):
        X = COUNTS.astype(dtype)
        X.flags.writeable = False
        ours("MultinomialNB", n_workers=2).fit(X, LABELS)
        assert given[-1].dtype == dtype
        assert np.shares_memory(given[-1], X)


@crowded
@pytest.mark.filterwarnings("ignore:.* workers cannot share:UserWarning")
@pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")  # theirs say it, too
@parametrize_with_checks([ours(kind, n_workers=n) for kind in NAMES for n in (None, 2)])
def test_the_checks_for_estimators(estimator, check):
    check(estimator)
