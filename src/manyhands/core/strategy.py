"""The contract of a strategy: stages, and in each of them one rule that says when and how the workers synchronize."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from manyhands.core.errors import SettingsError
from manyhands.core.learner import Model
from manyhands.core.lengths import Length
from manyhands.core.team import Team
from manyhands.core.types import Vector
from manyhands.core.words import count

State = TypeVar("State")
"""What a rule keeps from round to round: None, or a frozen dataclass of arrays that it writes in place."""


@dataclass(frozen=True)
class Needs:
    """What a rule, or a whole strategy, needs from a run.

    Attributes
    ----------
    one_worker_only
        It is for a single worker.
    syncs_gradients
        Gradients are averaged inside every step.
    shared_memory
        The workers write to one vector without waiting for each other, so no two runs are equal.
    fixed_shards
        Unless the user says otherwise, every worker keeps its own shard of the samples.
    acts_on_single_worker
        Rounds change something even for a team of one.
    uses_validation
        Its merge evaluates on validation samples.
    revisits_rows
        Its merge computes on training samples again.
    permutes_units
        Its merge brings hidden units into one order, so the model must be layers of such units (`Model.layered`).
    builds_ensemble
        The result is one network made of those of all workers (:meth:`Learner.side_by_side`).
    independent_init
        Every worker starts from random parameters of its own.
    passes
        How many times a worker passes over the samples that it draws for an epoch. 1: all its samples, once. If it is
        larger, the worker draws a part of its samples that is so many times smaller.
    adds_statistics
        It is for learners that are made of sums (`manyhands.core.learner.SumLearner`), and these know no other.
    """

    one_worker_only: bool = False
    syncs_gradients: bool = False
    shared_memory: bool = False
    fixed_shards: bool = False
    acts_on_single_worker: bool = False
    uses_validation: bool = False
    revisits_rows: bool = False
    permutes_units: bool = False
    builds_ensemble: bool = False
    independent_init: bool = False
    passes: int = 1
    adds_statistics: bool = False

    @classmethod
    def union(cls, parts: Sequence[Needs]) -> Needs:
        """Return what several rules need together; shards are fixed only if all of them have them so."""
        together = {each.name: max(getattr(part, each.name) for part in parts) for each in fields(cls)}
        return cls(**{**together, "fixed_shards": all(part.fixed_shards for part in parts)})


class MergeServices(Protocol):
    """What a merge can ask of the run besides vectors. All workers ask for the same services, in the same order."""

    def validate(self) -> tuple[float, float]:
        """Return loss and accuracy of the learner's present parameters on the validation samples."""

    def fisher(self) -> Vector:
        """Return the diagonal of the Fisher information at the learner's present parameters, shape (size,)."""

    def retrain(self, fraction: float) -> Vector:
        """Train once more from the run's start, on a part of this worker's samples; return those parameters.

        The learner is left unchanged.
        """

    def keep_ensemble(self, members: NDArray[Any]) -> None:
        """Make the networks with these parameters, shape (n, size), the run's result."""


@dataclass(frozen=True)
class RoundContext(Generic[State]):
    """All that a rule knows about the round that it holds.

    Attributes
    ----------
    team, learner
        The workers, and this worker's learner.
    examples
        Number of samples that this worker has used since the last round.
    rate
        Mean learning rate of the steps since the last round.
    last
        Whether the rule's stage ends with this round: all workers must have the same parameters afterwards.
    state
        What :meth:`Rule.begin_` returned.
    services
        For merges that need more than vectors.
    """

    team: Team
    learner: Model
    examples: int
    rate: float
    last: bool
    state: State
    services: MergeServices


class Rule(ABC, Generic[State]):
    """What holds in one stage of a run; see its two kinds, `GradientRule` and `LocalRule`.

    A rule is a small immutable value. Its state belongs to the training loop, which passes it to every call. Steps are
    counted from the beginning of the stage.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Canonical text, e.g. ``"periodic:1epoch"``: parsing it gives this rule again."""

    @property
    def needs(self) -> Needs:
        """What the rule needs from a run; nothing, unless a subclass says so."""
        return Needs()

    @property
    def fusable(self) -> bool:
        """Whether a round is nothing but the mean, weighted by examples, of full vectors.

        Compiled code may then hold the rounds itself. False, unless a subclass says so.
        """
        return False

    def batch_factor(self, workers: int) -> int:
        """Return how many times larger than the plan's the global batch is; 1, unless a subclass says so."""
        return 1

    def rate_factors(
        self, at: NDArray[np.int64], workers: int, growth: float, steps_per_epoch: int, steps: int
    ) -> NDArray[np.float64]:
        """Return what the schedule's learning rate is multiplied by; 1, unless a subclass says so.

        Parameters
        ----------
        at : ndarray of shape (any,), int64
            Steps of the stage.
        workers
            Number of workers.
        growth
            How many times larger than the plan's the global batch is: `batch_factor`, or less if there are too few
            samples.
        steps_per_epoch, steps
            Number of steps in an epoch, and in the stage.
        """
        return np.ones(len(at))

    @abstractmethod
    def begin_(self, team: Team, learner: Model) -> State:
        """Return the state at the beginning of a stage, when all workers have the same parameters."""


class GradientRule(Rule[State]):
    """A rule that averages the gradients of all workers inside every step, so that their parameters never differ.

    Buffers come from local batches and do differ; the training loop averages them at the end of the stage.
    """

    @property
    def needs(self) -> Needs:
        """Synchronization inside steps."""
        return Needs(syncs_gradients=True)

    @abstractmethod
    def merge_gradient_(self, team: Team, gradient: Vector, examples: float, state: State) -> None:
        """Replace ``gradient``, the mean over ``examples`` samples, by the mean over those of all workers.

        If samples have weights, ``examples`` is their sum.
        """


class LocalRule(Rule[State]):
    """A rule by which each worker takes local steps, until a round merges the parameters."""

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """Return after how many steps the first round behind ``step`` is due, at most ``total_steps``.

        The only round is at the end, unless a subclass says otherwise.
        """
        return total_steps

    @abstractmethod
    def hold_round_(self, context: RoundContext[State]) -> None:
        """Hold a round: merge parameters, buffers and optimizer state."""


@dataclass(frozen=True)
class Stage:
    """Whole epochs of a run in which one rule holds.

    Attributes
    ----------
    rule
        The rule.
    epochs
        How many epochs it holds, at least 1.
    """

    rule: Rule[Any]
    epochs: int


@dataclass(frozen=True)
class Strategy:
    """When and how the workers synchronize, from the beginning of a run to its end.

    Attributes
    ----------
    name
        Canonical text, e.g. ``"gradient@20% then periodic:1epoch"``: parsing it gives this strategy again.
    parts
        What holds one after the other: rules, or strategies with parts of their own.
    lengths
        How long each part but the last lasts. None: until the learning rate first drops at once, or half of the epochs
        if it never does.
    """

    name: str
    parts: tuple[Rule[Any] | Strategy, ...]
    lengths: tuple[Length | None, ...] = ()

    @cached_property
    def rules(self) -> tuple[Rule[Any], ...]:
        """The rules of all parts."""
        return tuple(_rules(self.parts))

    @cached_property
    def needs(self) -> Needs:
        """What all rules together need from a run."""
        return Needs.union([rule.needs for rule in self.rules])

    def stages(self, epochs: int, first_decay: int | None = None) -> tuple[Stage, ...]:
        """Return the stages of a run of ``epochs`` epochs.

        Parameters
        ----------
        epochs
            Length of the run.
        first_decay
            After how many epochs the learning rate first drops at once; None if it never does.

        Raises
        ------
        SettingsError
            If there are too few epochs.
        """
        found: list[Stage] = []
        ends = self._ends(epochs, first_decay)
        for part, begin, end in zip(self.parts, [0, *ends], [*ends, epochs], strict=True):
            if isinstance(part, Strategy):
                inside = first_decay is not None and begin < first_decay < end
                found += part.stages(end - begin, first_decay - begin if first_decay is not None and inside else None)
            else:
                found.append(Stage(part, end - begin))
        return tuple(found)

    def _ends(self, epochs: int, first_decay: int | None) -> list[int]:
        """Return after how many whole epochs each part but the last ends; every part lasts at least one."""
        drop = epochs / 2 if first_decay is None else first_decay
        ends: list[int] = []
        total = 0.0
        for each in self.lengths:
            length = drop if each is None else each.epochs(epochs)
            if length <= 0:
                raise SettingsError(f"{self.name}: a part has the length 0; leave the part out")
            total += length
            ends.append(max(round(total), (ends[-1] if ends else 0) + 1))
        if ends and ends[-1] >= epochs:
            raise SettingsError(
                f"{self.name}: its first {count(len(ends), 'part')} would take {count(ends[-1], 'epoch')} "
                f"of {epochs}, and the last at least one; shorten them, or train longer"
            )
        return ends


def _rules(parts: Iterable[Rule[Any] | Strategy]) -> Iterable[Rule[Any]]:
    for part in parts:
        yield from part.rules if isinstance(part, Strategy) else (part,)
