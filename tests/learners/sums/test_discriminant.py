"""Discriminant analysis from sums is what scikit-learn computes from the samples, to many digits."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

from manyhands.core.errors import SettingsError, SingularError
from manyhands.data.dataset import Examples, make_dataset
from manyhands.learners.sums import solving
from manyhands.learners.sums.settings import SumsSettings
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

LINEAR = [
    {},
    {"lda_solver": "lsqr"},
    {"lda_solver": "lsqr", "shrinkage": 0.3},
    {"lda_solver": "eigen", "shrinkage": "auto"},
    {"lda_solver": "eigen", "shrinkage": 0.2, "priors": (0.5, 0.3, 0.2)},
    {"priors": (0.2, 0.2, 0.6)},
]
QUADRATIC = [
    {},
    {"reg_param": 0.2},
    {"qda_solver": "eigen", "shrinkage": "auto"},
    {"qda_solver": "eigen", "shrinkage": 0.4, "priors": (0.2, 0.3, 0.5)},
]


def samples(kind):
    """Three classes of doubles, with a mean of a million, or as bytes with a feature that never changes."""
    features, labels = make_classification(
        900, 12, n_informative=9, n_redundant=0, n_classes=3, n_clusters_per_class=1, random_state=1
    )
    if kind == "far":
        features = features * np.linspace(0.1, 30, 12) + 1e6
    if kind == "bytes":
        features = np.clip(features * 20 + 120, 0, 255).astype(np.uint8)
    return features, labels


def theirs(learner, settings):
    names = {"lda_solver": "solver", "qda_solver": "solver"}
    kind = LinearDiscriminantAnalysis if learner == "lda" else QuadraticDiscriminantAnalysis
    return kind(**{names.get(name, name): value for name, value in settings.items()})


def trained(learner, features, labels, settings, workers=1, scale="none"):
    dataset = make_dataset("made", Examples(features, labels), Examples(features, labels), scale=scale)
    spec = RunSpec(learner=learner, workers=workers, sums=SumsSettings(**settings))
    return run(resolve(spec, dataset), dataset).model


@pytest.mark.parametrize("kind", ["near", "far", "bytes"])
@pytest.mark.parametrize(
    ("learner", "settings"), [*(("lda", each) for each in LINEAR), *(("qda", each) for each in QUADRATIC)]
)
def test_probabilities_are_scikit_learns_and_bits_do_not_depend_on_workers(learner, settings, kind):
    features, labels = samples(kind)
    model = trained(learner, features, labels, settings)
    near = features - 1e6 if kind == "far" else features  # their lsqr and eigen lose digits to large means
    expected = theirs(learner, settings).fit(near, labels).predict_proba(near)
    np.testing.assert_allclose(model.predict_proba(features), expected, atol=1e-6)
    for workers in (2, 3, 4):
        other = trained(learner, features, labels, settings, workers).learner.weights()
        assert all(array.tobytes() == other[name].tobytes() for name, array in model.learner.weights().items())


@pytest.mark.parametrize("learner", ["lda", "qda"])
def test_scaled_inputs_give_what_scikit_learn_finds_on_scaled_inputs(learner):
    features, labels = samples("bytes")
    settings = {"reg_param": 0.1} if learner == "qda" else {}
    model = trained(learner, features, labels, settings, scale="255")
    expected = theirs(learner, settings).fit(features / 255, labels).predict_proba(features / 255)
    np.testing.assert_allclose(model.predict_proba(features), expected, atol=1e-6)


def test_the_two_ways_to_whiten_agree_also_without_full_rank():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 9))
    values[:, 7], values[:, 8] = values[:, 0] - values[:, 1], 0  # two directions that say nothing new
    matrix = values.T @ values / 200
    matrix[8, 8] = 0.0
    factor, cholesky = solving._by_factor(matrix[:8, :8], 1e-4)
    whitening = solving.Whitening(9, np.arange(8), factor, cholesky)
    one, other = whitening.back(np.eye(7)), solving._by_eigenvectors(matrix[:8, :8], 1e-4)
    np.testing.assert_allclose(whitening.project(np.eye(9)), one, atol=1e-9)
    assert one.shape == (9, 7)
    np.testing.assert_allclose(one @ one.T, np.linalg.pinv(matrix), atol=1e-9)
    np.testing.assert_allclose(other @ other.T, np.linalg.pinv(matrix[:8, :8]), atol=1e-9)


def test_a_rank_that_is_not_clear_is_left_to_the_eigenvectors():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 4))
    values[:, 3] = values[:, 0] + 2e-4 * values[:, 3]  # a singular value near the tolerance of 1e-4
    values /= values.std(axis=0)
    assert solving._by_factor(values.T @ values / 200, 1e-4) is None


def test_classes_that_do_not_vary_enough_are_named_with_a_remedy():
    features, labels = samples("bytes")
    features[:, 3] = 7
    with pytest.raises(SingularError, match=r"class number 0 .* 11 directions .* 12 features.*reg_param=0.1"):
        trained("qda", features, labels, {}, workers=2)
    with pytest.raises(SettingsError, match=r"shrinkage.* needs lda_solver='lsqr'"):
        trained("lda", features, labels, {"shrinkage": 0.5})


def test_constant_features_and_few_rows_are_no_obstacle_to_linear_discriminants():
    features, labels = samples("bytes")
    features[:, 3], features[:, 4] = 7, features[:, 5]
    features, labels = features[:30], labels[:30]
    expected = theirs("lda", {}).fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(trained("lda", features, labels, {}).predict_proba(features), expected, atol=1e-6)
