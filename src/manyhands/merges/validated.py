"""Merges that evaluate on validation samples: the mean weighted by accuracy, and the greedy soup.

A fair comparison with a sequential run leaves the validation samples out of its training, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.strategy import RoundContext

_LEAST = 1e-6


def _scores(context: RoundContext[Any]) -> NDArray[np.float64]:
    """Return every worker's accuracy on the validation samples, shape (n,)."""
    scores = np.zeros(context.team.size)
    scores[context.team.rank] = context.services.validate()[1]
    context.team.sum_(scores)
    return scores


def validation_(context: RoundContext[Any]) -> None:
    """Average the parameters, each worker's in proportion to its accuracy on the validation samples."""
    score = context.services.validate()[1]
    context.team.mean_(context.learner.parameters, max(score, _LEAST))


def soup_(context: RoundContext[Any]) -> None:
    """Greedy soup: add workers, best first, to the mean as long as its validation accuracy does not fall.

    Wortsman et al. 2022 (arXiv 2203.05482), algorithm 1. Rank 0 evaluates the candidates while the others
    wait at the broadcast.
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
                score = context.services.validate()[1]
                if score >= best:
                    taken, best = [*taken, rank], score
        learner.parameters[:] = vectors[taken].mean(axis=0, dtype=np.float64)
    team.broadcast_(learner.parameters)
