"""Floor 5: scikit-learn's estimators, trained by many workers.

Importing them also imports the compiled learner, and with it Numba: who times a ``fit`` should not time that. In a
process of an MPI job, from then on, an error that ends the program is told to the others.
"""

from __future__ import annotations

import manyhands.learners.mlp.learner
import manyhands.teams.threads  # noqa: F401
from manyhands.estimators.classifier import MLPClassifier
from manyhands.estimators.counting_naive_bayes import BernoulliNB, CategoricalNB, MultinomialNB
from manyhands.estimators.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from manyhands.estimators.exchange import from_sklearn
from manyhands.estimators.forest import RandomForestClassifier
from manyhands.estimators.naive_bayes import GaussianNB
from manyhands.estimators.regressor import MLPRegressor
from manyhands.estimators.torch_classifier import TorchClassifier
from manyhands.estimators.trees import DecisionTreeClassifier, DecisionTreeRegressor
from manyhands.teams.exit_hooks import report_uncaught_errors

__all__ = [
    "BernoulliNB",
    "CategoricalNB",
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "GaussianNB",
    "LinearDiscriminantAnalysis",
    "MLPClassifier",
    "MLPRegressor",
    "MultinomialNB",
    "QuadraticDiscriminantAnalysis",
    "RandomForestClassifier",
    "TorchClassifier",
    "from_sklearn",
]

report_uncaught_errors()
