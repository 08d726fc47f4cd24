"""The contract of a strategy: when the workers talk, and what they do then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from manyhands.core.learner import Learner
from manyhands.core.team import Team
from manyhands.core.types import Sharding, Vector


@dataclass(frozen=True)
class Stage:
    """A part of a run, whole epochs, in which one strategy holds.

    Attributes
    ----------
    strategy
        Which.
    epochs
        How many epochs it lasts, at least 1.
    batch_factor
        How many times larger the global batch is than the plan's.
    """

    strategy: Strategy
    epochs: int
    batch_factor: int = 1


class Helper(Protocol):
    """What a merge may ask for besides the vectors. Every worker asks for the same, at the same time."""

    def validate(self) -> tuple[float, float]:
        """Return loss and accuracy of the learner's present parameters on the validation rows."""
        ...

    def fisher(self) -> Vector:
        """Return the diagonal of the Fisher information at the learner's present parameters, shape (size,)."""
        ...

    def retrain(self, fraction: float) -> Vector:
        """Train once more from the run's start, on a part of this worker's rows; return those parameters.

        The learner is as it was afterwards.
        """
        ...


@dataclass(frozen=True)
class RoundContext:
    """One round, as a strategy sees it.

    Attributes
    ----------
    team, learner
        Who talks, and what about.
    examples
        This worker's since the last round.
    rate
        Mean learning rate of the steps since the last round.
    last
        Whether the strategy ends with it: all workers must be alike afterwards.
    memory
        What :meth:`Strategy.begin_` returned: the strategy's own vectors, kept from round to round.
    helper
        For merges that need more than vectors.
    """

    team: Team
    learner: Learner
    examples: int
    rate: float
    last: bool
    memory: dict[str, Vector]
    helper: Helper


class Strategy(Protocol):
    """When the workers talk and what they do then. A small value object: what it remembers, the loop keeps for it.

    Steps are counted from the beginning of the stage (`Stage`) in which it holds.

    Attributes
    ----------
    name : str
        As written on the command line, e.g. ``"periodic:1epoch"``.
    sharding : {"global", "fixed"}
        Which rows a worker sees unless the user says otherwise.
    parallel : bool
        False if only one worker makes sense.
    """

    @property
    def name(self) -> str:
        """Canonical text: parsing it gives this strategy again."""
        ...

    @property
    def sharding(self) -> Sharding:
        """Default sharding."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether more than one worker makes sense."""
        ...

    @property
    def plain(self) -> bool:
        """Whether all it does in a round is the mean, by examples, of parameters (or gradients) and buffers.

        A kernel may then hold the rounds itself.
        """
        ...

    @property
    def passes(self) -> int:
        """How often a worker goes through what it draws for an epoch; 1: all its rows, once.

        Larger: a part of its rows, so many times smaller.
        """
        ...

    @property
    def talks_inside_steps(self) -> bool:
        """Whether every step holds a round between its gradient and its update."""
        ...

    @property
    def alone(self) -> bool:
        """Whether rounds change something even for a team of one."""
        ...

    @property
    def shared_memory(self) -> bool:
        """Whether the workers write to one vector without waiting for each other: then no two runs are alike."""
        ...

    @property
    def validates(self) -> bool:
        """Whether it looks at validation rows."""
        ...

    @property
    def revisits_rows(self) -> bool:
        """Whether its merge computes on training rows again."""
        ...

    @property
    def side_by_side(self) -> bool:
        """Whether its result is one network made of all workers' (:meth:`Learner.side_by_side`)."""
        ...

    @property
    def own_starts(self) -> bool:
        """Whether every worker has a random start of its own."""
        ...

    def stages(self, epochs: int, workers: int, first_decay: int | None) -> tuple[Stage, ...]:
        """Return the stages of a run; most strategies have one.

        Parameters
        ----------
        epochs, workers
            Of the run.
        first_decay
            After how many epochs the learning rate first drops at once; None if it never does.

        Raises
        ------
        SettingsError
            If there are too few epochs.
        """
        ...

    def rate_factors(
        self, at: NDArray[np.int64], workers: int, growth: float, steps_per_epoch: int, steps: int
    ) -> NDArray[np.float64]:
        """Return what the learning rate is multiplied with.

        Parameters
        ----------
        at : ndarray of shape (any,), int64
            In which steps of the stage.
        workers
            Their number.
        growth
            How many times larger the stage's global batch is than the plan's: its factor, unless rows are too few.
        steps_per_epoch, steps
            Of the stage.
        """
        ...

    def next_round(self, step: int, steps_per_epoch: int, total_steps: int) -> int:
        """Return how many steps will have been taken when the next round after ``step`` steps is due.

        Larger than ``step`` and at most ``total_steps``.
        """
        ...

    def begin_(self, team: Team, learner: Learner) -> dict[str, Vector]:
        """Return what the strategy remembers at the beginning of its stage, when all workers are alike."""
        ...

    def merge_gradient_(self, team: Team, gradient: Vector, examples: float, memory: dict[str, Vector]) -> None:
        """Hold the round inside a step: make ``gradient``, over ``examples`` rows, everyone's.

        If rows have weights, ``examples`` is their sum.
        """
        ...

    def hold_round_(self, context: RoundContext) -> None:
        """Hold a round: parameters, buffers and optimizer state."""
        ...
