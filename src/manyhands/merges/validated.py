"""Merges that look at validation rows: weighted by score, and the greedy soup.

A sequential run to compare with must have the same training rows, without those for validation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manyhands.core.strategy import RoundContext

_LEAST = 1e-6


def _scores(context: RoundContext) -> NDArray[np.float64]:
    """Return every worker's accuracy on the validation rows, shape (n,)."""
    scores = np.zeros(context.team.size)
    scores[context.team.rank] = context.helper.validate()[1]
    context.team.sum_(scores)
    return scores


def validation_(context: RoundContext) -> None:
    """Average the parameters, each worker's in proportion to its accuracy on the validation rows."""
    score = context.helper.validate()[1]
    context.team.mean_(context.learner.parameters, max(score, _LEAST))


def soup_(context: RoundContext) -> None:
    """Greedy soup: take workers in, best first, as long as the mean's validation accuracy does not fall.

    Wortsman et al. 2022 (arXiv 2203.05482), algorithm 1. One worker cooks, the others wait.
    """
    team, learner = context.team, context.learner
    scores = _scores(context)
    vectors = team.gather(learner.parameters)
    if vectors is not None:
        order = np.argsort(-scores, kind="stable")
        taken, best = [order[0]], scores[order[0]]
        with team.watchdog_paused():
            for rank in order[1:]:
                learner.parameters[:] = vectors[[*taken, rank]].mean(axis=0, dtype=np.float64)
                score = context.helper.validate()[1]
                if score >= best:
                    taken, best = [*taken, rank], score
        learner.parameters[:] = vectors[taken].mean(axis=0, dtype=np.float64)
    team.broadcast_(learner.parameters)
