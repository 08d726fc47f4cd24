"""Fisher merge: a worker's parameter counts by its Fisher information (Matena & Raffel 2022, arXiv 2111.09832).

x = sum_r F_r x_r / sum_r F_r,   F_r = mean squared gradient of log p(y | x) at x_r, at least 1e-6
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manyhands.core.strategy import RoundContext

_FLOOR = 1e-6


def fisher_(context: RoundContext[Any]) -> None:
    """Average each parameter, weighted by the Fisher information that each worker has about it."""
    team, parameters = context.team, context.learner.parameters
    weights = np.maximum(context.services.fisher(), parameters.dtype.type(_FLOOR))
    parameters *= weights
    team.sum_(parameters)
    team.sum_(weights)
    parameters /= weights
