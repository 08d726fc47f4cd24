"""Bootstrap-corrected averaging (SAVGM: Zhang, Duchi & Wainwright 2013, JMLR 14, algorithm 2, eq. 3).

Every worker trains a second time, on a part r of its samples, to estimate the bias that comes from having few:

    x = (mean(x1) - r mean(x2)) / (1 - r)

Their theory is for convex losses.
"""

from __future__ import annotations

from typing import Any

from manyhands.core.strategy import RoundContext

RATIO = 0.1
"""r. A larger part corrects more steadily, at the cost of more training."""


def bootstrap_(context: RoundContext[Any]) -> None:
    """Correct every worker's parameters by its own second training, then average, as the formula is linear."""
    parameters = context.learner.parameters
    ratio = parameters.dtype.type(RATIO)
    second = context.services.retrain(RATIO)
    parameters -= ratio * second
    parameters /= 1 - ratio
    context.team.mean_(parameters, context.examples)
