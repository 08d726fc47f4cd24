"""Floor 2: how parameter vectors become one.

A merge is a function ``merge_(team, learner, weight)`` that ends with the same parameters and buffers on all workers.
"""

from __future__ import annotations

from manyhands.protocols import Learner, Team


def mean_(team: Team, learner: Learner, weight: float) -> None:
    """Average parameters and buffers, each worker's in proportion to ``weight`` (the examples it has seen).

    With equal weights this is the published merge (Todorov et al. 2021, sec. III). Optimizer state stays each worker's
    own: averaging Adam's moments too would triple the bytes.
    """
    team.mean_(learner.parameters, weight)
    if len(learner.buffers):
        team.mean_(learner.buffers, weight)
