"""Team `solo`: one worker. Sequential training is this team, not a special case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.core.samples import Control
from manyhands.core.team import Clock, Team
from manyhands.core.types import Vector
from manyhands.teams.crew import Crew


class Solo(Team):
    """A team of one: every collective is already done, and takes no time on the clock."""

    rank = 0
    size = 1

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.bytes_sent = 0

    def mean_(self, vector: Vector, weight: float = 1.0) -> None:
        """Leave the vector: the mean of one."""

    def sum_(self, vector: Vector) -> None:
        """Leave the vector: the sum of one."""

    def broadcast_(self, vector: Vector, root: int = 0) -> None:
        """Leave the vector."""

    def all_gather_(self, vector: Vector) -> None:
        """Leave the vector."""

    def exchange(self, vector: Vector) -> tuple[slice, NDArray[Any]]:
        """Return the vector as the only row; all of it is this worker's part."""
        return slice(0, len(vector)), vector[None, :].copy()

    def shared_vector(self, vector: Vector) -> Vector:
        """Return the vector."""
        return vector

    def gather(self, vector: Vector) -> NDArray[Any] | None:
        """Return the vector as the only row."""
        return vector[None, :].copy()

    def part(self, ranks: Sequence[int]) -> Team:
        """Return this team."""
        return self

    def barrier(self) -> None:
        """Go on."""

    def agree(self, well: bool = True) -> bool:
        """Return what this worker says."""
        return well


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile nothing: there are no rounds."""


def make_crew(clocks: Sequence[Clock], controls: Sequence[Control]) -> Crew:
    """Return the one worker."""
    return Crew([Solo(clocks[0])])
