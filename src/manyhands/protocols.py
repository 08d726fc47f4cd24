"""The contracts between the wings, so that none of them needs to know another.

A learner turns rows of a table into better parameters. A team lets n workers talk. A strategy says when they talk
and what they do then. Only floor 3 (`manyhands.training`) brings the three together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from manyhands.errors import DataError

Vector: TypeAlias = NDArray[Any]
"""One contiguous array of shape (size,), of floating-point numbers unless said otherwise."""

Sharding = Literal["global", "fixed"]
Phase = Literal["startup", "read", "distribute", "compute", "communicate", "merge", "evaluate"]

_PER_SAMPLE, _PER_FEATURE = {"per": "sample"}, {"per": "feature"}
"""What the first axis of a field of :class:`Table` counts."""


@dataclass(frozen=True)
class Table:
    """Examples as they are stored, and how stored values become the network's inputs.

    Whoever copies, cuts, sends or compares a table asks it for its arrays (:meth:`arrays`) and its other facts
    (:meth:`facts`): a new field needs no other line.

    Attributes
    ----------
    features : ndarray of shape (rows, features), uint8, float32 or float64
        As read. Images stay uint8; a learner converts a batch when it uses it: ``(features - center) * scale + shift``.
    labels : ndarray of shape (rows,), int32
        Number of each row's class, 0..K-1.
    scale, shift : ndarray of shape (features,), float64
        The scaling, per feature.
    targets : ndarray of shape (rows, outputs), float32 or float64, or None
        What the network's outputs shall be, where that is not one class for each row: then ``labels`` say nothing.
    weights : ndarray of shape (rows,), float32 or float64, or None
        How much each row counts in the loss; None for all alike.
    first_row : int
        Number of the first row, among those of all processes.
    center : ndarray of shape (features,), float64, or None
        What is subtracted first, in double precision; None for nothing, as always from bytes.
    sample_shape : tuple of int
        Shape of one sample before it became a row, such as ``(1, 28, 28)`` for images (channels, height, width). If
        it is not given, ``(features,)``.

    Raises
    ------
    DataError
        If a sample of this shape has another number of features.
    """

    features: NDArray[Any] = field(metadata=_PER_SAMPLE)
    labels: NDArray[np.int32] = field(metadata=_PER_SAMPLE)
    scale: NDArray[np.float64] = field(metadata=_PER_FEATURE)
    shift: NDArray[np.float64] = field(metadata=_PER_FEATURE)
    targets: NDArray[Any] | None = field(default=None, metadata=_PER_SAMPLE)
    weights: NDArray[Any] | None = field(default=None, metadata=_PER_SAMPLE)
    first_row: int = 0
    center: NDArray[np.float64] | None = field(default=None, metadata=_PER_FEATURE)
    sample_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        stored = self.features.shape[1:]
        shape = tuple(self.sample_shape) or stored
        if math.prod(shape) != math.prod(stored):
            raise DataError(f"samples of shape {shape} have {math.prod(shape)} features, and the rows {stored}")
        object.__setattr__(self, "sample_shape", shape)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that have an entry for each row, by field; those that exist."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.metadata == _PER_SAMPLE}
        return {name: array for name, array in found.items() if array is not None}

    def facts(self) -> dict[str, Any]:
        """Return the fields that are no arrays, as plain data."""
        return {each.name: getattr(self, each.name) for each in fields(self) if not each.metadata}

    def with_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Table:
        """Return a table that has other arrays of rows in the place of some; everything else is the same."""
        changed: dict[str, Any] = dict(arrays)
        return replace(self, **changed)

    def inputs(self) -> NDArray[np.float64]:
        """Return all inputs, shape (rows, features), in double precision."""
        values = self.features if self.center is None else self.features - self.center
        return np.asarray(values * self.scale + self.shift)

    def take(self, rows: slice | NDArray[Any]) -> Table:
        """Return some of the rows, with all that belongs to them, so that kernels have one form for both.

        Rows that follow each other keep their numbers (``first_row``). Others, chosen one by one, are numbered from 0.
        """
        begin, _, step = rows.indices(self.rows) if isinstance(rows, slice) else (0, 0, 0)
        first = self.first_row + begin if step == 1 else 0
        return replace(self.with_arrays({name: array[rows] for name, array in self.arrays().items()}), first_row=first)

    @property
    def rows(self) -> int:
        """Number of examples."""
        return int(self.features.shape[0])


@dataclass(frozen=True)
class Order:
    """The rows one worker uses, step by step.

    Batches may differ in size (the last of an epoch; shares of a global batch that n does not divide), so they are
    kept end to end.

    Attributes
    ----------
    rows : ndarray of shape (examples,), int32
        Row numbers of the table.
    bounds : ndarray of shape (steps + 1,), int64
        Step s uses ``rows[bounds[s]:bounds[s + 1]]``; it may be empty.
    global_rows : ndarray of shape (steps,), int32
        Size of the global batch that step s is this worker's part of.
    """

    rows: NDArray[np.int32]
    bounds: NDArray[np.int64]
    global_rows: NDArray[np.int32]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.global_rows)

    @property
    def examples(self) -> int:
        """Number of examples in all steps together."""
        return int(self.bounds[-1] - self.bounds[0])

    def part(self, start: int, stop: int) -> Order:
        """Return the steps start..stop-1, without copying."""
        return Order(self.rows, self.bounds[start : stop + 1], self.global_rows[start:stop])


@dataclass(frozen=True)
class Control:
    """Two cells shared with whoever watches a run from outside.

    Attributes
    ----------
    stop : ndarray of shape (1,), int64
        Becomes non-zero when the run shall end; looked at between any two steps.
    progress : ndarray of shape (1,), int64
        Number of steps this worker has done; written after every step.
    """

    stop: NDArray[np.int64]
    progress: NDArray[np.int64]


@dataclass(frozen=True)
class Rounds:
    """Rounds that a learner's kernel holds itself: weighted means, by examples, of all workers' vectors.

    Attributes
    ----------
    meeting : manyhands.synchronization.Meeting
        From :meth:`Team.meeting_for`.
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


class Clock(Protocol):
    """Adds up the wall-clock seconds of each phase, where it happens."""

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Return a context whose duration is added to the phase ``name``."""
        ...

    def add(self, name: Phase, seconds: float) -> None:
        """Add seconds that compiled code has measured itself."""
        ...


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

    def prepare(self, table: Table) -> None:
        """Compile, or otherwise get ready for ``table``'s types, so that no later clock sees it."""
        ...

    def run(
        self,
        table: Table,
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

    def gradient(self, table: Table, order: Order, out: Vector) -> float:
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

    def predict_proba(self, table: Table) -> NDArray[Any]:
        """Return class probabilities of shape (rows, K)."""
        ...

    def outputs(self, table: Table) -> NDArray[Any]:
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


class Team(Protocol):
    """The workers and the way they talk.

    A trailing underscore writes in place. Every worker calls the same collectives in the same order. Sums are taken
    in rank order and in double precision, so that every kind of team gives the same bits.

    Attributes
    ----------
    rank : int
        This worker, 0..size-1.
    size : int
        Number of workers n.
    clock : Clock
        Charged with "communicate" (waiting and exchanging) and "merge" (the arithmetic).
    bytes_sent : int
        Bytes that this worker has offered to the others in collectives so far.
    """

    rank: int
    size: int
    clock: Clock
    bytes_sent: int

    def mean_(self, vector: Vector, weight: float = 1.0) -> None:
        """Replace ``vector`` on all workers by sum(weight_r vector_r) / sum(weight_r).

        A worker of weight 0 takes part without being counted.

        Raises
        ------
        WorkerLost
            If another worker ended; as for every collective.
        """
        ...

    def sum_(self, vector: Vector) -> None:
        """Replace ``vector`` on all workers by the sum."""
        ...

    def broadcast_(self, vector: Vector, root: int = 0) -> None:
        """Replace ``vector`` on all workers by the one of ``root``."""
        ...

    def reduce_scatter_(self, vector: Vector) -> slice:
        """Sum, but each worker gets only its own part, whose place is returned; the rest keeps its values."""
        ...

    def all_gather_(self, vector: Vector) -> None:
        """Give every worker's own part (as in :meth:`reduce_scatter_`) to all."""
        ...

    def exchange(self, vector: Vector) -> tuple[slice, NDArray[Any]]:
        """Return this worker's part, and all workers' elements of it, shape (n, its length).

        With :meth:`all_gather_`, for what cannot be summed as it stands. Elements may be of any fixed size.
        """
        ...

    def share(self, vector: Vector) -> Vector:
        """Return rank 0's vector itself: the same memory for all workers.

        Raises
        ------
        SettingsError
            If the workers have no memory in common.
        """
        ...

    def gather(self, vector: Vector) -> NDArray[Any] | None:
        """Return all workers' vectors, shape (n, size), on rank 0; None elsewhere."""
        ...

    def barrier(self) -> None:
        """Wait until all workers are here."""
        ...

    def away(self) -> AbstractContextManager[object]:
        """Return a context for what is no step of the training: standing still in it is no sign of hanging."""
        ...

    def meeting_for(self, vector: Vector, target: Vector | None = None) -> Any:
        """Return a `manyhands.synchronization.Meeting` with which a kernel can average ``vector`` itself, or None.

        With a ``target`` of the same length, each worker may write its part of everyone's. None if this kind of team
        cannot be entered from compiled code; rounds are then held by :meth:`mean_`.
        """
        ...

    def settle(self, rounds: int, vector: Vector) -> float:
        """Account for ``rounds`` rounds that a kernel has held with it; return their seconds."""
        ...


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
