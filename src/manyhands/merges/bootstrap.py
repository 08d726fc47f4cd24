"""Bootstrap-corrected averaging (SAVGM: Zhang, Duchi & Wainwright 2013, JMLR 14, algorithm 2, eq. 3).

Every worker trains a second time, on a part r of its rows, to estimate the bias of having few of them:

    x = (mean(x1) - r mean(x2)) / (1 - r)

Their theory is for convex losses.
"""

from __future__ import annotations

from manyhands.core.strategy import RoundContext

RATIO = 0.1
"""r. Larger corrects more steadily, and costs as much more training."""


def bootstrap_(context: RoundContext) -> None:
    """Correct every worker's parameters by its own second training, then average: the formula is linear."""
    parameters = context.learner.parameters
    ratio = parameters.dtype.type(RATIO)
    second = context.helper.retrain(RATIO)
    parameters -= ratio * second
    parameters /= 1 - ratio
    context.team.mean_(parameters, context.examples)
