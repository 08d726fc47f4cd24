"""The contract of a learner: a model with its optimizer, whose parameters are one flat vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import Control, Order, Samples
from manyhands.core.types import Vector


@dataclass(frozen=True)
class Rounds:
    """Rounds that a learner's kernel holds itself: weighted means, by examples, of all workers' vectors.

    Attributes
    ----------
    meeting : manyhands.runtime.shared_reduce.SharedReduction
        From :meth:`Team.shared_reduction`.
    due : ndarray of shape (any,), int64
        After how many steps of the run the parameters are averaged; ascending.
    seen : int
        Examples this worker has used since the last round, before the run.
    gradient : ndarray of shape (size,) or None
        If given, gradients are averaged inside every step, in this vector, which the meeting is for; the parameters
        are its target, as each worker updates its part of them for all. Of the optimizer's vectors, only that part is
        known to this worker afterwards.
    """

    meeting: Any
    due: NDArray[np.int64]
    seen: int = 0
    gradient: Vector | None = None


@dataclass(frozen=True)
class RunOutcome:
    """What :meth:`Learner.run` has done.

    Attributes
    ----------
    losses : ndarray of shape (steps done,)
        The loss of each step. Shorter than asked if ``control.stop`` ended the run.
    rounds : int
        How many of the rounds that it was given the learner has held.
    """

    losses: NDArray[np.float64]
    rounds: int = 0


class Learner(Protocol):
    """A model with its optimizer; its parameters are one flat vector.

    Capabilities (``divisible``, ``holds_rounds``, ``whole_runs``) are declared: a class that derives from this one has
    none of them unless it says so, and no optimizer state.

    Attributes
    ----------
    size : int
        Number of parameters.
    classes : int
        Number of classes K.
    dtype : numpy.dtype
        Of parameters, gradients, optimizer state and probabilities.
    parameters : ndarray of shape (size,)
        The vector given to :meth:`bind`.
    buffers : ndarray of shape (any,)
        What is averaged but not trained (BatchNorm statistics); may be empty.
    optimizer_state : mapping of str to ndarray of shape (size,)
        E.g. Adam's moments, by name.
    steps_taken : int
        The optimizer's own step count.
    divisible : bool
        Whether the optimizer's step may be taken part by part. False if the step of a parameter depends on others.
    holds_rounds : bool
        Whether :meth:`run` takes ``rounds`` and holds them. Other learners are called without: the training loop holds
        all rounds between two calls.
    whole_runs : bool
        Whether it trains whole runs only: :meth:`run` is called once, with the order of one epoch, which says which
        rows but not when, and the rates of all steps of the run. Fewer steps are then the learner's own decision
        (unless ``control.stop`` is set), and there is no :meth:`gradient`. Usually False.
    """

    size: int
    classes: int

    @property
    def divisible(self) -> bool:
        """Whether the optimizer's step may be taken part by part."""
        return False

    @property
    def holds_rounds(self) -> bool:
        """Whether it can hold rounds itself, inside :meth:`run`."""
        return False

    @property
    def whole_runs(self) -> bool:
        """Whether it trains whole runs only."""
        return False

    dtype: np.dtype[Any]
    parameters: Vector
    buffers: Vector
    steps_taken: int

    @property
    def optimizer_state(self) -> Mapping[str, Vector]:
        """The optimizer's vectors by name; writing into them changes the optimizer."""
        return {}

    def bind(self, vector: Vector) -> None:
        """Use ``vector``, shape (size,), as parameters from now on; its owner is the caller."""
        ...

    def initialize(self, rng: np.random.Generator) -> None:
        """Write a random start into the parameters and clear the optimizer's state."""
        ...

    def prepare(self, table: Samples) -> None:
        """Compile, or otherwise get ready for ``table``'s types, so that no later clock sees it."""
        ...

    def run(
        self,
        table: Samples,
        order: Order,
        rates: NDArray[np.float64],
        control: Control,
        rounds: Rounds | None = None,
    ) -> RunOutcome:
        """Take ``order.steps`` optimizer steps, step s at the learning rate ``rates[s]``, and hold ``rounds``.

        Only a learner with ``holds_rounds`` is given any.

        Raises
        ------
        DivergedError
            At the first loss that is not finite.
        WorkerLost
            If another worker did not come to a round.
        """
        ...

    def gradient(self, table: Samples, order: Order, out: Vector) -> float:
        """Write the mean gradient of the data loss over the one step in ``order`` into ``out``.

        Returns the mean data loss over these rows (0 and a zero gradient for no rows). Penalties are added by
        :meth:`apply`, once, from the global batch.
        """
        ...

    def apply(self, gradient: Vector, rate: float, global_rows: int, workers: int = 1) -> float:
        """Take one optimizer step along ``gradient``, the mean over ``global_rows`` examples.

        It has the bits of a step whose work so many ``workers`` have divided among them. Returns the penalty part of
        the loss. With :meth:`gradient` this is one step of :meth:`run` in two halves.
        """
        ...

    def predict_proba(self, table: Samples) -> NDArray[Any]:
        """Return class probabilities of shape (rows, K)."""
        ...

    def outputs(self, table: Samples) -> NDArray[Any]:
        """Return the network's outputs as they are, shape (rows, K); for classes, the probabilities."""
        ...

    def side_by_side(self, members: NDArray[Any]) -> Learner:
        """Return one wider learner that answers with the mean of the logits of ``members``, shape (n, size)."""
        ...

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return copies of the model's blocks by name, as they go into a model file."""
        ...

    def load_weights(self, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Write the blocks that :meth:`weights` returned into the parameters."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of all arrays needed to go on bit for bit."""
        ...

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`state` returned."""
        ...
