"""The learners that are made of sums, by name."""

from __future__ import annotations

import importlib
from typing import Any

from manyhands.core.learner import SumLearner
from manyhands.learners.sums.settings import SumsSettings

_PLACES = {
    "gaussian-nb": "gaussian:GaussianNB",
    "multinomial-nb": "discrete:MultinomialNB",
    "bernoulli-nb": "discrete:BernoulliNB",
    "categorical-nb": "discrete:CategoricalNB",
    "lda": "discriminant:LDA",
    "qda": "discriminant:QDA",
    "tree": "trees.tree:TreeLearner",
    "forest": "trees.forest:ForestLearner",
}
"""Modules of this package and classes in them; only what is trained is imported."""


def make(name: str, settings: SumsSettings, features: int, classes: int, **others: Any) -> SumLearner:
    """Return a new learner of one of `manyhands.core.choices.SUMS`."""
    module, _, kind = _PLACES[name].partition(":")
    found = importlib.import_module(f"manyhands.learners.sums.{module}")
    learner: SumLearner = getattr(found, kind)(settings, features, classes, **others)
    return learner
