"""Floor 5: scikit-learn's estimators, trained by many workers.

Importing them also imports the compiled learner, and with it Numba: who times a ``fit`` should not time that.
"""

from __future__ import annotations

import manyhands.learners.mlp.learner
import manyhands.teams.threads  # noqa: F401
from manyhands.estimators.classifier import MLPClassifier
from manyhands.estimators.exchange import from_sklearn
from manyhands.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn"]
