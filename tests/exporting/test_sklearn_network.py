"""A model as scikit-learn's own classifier: the same probabilities, from values as they are stored."""

from dataclasses import replace

import numpy as np
import pytest

from manyhands.core.errors import SettingsError
from manyhands.data.dataset import Examples, make_dataset
from manyhands.exporting.sklearn_network import network_to_sklearn
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec


def trained(dataset, **settings):
    return run(resolve(RunSpec().changed(epochs=5, **settings), dataset), dataset).model


def two_classes():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(["no", "yes"], 60))
    features = rng.normal(size=(120, 3)) * [1, 50, 0.01] + 1000 + 2 * (labels == "yes")[:, None]
    return make_dataset("two", Examples(features, labels), Examples(features[:50], labels[:50]))


@pytest.mark.parametrize("settings", [{}, {"hidden": (7, 5), "activation": "tanh"}, {"hidden": ()}])
def test_probabilities(digits, settings):
    model = trained(digits, **settings)
    theirs = network_to_sklearn(model)
    rows = digits.test.features
    np.testing.assert_allclose(theirs.predict_proba(rows), model.predict_proba(rows), atol=1e-5)
    assert (theirs.predict(rows) == model.predict(rows)).all()
    assert theirs.score(rows, digits.classes[digits.test.labels]) == model.accuracy(
        Examples(rows, digits.classes[digits.test.labels])
    )


def test_two_classes_that_are_words_and_features_far_from_zero():
    dataset = two_classes()
    model = trained(dataset, batch=20)
    theirs = network_to_sklearn(model)
    rows = dataset.test.features
    np.testing.assert_allclose(theirs.predict_proba(rows), model.predict_proba(rows), atol=1e-4)
    assert (theirs.predict(rows) == model.predict(rows)).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda model: replace(model, kind="cnn-fast"), "no network like those of the learner cnn-fast"),
        (lambda model: replace(model, settings=model.settings.changed(activation="gelu")), "no activation 'gelu'"),
        (
            lambda model: replace(model, scaling=replace(model.scaling, threshold=3.0)),
            "cannot make their inputs binary",
        ),
    ],
)
def test_what_it_has_not(digits, change, words):
    with pytest.raises(SettingsError, match=words):
        network_to_sklearn(change(trained(digits)))
