"""The learner gaussian-nb: the bits of one worker for any number of them, and scikit-learn's distributions."""

import numpy as np
import pytest
from sklearn import naive_bayes

from manyhands.core.samples import Samples
from manyhands.data.dataset import Dataset
from manyhands.data.scaling import Scaling
from manyhands.learners.sums.settings import SumsSettings
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 3000)
SETS = {
    "bytes": (RNG.integers(0, 256, (3000, 12), np.uint8), None),
    "float32": ((RNG.normal(size=(3000, 12)) + LABELS[:, None]).astype(np.float32), None),
    "far from zero": (RNG.normal(size=(3000, 12)) + 0.3 * LABELS[:, None] + 1e6, None),
    "weights": (RNG.normal(size=(3000, 12)) * np.logspace(-3, 3, 12), RNG.exponential(size=3000)),
}


def trained(name, workers, **settings):
    features, weights = SETS[name]
    width = features.shape[1]
    table = Samples(features, LABELS.astype(np.int32), np.ones(width), np.zeros(width), None, weights)
    dataset = Dataset("made", table, table.take(slice(100)), np.arange(4), Scaling("none", table.scale, table.shift))
    spec = RunSpec(learner="gaussian-nb", workers=workers, sums=SumsSettings(**settings))
    return table, run(resolve(spec, dataset), dataset).model.learner


@pytest.mark.parametrize("name", SETS)
def test_any_number_of_workers_has_the_same_bits(name):
    bits = [
        b"".join(each.tobytes() for each in trained(name, workers)[1].weights().values()) for workers in (1, 2, 3, 4)
    ]
    assert len(set(bits)) == 1


@pytest.mark.parametrize("name", SETS)
def test_it_is_the_model_of_scikit_learn(name):
    features, weights = SETS[name]
    smoothing = 0.0 if weights is not None else 1e-9  # theirs smooths weighted variances with one that is not
    theirs = naive_bayes.GaussianNB(var_smoothing=smoothing).fit(features.astype(float), LABELS, weights)
    table, ours = trained(name, 2, var_smoothing=smoothing)
    np.testing.assert_allclose(ours.theta, theirs.theta_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.var, theirs.var_, rtol=1e-8)
    np.testing.assert_allclose(ours.prior, theirs.class_prior_, rtol=1e-12)
    np.testing.assert_allclose(ours.predict_proba(table), theirs.predict_proba(features.astype(float)), atol=1e-6)


def test_given_priors_are_used():
    _, ours = trained("float32", 2, priors=(0.1, 0.2, 0.3, 0.4))
    assert ours.weights()["prior"].tolist() == [0.1, 0.2, 0.3, 0.4]


def test_a_file_with_other_arrays_is_refused():
    _, ours = trained("bytes", 1)
    good = ours.weights()
    for bad in (
        {},
        {**good, "var": -good["var"]},
        {**good, "theta": good["theta"][:2]},
        {**good, "prior": -good["prior"]},
    ):
        with pytest.raises(ValueError, match=r"theta|var|prior"):
            ours.load_weights(bad)
    ours.load_weights(good)
