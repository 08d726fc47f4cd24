"""The plain merges: weighted by examples, or each worker alike."""

from __future__ import annotations

from manyhands.core.strategy import RoundContext


def examples_(context: RoundContext) -> None:
    """Average the parameters, each worker's in proportion to the examples it has seen since the last round.

    With equal shares this is the published merge (Todorov et al. 2021, sec. III).
    """
    context.team.mean_(context.learner.parameters, context.examples)


def mean_(context: RoundContext) -> None:
    """Average the parameters of all workers alike, however many examples they have seen."""
    context.team.mean_(context.learner.parameters)
