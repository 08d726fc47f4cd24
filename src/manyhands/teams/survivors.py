"""How the threads that are left go on without those that have failed: they meet, and become a new group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from manyhands.core.errors import WorkerLost


@dataclass(frozen=True)
class Meeting:
    """What all have learned when they met: whether all are well, and else who is lost, by old rank."""

    well: bool
    lost: list[tuple[int, str]]


class Survivors:
    """The threads of one team that have not failed.

    They meet when one of them asks. Unless all are well, and none has been lost, they have a new group afterwards.

    Parameters
    ----------
    new_group
        Makes what a number of workers share.

    Attributes
    ----------
    group
        The present one.
    """

    def __init__(self, new_group: Callable[[int], Any]) -> None:
        self._new_group = new_group
        self.group: Any = new_group(1)
        self._members: list[Any] = []
        self._met = threading.Condition()
        self._came: dict[Any, bool] = {}
        self._lost: list[tuple[int, str]] = []
        self._pending: dict[Any, Meeting] = {}
        self._held = 0
        self._meeting = Meeting(well=True, lost=[])
        self._called_off: int | None = None

    def begin(self, members: Sequence[Any]) -> None:
        """Let the threads enter their first group."""
        self._members = list(members)
        self._enter()

    def call_off(self, rank: int) -> None:
        """End the whole team: worker ``rank`` will not come, and nobody goes on."""
        with self._met:
            if self._called_off is None:
                self._called_off = rank
            self.group.call_off(rank)
            self._met.notify_all()

    def let_go(self, member: Any, reason: str) -> None:
        """Let the others go on without one of them."""
        with self._met:
            self._members.remove(member)
            self._lost.append((member.rank, reason))
            self.group.call_off(member.rank)
            self._close_if_complete()

    def agree(self, member: Any, well: bool) -> bool:
        """Return whether all are well; if not, the next `regroup` of this one has nothing left to wait for."""
        meeting = self._meet(member, well)
        if not meeting.well:
            self._pending[member] = meeting
        return meeting.well

    def regroup(self, member: Any) -> list[tuple[int, str]]:
        """Return who is lost, after all survivors have met in a new group."""
        meeting = self._pending.pop(member, None) or self._meet(member, well=False)
        return meeting.lost

    def _meet(self, member: Any, well: bool) -> Meeting:
        """Wait for all survivors: as long as it takes, for none can be lost without a word."""
        with self._met:
            number = self._held
            self._came[member] = well
            self._close_if_complete()
            self._met.wait_for(lambda: self._held != number or self._called_off is not None)
            if self._held == number:
                assert self._called_off is not None
                raise WorkerLost(self._called_off)
            return self._meeting

    def _close_if_complete(self) -> None:
        """End a meeting that all have come to."""
        if not self._members or len(self._came) < len(self._members) or self._called_off is not None:
            return
        self._meeting = Meeting(all(self._came.values()) and not self._lost, sorted(self._lost))
        if not self._meeting.well:
            self._enter()
        self._came, self._lost = {}, []
        self._held += 1
        self._met.notify_all()

    def _enter(self) -> None:
        """Give all a new group, in which their order is kept."""
        self.group = self._new_group(len(self._members))
        for rank, member in enumerate(self._members):
            member.enter(self.group, rank)
