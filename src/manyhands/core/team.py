"""The contract of a team: the workers, and how they communicate."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from manyhands.core.errors import SettingsError, WorkerLost
from manyhands.core.types import Phase, Vector

if TYPE_CHECKING:
    import numpy as np


class Clock(Protocol):
    """Adds up the wall-clock seconds of each phase."""

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Return a context whose duration is added to the phase ``name``."""

    def add(self, name: Phase, seconds: float) -> None:
        """Add seconds that compiled code has measured."""


class Team(Protocol):
    """The workers, and how they communicate.

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

    def sum_(self, vector: Vector) -> None:
        """Replace ``vector`` on all workers by the sum."""

    def broadcast_(self, vector: Vector, root: int = 0) -> None:
        """Replace ``vector`` on all workers by the one of ``root``."""

    def all_gather_(self, vector: Vector) -> None:
        """Give every worker's own part of ``vector`` (`manyhands.runtime.partition.part_of`) to all."""

    def exchange(self, vector: Vector) -> tuple[slice, NDArray[Any]]:
        """Return the place of this worker's part, and all workers' elements of it, shape (n, its length).

        With :meth:`all_gather_`, for elements of any fixed size that cannot be summed as they are.
        """

    def shared_vector(self, vector: Vector) -> Vector:
        """Return rank 0's vector itself: the same memory for all workers.

        Raises
        ------
        SettingsError
            If the workers have no memory in common.
        """

    def gather(self, vector: Vector) -> NDArray[Any] | None:
        """Return all workers' vectors, shape (n, size), on rank 0; None elsewhere."""

    def all_gather_pieces_(self, content: NDArray[np.uint8], counts: Sequence[int]) -> None:
        """Give every worker's own piece of ``content`` to all: consecutive pieces of ``counts[r]`` bytes.

        This one and :meth:`all_to_all` are for learners that compute together and have no memory in common; those that
        have some use :meth:`shared_reduction`.
        """
        raise SettingsError("workers that share memory exchange nothing by messages")

    def all_to_all(
        self, sent: NDArray[np.uint8], counts: Sequence[int], received: NDArray[np.uint8], expected: Sequence[int]
    ) -> None:
        """Send ``counts[r]`` consecutive bytes to each rank r, and receive ``expected[r]`` from it."""
        raise SettingsError("workers that share memory exchange nothing by messages")

    def part(self, ranks: Sequence[int]) -> Team:
        """Return the team of some of the workers, this one among them, in the order of ``ranks``.

        All workers call it at the same time, each for its own part; parts do not overlap. What is sent in a part counts
        as sent in the whole. A part is lost with the whole, and cannot go on without lost workers.

        Raises
        ------
        SettingsError
            If this kind of team cannot be divided.
        """
        raise SettingsError("workers of this kind of team cannot divide a network")

    def barrier(self) -> None:
        """Wait for all workers."""

    def regroup(self) -> list[tuple[int, str]]:
        """Go on without the workers that are lost; called by all survivors, whatever they were doing.

        Afterwards `rank` and `size` are those among the survivors, whose order is kept, and what was sent before is
        forgotten. Survivors may have come differently far: one may have completed a round that another has not. A
        worker that dies meanwhile is left out, too. ``control.stop``, if only a loss has set it, is 0 again.

        Returns
        -------
        list of (int, str)
            Each lost worker: its rank until now, and what is known about it (the end of a sentence with it as subject).

        Raises
        ------
        WorkerLost
            If that is not possible: the job must end.
        """
        raise WorkerLost(self.rank, "cannot go on without the lost ones: this kind of team needs all its workers")

    def agree(self, well: bool = True) -> bool:
        """Return whether all workers that are not lost say that they are well; the same answer for all of them.

        Other collectives may be complete for one worker and fail for another, if a third is lost in the middle. So
        workers that go on without lost ones end what they do with this: nobody leaves whom another still needs. If
        some are lost since the last `regroup`, the answer is False, and all may regroup.
        """
        raise WorkerLost(self.rank, "cannot agree with the others: this kind of team needs all its workers")

    def watchdog_paused(self) -> AbstractContextManager[object]:
        """Return a context in which the hang watchdog, if there is any, is suspended (evaluation, merging)."""
        return nullcontext()

    def shared_reduction(self, vector: Vector, target: Vector | None = None) -> Any:
        """Return the means for a kernel to average ``vector`` itself (`SharedReduction`), or None.

        With a ``target`` of the same length, each worker may write its part of the targets of all. None if compiled
        code cannot communicate in this kind of team; rounds are then held by :meth:`mean_`.
        """
        return None

    def record_fused_rounds(self, rounds: int, vector: Vector) -> float:
        """Add bytes and seconds of ``rounds`` rounds that a kernel has held to the counts; return the seconds."""
        return 0.0
