"""The contracts of learners: models whose parameters are one flat vector, and how they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import Control, Order, Samples
from manyhands.core.types import Vector


@dataclass(frozen=True)
class Rounds:
    """Rounds that a learner's kernel holds itself: means of all workers' vectors, weighted by examples.

    Attributes
    ----------
    meeting : manyhands.runtime.shared_reduce.SharedReduction
        From :meth:`Team.shared_reduction`.
    due : ndarray of shape (any,), int64
        After how many steps of the run the parameters are averaged; ascending.
    seen : int
        Examples that this worker has used between the last round and the run.
    gradient : ndarray of shape (size,) or None
        If given, gradients are averaged inside every step. ``meeting`` is then for this vector, with the parameters as
        its target: each worker updates its part of them for all. Afterwards this worker's optimizer state is valid for
        that part only.
    """

    meeting: Any
    due: NDArray[np.int64]
    seen: int = 0
    gradient: Vector | None = None


@dataclass(frozen=True)
class Snapshots:
    """Copies of the parameters that a learner keeps on its way through one call.

    Attributes
    ----------
    due : ndarray of shape (k,), int64
        After how many steps of the call the parameters are copied, and after the round there, if one is due; ascending.
    kept : ndarray of shape (k, size)
        Written: the copies.
    nanoseconds : ndarray of shape (k,), int64
        Written: when each copy was made, since the call began.
    """

    due: NDArray[np.int64]
    kept: NDArray[Any]
    nanoseconds: NDArray[np.int64]


@dataclass(frozen=True)
class RunOutcome:
    """What :meth:`Learner.run` or :meth:`FitLearner.fit` has done.

    Attributes
    ----------
    losses : ndarray of shape (steps done,)
        The loss of each step. Shorter than asked if ``control.stop`` ended the run.
    rounds : int
        How many rounds the learner has held itself.
    """

    losses: NDArray[np.float64]
    rounds: int = 0


class Model(Protocol):
    """What all learners have: parameters in one flat vector, and predictions. A learner trains in one of three ways.

    `Learner` takes steps, `FitLearner` trains from beginning to end in one call, `SumLearner` is made of sums.

    Attributes
    ----------
    size : int
        Number of parameters.
    dtype : numpy.dtype
        Of parameters, gradients, optimizer state and probabilities.
    parameters : ndarray of shape (size,)
        The vector given to :meth:`bind`.
    buffers : ndarray of shape (any,)
        What is averaged but not trained (BatchNorm statistics); may be empty.
    optimizer_state : mapping of str to ndarray of shape (size,)
        E.g. Adam's moments, by name. There is none unless a class says so.
    steps_taken : int
        The optimizer's own step count.
    """

    size: int
    dtype: np.dtype[Any]
    parameters: Vector
    buffers: Vector
    steps_taken: int

    @property
    def optimizer_state(self) -> Mapping[str, Vector]:
        """The optimizer's vectors by name; writing into them changes the optimizer."""
        return {}

    def report(self) -> Mapping[str, Any]:
        """Return what there is to say about the training, as plain data by name; it goes into records."""
        return {}

    @property
    def random_start(self) -> bool:
        """Whether :meth:`initialize` draws a start; if not, every start is the same."""
        return True

    @property
    def layered(self) -> bool:
        """Whether :meth:`weights` are those of dense layers, ``weights.l`` and ``biases.l``, and nothing else."""
        return False

    @property
    def least_batch(self) -> int:
        """How many samples a worker's part of a batch must have at least, unless it has none: 2 for BatchNorm."""
        return 1

    def whole(self, into: Any = None) -> Any:
        """Return a learner that has the whole network, with its present parameters and optimizer state.

        This one, unless workers hold a network together: then it is a collective of theirs, and they bring it back with
        :meth:`take_over` if it has changed. ``into`` is one that was returned before, to be used again.
        """
        return self

    def take_over(self, whole: Any) -> None:
        """Go on with what the learner from :meth:`whole` has now."""
        assert whole is self  # unless a class says otherwise

    def finished(self) -> Any:
        """Return the whole network, when nothing is trained any more: its optimizer's state may be given up."""
        return self

    def bind(self, vector: Vector) -> None:
        """Use ``vector``, shape (size,), as parameters from now on; its owner is the caller."""

    def initialize(self, rng: np.random.Generator) -> None:
        """Write a random start into the parameters and clear the optimizer's state."""

    def prepare(self, table: Samples) -> None:
        """Compile, or do whatever else ``table``'s dtypes require, before the clock of a run starts."""

    def predict_proba(self, table: Samples) -> NDArray[Any]:
        """Return class probabilities of shape (rows, K)."""

    def outputs(self, table: Samples) -> NDArray[Any]:
        """Return the network's outputs without further steps, shape (rows, K); for classes, the probabilities."""

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return copies of all that predictions need, by name, as it goes into a model file: parameters and buffers."""

    def load_weights(self, blocks: Mapping[str, NDArray[Any]]) -> None:
        """Write the blocks that :meth:`weights` returned into the parameters."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of all arrays needed to continue bit for bit: these, unless a class has others."""
        return {
            "parameters": self.parameters.copy(),
            "buffers": self.buffers.copy(),
            "steps_taken": np.array([self.steps_taken], np.int64),
            **{name: vector.copy() for name, vector in self.optimizer_state.items()},
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state` returned, into the bound vector, which stays bound."""
        self.parameters[:], self.buffers[:] = state["parameters"], state["buffers"]
        self.steps_taken = int(state["steps_taken"][0])
        for name, vector in self.optimizer_state.items():
            vector[:] = state[name]


class Learner(Model, Protocol):
    """A model that is trained step by step.

    Capabilities (``divisible``, ``holds_rounds``, ``keeps_snapshots``) are declared: a class that derives from this one
    has none of them unless it says so.

    Attributes
    ----------
    divisible : bool
        Whether the optimizer's step may be taken part by part. False if the step of a parameter depends on others.
    holds_rounds : bool
        Whether :meth:`run` accepts ``rounds`` and holds them. Other learners are called without: the training loop
        holds all rounds between two calls.
    keeps_snapshots : bool
        Whether :meth:`run` accepts ``snapshots`` and writes them. Other learners are called epoch by epoch if a
        callback looks at the parameters.
    """

    @property
    def divisible(self) -> bool:
        """Whether the optimizer's step may be taken part by part."""
        return False

    @property
    def holds_rounds(self) -> bool:
        """Whether it can hold rounds itself, inside :meth:`run`."""
        return False

    @property
    def keeps_snapshots(self) -> bool:
        """Whether it can copy its parameters on its way, inside :meth:`run`."""
        return False

    def run(
        self,
        table: Samples,
        order: Order,
        rates: NDArray[np.float64],
        control: Control,
        rounds: Rounds | None = None,
        snapshots: Snapshots | None = None,
    ) -> RunOutcome:
        """Take ``order.steps`` optimizer steps, step s at the learning rate ``rates[s]``, and hold ``rounds``.

        Only a learner with ``holds_rounds`` is given any, and only one with ``keeps_snapshots`` is given ``snapshots``.

        Raises
        ------
        DivergedError
            At the first loss that is not finite.
        WorkerLost
            If another worker did not come to a round.
        """

    def gradient(self, table: Samples, order: Order, out: Vector) -> float:
        """Write the mean gradient of the data loss over the one step in ``order`` into ``out``.

        Returns the mean data loss over these rows (0 and a zero gradient for no rows). Penalties are added by
        :meth:`apply`, once, from the global batch.
        """

    def apply(self, gradient: Vector, rate: float, global_rows: int, workers: int = 1) -> float:
        """Take one optimizer step along ``gradient``, the mean over ``global_rows`` examples.

        The bits are those of a step that ``workers`` workers take part by part. Returns the penalty part of the loss.
        :meth:`gradient` and this method together are one step of :meth:`run`.
        """

    def side_by_side(self, members: NDArray[Any]) -> Learner:
        """Return one wider learner whose logits are the mean of those of ``members``, shape (n, size)."""


@runtime_checkable
class FitLearner(Model, Protocol):
    """A model that is trained from beginning to end in one call; strategies with a single round suit it."""

    def fit(self, table: Samples, order: Order, rates: NDArray[np.float64], control: Control) -> RunOutcome:
        """Train for as many steps as there are ``rates``, or fewer if the learner itself decides so.

        ``order`` is that of one epoch. It says which samples are this worker's; their order is the learner's choice.
        If ``control.stop`` ends the call, no loss is returned.

        Raises
        ------
        DivergedError
            If a loss is not finite.
        """


@dataclass(frozen=True)
class Statistic:
    """One named array of a pass over the samples, and how those of all workers become one.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    how : {"sum", "gather", "parts"}
        ``sum``: float64, added in rank order. ``gather``: each worker has its own, and all get all of them, shape
        (n, ...), in rank order. ``parts``: one array for all; each worker writes its part of the first axis
        (:attr:`Share.part`), and all get the whole. Workers with common memory have it once, so it is only read later.
    dtype : numpy.dtype
        Of its elements; of sums, float64.
    """

    shape: tuple[int, ...]
    how: Literal["sum", "gather", "parts"] = "sum"
    dtype: Any = np.float64


@dataclass(frozen=True)
class Share:
    """A worker's share of a pass.

    Attributes
    ----------
    order : Order
        Its rows, in blocks ("steps"). Blocks do not depend on the number of workers, and every one is in one share.
    rank, size : int
        The worker, and how many there are: for work that is divided by something else than rows.
    """

    order: Order
    rank: int
    size: int

    def part(self, count: int) -> slice:
        """Return which of ``count`` things are this worker's: consecutive ones, as equal as can be."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)


@runtime_checkable
class SumLearner(Model, Protocol):
    """A model that is made of sums over all samples, in one or several passes; so n workers have the model of one.

    A pass: :meth:`asks` says which arrays it needs, the caller makes them, zeros, and every worker fills them from its
    share (:meth:`collect`, several times if its rows come in pieces); then those of all workers become one, and every
    worker goes on from the same (:meth:`conclude`). Its parameters are no flat vector of known size: :meth:`weights`
    has them.
    """

    @property
    def failure(self) -> Exception | None:
        """Why there is no model after all passes, if there is none.

        All workers have found it alike, so the run ends as any other before it is raised: a worker that raised it in a
        pass would end the job of the others.
        """
        return None

    @property
    def by_class(self) -> bool:
        """Whether all rows of a block are to be of one class."""
        return False

    @property
    def by_rows(self) -> bool:
        """Whether workers divide the rows; else every share has all of them, and workers divide something else."""
        return True

    @property
    def reads(self) -> bool:
        """Whether the next pass looks at samples; one that does not is called once, with a share without rows."""
        return True

    def begin(self, table: Samples, rows: int) -> None:
        """Get ready for the passes: of a new model, over ``rows`` samples in all; ``table`` has their form."""

    def asks(self) -> Mapping[str, Statistic] | None:
        """Return what the next pass needs, by name; None when the model is complete."""

    def collect(self, table: Samples, share: Share, into: Mapping[str, NDArray[Any]], control: Control) -> None:
        """Add what the share's rows have to the arrays of the pass; if ``control.stop`` is set, return soon.

        Raises
        ------
        DataError
            If such values cannot be, with the first row that has one.
        """

    def conclude(self, found: Mapping[str, NDArray[Any]]) -> None:
        """Take what all workers have found in the pass."""
