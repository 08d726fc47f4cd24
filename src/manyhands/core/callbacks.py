"""The contract of a callback: it is called while a run goes on, as finely as it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from manyhands.core.events import Event, Granularity
from manyhands.core.learner import Model
from manyhands.core.samples import Samples
from manyhands.core.team import Team

GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
"""From the finest to the coarsest."""


class Callback:
    """Receives the events of a run; derive from it and override what you need.

    Rounds stay inside compiled code, where they are fastest, unless a callback wants to be called between them. So ask
    for ``"round"`` or ``"step"`` only if you need it.

    Attributes
    ----------
    granularity : {"step", "round", "epoch", "end"}
        The finest events that it receives; coarser ones come, too. Measurements come at every granularity but
        ``"end"``.
    """

    granularity: Granularity = "epoch"

    def notify(self, event: Event) -> None:
        """Receive an event of any worker, in that worker's thread and on its time.

        If a run starts an MPI job, rank 0's events come to the process that has started it, in the calling thread.
        """

    def end(self, result: Any) -> None:
        """Receive the run's result (`manyhands.TrainingResult`), in the thread that has called for the run."""

    def identity(self) -> dict[str, Any]:
        """Return all that the course of the run depends on, as plain data: only the same goes on from a checkpoint."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on later, as arrays and numbers."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` has returned."""


class RunView(Protocol):
    """What a callback inside a worker can know about its worker's run."""

    @property
    def team(self) -> Team:
        """The workers."""

    @property
    def learner(self) -> Model:
        """The worker's learner."""

    @property
    def validation(self) -> Samples | None:
        """Rows that no training sees, if there are any."""

    @property
    def model(self) -> Model:
        """What the run would result in: the learner, or the networks of all workers in one."""

    @property
    def step(self) -> int:
        """Steps taken so far."""

    @property
    def epoch(self) -> float:
        """Epochs so far, parts of one included."""

    @property
    def rounds(self) -> int:
        """Rounds held so far."""

    @property
    def synchronized(self) -> bool:
        """Whether all workers have the same parameters now."""

    @property
    def syncs_gradients(self) -> bool:
        """Whether every step holds a round between its gradient and its update."""

    @property
    def train_s(self) -> float:
        """Seconds of training so far; those of pauses are not in them."""
        ...

    def emit(self, event: Event) -> None:
        """Report an event to the run's callbacks."""

    def pause(self) -> AbstractContextManager[None]:
        """Return a context that is no part of the training time: all workers come to it and wait for each other."""
        ...


@dataclass(frozen=True)
class EpochSummary:
    """What a worker knows about an epoch that has just ended.

    Attributes
    ----------
    loss, examples
        Its mean loss of the epoch, and over how many examples.
    last
        Whether it was the last epoch that is planned.
    losses, global_rows : ndarray of shape (steps,)
        Its loss of each step, and the size of the global batch.
    weights : ndarray of shape (steps,) or None
        The sum of the sample weights of each step; None if samples have none.
    """

    loss: float
    examples: int
    last: bool
    losses: NDArray[np.float64]
    global_rows: NDArray[np.int32]
    weights: NDArray[np.float64] | None = None


class WorkerCallback(Callback):
    """A callback that works inside every worker: it sees learner and team, and may end the run.

    All workers call its hooks at the same points, so collectives are allowed in them.

    Attributes
    ----------
    looks_back : bool
        Whether :meth:`after_round` and :meth:`after_epoch` may be called when the run has gone on for some epochs. The
        `RunView` is then as it was, ``model`` and ``learner`` on rank 0 only. Such a callback never ends a run, changes
        nothing, and acts on the ends of epochs inside :meth:`RunView.pause`.
    """

    looks_back: bool = False

    def for_worker(self, run: RunView) -> WorkerCallback:
        """Return what is called for one worker's run, when its training begins."""
        return self

    def after_round(self, run: RunView) -> None:
        """Act after a round; called with granularity ``"round"`` or finer."""

    def after_epoch(self, run: RunView, epoch: EpochSummary) -> bool:
        """Act after an epoch; return whether the run shall end now. All workers must return the same.

        After the last planned epoch the run ends whatever is returned.
        """
        return False

    def after_training(self, run: RunView) -> None:
        """Act when the last round has been held."""


class EventFunction(Callback):
    """A function that receives events.

    Parameters
    ----------
    function
        Called with every event.
    granularity
        The finest events that it receives.
    """

    def __init__(self, function: Callable[[Event], object], granularity: Granularity = "epoch") -> None:
        self._function, self.granularity = function, granularity

    def notify(self, event: Event) -> None:
        """See :class:`Callback`."""
        self._function(event)


CallbackLike = Callback | Callable[[Event], object]
"""A callback, or a function that receives the events of epochs and measurements (see :class:`EventFunction`)."""


def as_callbacks(given: Iterable[CallbackLike]) -> list[Callback]:
    """Return callbacks, functions wrapped."""
    return [each if isinstance(each, Callback) else EventFunction(each) for each in given]


def reaches(granularity: Granularity, least: Granularity) -> bool:
    """Return whether one granularity is as fine as another one, or finer."""
    return GRANULARITIES.index(granularity) <= GRANULARITIES.index(least)


def finest(callbacks: Iterable[Callback]) -> Granularity:
    """Return the finest granularity that any of the callbacks asks for."""
    return min((each.granularity for each in callbacks), key=GRANULARITIES.index, default="end")


def send(callbacks: Iterable[Callback], event: Event) -> None:
    """Give an event to all callbacks that ask for such."""
    for callback in callbacks:
        if reaches(callback.granularity, event.granularity):
            callback.notify(event)


def finish(callbacks: Iterable[Callback], result: Any) -> None:
    """Give the result of a run to all callbacks."""
    for callback in callbacks:
        callback.end(result)
