"""The contract of a team: the workers, and how they communicate."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from numpy.typing import NDArray

from manyhands.core.types import Phase, Vector


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

    def barrier(self) -> None:
        """Wait for all workers."""

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
