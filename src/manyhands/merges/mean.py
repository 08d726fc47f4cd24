"""The mean of the parameters, weighted by examples or not."""

from __future__ import annotations

from typing import Any

from manyhands.core.strategy import RoundContext


def examples_(context: RoundContext[Any]) -> None:
    """Average the parameters, each worker's in proportion to the examples it has seen since the last round.

    With equal shards this is the published merge (Todorov et al. 2021, sec. III).
    """
    context.team.mean_(context.learner.parameters, context.examples)


def mean_(context: RoundContext[Any]) -> None:
    """Average the parameters with equal weights, however many examples the workers have seen."""
    context.team.mean_(context.learner.parameters)
