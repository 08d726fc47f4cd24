"""What scikit-learn's parameters may be: the `_parameter_constraints` of all estimators are made of these."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from manyhands.core.checks import LARGEST
from manyhands.core.settings import ALL
from manyhands.core.strategy import Strategy
from manyhands.teams.registry import CHOICES


class Number(Interval):  # type: ignore[misc]  # scikit-learn has no types
    """An interval of numbers, of which True and False are none, nor real ones that no float can hold."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Return whether a value is one of them."""
        if isinstance(val, bool) or not super().is_satisfied_by(val):
            return False
        try:
            return self.type is Integral or np.isfinite(float(val))
        except OverflowError:
            return False


COUNT = Number(Integral, 1, None, closed="left")
FRACTION = Number(Real, 0, 1, closed="left")
NOT_NEGATIVE = Number(Real, 0, None, closed="left")
POSITIVE = Number(Real, 0, None, closed="neither")

OF_FITS: dict[str, Any] = {
    "batch_size": [StrOptions({"auto"}), COUNT],
    "max_iter": [COUNT],
    "shuffle": ["boolean"],
    "random_state": [Number(Integral, 0, 2**32 - 1, closed="both"), np.random.RandomState, None],
    "tol": [NOT_NEGATIVE],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [FRACTION],
    "n_iter_no_change": [COUNT, Options(Real, {np.inf})],
    "n_workers": [Number(Integral, 1, LARGEST, closed="both"), Options(Integral, {-1}), StrOptions({ALL}), None],
    "strategy": [str, Strategy],
    "team": [StrOptions(set(CHOICES))],
    "weight_decay": [NOT_NEGATIVE, None],
    "checkpoint": [str, os.PathLike, Mapping, None],
}
"""Of the parameters that `manyhands.estimators.fitting` reads, which all estimators have."""
