"""The learners multinomial-nb, bernoulli-nb and categorical-nb: scikit-learn's models, for any number of workers."""

import numpy as np
import pytest
from sklearn import naive_bayes

from manyhands.core.errors import DataError, OutOfMemoryError
from manyhands.core.samples import Samples
from manyhands.data.dataset import Dataset
from manyhands.data.scaling import Scaling
from manyhands.learners.sums import discrete
from manyhands.learners.sums.settings import SumsSettings
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec

RNG = np.random.default_rng(0)
ROWS, WIDTH = 3000, 10
LABELS = RNG.integers(0, 4, ROWS)
COUNTS = RNG.poisson(3.0 + LABELS[:, None], (ROWS, WIDTH))
WEIGHTS = RNG.exponential(size=ROWS)
SETS = {
    "bytes": (COUNTS.astype(np.uint8), None, (1.0, 0.0)),
    "scaled bytes": (COUNTS.astype(np.uint8), None, (0.5, 0.25)),
    "float32": (COUNTS.astype(np.float32), None, (1.0, 0.0)),
    "float64": (COUNTS * 1.0, None, (1.0, 0.0)),
    "weighted bytes": (COUNTS.astype(np.uint8), WEIGHTS, (1.0, 0.0)),
    "weighted": (COUNTS * 1.0, WEIGHTS, (1.0, 0.0)),
}
THEIRS = {
    "multinomial-nb": naive_bayes.MultinomialNB(alpha=0.5),
    "bernoulli-nb": naive_bayes.BernoulliNB(alpha=0.5, binarize=3.5),
    "categorical-nb": naive_bayes.CategoricalNB(alpha=0.5),
}
CASES = [(kind, name) for kind in THEIRS for name in SETS if (kind, name) != ("categorical-nb", "scaled bytes")]


def dataset_of(features, weights=None, scaling=(1.0, 0.0), labels=LABELS):
    width = features.shape[1]
    scale, shift = np.full(width, scaling[0]), np.full(width, scaling[1])
    table = Samples(features, labels.astype(np.int32), scale, shift, None, weights)
    classes = np.arange(labels.max() + 1)
    name = "none" if scaling == (1.0, 0.0) else "affine"
    return Dataset("made", table, table.take(slice(50)), classes, Scaling(name, scale, shift))


def trained(kind, dataset, workers=1):
    binarize = {"binarize_at": 3.5} if kind == "bernoulli-nb" else {}
    spec = RunSpec(learner=kind, workers=workers, sums=SumsSettings(alpha=0.5, **binarize))
    return run(resolve(spec, dataset), dataset).model.learner


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_it_is_the_model_of_scikit_learn_for_any_number_of_workers(kind, name):
    dataset = dataset_of(*SETS[name])
    learners = [trained(kind, dataset, workers) for workers in (1, 2, 3, 4)]
    bits = {b"".join(each.tobytes() for each in learner.weights().values()) for learner in learners}
    assert len(bits) == 1
    inputs = dataset.train.inputs()
    expected = THEIRS[kind].fit(inputs, LABELS, SETS[name][1]).predict_proba(inputs)
    np.testing.assert_allclose(learners[1].predict_proba(dataset.train), expected, atol=1e-9)


@pytest.mark.parametrize("kind", THEIRS)
def test_it_comes_back_from_its_weights_and_damaged_ones_are_refused(kind):
    dataset = dataset_of(*SETS["bytes"])
    first = trained(kind, dataset)
    good = first.weights()
    other = type(first)(SumsSettings(), WIDTH, 4)
    other.load_weights(good)
    assert np.array_equal(other.predict_proba(dataset.train), first.predict_proba(dataset.train))
    for name, array in good.items():
        damaged = [{each: good[each] for each in good if each != name}, {**good, name: array[:-1]}]
        damaged += [{**good, name: np.full_like(array, wrong)} for wrong in (np.nan, np.inf)]
        for bad in damaged:
            with pytest.raises(ValueError, match=r"logs|prior|sizes|threshold"):
                type(first)(SumsSettings(), WIDTH, 4).load_weights(bad)


@pytest.mark.parametrize("kind", ["multinomial-nb", "categorical-nb"])
def test_negative_inputs_are_refused_before_training(kind):
    features = COUNTS * 1.0
    features[7, 3] = -2
    with pytest.raises(DataError, match=r"training row 8: feature 4 is -2.*gaussian-nb"):
        resolve(RunSpec(learner=kind), dataset_of(features))
    with pytest.raises(DataError, match=r"feature 1 is -5, .*leave the scaling out \(scale='none'\)"):
        resolve(RunSpec(learner=kind), dataset_of(COUNTS.astype(np.uint8), scaling=(1.0, -5.0)))


def test_categories_are_whole_numbers_and_not_too_many():
    features = COUNTS * 1.0
    features[7, 3] = 1.5
    with pytest.raises(DataError, match=r"row 8: feature 4 is 1\.5, and categories are whole numbers"):
        trained("categorical-nb", dataset_of(features), 2)
    features[7, 3] = 1e12
    with pytest.raises(OutOfMemoryError, match="number the categories"):
        trained("categorical-nb", dataset_of(features), 2)


def test_a_category_that_was_never_there_counts_as_one_of_no_class():
    learner = trained(
        "categorical-nb", dataset_of(np.array([[0], [1], [1], [0]] * 20, np.uint8), labels=np.array([0, 1] * 40))
    )
    table = dataset_of(np.array([[9.0], [-1.0], [0.5]]), labels=np.arange(3)).train
    found = learner.predict_proba(table)
    np.testing.assert_allclose(found[:2], [[0.5, 0.5]] * 2, atol=1e-12)
    assert np.isfinite(found).all()


def test_a_feature_that_every_sample_has_leaves_probabilities_finite():
    features = np.ones((80, 2), np.uint8)
    learner = discrete.BernoulliNB(SumsSettings(alpha=1e-300), 2, 2)
    learner.counts, learner.sums, learner.threshold = np.full(2, 40.0), np.full((2, 2), 40.0), 0.0
    learner._complete()
    features[0] = 0
    found = learner.predict_proba(dataset_of(features, labels=np.array([0, 1] * 40)).train)
    np.testing.assert_allclose(found, 0.5)
