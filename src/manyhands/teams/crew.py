"""The workers of one process as `launch` sees them."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.core.team import Team


class Crew:
    """The workers of this process, and the ways to end those that depend on them; as it is, all workers are here.

    Attributes
    ----------
    teams : sequence of Team
        Every worker's view.
    join_seconds : float or None
        How long to wait for a worker's end after a failure; None: until it comes.
    """

    join_seconds: float | None = None

    def __init__(self, teams: Sequence[Team]) -> None:
        self.teams = teams

    def place_of(self, team: Team) -> int:
        """Return a worker's number among all workers on this machine."""
        return team.rank

    def call_off(self, rank: int, error: BaseException) -> None:
        """Notify the workers that wait for worker ``rank`` that it has failed, and why."""

    def let_go(self, team: Team, error: BaseException) -> bool:
        """Let the others go on without a worker that has failed; return whether they do."""
        return False

    def check(self) -> None:
        """Raise WorkerLost if a worker elsewhere is lost, and those here do not end by themselves."""

    def dismiss(self) -> None:
        """Take note that all workers here have ended; raise WorkerLost if the reason lies elsewhere."""
