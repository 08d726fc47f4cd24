"""Ensemble: nothing is averaged but answers. The upper reference of all merges, at n times the cost of predicting."""

from __future__ import annotations

import numpy as np

from manyhands.core.strategy import RoundContext


def ensemble_(context: RoundContext) -> None:
    """Make one network, n times as wide, that answers with the mean of all workers' logits.

    Side by side, hidden layers of n networks are one layer whose weights between different networks are zero; the
    last layer adds their contributions, divided by n. Softmax of mean logits is the normalized geometric mean of the
    workers' probabilities.
    """
    team, parameters = context.team, context.learner.parameters
    members = np.zeros(team.size * len(parameters), parameters.dtype)
    gathered = team.gather(parameters)
    if gathered is not None:
        members[:] = gathered.reshape(-1)
    team.broadcast_(members)  # everyone ends with the same network
    parameters[:] = members[: len(parameters)]
    context.memory["members"] = members
