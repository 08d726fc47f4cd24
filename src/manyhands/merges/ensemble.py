"""Ensemble: logits are averaged instead of parameters. The upper reference of merges, at n times the cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from manyhands.core.strategy import RoundContext


def ensemble_(context: RoundContext[Any]) -> None:
    """Make the mean of all workers' logits the run's result: one network, n times as wide.

    Side by side, hidden layers of n networks are one layer whose weights between different networks are zero; the
    last layer adds their contributions, divided by n. Softmax of mean logits is the normalized geometric mean of the
    workers' probabilities.
    """
    team, parameters = context.team, context.learner.parameters
    members = np.zeros((team.size, len(parameters)), parameters.dtype)
    gathered = team.gather(parameters)
    if gathered is not None:
        members[:] = gathered
    team.broadcast_(members.reshape(-1))
    parameters[:] = members[0]
    context.services.keep_ensemble(members)
